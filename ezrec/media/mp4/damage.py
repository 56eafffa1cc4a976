"""Damage in the middle of a take of our own: found, and covered so that both sides of it play.

A memory card loses a page, a power cut leaves zeros: then one fragment cannot be read, and every reader gives
up there, with an hour of sound footage behind it. The fragments are found again by their form, and the
stretch between becomes one box of type `free`, which every reader passes over. Its content stays where it is.

Covers up to the next fragment that begins with a key frame: what comes before it cannot be decoded. Knows
files in fragments alone, and is never used on a file that somebody else has written.
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

from ezrec.media.mp4 import repair
from ezrec.media.mp4.boxes import Box, TornFile
from ezrec.media.mp4.samples import NotSimple, Reader, Track
from ezrec.system import plain_files

_PIECE = 1 << 20
_LEAST_BOX = 8
_LARGEST_INDEX = 16 << 20  # of one fragment
_MOST_CUT = 64 << 20  # a torn tail is seconds long; anything longer is covered and stays
_LONGEST_S, _LAST_GAP_S = 86400, 600  # no take stands still for longer; before its last fragment
_LONGEST_FRAGMENT_S, _MOST_FRAMES = 60, 10_000
_LONGEST_GROUP_S, _MOST_GROUP = 60, 1000  # between two key frames: seconds, fragments
_PASSED_OVER = frozenset({b"free", b"skip", b"styp", b"sidx", b"prft", b"emsg", b"mfra", b"uuid", b"moov"})
_UNREADABLE = (struct.error, LookupError, OverflowError, StopIteration, ValueError)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Bytes of the file from `begin` to `end`."""

    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Piece(Stretch):
    """A fragment that can be read, from its first frame at `time` over its `last` one `until` its end.

    In ticks of its track, as they are decoded; `starts_clean`: by a key frame.
    """

    time: int
    last: int
    until: int
    starts_clean: bool


@dataclass(slots=True)
class Walk:
    """What was found behind the header: fragments in order, and the stretches where none can be read.

    `covered` are stretches that were damaged once.
    """

    header_end: int
    length: int
    scale: int = 1
    pieces: list[Piece] = field(default_factory=list)
    damage: list[Stretch] = field(default_factory=list)
    covered: list[Stretch] = field(default_factory=list)


class Searcher(Reader):
    """Reads a file in fragments, and goes on behind what it cannot read."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self._file = file

    def walk(self) -> Walk:
        """Raises `TornFile` or `NotSimple` where not even the header can be read, `OSError`."""
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
                end = self._next_sound(at + 1, main, found.length) or found.length
                found.damage.append(Stretch(at, end))
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
        """The end of what begins here, if that is whole; a fragment is added to what was found."""
        box = self._whole_box(at)
        if box is None:
            return None
        if box.type in _PASSED_OVER:
            if box.type == b"free":
                found.covered.append(Stretch(at, box.end))
            return box.end
        piece = self._piece(box, main)
        if piece is not None:
            found.pieces.append(piece)
        return piece.end if piece else None

    def _whole_box(self, at: int) -> Box | None:
        try:
            box = self._boxes.at(at)
        except TornFile:
            return None
        return box if box.end <= self._boxes.length else None

    def _piece(self, moof: Box, main: Track) -> Piece | None:
        """The fragment of this index and the media behind it, as far as both make sense together."""
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
        piece = Piece(moof.offset, media.end, main.starts[0], main.starts[-1], main.end, bool(main.keys[0]))
        used = media.body + sum(sum(track.sizes) for track in self._tracks.values())
        if used < media.end and self._next_sound(used, main, media.end) is not None:
            return None  # its length is wrong: it would swallow what follows
        return piece

    def _unwritten(self, main: Track, found: Walk) -> Iterator[Stretch]:
        """Fragments at the end whose media a power cut has kept from the disk."""
        if not found.pieces or not repair.can_tell(main):
            return
        since = found.pieces[-1].until - repair.LOOKED_AT_S * found.scale
        for piece in takewhile(lambda piece: piece.until > since, reversed(found.pieces)):
            box = self._whole_box(piece.begin)
            if box is None or self._piece(box, main) is None:
                continue
            if not repair.is_written(self._file.fileno(), main):
                yield Stretch(piece.begin, piece.end)

    def _next_sound(self, at: int, main: Track, before: int) -> int | None:
        """Where the next fragment begins that can be read."""
        while before - at > _LEAST_BOX:
            window = os.pread(self._file.fileno(), min(_PIECE, before - at), at)
            place = window.find(b"moof", 4)
            if place < 0:
                at += max(1, len(window) - 7)
                continue
            at += place - 4
            box = self._whole_box(at)
            if box is not None and self._piece(box, main) is not None:
                return at
            at += 1
        return None

    # ---- what else makes a reader give up is none of our business here

    def _allow(self, count: int, most: int = _MOST_FRAMES) -> None:
        """By the fragment: a damaged one must not use up what the others need."""
        if count > min(most, _MOST_FRAMES):
            raise TornFile(f"a fragment of {count} frames")

    def _continue(self, track: Track, time: int) -> None:
        track.end = time

    def _delay(self, track: Track, runs: Iterable[tuple[int, int]]) -> None:
        pass


def mend(path: Path, found: Walk) -> None:
    """Cover what is damaged, and cut off a torn tail; durably, and not one byte more than that."""
    with plain_files.opened_to_change(path) as file:
        for bad in found.damage:
            if bad.end < found.length or bad.end - bad.begin > _MOST_CUT:
                os.pwrite(file.fileno(), _cover(bad.end - bad.begin), bad.begin)
            else:
                file.truncate(bad.begin)
        os.fsync(file.fileno())


def _cover(size: int) -> bytes:
    if size < _LEAST_BOX:
        raise TornFile(f"{size} bytes that belong to nothing stand between its fragments")
    if size >> 32:
        return struct.pack(">I4sQ", 1, b"free", size)
    return struct.pack(">I4s", size, b"free")


def _empty(track: Track) -> None:
    track.end = -1  # a fragment that does not say when it begins is none
    del track.starts[:], track.sizes[:], track.offsets[:], track.keys[:]


def _moves_on(track: Track) -> bool:
    """Every sample is later than the one before it."""
    return bool(len(track)) and all(a < b for a, b in pairwise([*track.starts, track.end]))


def _lies_in(track: Track, media: Box) -> bool:
    """No sample lies outside of the fragment's media, and none is empty."""
    if not len(track):
        return True
    return (
        track.offsets[0] >= media.body
        and track.offsets[-1] + track.sizes[-1] <= media.end
        and min(track.sizes) > 0
    )


