"""Writing so that a power cut cannot take it back. The only module that calls fsync on directories.

On ext4 only file fsync + rename + directory fsync kept what was acknowledged, in 20 of 20 power cuts;
every other order lost it or left an empty file under the final name (docs/decisions.md, "Durability").
"""

from __future__ import annotations

import os
import shutil
import stat
import threading
from pathlib import Path

from ezrec.system import plain_files

_PIECE = 1 << 20


def sync_directory(path: Path) -> None:
    """Make the names in `path` durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_file(path: Path) -> None:
    """Make the content of `path` durable; its name needs `sync_directory`."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # a FIFO must not hold us up
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write(
    path: Path,
    data: bytes,
    *,
    sync_parent: bool = True,
    mode: int = 0o660,
    like: os.stat_result | None = None,
) -> None:
    """Replace `path` by `data`: whole and durable, or not at all.

    `sync_parent=False` where the caller syncs the directory itself a moment later. `like`: the new file gets
    this owner, group and mode before anything is in it.
    """
    temporary = beside(path)
    fd = plain_files.create(temporary, 0o600 if like else mode)
    try:
        with open(fd, "wb") as file:
            if like:
                os.fchown(fd, like.st_uid, like.st_gid)
                os.fchmod(fd, stat.S_IMODE(like.st_mode))
            file.write(data)
            file.flush()
            os.fsync(fd)
        os.rename(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if sync_parent:
        sync_directory(path.parent)


def swap(path: Path, data: bytes, *, mode: int | None = None) -> None:
    """Replace `path` by `data`: whole or not at all, whoever reads it meanwhile and however many write it.

    Not durable: for what is written often, and what nobody wants to know after a power cut.
    """
    temporary = beside(path)
    try:
        with open(plain_files.create(temporary), "wb") as file:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            file.write(data)
        os.rename(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def rename(source: Path, target: Path) -> None:
    """Rename, then make both directories durable. Raises what `os.rename` raises.

    The target's directory is synced first: a cut between the two leaves both names, never none.
    """
    os.rename(source, target)
    sync_directory(target.parent)
    if source.parent != target.parent:
        sync_directory(source.parent)


def copy(source: Path, target: Path) -> None:
    """Copy a file's bytes to the new name `target`: whole and durable, or not at all."""
    temporary = beside(target)
    try:
        with (
            plain_files.opened(source, shared=True) as found,
            open(plain_files.create(temporary), "wb") as made,
        ):
            shutil.copyfileobj(found, made, _PIECE)
        sync_file(temporary)
        rename(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def beside(path: Path) -> Path:
    """A name of this thread's own in the same directory: hidden, so that no listing takes it for work, and
    such as `room.sweep` knows again when its writer has died.
    """
    return path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.new")
