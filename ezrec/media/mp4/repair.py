"""Repairs a take of our own in its place after a crash, and measures it by its fragments.

Without FFmpeg, so the recorder can do it. Never for a file that somebody else has written: it may be half a
copy, still being written.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from ezrec.domain.ports import NOTHING, Hole, Repaired
from ezrec.media.mp4 import boxes as mp4boxes
from ezrec.media.mp4 import damage
from ezrec.media.mp4.damage import Searcher, Walk
from ezrec.media.mp4.samples import NotSimple, read_tracks
from ezrec.system import plain_files

_READ_SIZE = 1 << 20
_MOST_REPAIRS = 20
_LEAST_HOLE_S = 0.1  # less is rounding between two fragments
_LARGEST_HEADER = 1 << 20
_LEAST_HEAD = 16  # bytes of a box of the long form
_LARGEST_FRAGMENT = 64 << 20  # the largest that FragmentReader accepts


def repair(path: Path) -> Repaired:
    """Cover damage, cut off a torn tail, and measure what is there. `NOTHING` only if no picture is in it.

    A torn fragment makes FFmpeg 5.1 drop every take that follows, with exit code 0.

    A file with a second name (a hard link) is measured and never changed: the other name may be somebody
    else's.
    """
    try:
        info = path.lstat()
        if not stat.S_ISREG(info.st_mode):
            return Repaired(None, why="it is no plain file")
        return _repaired(path, is_alone=info.st_nlink == 1)
    except FileNotFoundError:
        return NOTHING if path.parent.is_dir() else Repaired(None, why="its directory is away", may_pass=True)
    except OSError as fault:
        return Repaired(None, why=fault.strerror or str(fault), may_pass=True)
    except MemoryError:
        return Repaired(None, why="there is no memory to read its index", may_pass=True)
    except (ValueError, LookupError) as fault:  # a torn file is a ValueError, too
        return Repaired(None, why=str(fault) or type(fault).__name__)


def _repaired(path: Path, *, is_alone: bool) -> Repaired:
    if not mp4boxes.is_fragmented(path):
        return _plain(path)
    try:
        found = _walked(path)
    except (mp4boxes.TornFile, NotSimple):
        if (empty := _empty(path, 0)).is_nothing:
            return empty
        raise
    for _ in range(_MOST_REPAIRS):  # once a tail is cut off, the new end may be unwritten too
        if not found.fragments:
            return _empty(path, found.header_end)
        if not found.damage:
            return _measured(found)
        if not is_alone:
            return Repaired(None, why="it is damaged, and lies elsewhere too")
        damage.mend(path, found)
        found = _walked(path)
    return Repaired(None, why="it is damaged all over")


def _walked(path: Path) -> Walk:
    with plain_files.opened(path, shared=True) as file:
        return Searcher(file).walk()


def _measured(found: Walk) -> Repaired:
    first, last = found.fragments[0], found.fragments[-1]
    return Repaired(
        seconds=(last.until - first.time) / found.scale,
        lead_s=first.time / found.scale,
        holes=tuple(_holes(found)),
    )


def _holes(found: Walk) -> Iterator[Hole]:
    """Where the picture stands still, in seconds after the first frame."""
    first = found.fragments[0].time
    broken = [*found.damage, *found.covered]
    for before, after in pairwise(found.fragments):
        if after.time - before.until > _LEAST_HOLE_S * found.scale:
            is_damage = any(before.end <= one.begin < after.begin for one in broken)
            yield Hole((before.until - first) / found.scale, (after.time - first) / found.scale, is_damage)


def _plain(path: Path) -> Repaired:
    """Measures a file with one index; such a file is not repaired."""
    try:
        tracks = read_tracks(path)
    except NotSimple as fault:
        return Repaired(None, why=str(fault))
    except mp4boxes.TornFile as fault:
        found = _empty(path, 0)
        return found if found.is_nothing else Repaired(None, why=str(fault))
    seconds = [float(track.length_s) for track in tracks if track.kind == b"vide" and len(track)]
    return Repaired(seconds[0]) if seconds else Repaired(None, why="there is no picture in it")


def _empty(path: Path, header_end: int) -> Repaired:
    """`NOTHING` if that is certain: only zeros, or only a header and one unfinished fragment."""
    with plain_files.opened(path, shared=True) as file:
        length = os.fstat(file.fileno()).st_size
        file.seek(header_end)
        if _is_blank(file):
            return NOTHING
        if not header_end:
            file.seek(0)
            head = file.read(_LARGEST_HEADER + 1)
            is_torn = head[4:8] == b"ftyp" and len(head) <= _LARGEST_HEADER and b"moof" not in head
            return NOTHING if is_torn else Repaired(None, why="it has no header that can be read")
        if length - header_end <= _LARGEST_FRAGMENT and _is_cut_short(file, header_end, length):
            return NOTHING
    return Repaired(None, why="none of its fragments can be read")


def _is_blank(file: BinaryIO) -> bool:
    """True when only zeros follow: after a power cut a file may have a length and no data."""
    return not any(data.count(0) < len(data) for data in iter(lambda: file.read(_READ_SIZE), b""))


def _is_cut_short(file: BinaryIO, at: int, length: int) -> bool:
    """True when a fragment begins at `at`, the file ends within it, and no other follows."""
    boxes = mp4boxes.Boxes(file)
    begin = at
    try:
        box = boxes.at(at)
        if box.type == b"moof" and box.end < length:
            at = box.end
            file.seek(at)
            if _is_blank(file):
                return True
            box = boxes.at(at)
    except mp4boxes.TornFile:
        return length - at < _LEAST_HEAD  # stray bytes
    file.seek(begin + 8)
    ends_within = box.end > length or (box.type == b"moof" and box.end == length)
    return ends_within and b"moof" not in file.read(_LARGEST_FRAGMENT)
