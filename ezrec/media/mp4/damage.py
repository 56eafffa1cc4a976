"""Finds damage in the middle of a take of our own, and covers it so that the footage on both sides plays.

A memory card loses a page, or a power cut leaves zeros: one fragment cannot be read, and every reader stops
there, with an hour of good footage behind it. The search goes on to the next fragment that can be read, and
the bytes between become one box of type `free`, which every reader skips. Only the box's header is written.

Covers up to the next fragment that begins with a key frame: what comes before it cannot be decoded. For
fragmented files only, and never for a file that somebody else has written.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise, takewhile, zip_longest
from pathlib import Path
from typing import BinaryIO

from ezrec.media.mp4 import h264
from ezrec.media.mp4.boxes import Box, TornFile
from ezrec.media.mp4.samples import NotSimple, Reader, Track
from ezrec.system import plain_files

_WINDOW = 1 << 20
_LEAST_BOX = 8
_LARGEST_INDEX = 16 << 20  # of one fragment
_MOST_CUT = 64 << 20  # a torn tail is seconds long; anything longer is covered and stays
_CHECKED_END_S = 5.0  # of media data at the end: more than is ever written between two syncs
_UNIT_LENGTH = 4  # bytes of the length in front of each H.264 unit
_LONGEST_S, _LAST_GAP_S = 86400, 600  # the longest gap in a take; before its last fragment
_LONGEST_FRAGMENT_S, _MOST_FRAMES = 60, 10_000
_LONGEST_GROUP_S, _MOST_GROUP = 60, 1000  # between two key frames: seconds, fragments
_SKIPPED = frozenset({b"free", b"skip", b"styp", b"sidx", b"prft", b"emsg", b"mfra", b"uuid", b"moov"})
_UNREADABLE = (struct.error, LookupError, OverflowError, StopIteration, ValueError)


@dataclass(frozen=True, slots=True)
class ByteSpan:
    """Bytes of the file from `begin` to `end`."""

    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class FoundFragment(ByteSpan):
    """A fragment that can be read. `time` of its first frame, of its `last` one, and where that one ends
    (`until`): decode times in ticks of its track. `starts_clean`: with a key frame.
    """

    time: int
    last: int
    until: int
    starts_clean: bool


@dataclass(slots=True)
class Walk:
    """What was found after the header: the fragments in order, and the bytes where none can be read.

    `covered`: damage that was covered earlier.
    """

    header_end: int
    length: int
    scale: int = 1
    fragments: list[FoundFragment] = field(default_factory=list)
    damage: list[ByteSpan] = field(default_factory=list)
    covered: list[ByteSpan] = field(default_factory=list)


class Searcher(Reader):
    """Reads a fragmented file, and goes on after what it cannot read."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self._file = file

    def walk(self) -> Walk:
        """Raises `TornFile` or `NotSimple` when the header cannot be read, and `OSError`."""
        try:
            found = Walk(self._header(), self._boxes.length)
        except _UNREADABLE as fault:
            raise TornFile(f"its header cannot be read: {fault or type(fault).__name__}") from None
        main = self._main()
        found.scale = main.scale
        at = found.header_end
        while at < found.length:
            end = self._step(at, main, found)
            if end is None:
                end = self._next_readable(at + 1, main, found.length) or found.length
                found.damage.append(ByteSpan(at, end))
            at = end
        _give_up(found, _out_of_time(found))
        _give_up(found, self._unwritten(main, found))
        _give_up(found, _not_decodable(found))
        return found

    def _header(self) -> int:
        """Reads the index; returns where it ends."""
        for box in self._boxes.top():
            if box.end > self._boxes.length or box.type in (b"moof", b"mdat"):
                break
            if box.type == b"moov":
                self._index(box)
                return box.end
        raise TornFile("it has no index")

    def _main(self) -> Track:
        tracks = sorted(self._tracks.values(), key=lambda track: track.kind != b"vide")
        track = next((one for one in tracks if one.kind in (b"vide", b"soun")), None)
        if track is None:
            raise NotSimple("neither a picture nor sound in it")
        return track

    def _step(self, at: int, main: Track, found: Walk) -> int | None:
        """The end of the box or fragment at `at`, None if it is not whole; adds it to `found`."""
        box = self._whole_box(at)
        if box is None:
            return None
        if box.type in _SKIPPED:
            if box.type == b"free":
                found.covered.append(ByteSpan(at, box.end))
            return box.end
        fragment = self._whole_fragment(box, main)
        if fragment is not None:
            found.fragments.append(fragment)
        return fragment.end if fragment else None

    def _whole_box(self, at: int) -> Box | None:
        try:
            box = self._boxes.at(at)
        except TornFile:
            return None
        return box if box.end <= self._boxes.length else None

    def _whole_fragment(self, moof: Box, main: Track) -> FoundFragment | None:
        """The fragment that begins with this `moof`; None if its index and its media do not fit together."""
        if (
            moof.type != b"moof"
            or moof.size > _LARGEST_INDEX
            or self._boxes.read(moof.body + 4, 4) != b"mfhd"
        ):
            return None
        media = self._whole_box(moof.end)
        if media is None or media.type != b"mdat":
            return None
        for track in self._tracks.values():
            _empty(track)
        try:
            self._fragment(moof)
        except _UNREADABLE:
            return None
        if not _moves_on(main) or not all(_lies_in(track, media) for track in self._tracks.values()):
            return None
        fragment = FoundFragment(
            moof.offset, media.end, main.starts[0], main.starts[-1], main.end, bool(main.keys[0])
        )
        used = media.body + sum(sum(track.sizes) for track in self._tracks.values())
        if used < media.end and self._next_readable(used, main, media.end) is not None:
            return None  # its length is wrong: it would include the next fragment
        return fragment

    def _unwritten(self, main: Track, found: Walk) -> Iterator[ByteSpan]:
        """Fragments at the end whose media data never reached the disk, because of a power cut."""
        if not found.fragments or not _is_camera_h264(main):
            return
        since = found.fragments[-1].until - _CHECKED_END_S * found.scale
        for fragment in takewhile(lambda fragment: fragment.until > since, reversed(found.fragments)):
            box = self._whole_box(fragment.begin)
            if box is None or self._whole_fragment(box, main) is None:
                continue
            if not self._are_samples_written(main):
                yield ByteSpan(fragment.begin, fragment.end)

    def _are_samples_written(self, track: Track) -> bool:
        places = zip(track.sizes, track.offsets, strict=True)
        return all(_is_written(os.pread(self._file.fileno(), size, offset)) for size, offset in places)

    def _next_readable(self, at: int, main: Track, before: int) -> int | None:
        """The offset of the next fragment that can be read, from `at` on and before `before`."""
        while before - at > _LEAST_BOX:
            window = os.pread(self._file.fileno(), min(_WINDOW, before - at), at)
            offset = window.find(b"moof", 4)
            if offset < 0:
                at += max(1, len(window) - 7)
                continue
            at += offset - 4
            box = self._whole_box(at)
            if box is not None and self._whole_fragment(box, main) is not None:
                return at
            at += 1
        return None

    # ---- other checks of the reader do not matter here

    def _allow(self, count: int, most: int = _MOST_FRAMES) -> None:
        """Counts each fragment by itself: a damaged one must not use up the allowance of the others."""
        if count > min(most, _MOST_FRAMES):
            raise TornFile(f"a fragment of {count} frames")

    def _continue(self, track: Track, time: int) -> None:
        track.end = time

    def _delay(self, track: Track, runs: Iterable[tuple[int, int]]) -> None:
        pass


