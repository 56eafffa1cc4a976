"""Builds the index (`moov`) of a plain MP4: its movie header, and a track each for picture and sound.

Pure: timelines in, bytes out. Knows H.264 and AAC-LC.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, islice

from ezrec.media.mp4.copyable import AAC_RATES
from ezrec.media.mp4.sample_tables import NotSimple
from ezrec.media.mp4.timeline import TrackTimeline

_MOVIE_SCALE = 1000
_MATRIX = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)


@dataclass(frozen=True, slots=True)
class Colours:
    """What the numbers of the picture mean, in the codes of ITU-T H.273: primaries, transfer, matrix."""

    codes: tuple[int, int, int]
    full_range: bool


@dataclass(frozen=True, slots=True)
class PictureTrack:
    """The picture: H.264. `avcc`: its decoder configuration. `colours` None: unknown."""

    timeline: TrackTimeline
    width: int
    height: int
    avcc: bytes
    colours: Colours | None = None


@dataclass(frozen=True, slots=True)
class SoundTrack:
    """The sound: AAC-LC; the timeline's `scale` is its sampling rate."""

    timeline: TrackTimeline
    channels: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Samples of one track that lie together in the file; `size` in bytes."""

    track: int
    first: int
    count: int
    size: int


@contextlib.contextmanager
def _not_simple_if_too_large() -> Iterator[None]:
    """A figure may be too large for its field in a table: a gap of hours in fine ticks."""
    try:
        yield
    except (struct.error, OverflowError):
        raise NotSimple("one of its figures is too large for an index") from None


@_not_simple_if_too_large()
def before_media(picture: PictureTrack, sound: SoundTrack | None, chunks: Sequence[Chunk]) -> bytes:
    """All that precedes the media: `ftyp`, `moov`, and the header of an `mdat` that holds these chunks.

    Raises `NotSimple` for a figure that does not fit.
    """
    timelines = [picture.timeline, *([sound.timeline] if sound else [])]
    media = sum(chunk.size for chunk in chunks)
    ftyp = _box(b"ftyp", b"isom" + bytes((0, 0, 2, 0)) + b"isomiso2avc1mp41")
    long = media > 0xF0000000  # with some room for the index
    mdat = struct.pack(">I4sQ", 1, b"mdat", 16 + media) if long else struct.pack(">I4s", 8 + media, b"mdat")
    fixed = [_fixed_tables(timeline, number, chunks) for number, timeline in enumerate(timelines)]

    def moov(begin: int) -> bytes:
        offsets = (_chunk_offsets(chunks, number, begin, long) for number in range(len(fixed)))
        return _movie(picture, sound, [[*tables, last] for tables, last in zip(fixed, offsets, strict=True)])

    begin = len(ftyp) + len(moov(0)) + len(mdat)
    return ftyp + moov(begin) + mdat


@_not_simple_if_too_large()
def in_place(picture: PictureTrack, sound: SoundTrack | None) -> bytes:
    """The `moov` of media that is already where its timelines say. Raises `NotSimple` as above."""
    tables = []
    for timeline in (picture.timeline, *([sound.timeline] if sound else [])):
        begins = [0, *(
            number for number in range(1, len(timeline))
            if timeline.offsets[number] != timeline.offsets[number - 1] + timeline.sizes[number - 1]
        )]  # fmt: skip
        ends = (*begins[1:], len(timeline))
        chunks = [Chunk(0, first, last - first, 0) for first, last in zip(begins, ends, strict=True)]
        offsets = _listed(b"co64", "Q", [(timeline.offsets[first],) for first in begins])
        tables.append([*_fixed_tables(timeline, 0, chunks), offsets])
    return _movie(picture, sound, tables)


def _movie(picture: PictureTrack, sound: SoundTrack | None, tables: Sequence[Sequence[bytes]]) -> bytes:
    timeline, size = picture.timeline, (picture.width, picture.height)
    tracks = [_track(1, timeline, tables[0], _picture_entry(picture), size)]
    length = _in_movie(timeline.end, timeline)
    if sound:
        timeline = sound.timeline
        tracks.append(_track(2, timeline, tables[1], _sound_entry(sound), None))
        length = max(length, _in_movie(timeline.end - timeline.lead + timeline.late, timeline))
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


def _fixed_tables(timeline: TrackTimeline, number: int, chunks: Sequence[Chunk]) -> list[bytes]:
    keys = [at + 1 for at, key in enumerate(timeline.keys) if key]
    runs = list[tuple[int, int, int]]()
    for count, chunk in enumerate((chunk for chunk in chunks if chunk.track == number), 1):
        if not runs or runs[-1][1] != chunk.count:
            runs.append((count, chunk.count, 1))
    return [
        _listed(b"stts", "II", list(_lengths(timeline))),
        *([] if len(keys) == len(timeline) else [_listed(b"stss", "I", [(key,) for key in keys])]),
        _listed(b"stsc", "III", runs),
        _box(b"stsz", struct.pack(f">III{len(timeline)}I", 0, 0, len(timeline), *timeline.sizes)),
    ]


def _chunk_offsets(chunks: Sequence[Chunk], number: int, begin: int, long: bool) -> bytes:
    offsets = list[tuple[int]]()
    for chunk in chunks:
        if chunk.track == number:
            offsets.append((begin,))
        begin += chunk.size
    return _listed(b"co64" if long else b"stco", "Q" if long else "I", offsets)


def _lengths(timeline: TrackTimeline) -> Iterator[tuple[int, int]]:
    """Runs of samples of equal length: how many, and how many ticks."""
    ends = chain(islice(timeline.starts, 1, None), (timeline.end,))
    lengths = (end - start for start, end in zip(timeline.starts, ends, strict=True))
    return ((sum(1 for _ in same), length) for length, same in groupby(lengths))


def _listed(kind: bytes, form: str, rows: Sequence[tuple[int, ...]]) -> bytes:
    packed = struct.Struct(">" + form)
    return _box(kind, struct.pack(">II", 0, len(rows)), b"".join(packed.pack(*row) for row in rows))


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
    """AAC-LC, described as MPEG-4 Systems does: object type 0x40, an audio stream."""
    rate, channels = sound.timeline.scale, sound.channels
    config = (2 << 11 | AAC_RATES.index(rate) << 7 | channels << 3).to_bytes(2, "big")
    decoder = bytes((0x40, 0x15)) + bytes(11) + _descriptor(5, config)
    stream = struct.pack(">HB", 2, 0) + _descriptor(4, decoder) + _descriptor(6, b"\2")
    head = struct.pack(">6xH8xHH4xI", 1, channels, 16, rate << 16)
    return _box(b"mp4a", head, _box(b"esds", bytes(4) + _descriptor(3, stream)))


def _descriptor(tag: int, body: bytes) -> bytes:
    return bytes((tag, len(body))) + body


def _in_movie(ticks: int, timeline: TrackTimeline) -> int:
    return round(ticks * _MOVIE_SCALE / timeline.scale)


def _box(kind: bytes, *bodies: bytes) -> bytes:
    body = b"".join(bodies)
    return struct.pack(">I4s", 8 + len(body), kind) + body
