"""Reads the samples of an MP4 file's tracks: where each lies, how long it lasts, which are key frames.

Reads plain and fragmented files into the same tables. Of codecs it knows only the name of their header box.
Trusts no number: counts are limited by the file's length (`limits`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import accumulate, repeat
from pathlib import Path
from typing import BinaryIO

from ezrec.media.mp4 import edit_lists, fragment_tables, limits, table_reader
from ezrec.media.mp4.boxes import Box, Boxes, TornFile, whole
from ezrec.media.mp4.fragment_tables import DELAY, SampleDefaults, TrackRun
from ezrec.media.mp4.sample_tables import NotSimple as NotSimple
from ezrec.media.mp4.sample_tables import SampleTables as SampleTables
from ezrec.media.mp4.sample_tables import Track as Track
from ezrec.system import plain_files

_LARGEST_FRAGMENT = 16 << 20  # of its index alone
_LARGEST_ENTRY = 1 << 20  # the description of a codec
_HEAD = struct.Struct(">I4s")
_UNMOVED = (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
_HEADERS = {b"avcC": (b"vide", 78), b"esds": (b"soun", 28)}  # and its offset in the sample entry


def read_tracks(path: Path) -> list[Track]:
    """Raises `NotSimple` if copying cannot join the file, `TornFile` if it is damaged, and `OSError`."""
    with plain_files.opened(path, shared=True) as file:
        try:
            return Reader(file).tracks()
        except (struct.error, LookupError, OverflowError, ZeroDivisionError, StopIteration):
            raise TornFile("its index makes no sense") from None


def read(path: Path, *, sound: bool = True) -> SampleTables:
    """A picture that begins with a key frame, and one sound track at most; else raises `NotSimple`.

    Samples that the owner cut off are left out.
    """
    tracks = read_tracks(path)
    pictures = [track for track in tracks if track.kind == b"vide"]
    sounds = [track for track in tracks if track.kind == b"soun"] if sound else []
    if len(pictures) != 1 or len(sounds) > 1:
        raise NotSimple(f"{len(pictures)} pictures and {len(sounds)} sound tracks in it")
    for track in (*pictures, *sounds):
        if not len(track) or not track.header:
            raise NotSimple("a track of another codec, or an empty one")
        edit_lists.apply(track)
        if track.kind == b"vide" and not track.keys[0]:
            raise NotSimple("it does not begin with a key frame")
    if pictures[0].turned:
        raise NotSimple("it is shown turned")
    return SampleTables(path, pictures[0], sounds[0] if sounds else None)


class Reader:
    """Reads all tracks of a file; together they may have `limits.MOST_SAMPLES` samples."""

    def __init__(self, file: BinaryIO) -> None:
        self._boxes = Boxes(file)
        self._left = limits.MOST_SAMPLES
        self._is_fragmented = False
        self._tracks: dict[int, Track] = {}
        self._defaults: dict[int, SampleDefaults] = {}
        self._delays: dict[int, int] = {}

    def tracks(self) -> list[Track]:
        for box in whole(self._boxes):
            if box.type == b"moov" and not self._tracks:  # a second one: `finish_in_place` was interrupted
                self._index(box)
            elif box.type == b"moof":
                self._is_fragmented = True
                self._fragment(box)
        for number, track in self._tracks.items():
            track.delay = self._delays.get(number, 0)
            track.shift += Fraction(track.delay, track.scale)
            if self._is_fragmented:  # its header was written before its length was known
                track.until = track.header_length = None
            limits.check(track, self._boxes.end)
        return list(self._tracks.values())

    def _index(self, moov: Box) -> None:
        scale, index = 1, 0
        for box in self._boxes.inside(moov):
            if box.type == b"mvhd":
                body = self._body(box, 40)
                scale = struct.unpack_from(">I", body, 20 if body[0] else 12)[0] or 1
            elif box.type == b"trak":
                if index >= limits.MOST_TRACKS:
                    raise limits.Beyond(f"more than {limits.MOST_TRACKS} tracks")
                track = self._track(box, scale)
                track.index, index = index, index + 1
                self._tracks[track.number] = track
            elif box.type == b"mvex":
                for trex in self._boxes.inside(box):
                    if trex.type == b"trex":
                        number, _, *defaults = struct.unpack_from(">5I", self._body(trex, 24), 4)
                        self._defaults[number] = SampleDefaults(*defaults)

    def _track(self, trak: Box, movie_scale: int) -> Track:
        track = Track()
        tables: dict[bytes, Box] = {}
        edits = entries = b""
        for path, box in self._descend(trak):
            if box.type == b"tkhd":
                body = self._body(box)
                longer = 12 if body[0] else 0
                track.number = struct.unpack_from(">I", body, 12 + (8 if body[0] else 0))[0]
                track.turned = struct.unpack_from(">9i", body, 40 + longer) != _UNMOVED
            elif box.type == b"mdhd":
                track.scale, track.header_length = _clock(self._body(box))
            elif box.type == b"hdlr" and path == b"mdia":
                track.kind = self._body(box)[8:12]
            elif box.type == b"elst":
                edits = self._body(box)
            elif path == b"stbl" and box.type == b"stsd":
                entries = self._body(box, _LARGEST_ENTRY)
            elif path == b"stbl" and box.type in table_reader.NAMES:
                tables[box.type] = box
        if track.kind in (b"vide", b"soun"):
            self._describe(track, entries)
            edit_lists.read(track, edits, movie_scale)
            self._plain(track, tables)
        return track

    def _descend(self, box: Box, depth: int = 0) -> Iterator[tuple[bytes, Box]]:
        for child in self._boxes.inside(box):
            if child.type in (b"mdia", b"minf", b"stbl", b"edts") and depth < 4:
                yield from self._descend(child, depth + 1)
            else:
                yield box.type, child

    def _describe(self, track: Track, stsd: bytes) -> None:
        if struct.unpack_from(">I", stsd, 4)[0] != 1:
            raise NotSimple("its samples have more than one description")
        track.entry = stsd[8:]
        for name, (kind, before) in _HEADERS.items():
            at = 8 + before
            while track.kind == kind and at + 8 <= len(track.entry):
                size, found = struct.unpack_from(">I4s", track.entry, at)
                if found == name:
                    track.header = track.entry[at + 8 : at + size]
                    break
                at += max(8, size)

    def _plain(self, track: Track, tables: dict[bytes, Box]) -> None:
        """The tables of a plain file; in a fragmented file they are empty."""
        sizes = table_reader.sizes_of(self._boxes, tables)
        if not sizes.samples:
            return
        self._allow(sizes.samples)
        table_reader.fill(track, self._boxes, tables, sizes)
        if b"ctts" in tables:
            self._delay(track, table_reader.runs(self._boxes, tables[b"ctts"]))

    def _fragment(self, moof: Box) -> None:
        """An hour has 18,000 of these, so each is read whole and parsed in memory."""
        if moof.size > _LARGEST_FRAGMENT:
            raise TornFile(f"damaged: {moof} is an index of {moof.size} bytes")
        data = self._boxes.read(moof.offset, moof.size)
        for kind, begin, end in self._children(data, moof.header, len(data)):
            if kind == b"traf":
                self._run_of(moof.offset, data, begin, end)

    def _children(self, data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
        """Type, body and end of each box between `at` and `end`; the boxes have to fill that range."""
        while at < end:
            size, kind = _HEAD.unpack_from(data, at)
            if size < 8 or at + size > end:
                raise TornFile("damaged: a fragment's index is not made of whole boxes")
            self._boxes.count()
            yield kind, at + 8, at + size
            at += size

    def _run_of(self, base: int, data: bytes, body: int, after: int) -> None:
        parts = list(self._children(data, body, after))
        tfhd = next(data[begin:end] for kind, begin, end in parts if kind == b"tfhd")
        number = fragment_tables.track_number(tfhd)
        track = self._tracks.get(number)
        if track is None or track.kind not in (b"vide", b"soun"):
            return
        head = fragment_tables.read_tfhd(tfhd, self._defaults.get(number, SampleDefaults()))
        base = where = base if head.base is None else head.base
        for kind, begin, end in parts:
            if kind == b"tfdt":
                form = ">Q" if data[begin] else ">I"
                self._continue(track, struct.unpack_from(form, data, begin + 4)[0])
            elif kind == b"trun":
                run = fragment_tables.read_trun(data[begin:end])
                begin = where if run.offset is None else base + run.offset
                where = self._add(track, run, head.defaults, begin)

    def _continue(self, track: Track, time: int) -> None:
        """A fragment begins at `time`, which has to be later than the last sample before it."""
        if len(track) and time <= track.starts[-1]:
            raise NotSimple("its time runs backwards")
        track.end = time

    def _add(self, track: Track, run: TrackRun, defaults: SampleDefaults, where: int) -> int:
        """Add the samples of a run whose media begins at `where`; returns where it ends."""
        self._allow(run.samples, limits.MOST_IN_FRAGMENT)
        if not run.samples:
            return where
        durations, sizes = run.durations(defaults), run.sizes(defaults)
        track.offsets.extend(accumulate(sizes[:-1], initial=where))
        track.starts.extend(accumulate(durations[:-1], initial=track.end))
        track.end += sum(durations)
        track.keys += run.keys(defaults)
        track.sizes.extend(sizes)
        delays = run.columns.get(DELAY)
        self._delay(track, ((run.samples, 0),) if delays is None else zip(repeat(1), delays, strict=False))
        return where + sum(sizes)

    def _delay(self, track: Track, runs: Iterable[tuple[int, int]]) -> None:
        """Runs of composition offsets: how many samples, and how many ticks. With B-frames they differ."""
        for _, delay in runs:
            if signed(delay) != self._delays.setdefault(track.number, signed(delay)):
                raise NotSimple("B-frames")

    def _allow(self, count: int, most: int = limits.MOST_SAMPLES) -> None:
        limits.check_count(count, min(most, self._left), self._boxes.length)
        self._left -= count

    def _body(self, box: Box, most: int = 1 << 10) -> bytes:
        return self._boxes.read(box.body, max(0, min(most, box.end - box.body)))


def signed(word: int) -> int:
    return word - (1 << 32) if word >> 31 else word


def _clock(mdhd: bytes) -> tuple[int, int | None]:
    """Ticks a second, and the track's length in ticks; None if it names none."""
    form, unknown = (">IQ", (1 << 64) - 1) if mdhd[0] else (">II", (1 << 32) - 1)
    scale, length = struct.unpack_from(form, mdhd, 20 if mdhd[0] else 12)
    return scale or 1, length if 0 < length < unknown else None
