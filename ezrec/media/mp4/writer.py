"""Writes a video as a plain MP4: index first, then picture and sound in slices of a second, in order.

The index is made from tables that are known before the first byte of media is written, so nothing is
guessed, moved or written twice. Media bytes pass through one buffer that is written when it is full, at whole
multiples of its size: `sendfile` took 1.3 times its CPU, for a fragment begins anywhere in a page, and so did
`copy_file_range` where no blocks can be shared. A buffer of 512 KiB took up to twice the CPU of one of 128:
the kernel then wants its memory in pieces as large as that, and those are not always at hand.
"""

from __future__ import annotations

import bisect
import contextlib
import errno
import os
import struct
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, islice
from pathlib import Path

from ezrec.media.mp4.sample_tables import NotSimple
from ezrec.media.mp4.timeline import SILENCE, TrackTimeline
from ezrec.system import plain_files

_SLICE_S = 1
_MOVIE_SCALE = 1000
_BUFFER = 128 << 10
_KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE
_TELL_EVERY = 8 << 20
_SYNC_EVERY = 64 << 20
_MATRIX = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)


@dataclass(frozen=True, slots=True)
class Colours:
    """What the numbers of the picture mean, in the codes of ITU-T H.273: primaries, transfer, matrix."""

    codes: tuple[int, int, int]
    full_range: bool


@dataclass(frozen=True, slots=True)
class PictureTrack:
    """What the picture's track says of itself."""

    timeline: TrackTimeline
    width: int
    height: int
    avcc: bytes
    colours: Colours | None = None


@dataclass(frozen=True, slots=True)
class SoundTrack:
    """What the sound's track says of itself: AAC-LC."""

    timeline: TrackTimeline
    channels: int


@dataclass(frozen=True, slots=True)
class _Chunk:
    track: int
    first: int
    count: int
    size: int