def _out_of_time(found: Walk) -> Iterator[Stretch]:
    """Fragments whose times do not fit between their neighbours'."""
    reached, until = -1, 0
    for piece, after in zip_longest(found.pieces, found.pieces[1:]):
        is_early = piece.time <= reached
        is_late = after is not None and piece.last >= after.time > reached
        is_long = piece.until - piece.time > _LONGEST_FRAGMENT_S * found.scale
        gap_s = (piece.time - until) / found.scale
        if is_early or is_late or is_long or gap_s > (_LONGEST_S if after else _LAST_GAP_S):
            yield Stretch(piece.begin, piece.end)
        else:
            reached, until = piece.last, piece.until


def _not_decodable(found: Walk) -> Iterator[Stretch]:
    """Fragments behind damage, up to the next key frame; where none comes soon, nothing is given up.

    At the end of the file the next one may only not have come yet.
    """
    clean_times = [piece.time for piece in found.pieces if piece.starts_clean]
    usual = max((b - a for a, b in pairwise(clean_times)), default=0)
    begins = [piece.begin for piece in found.pieces]
    for bad in found.damage:
        first = bisect_left(begins, bad.end)
        behind = found.pieces[first : first + _MOST_GROUP]
        clean = next((piece for piece in behind if piece.starts_clean), None)
        if clean is not None and clean.time - behind[0].time <= _LONGEST_GROUP_S * found.scale:
            yield Stretch(bad.end, clean.begin)
        elif clean is None and behind and found.pieces[-1].until - behind[0].time <= usual:
            yield Stretch(bad.end, found.length)


def _give_up(found: Walk, stretches: Iterable[Stretch]) -> None:
    """Count fragments among what is damaged."""
    found.damage = _joined([*found.damage, *stretches])
    begins = [bad.begin for bad in found.damage]
    for number in range(len(found.pieces) - 1, -1, -1):
        at = bisect_right(begins, found.pieces[number].begin) - 1
        if at >= 0 and found.pieces[number].begin < found.damage[at].end:
            del found.pieces[number]


def _joined(stretches: Iterable[Stretch]) -> list[Stretch]:
    joined: list[Stretch] = []
    for one in sorted(stretches, key=lambda one: one.begin):
        if joined and one.begin <= joined[-1].end:
            joined[-1] = Stretch(joined[-1].begin, max(joined[-1].end, one.end))
        elif one.begin < one.end:
            joined.append(one)
    return joined
