"""The one way to open a file that others may have laid: plain files and nothing else, and never a wait.

Whoever may write into the spool may lay anything there under a name that we use: a link that leads to
another's file, a second name of one, a FIFO on which an open waits for ever. So every file in an entry is
opened here, by descriptor: no link is followed, what is no regular file is refused, and so is a file that has
a name outside of its directory, for it could change under us, or be another's. (A second name beside the
first is ours: a take that is published as it was recorded has one.) FFmpeg opens by name; what it is
given is looked at here first, and what it is to write is out of the way.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


class NotPlain(OSError, ValueError):
    """Something is there, and it is not to be opened; the message says why, in one line."""

    def __init__(self, path: Path | str, why: str) -> None:
        super().__init__(errno.ELOOP, why, str(path))


def unusable(info: os.stat_result) -> tuple[str, str] | None:
    """Why a thing of this type is never opened as footage, and what to do instead."""
    if stat.S_ISLNK(info.st_mode):
        return "a symbolic link is never followed", "copy the file itself"
    if stat.S_ISREG(info.st_mode) and info.st_nlink > 1:
        why = f"the file has {info.st_nlink} names (hard links): it could change under us"
        return why, "copy the file itself"
    if not stat.S_ISREG(info.st_mode) and not stat.S_ISDIR(info.st_mode):
        return "neither a file nor a directory (a FIFO, socket or device)", "copy a plain file"
    return None


def look(path: Path, *, shared: bool = False) -> os.stat_result:
    """What the file system says of a plain file. Raises `NotPlain`, `OSError`.

    `shared`: it may have other names elsewhere, because it is read only, and lies in no entry.
    """
    return _checked(path, os.lstat(path), shared)


def open_fd(path: Path, flags: int = os.O_RDONLY, *, shared: bool = False) -> int:
    """A descriptor of a plain file that is there. Raises as `look` does."""
    look(path, shared=shared)  # first, because opening alone wakes who waits at a FIFO, or moves a device
    fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _checked(path, os.fstat(fd), shared)
    except BaseException:
        os.close(fd)
        raise
    return fd


def opened(path: Path, *, shared: bool = False) -> BinaryIO:
    """Open a plain file for reading."""
    return open(open_fd(path, shared=shared), "rb")


def opened_to_change(path: Path) -> BinaryIO:
    """Open a plain file for reading and writing in its own place."""
    return open(open_fd(path, os.O_RDWR), "r+b")


def read(path: Path, limit: int, *, shared: bool = False) -> bytes:
    """The first `limit` bytes of a small plain file."""
    with opened(path, shared=shared) as file:
        return file.read(limit)


def create(path: Path, mode: int = 0o660) -> int:
    """A descriptor of a new file under a name that is ours; what lay there before loses the name."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags, mode)
    except FileExistsError:
        os.unlink(path)
        return os.open(path, flags, mode)


def clear(path: Path) -> None:
    """Take the name away from whatever would be written through: a link, a FIFO, another's file."""
    try:
        look(path)
    except FileNotFoundError:
        return
    except NotPlain:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            os.unlink(path)


def folder(path: Path) -> None:
    """Make the directory `path` where it is not there. A link in its place is taken away, never followed."""
    if not is_folder(path):
        clear(path)
        path.mkdir(exist_ok=True)


def is_plain(path: Path) -> bool:
    """Whether a plain file is there."""
    try:
        look(path)
    except OSError:
        return False
    return True


def is_folder(path: Path) -> bool:
    """Whether `path` is a directory itself, and no link to one."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def _checked(path: Path, info: os.stat_result, shared: bool) -> os.stat_result:
    fault = unusable(info)
    if stat.S_ISDIR(info.st_mode):
        raise NotPlain(path, "a directory, and no file")
    if stat.S_ISREG(info.st_mode) and (shared or fault is None or _names_beside(path, info) >= info.st_nlink):
        return info
    raise NotPlain(path, fault[0] if fault else "no plain file")


def _names_beside(path: Path, info: os.stat_result) -> int:
    """How many of a file's names lie in its directory."""
    with os.scandir(path.parent) as found:
        same = [one for one in found if one.inode() == info.st_ino]
    return sum(os.path.samestat(one.stat(follow_symlinks=False), info) for one in same)
