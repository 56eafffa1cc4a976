"""Lists and removes what may be deleted from the spool's disk when room is short.

That is the trash, what is left of finished jobs, kept copies of uploaded videos, rotated logs. Videos that
were not uploaded are never looked at here. `domain/disk_policy.py` decides what goes.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from ezrec.domain import disk_policy
from ezrec.domain import job as records
from ezrec.domain.booking import instant_of
from ezrec.domain.disk_policy import Evictable, Goes, Space
from ezrec.domain.job import BadRecord
from ezrec.spool.entry import read_record
from ezrec.spool.spool import Gone, Spool
from ezrec.system import host

_ROTATED = re.compile(r".+\.log\.\d+")
# What `durable` writes beside a file, and what earlier versions wrote.
_TEMPORARY = re.compile(
    r"\..+\.(?P<pid>\d+)-\d+\.new|\.(?:progress|health|status)\.json\.new|\.new\.still\.jpg"
)
_STALE_S, _JUST_S = 86400.0, 600.0
_BLOCK = 512


def space(place: Path) -> Space:
    """Free bytes and inodes of the disk, for a user who is not root. Raises OSError."""
    disk = os.statvfs(place)
    return Space(disk.f_bavail * disk.f_frsize, disk.f_favail if disk.f_files else None)


# ---- what may go


def evictables(spool: Spool, logs: Path) -> list[Evictable]:
    """All that may go, the first to go first."""
    return disk_policy.in_order(_evictables(spool, logs))


def _evictables(spool: Spool, logs: Path) -> Iterator[Evictable]:
    for goes, place in ((Goes.TRASH, spool.trash), (Goes.LEFTOVER, spool.gone), (Goes.KEPT, spool.kept)):
        for path in _in(place):
            with contextlib.suppress(OSError):
                yield Evictable(goes, path, _weight(path), _lies_since(path))
    for path in _in(spool.done):
        if not path.name.endswith((".json", ".new")):  # the history is small, and prevents recording twice
            with contextlib.suppress(OSError):
                yield Evictable(Goes.LEFTOVER, path, _weight(path), _lies_since(path))
    with contextlib.suppress(OSError):
        if os.stat(logs).st_dev == os.stat(spool.root).st_dev:
            yield from _rotated(logs)


def logs_elsewhere(spool: Spool, logs: Path) -> list[Evictable]:
    """The rotated logs, oldest first, if they are on another disk than the spool."""
    with contextlib.suppress(OSError):
        if os.stat(logs).st_dev != os.stat(spool.root).st_dev:
            return disk_policy.in_order(_rotated(logs))
    return []


def _rotated(logs: Path) -> Iterator[Evictable]:
    for path in _in(logs):
        with contextlib.suppress(OSError):
            if _ROTATED.fullmatch(path.name) and stat.S_ISREG(os.lstat(path).st_mode):
                yield Evictable(Goes.LOG, path, _weight(path), _lies_since(path))


def _in(place: Path) -> list[Path]:
    try:
        return sorted(place.iterdir())
    except OSError:
        return []


def _weight(path: Path) -> int:
    """Bytes that deleting it frees: files with other hard links free none."""
    info = os.lstat(path)
    if not stat.S_ISDIR(info.st_mode):
        return info.st_blocks * _BLOCK if info.st_nlink == 1 else 0
    names: dict[int, tuple[int, int, int]] = {}  # by inode: names found here, all its names, bytes
    for root, _, files in os.walk(path):
        for name in files:
            with contextlib.suppress(OSError):
                found = os.lstat(os.path.join(root, name))
                here = names.get(found.st_ino, (0, 0, 0))[0] + 1
                names[found.st_ino] = (here, found.st_nlink, found.st_blocks * _BLOCK)
    return sum(size for here, links, size in names.values() if here >= links)


def _lies_since(path: Path) -> datetime:
    """Its newest known time: the file's own time may be of 1970."""
    info = os.lstat(path)
    moments = [instant_of(info.st_mtime)]
    if stat.S_ISDIR(info.st_mode):
        with contextlib.suppress(OSError, BadRecord):
            moments += [arrival.at for arrival in records.decode(read_record(path)).arrivals[-1:]]
    return max(moments)


def remove(spool: Spool, one: Evictable) -> bool:
    """Delete it; False when that fails, or somebody was faster (`ezrec spool restore`, say)."""
    try:
        if one.goes is Goes.LOG:
            one.path.unlink()
        else:
            spool.erase(one.path)
    except (Gone, OSError):
        return False
    return True


def sweep(place: Path, now_s: float | None = None) -> list[Path]:
    """Remove the temporary files that killed writers left below `place`.

    One whose writer lives, or that is younger than ten minutes, stays. Process ids are reused, so after a day
    it goes in any case. Returns the paths. These files are never read, so a wrong clock loses nothing.
    """
    now_s = time.time() if now_s is None else now_s
    swept = []
    for root, folders, files in os.walk(place):
        folders[:] = [name for name in folders if not os.path.islink(os.path.join(root, name))]
        for name in files:
            match = _TEMPORARY.fullmatch(name)
            if match is None:
                continue
            path = Path(root, name)
            writer = match["pid"]
            with contextlib.suppress(OSError):
                age_s = abs(now_s - os.lstat(path).st_mtime)
                if age_s > (_STALE_S if writer and host.has_process(int(writer)) else _JUST_S):
                    path.unlink()
                    swept.append(path)
    return swept
