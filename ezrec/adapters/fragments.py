"""Fragmented MP4 as it comes out of a camera: cut into a header and whole fragments, and re-timed for a take.

Pure: bytes in, values out. Knows boxes and never looks into pictures. Trusts no size it reads: what a
camera sends is bounded here before it is kept. One track only; sound is recorded elsewhere.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_KIB, _MIB = 1 << 10, 1 << 20
# The largest box that is believed. A second of 100 Mbit/s has 12 MiB; an index of 30 frames has 1 KiB.
_LARGEST = {b"ftyp": 4 * _KIB, b"moov": _MIB, b"moof": _MIB, b"mdat": 64 * _MIB}
_LARGEST_OTHER = _MIB
_MOST_FRAMES = 10_000  # in one fragment
_SKIPPED = frozenset({b"free", b"skip", b"styp", b"sidx", b"prft", b"emsg", b"mfra", b"uuid"})
_NOT_A_KEY = 0x0001_0000  # sample_is_non_sync_sample


class BadStream(ValueError):
    """The bytes are not a camera's fragmented MP4; the message says in one line what is wrong."""


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before the first fragment, and what it says about the fragments."""

    data: bytes
    timescale: int
    frame_ticks: int
    frame_flags: int


@dataclass(frozen=True, slots=True)
class Fragment:
    """A whole piece of the stream, some frames long. Times in ticks of the header's `timescale`."""

    data: bytes
    timescale: int
    base_time: int
    duration: int
    last_duration: int
    frames: int
    starts_with_key: bool
    arrived: float
    sequence_at: int
    time_at: int
    time_is_wide: bool

    @property
    def end_time(self) -> int:
        return self.base_time + self.duration

    @property
    def pts_s(self) -> float:
        return self.base_time / self.timescale

    @property
    def duration_s(self) -> float:
        return self.duration / self.timescale

    @property
    def last_frame_s(self) -> float:
        """Where the last frame begins, counted from the first."""
        return (self.duration - self.last_duration) / self.timescale


def retimed(fragment: Fragment, sequence: int, origin: int) -> bytes:
    """The fragment as the `sequence`-th of a take that begins at `origin` ticks of the camera's time."""
    data = bytearray(fragment.data)
    struct.pack_into(">I", data, fragment.sequence_at, sequence & 0xFFFF_FFFF)
    struct.pack_into(
        ">Q" if fragment.time_is_wide else ">I", data, fragment.time_at, fragment.base_time - origin
    )
    return bytes(data)


class FragmentReader:
    """Eats a stream in pieces of any size, gives back what became whole."""

    def __init__(self) -> None:
        self.header: Header | None = None
        self._buffer = bytearray()
        self._opening = b""
        self._index = b""
        self._end_time: int | None = None

    def feed(self, data: bytes, arrived: float) -> list[Fragment]:
        """The fragments completed by `data`, which came at the monotonic time `arrived`."""
        self._buffer += data
        found = []
        while (box := self._next_box()) is not None:
            fragment = self._place(*box, arrived)
            if fragment is not None:
                found.append(fragment)
        return found

    def _next_box(self) -> tuple[bytes, bytes] | None:
        """Take the next whole box out of the buffer; None while it is not complete."""
        if len(self._buffer) < 8:
            return None
        size, kind = struct.unpack_from(">I4s", self._buffer)
        if kind not in _LARGEST and kind not in _SKIPPED:
            raise BadStream(f"no fragmented MP4: a box of type {kind!r}")
        if size == 1:
            if len(self._buffer) < 16:
                return None
            (size,) = struct.unpack_from(">Q", self._buffer, 8)
            if size < 16:
                raise BadStream(f"box {kind!r} says it is {size} bytes long")
        if size < 8 or size > _LARGEST.get(kind, _LARGEST_OTHER):
            raise BadStream(f"box {kind!r} says it is {size} bytes long")
        if len(self._buffer) < size:
            return None
        box = bytes(self._buffer[:size])
        del self._buffer[:size]
        return kind, box

    def _place(self, kind: bytes, box: bytes, arrived: float) -> Fragment | None:
        if self._index and kind != b"mdat":
            raise BadStream(f"box {kind!r} where the media data of a fragment was due")
        if kind in _SKIPPED:
            return None
        if kind in (b"ftyp", b"moov"):
            self._place_header(kind, box)
            return None
        if self.header is None:
            raise BadStream(f"box {kind!r} before the header")
        if kind == b"moof":
            self._index = box
            return None
        if not self._index:
            raise BadStream("media data without its index")
        fragment = _fragment(self.header, self._index, box, arrived)
        self._index = b""
        if self._end_time is not None and fragment.base_time < self._end_time:
            raise BadStream("the camera's time went backwards")
        self._end_time = fragment.end_time
        return fragment

    def _place_header(self, kind: bytes, box: bytes) -> None:
        if self.header is not None or (kind == b"ftyp") == bool(self._opening):
            raise BadStream(f"box {kind!r} out of place")
        if kind == b"ftyp":
            self._opening = box
        else:
            self.header = _header(self._opening + box, len(self._opening))


