"""A camera's fragmented MP4: split into a header and whole fragments, and re-timed for a take.

Pure: bytes in, values out. Reads boxes, never pictures. Trusts no size it reads: whatever a camera sends is
limited here before it is kept. One track only; sound is recorded elsewhere.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ezrec.media.mp4.boxes import TornFile
from ezrec.media.mp4.fragment_tables import DELAY, DURATION, SampleDefaults, TrackRun, read_tfhd, read_trun

_KIB, _MIB = 1 << 10, 1 << 20
# The largest box that is accepted. A second of 100 Mbit/s has 12 MiB; an index of 30 frames has 1 KiB.
_LARGEST = {b"ftyp": 4 * _KIB, b"moov": _MIB, b"moof": _MIB, b"mdat": 64 * _MIB}
_LARGEST_OTHER = _MIB
_MOST_FRAMES = 10_000  # in one fragment
_SKIPPED = frozenset({b"free", b"skip", b"styp", b"sidx", b"prft", b"emsg", b"mfra", b"uuid"})


class BadStream(ValueError):
    """The bytes are not a camera's fragmented MP4; the message says in one line what is wrong."""


@dataclass(frozen=True, slots=True)
class Header:
    """What comes before the first fragment, and the defaults that it gives for all fragments."""

    data: bytes
    timescale: int
    frame_ticks: int
    frame_flags: int


@dataclass(frozen=True, slots=True)
class Fragment:
    """Some whole frames of the stream, with their index. Times in ticks of the header's `timescale`."""

    data: bytes
    timescale: int
    base_time: int
    duration: int
    durations: tuple[int, ...]
    starts_with_key: bool
    arrived: float
    sequence_at: int
    time_at: int
    time_is_wide: bool

    @property
    def frames(self) -> int:
        return len(self.durations)

    @property
    def last_duration(self) -> int:
        return self.durations[-1]

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
    """The fragment as number `sequence` of a take that begins at `origin` ticks of the camera's time."""
    data = bytearray(fragment.data)
    struct.pack_into(">I", data, fragment.sequence_at, sequence & 0xFFFF_FFFF)
    struct.pack_into(
        ">Q" if fragment.time_is_wide else ">I", data, fragment.time_at, fragment.base_time - origin
    )
    return bytes(data)


def with_durations(fragment: Fragment, durations: Sequence[int]) -> Fragment:
    """The fragment with these durations of its frames; composition offsets are scaled with them."""
    data = fragment.data
    (moof,) = struct.unpack_from(">I", data)
    traf = _one(data, 8, moof, b"traf")
    box = _one(data, traf.body, traf.end, b"trun")
    run, new = _run(data, box), sum(durations)
    head, column = box.body + run.table, dict[int, Sequence[int]](run.columns)
    if DELAY in column:
        bits = -1 << 32  # the offsets are signed where the box says so; two's complement serves both
        signed = [value + bits if data[box.body] and value >> 31 else value for value in column[DELAY]]
        column[DELAY] = [round(value * new / fragment.duration) & 0xFFFF_FFFF for value in signed]
    column[DURATION] = durations
    rows = zip(*(column[bit] for bit in sorted(column)), strict=True)
    table = [value for row in rows for value in row]
    grown = head + 4 * len(table) - box.end
    made = bytearray(data[:head] + struct.pack(f">{len(table)}I", *table) + data[box.end :])
    struct.pack_into(">I", made, box.body, run.flags | DURATION)
    sizes = [0, traf.body - 8, box.body - 8, *([box.body + 8] if run.offset is not None else [])]
    for place in sizes:  # the last one is the offset of the media data
        struct.pack_into(">I", made, place, struct.unpack_from(">I", made, place)[0] + grown)
    return replace(fragment, data=bytes(made), duration=new, durations=tuple(durations))


class FragmentReader:
    """Takes a stream in blocks of any size, and returns the fragments that became whole."""

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
class InnerBox:
    """A box within another one, in memory: where its body begins and ends."""

    type: bytes
    body: int
    end: int


def _children(data: bytes, start: int, end: int) -> Iterator[InnerBox]:
    while start < end:
        if end - start < 8:
            raise BadStream("half a box header inside a box")
        size, kind = struct.unpack_from(">I4s", data, start)
        if size < 8 or start + size > end:
            raise BadStream(f"box {kind!r} does not fit into the box around it")
        yield InnerBox(kind, start + 8, start + size)
        start += size


def _one(data: bytes, start: int, end: int, *path: bytes) -> InnerBox:
    """The only box at `path`."""
    box = InnerBox(b"", start, end)
    for kind in path:
        found = [child for child in _children(data, box.body, box.end) if child.type == kind]
        if len(found) != 1:
            raise BadStream(f"{len(found)} boxes {kind!r} where there must be one")
        box = found[0]
    return box


def box_path(data: bytes, *path: bytes) -> list[InnerBox]:
    """The boxes along `path` in a header, each the only one of its type there. Raises `BadStream`."""
    found = [InnerBox(b"", 0, len(data))]
    for kind in path:
        found.append(_one(data, found[-1].body, found[-1].end, kind))
    return found[1:]


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


def _fragment(header: Header, moof: bytes, mdat: bytes, arrived: float) -> Fragment:
    traf = _one(moof, 8, len(moof), b"traf")
    sequence = _one(moof, 8, len(moof), b"mfhd")
    time = _one(moof, traf.body, traf.end, b"tfdt")
    (version,) = _read(">B", moof, time.body, time.end)
    form = ">Q" if version == 1 else ">I"
    (base_time,) = _read(form, moof, time.body + 4, time.end)
    _read(">I", moof, sequence.body + 4, sequence.end)
    tfhd, trun = (_one(moof, traf.body, traf.end, kind) for kind in (b"tfhd", b"trun"))
    run, defaults = _run(moof, trun), _defaults(header, moof, tfhd)
    durations = run.durations(defaults)
    if sum(durations) <= 0:
        raise BadStream("a fragment without a duration")
    if sum(run.sizes(defaults)) > len(mdat) - 8:
        raise BadStream("a fragment's frames are larger than its media data")
    return Fragment(
        data=moof + mdat,
        timescale=header.timescale,
        base_time=base_time,
        duration=sum(durations),
        durations=tuple(durations),
        starts_with_key=bool(run.keys(defaults)[0]),
        arrived=arrived,
        sequence_at=sequence.body + 4,
        time_at=time.body + 4,
        time_is_wide=version == 1,
    )


def _defaults(header: Header, moof: bytes, box: InnerBox) -> SampleDefaults:
    trex = SampleDefaults(header.frame_ticks, 0, header.frame_flags)
    try:
        head = read_tfhd(moof[box.body : box.end], trex)
    except struct.error:
        raise BadStream("a box is shorter than its content") from None
    if head.base is not None or not head.is_relative:
        raise BadStream("a fragment that can only be read at its old place in the stream")
    return head.defaults


def _run(data: bytes, box: InnerBox) -> TrackRun:
    try:
        run = read_trun(data[box.body : box.end])
    except (struct.error, TornFile):
        _, count = _read(">II", data, box.body, box.end)
        if count <= _MOST_FRAMES:
            raise BadStream("a box is shorter than its content") from None
        raise BadStream(f"a fragment of {count} frames") from None
    if not 0 < run.samples <= _MOST_FRAMES:
        raise BadStream(f"a fragment of {run.samples} frames")
    return run
