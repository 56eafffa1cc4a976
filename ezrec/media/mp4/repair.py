"""What a dead recorder left: mend a take of our own in its place, and measure it by its own fragments.

Pure Python: the recorder needs no FFmpeg to know what it has. Never for a file that somebody else has
written: it may be half a copy, and its writer still at work.
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
from ezrec.media.mp4 import damage, h264
from ezrec.media.mp4.damage import Searcher, Walk
from ezrec.media.mp4.sample_tables import Track
from ezrec.media.mp4.samples import NotSimple, read_tracks
from ezrec.system import plain_files

_PIECE = 1 << 20
_MOST_LOOKS = 20
_LEAST_HOLE_S = 0.1  # less is the rounding between two fragments
_LARGEST_HEADER = 1 << 20
_LEAST_HEAD = 16  # bytes of a box of the long form
_LARGEST_FRAGMENT = 64 << 20  # what FragmentReader believes


def repair(path: Path) -> Repaired:
    """Cover damage, cut off a torn tail, tell what is there. Says *nothing* only of what holds no picture.

    What lies elsewhere too (a link) is measured, and never changed: it would be somebody else's file.
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
    for _ in range(_MOST_LOOKS):  # behind a tail that was cut off the new end may not be written either
        if not found.pieces:
            return _empty(path, found.header_end)
        if not found.damage:
            return _told(found)
        if not is_alone:
            return Repaired(None, why="it is damaged, and lies elsewhere too")
        damage.mend(path, found)
        found = _walked(path)
    return Repaired(None, why="it is damaged all over")


def _walked(path: Path) -> Walk:
    with plain_files.opened(path, shared=True) as file:
        return Searcher(file).walk()


def _told(found: Walk) -> Repaired:
    first, last = found.pieces[0], found.pieces[-1]
    return Repaired(
        seconds=(last.until - first.time) / found.scale,
        lead_s=first.time / found.scale,
        holes=tuple(_holes(found)),
    )


def _holes(found: Walk) -> Iterator[Hole]:
    """Where the picture stands still, in seconds from its first frame on."""
    first = found.pieces[0].time
    broken = [*found.damage, *found.covered]
    for before, after in pairwise(found.pieces):
        if after.time - before.until > _LEAST_HOLE_S * found.scale:
            is_damage = any(before.end <= one.begin < after.begin for one in broken)
            yield Hole((before.until - first) / found.scale, (after.time - first) / found.scale, is_damage)


def _plain(path: Path) -> Repaired:
    """A file that has one index: as it is, or not to be read by us."""
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
    """Nothing, where that is sure: blank, or no more than a header and a fragment that was never finished."""
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
    """True when there are only zeros from here on: names without data, which a power cut leaves."""
    return not any(data.count(0) < len(data) for data in iter(lambda: file.read(_PIECE), b""))


def _is_cut_short(file: BinaryIO, at: int, length: int) -> bool:
    """True when one fragment begins here, the file ends within it, and there is no other."""
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


LOOKED_AT_S = 5.0  # at the end: more than is ever written between two syncs
_LENGTH = 4  # bytes in front of each unit


def can_tell(track: Track) -> bool:
    """True for H.264 in the form in which cameras write it."""
    return track.kind == b"vide" and len(track.header) > 4 and track.header[4] & 3 == _LENGTH - 1


def is_written(fd: int, track: Track) -> bool:
    """True when all samples of the track are there."""
    places = zip(track.sizes, track.offsets, strict=True)
    return all(_is_written(os.pread(fd, size, offset)) for size, offset in places)


def _is_written(sample: bytes) -> bool:
    try:
        return bool(sample) and all(
            sample.find(b"\0\0\0", begin, end) < 0 for begin, end in h264.unit_ranges(sample)
        )
    except h264.NotH264:
        return False