def mend(path: Path, found: Walk) -> None:
    """Cover the damage and cut off a torn tail, durably. Changes nothing else."""
    with plain_files.opened_to_change(path) as file:
        for bad in found.damage:
            if bad.end < found.length or bad.end - bad.begin > _MOST_CUT:
                os.pwrite(file.fileno(), _cover(bad.end - bad.begin), bad.begin)
            else:
                file.truncate(bad.begin)
        os.fsync(file.fileno())


def _cover(size: int) -> bytes:
    if size < _LEAST_BOX:
        raise TornFile(f"there are {size} stray bytes between its fragments")
    if size >> 32:
        return struct.pack(">I4sQ", 1, b"free", size)
    return struct.pack(">I4s", size, b"free")


def _is_camera_h264(track: Track) -> bool:
    """True for H.264 whose units have lengths of four bytes, as cameras write it."""
    return track.kind == b"vide" and len(track.header) > 4 and track.header[4] & 3 == _UNIT_LENGTH - 1


def _is_written(sample: bytes) -> bool:
    """False for zeros, and for units that do not fill the sample: its pages never reached the disk."""
    try:
        return bool(sample) and all(
            sample.find(b"\0\0\0", begin, end) < 0 for begin, end in h264.unit_ranges(sample)
        )
    except h264.NotH264:
        return False