def write(
    output: Path,
    picture: PictureTrack,
    sound: SoundTrack | None,
    sources: Mapping[int, Path],
    silence: bytes,
    tell: Callable[[float], None],
) -> int:
    """Write the new file `output`; returns its size. `tell` hears the part done, and may raise to stop."""
    timelines = [picture.timeline, *([sound.timeline] if sound else [])]
    chunks = _chunks(timelines)
    media = sum(chunk.size for chunk in chunks)
    ftyp = _box(b"ftyp", b"isom" + bytes((0, 0, 2, 0)) + b"isomiso2avc1mp41")
    long = media > 0xF0000000  # with some room for the index
    head = 16 if long else 8
    with _fitting():
        fixed = [_fixed_tables(timeline, number, chunks) for number, timeline in enumerate(timelines)]
        begin = len(ftyp) + len(_index(picture, sound, fixed, chunks, 0, long)) + head
        moov = _index(picture, sound, fixed, chunks, begin, long)
    mdat = struct.pack(">I4sQ", 1, b"mdat", head + media) if long else struct.pack(">I4s", 8 + media, b"mdat")
    tell(0.0)
    files = {number: plain_files.open_fd(path, shared=True) for number, path in sources.items()}
    fd = -1
    try:
        fd = plain_files.create(output)
        _reserve(fd, begin + media)
        target = _Target(fd, lambda done: tell(min(1.0, done / media)))
        target.put(ftyp + moov + mdat)
        for source, offset, size in _ranges(timelines, chunks):
            if source == SILENCE:
                target.put(silence * (size // len(silence)))
            else:
                target.copy(files[source], offset, size)
        target.flush()
        if target.done != begin + media:
            raise OSError(0, f"{target.done} bytes written where {begin + media} were planned")
    finally:
        for opened in (*files.values(), *([fd] if fd >= 0 else [])):
            os.close(opened)
    return begin + media


def _reserve(fd: int, size: int) -> None:
    """Have the room before it is written to: else each of the syncs on the way looks for its own.

    A full disk is met here, and not after minutes of writing. Not by `os.posix_fallocate`, which writes into
    every block itself where the file system knows no such thing; there it is left out.
    """
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "fallocate64"):
        return
    libc.fallocate64.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    if libc.fallocate64(fd, _KEEP_SIZE, 0, size) and ctypes.get_errno() == errno.ENOSPC:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class _Target:
    """The file being written.

    What was written is made durable as it goes: gigabytes of it at once at the end would hold up, for minutes
    on a card, the recorder that waits for its own second to become durable.
    """

    def __init__(self, fd: int, tell: Callable[[int], None]) -> None:
        self._fd, self._tell = fd, tell
        self._buffer = memoryview(bytearray(_BUFFER))
        self._held = self._written = self._synced = self._told = 0

    @property
    def done(self) -> int:
        return self._written + self._held

    def put(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            count = min(len(view), _BUFFER - self._held)
            self._buffer[self._held : self._held + count] = view[:count]
            view = view[count:]
            self._hold(count)

    def copy(self, source: int, offset: int, size: int) -> None:
        while size:
            room = self._buffer[self._held : self._held + size]
            count = os.preadv(source, [room], offset)
            if count <= 0:
                raise OSError(0, "a recording became shorter while it was read")
            offset, size = offset + count, size - count
            self._hold(count)

    def flush(self) -> None:
        """Write what is held, and make it durable after a while."""
        held = self._buffer[: self._held]
        self._held = 0
        while held:
            count = os.write(self._fd, held)
            held, self._written = held[count:], self._written + count
        if self._written - self._synced >= _SYNC_EVERY:
            os.fdatasync(self._fd)
            self._synced = self._written
        if self._written - self._told >= _TELL_EVERY:
            self._told = self._written
            self._tell(self._written)

    def _hold(self, count: int) -> None:
        self._held += count
        if self._held == _BUFFER:
            self.flush()


def _chunks(timelines: Sequence[TrackTimeline]) -> list[_Chunk]:
    """Slices of all timelines in the order in which a player needs them."""
    found = []
    for number, timeline in enumerate(timelines):
        first, starts = 0, timeline.starts
        while first < len(starts):
            last = bisect.bisect_left(starts, starts[first] + _SLICE_S * timeline.scale, first + 1)
            size = sum(timeline.sizes[first:last])
            found.append((starts[first] / timeline.scale, number, _Chunk(number, first, last - first, size)))
            first = last
    return [chunk for _, _, chunk in sorted(found, key=lambda item: item[:2])]


def _ranges(timelines: Sequence[TrackTimeline], chunks: Sequence[_Chunk]) -> Iterator[tuple[int, int, int]]:
    """Source, place and size of what is to be copied, neighbours taken together."""
    source, offset, size = -1, 0, 0
    for chunk in chunks:
        timeline, part = timelines[chunk.track], slice(chunk.first, chunk.first + chunk.count)
        for of, at, more in zip(
            timeline.sources[part], timeline.offsets[part], timeline.sizes[part], strict=True
        ):
            if of == source and (at == offset + size or of == SILENCE):
                size += more
                continue
            if size:
                yield source, offset, size
            source, offset, size = of, at, more
    if size:
        yield source, offset, size


def _index(
    picture: PictureTrack,
    sound: SoundTrack | None,
    fixed: Sequence[list[bytes]],
    chunks: Sequence[_Chunk],
    begin: int,
    long: bool,
) -> bytes:
    """`fixed` are the tables that do not depend on where the media begins, of each timeline."""
    places = [_places(chunks, number, begin, long) for number in range(len(fixed))]
    return _movie(picture, sound, [[*tables, where] for tables, where in zip(fixed, places, strict=True)])


@contextlib.contextmanager
def _fitting() -> Iterator[None]:
    """A figure of a source may be larger than its place in a table: a gap of hours in fine ticks."""
    try:
        yield
    except (struct.error, OverflowError):
        raise NotSimple("a figure of it is too large for an index") from None


def index_in_place(picture: PictureTrack, sound: SoundTrack | None) -> bytes:
    """The index of media that lies already where its timelines say. Raises `NotSimple` if it does not fit."""
    with _fitting():
        return _index_in_place(picture, sound)


def _index_in_place(picture: PictureTrack, sound: SoundTrack | None) -> bytes:
    tables = []
    for timeline in (picture.timeline, *([sound.timeline] if sound else [])):
        begins = [0, *(
            number for number in range(1, len(timeline))
            if timeline.offsets[number] != timeline.offsets[number - 1] + timeline.sizes[number - 1]
        )]  # fmt: skip
        ends = (*begins[1:], len(timeline))
        chunks = [_Chunk(0, first, last - first, 0) for first, last in zip(begins, ends, strict=True)]
        places = _listed(b"co64", "Q", [(timeline.offsets[first],) for first in begins])
        tables.append([*_fixed_tables(timeline, 0, chunks), places])
    return _movie(picture, sound, tables)


def _movie(picture: PictureTrack, sound: SoundTrack | None, tables: Sequence[Sequence[bytes]]) -> bytes:
    timeline, size = picture.timeline, (picture.width, picture.height)
    tracks = [_track(1, timeline, tables[0], _picture_entry(picture), size)]
    length = _in_movie(timeline.end, timeline)
    if sound:
        heard = sound.timeline
        tracks.append(_track(2, heard, tables[1], _sound_entry(sound), None))
        length = max(length, _in_movie(heard.end - heard.lead + heard.late, heard))
    times = struct.pack(">IIII", 0, 0, _MOVIE_SCALE, length)
    rest = struct.pack(">IH10x", 1 << 16, 1 << 8) + _MATRIX + bytes(24) + struct.pack(">I", len(tracks) + 1)
    return _box(b"moov", _box(b"mvhd", bytes(4) + times + rest), *tracks)


def _track(
    number: int,
    timeline: TrackTimeline,
    tables: Sequence[bytes],
    entry: bytes,
    size: tuple[int, int] | None,
) -> bytes:
    shown = _in_movie(timeline.end - timeline.lead, timeline)
    width, height = size or (0, 0)
    lasts = shown + _in_movie(timeline.late, timeline)
    head = struct.pack(">B3xIIIII8xHHHxx", 0, 0, 0, number, 0, lasts, 0, 0, 0 if size else 1 << 8)
    head = head[:3] + b"\3" + head[4:]  # enabled, in the movie
    tkhd = _box(b"tkhd", head + _MATRIX + struct.pack(">II", width << 16, height << 16))
    parts = [(shown, timeline.lead, 1 << 16)]
    if timeline.late:
        parts.insert(0, (_in_movie(timeline.late, timeline), -1, 1 << 16))
    edits = _box(b"edts", _listed(b"elst", "IiI", parts))
    mdhd = _box(b"mdhd", struct.pack(">B3xQQIQHH", 1, 0, 0, timeline.scale, timeline.end, 0x55C4, 0))
    handler = b"vide" if size else b"soun"
    hdlr = _box(b"hdlr", bytes(8) + handler + bytes(13))
    kind = _box(b"vmhd", struct.pack(">I8x", 1)) if size else _box(b"smhd", bytes(8))
    here = _box(b"dinf", _box(b"dref", struct.pack(">II", 0, 1), _box(b"url ", struct.pack(">I", 1))))
    stbl = _box(b"stbl", _box(b"stsd", struct.pack(">II", 0, 1), entry), *tables)
    return _box(b"trak", tkhd, edits, _box(b"mdia", mdhd, hdlr, _box(b"minf", kind, here, stbl)))


def _fixed_tables(timeline: TrackTimeline, number: int, chunks: Sequence[_Chunk]) -> list[bytes]:
    keys = [at + 1 for at, key in enumerate(timeline.keys) if key]
    runs = list[tuple[int, int, int]]()
    for count, chunk in enumerate((chunk for chunk in chunks if chunk.track == number), 1):
        if not runs or runs[-1][1] != chunk.count:
            runs.append((count, chunk.count, 1))
    return [
        _listed(b"stts", "II", list(_lengths(timeline))),
        *([] if len(keys) == len(timeline) else [_listed(b"stss", "I", [(key,) for key in keys])]),
        _listed(b"stsc", "III", runs),
        _box(b"stsz", struct.pack(">III", 0, 0, len(timeline)), _big_endian(timeline.sizes)),
    ]


def _places(chunks: Sequence[_Chunk], number: int, begin: int, long: bool) -> bytes:
    places = list[tuple[int]]()
    for chunk in chunks:
        if chunk.track == number:
            places.append((begin,))
        begin += chunk.size
    return _listed(b"co64" if long else b"stco", "Q" if long else "I", places)


def _lengths(timeline: TrackTimeline) -> Iterator[tuple[int, int]]:
    """How many samples in a row last how long."""
    ends = chain(islice(timeline.starts, 1, None), (timeline.end,))
    lengths = (end - start for start, end in zip(timeline.starts, ends, strict=True))
    return ((sum(1 for _ in same), length) for length, same in groupby(lengths))


def _listed(kind: bytes, form: str, rows: Sequence[tuple[int, ...]]) -> bytes:
    packed = struct.Struct(">" + form)
    return _box(kind, struct.pack(">II", 0, len(rows)), b"".join(packed.pack(*row) for row in rows))


def _big_endian(values: array[int]) -> bytes:
    return struct.pack(f">{len(values)}I", *values)


def _picture_entry(picture: PictureTrack) -> bytes:
    shape = struct.pack(">HHIII", picture.width, picture.height, 72 << 16, 72 << 16, 0)
    head = struct.pack(">6xH16x", 1) + shape + struct.pack(">H32xHh", 1, 24, -1)
    return _box(b"avc1", head, _box(b"avcC", picture.avcc), *_colour_box(picture.colours))


def _colour_box(colours: Colours | None) -> tuple[bytes, ...]:
    if colours is None:
        return ()
    body = b"nclx" + struct.pack(">HHHB", *colours.codes, colours.full_range << 7)
    return (_box(b"colr", body),)


def _sound_entry(sound: SoundTrack) -> bytes:
    """AAC-LC in the words of MPEG-4 systems: object type 0x40, an audio stream."""
    rate, channels = sound.timeline.scale, sound.channels
    config = (2 << 11 | _RATES.index(rate) << 7 | channels << 3).to_bytes(2, "big")
    decoder = bytes((0x40, 0x15)) + bytes(11) + _described(5, config)
    stream = struct.pack(">HB", 2, 0) + _described(4, decoder) + _described(6, b"\2")
    head = struct.pack(">6xH8xHH4xI", 1, channels, 16, rate << 16)
    return _box(b"mp4a", head, _box(b"esds", bytes(4) + _described(3, stream)))


def _described(tag: int, body: bytes) -> bytes:
    return bytes((tag, len(body))) + body


def _in_movie(ticks: int, timeline: TrackTimeline) -> int:
    return round(ticks * _MOVIE_SCALE / timeline.scale)


def _box(kind: bytes, *bodies: bytes) -> bytes:
    body = b"".join(bodies)
    return struct.pack(">I4s", 8 + len(body), kind) + body
