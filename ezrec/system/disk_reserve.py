"""The reserve: a little room on the spool's disk that is given up when the disk is full.

With it a take that the full disk has ended is still written into its record, and a finished upload into
its own: without a record nothing can be removed, so a disk without a reserve stays full.

It holds names as well as bytes, because a disk may run out of either. Makes and gives up; who is short
decides. Never anything else is removed here.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ezrec.domain.errors import is_full
from ezrec.system import durable

NAME = ".reserve"  # in the spool: hidden, so that nobody takes it for work
_NAMES = 8
_T = TypeVar("_T")


def make(spool: Path, size: int) -> bool:
    """Lay `size` bytes and a few names aside; True when they lie there. 0 gives up what there is."""
    place = spool / NAME
    if size <= 0:
        give_up(spool)
        return False
    if missing(spool, size) == 0:
        return True
    try:
        place.mkdir(exist_ok=True)
        for number in range(_NAMES):
            (place / f"name-{number}").touch()
        with open(place / "room", "ab") as file:
            os.posix_fallocate(file.fileno(), 0, size)
            os.ftruncate(file.fileno(), size)
    except OSError:
        give_up(spool)
        return False
    return True


def missing(spool: Path, size: int) -> int:
    """How many bytes of the reserve do not lie there."""
    try:
        found = os.lstat(spool / NAME / "room").st_size
    except OSError:
        found = 0
    return size if found != size else 0


def give_up(spool: Path) -> bool:
    """Give the room back to the disk; False when there was none to give."""
    place = spool / NAME
    if not place.is_dir():
        return False
    shutil.rmtree(place, ignore_errors=True)
    return not place.exists()


def with_reserve(spool: Path, write: Callable[[], _T]) -> _T:
    """Write a record; when the disk is full, once more with the reserve given up."""
    try:
        return write()
    except OSError as fault:
        if not is_full(fault) or not give_up(spool):
            raise
    with contextlib.suppress(OSError):
        durable.sync_directory(spool)  # ext4 gives freed blocks out again only after this
    return write()