@dataclass(frozen=True, slots=True)
class _Box:
    type: bytes
    body: int
    end: int


def _children(data: bytes, start: int, end: int) -> Iterator[_Box]:
    while start < end:
        if end - start < 8:
            raise BadStream("half a box header inside a box")
        size, kind = struct.unpack_from(">I4s", data, start)
        if size < 8 or start + size > end:
            raise BadStream(f"box {kind!r} does not fit into the box around it")
        yield _Box(kind, start + 8, start + size)
        start += size


def _one(data: bytes, start: int, end: int, *path: bytes) -> _Box:
    """The only box at `path`."""
    box = _Box(b"", start, end)
    for kind in path:
        found = [child for child in _children(data, box.body, box.end) if child.type == kind]
        if len(found) != 1:
            raise BadStream(f"{len(found)} boxes {kind!r} where there must be one")
        box = found[0]
    return box


def _read(form: str, data: bytes, offset: int, end: int) -> tuple[int, ...]:
    if offset + struct.calcsize(form) > end:
        raise BadStream("a box is shorter than its content")
    return struct.unpack_from(form, data, offset)


def _header(data: bytes, moov: int) -> Header:
    start, end = moov + 8, len(data)
    clock = _one(data, start, end, b"trak", b"mdia", b"mdhd")
    (version,) = _read(">B", data, clock.body, clock.end)
    (timescale,) = _read(">I", data, clock.body + (20 if version == 1 else 12), clock.end)
    if timescale == 0:
        raise BadStream("a track without a time scale")
    defaults = _one(data, start, end, b"mvex", b"trex")
    ticks, _, flags = _read(">III", data, defaults.body + 12, defaults.end)
    return Header(data, timescale, ticks, flags)


@dataclass(frozen=True, slots=True)
class _Defaults:
    """What holds for every frame of a fragment that does not say otherwise."""

    ticks: int
    size: int
    flags: int


def _fragment(header: Header, moof: bytes, mdat: bytes, arrived: float) -> Fragment:
    traf = _one(moof, 8, len(moof), b"traf")
    sequence = _one(moof, 8, len(moof), b"mfhd")
    time = _one(moof, traf.body, traf.end, b"tfdt")
    (version,) = _read(">B", moof, time.body, time.end)
    form = ">Q" if version == 1 else ">I"
    (base_time,) = _read(form, moof, time.body + 4, time.end)
    _read(">I", moof, sequence.body + 4, sequence.end)
    defaults = _defaults(header, moof, _one(moof, traf.body, traf.end, b"tfhd"))
    run = _one(moof, traf.body, traf.end, b"trun")
    durations, total, is_key = _frames(moof, run, defaults)
    if total > len(mdat) - 8:
        raise BadStream("a fragment's frames are larger than its media data")
    return Fragment(
        data=moof + mdat,
        timescale=header.timescale,
        base_time=base_time,
        duration=sum(durations),
        last_duration=durations[-1],
        frames=len(durations),
        starts_with_key=is_key,
        arrived=arrived,
        sequence_at=sequence.body + 4,
        time_at=time.body + 4,
        time_is_wide=version == 1,
    )


def _defaults(header: Header, moof: bytes, box: _Box) -> _Defaults:
    (flags,) = _read(">I", moof, box.body, box.end)
    if flags & 0x1 or not flags & 0x2_0000:
        raise BadStream("a fragment that can only be read at its old place in the stream")
    offset = box.body + 8 + (4 if flags & 0x2 else 0)
    values = {0x8: header.frame_ticks, 0x10: 0, 0x20: header.frame_flags}
    for bit in values:
        if flags & bit:
            (values[bit],) = _read(">I", moof, offset, box.end)
            offset += 4
    return _Defaults(*values.values())


def _frames(moof: bytes, run: _Box, defaults: _Defaults) -> tuple[list[int], int, bool]:
    """The duration of each frame, their bytes together, and whether the first is a key frame."""
    flags, count = _read(">II", moof, run.body, run.end)
    if not 0 < count <= _MOST_FRAMES:
        raise BadStream(f"a fragment of {count} frames")
    offset = run.body + 8 + (4 if flags & 0x1 else 0)
    first_flags = defaults.flags
    if flags & 0x4:
        (first_flags,) = _read(">I", moof, offset, run.end)
        offset += 4
    kept = [bit for bit in (0x100, 0x200, 0x400, 0x800) if flags & bit]
    if offset + 4 * len(kept) * count > run.end:
        raise BadStream("a box is shorter than its content")
    values = struct.unpack_from(f">{len(kept) * count}I", moof, offset)
    column = {bit: values[place :: len(kept)] for place, bit in enumerate(kept)}
    durations = list(column.get(0x100, (defaults.ticks,) * count))
    total = sum(column.get(0x200, (defaults.size,) * count))
    if 0x400 in column:
        first_flags = column[0x400][0]
    if sum(durations) <= 0:
        raise BadStream("a fragment without a duration")
    return durations, total, not first_flags & _NOT_A_KEY