def _empty(track: Track) -> None:
    track.end = -1  # a fragment that does not say when it begins cannot be used
    del track.starts[:], track.sizes[:], track.offsets[:], track.keys[:]


def _moves_on(track: Track) -> bool:
    """Every sample is later than the one before it."""
    return bool(len(track)) and all(a < b for a, b in pairwise([*track.starts, track.end]))


def _lies_in(track: Track, media: Box) -> bool:
    """True when all samples lie within the fragment's media, and none is empty."""
    if not len(track):
        return True
    return (
        track.offsets[0] >= media.body
        and track.offsets[-1] + track.sizes[-1] <= media.end
        and min(track.sizes) > 0
    )


def _out_of_time(found: Walk) -> Iterator[ByteSpan]:
    """Fragments whose times do not lie between those of their neighbours."""
    reached, until = -1, 0
    for fragment, after in zip_longest(found.fragments, found.fragments[1:]):
        is_early = fragment.time <= reached
        is_late = after is not None and fragment.last >= after.time > reached
        is_long = fragment.until - fragment.time > _LONGEST_FRAGMENT_S * found.scale
        gap_s = (fragment.time - until) / found.scale
        if is_early or is_late or is_long or gap_s > (_LONGEST_S if after else _LAST_GAP_S):
            yield ByteSpan(fragment.begin, fragment.end)
        else:
            reached, until = fragment.last, fragment.until


def _not_decodable(found: Walk) -> Iterator[ByteSpan]:
    """Fragments after damage, up to the next key frame. If none comes soon, all are kept.

    At the end of the file the next key frame may simply not have been written.
    """
    clean_times = [fragment.time for fragment in found.fragments if fragment.starts_clean]
    usual = max((b - a for a, b in pairwise(clean_times)), default=0)
    begins = [fragment.begin for fragment in found.fragments]
    for bad in found.damage:
        first = bisect_left(begins, bad.end)
        behind = found.fragments[first : first + _MOST_GROUP]
        clean = next((fragment for fragment in behind if fragment.starts_clean), None)
        if clean is not None and clean.time - behind[0].time <= _LONGEST_GROUP_S * found.scale:
            yield ByteSpan(bad.end, clean.begin)
        elif clean is None and behind and found.fragments[-1].until - behind[0].time <= usual:
            yield ByteSpan(bad.end, found.length)


def _give_up(found: Walk, stretches: Iterable[ByteSpan]) -> None:
    """Move the fragments that lie in these bytes from `found.fragments` to the damage."""
    found.damage = _joined([*found.damage, *stretches])
    begins = [bad.begin for bad in found.damage]
    for number in range(len(found.fragments) - 1, -1, -1):
        at = bisect_right(begins, found.fragments[number].begin) - 1
        if at >= 0 and found.fragments[number].begin < found.damage[at].end:
            del found.fragments[number]


def _joined(stretches: Iterable[ByteSpan]) -> list[ByteSpan]:
    joined: list[ByteSpan] = []
    for one in sorted(stretches, key=lambda one: one.begin):
        if joined and one.begin <= joined[-1].end:
            joined[-1] = ByteSpan(joined[-1].begin, max(joined[-1].end, one.end))
        elif one.begin < one.end:
            joined.append(one)
    return joined
