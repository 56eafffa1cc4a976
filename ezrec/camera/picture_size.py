"""`PictureForm`: notices that a camera's pictures changed their size, and makes the header that fits them.

A camera may be set to another size in mid-stream. Its parameters then come in front of a key frame, while
the header that FFmpeg wrote still tells of the old ones: few players show a file of both. So the new pictures
get a header of their own. Pure: bytes in, values out.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from ezrec.media.mp4 import h264, h265
from ezrec.media.mp4.fragments import BadStream, Fragment, Header, box_path

_H264, _H265 = b"avcC", b"hvcC"
_ENTRIES = {b"avc1": _H264, b"avc3": _H264, b"hvc1": _H265, b"hev1": _H265}
_SETS = {_H264: frozenset({h264.SPS, h264.PPS}), _H265: frozenset({h265.VPS, h265.SPS, h265.PPS})}
_WIDTH_AT = 24  # in a sample entry; behind it, the height
_OWN_BOXES_AT = 78


@dataclass(frozen=True, slots=True)
class Form:
    """What has to be the same for pictures to stand in one file."""

    width: int
    height: int
    profile: int
    chroma: int
    depth: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


class PictureForm:
    """`header` is the one that fits the newest pictures."""

    def __init__(self, header: Header) -> None:
        self.header = header
        self._record = _record_of(header)  # where the parameters stand; None for what is no H.264 or H.265
        self._form = None if self._record is None else _form(self._record.kind, self._record.sets)
        self._seen: Sequence[bytes] = ()

    def look(self, fragment: Fragment) -> str:
        """How the pictures changed with this fragment; empty when they did not."""
        record = self._record
        if record is None or not fragment.starts_with_key:
            return ""
        sets = _sets_in(fragment, record.kind)
        if sets == self._seen:
            return ""
        form = _form(record.kind, sets)
        if form is None:
            return ""
        before, self._seen = self._form, sets
        if form == before:
            return ""
        try:
            self.header = _with_sets(self.header, record, sets, form)
        except (h264.NotH264, BadStream, struct.error):
            return ""
        self._form, self._record = form, _record_of(self.header)
        return f"from {before or 'an unknown size'} to {form}"


@dataclass(frozen=True, slots=True)
class _Record:
    """The box with the parameter sets in a header: its kind, its place, the boxes around it, its content."""

    kind: bytes
    start: int
    end: int
    around: tuple[int, ...]  # where each of them begins, and so its size stands
    sets: tuple[bytes, ...]


def _record_of(header: Header) -> _Record | None:
    data = header.data
    try:
        path = box_path(data, b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
        entry = path[-1].body + 8
        size, kind = struct.unpack_from(">I4s", data, entry)
        at, end = entry + 8 + _OWN_BOXES_AT, min(entry + size, len(data))
        while kind in _ENTRIES and at + 8 <= end:
            length, name = struct.unpack_from(">I4s", data, at)
            if name == _ENTRIES[kind] and at + length <= end:
                around = (*(box.body - 8 for box in path), entry)
                return _Record(name, at, at + length, around, _sets_of(name, data[at + 8 : at + length]))
            at += max(8, length)
    except (BadStream, h264.NotH264, struct.error):
        pass
    return None


def _sets_of(kind: bytes, body: bytes) -> tuple[bytes, ...]:
    if kind == _H265:
        return h265.read_hvcc(body)
    sets = h264.read_avcc(body)
    return (*sets.sps.values(), *sets.pps.values())


def _sets_in(fragment: Fragment, kind: bytes) -> tuple[bytes, ...]:
    """The parameter sets in front of the first picture."""
    (index_size,) = struct.unpack_from(">I", fragment.data)
    units = h264.nals(fragment.data, index_size + 8)
    before = takewhile(lambda nal: not _is_slice(kind, nal), units)
    return tuple(nal for nal in before if _kind(kind, nal) in _SETS[kind])


def _is_slice(kind: bytes, nal: bytes) -> bool:
    number = _kind(kind, nal)
    return number < h265.VPS if kind == _H265 else h264.SLICE <= number <= h264.IDR


def _kind(kind: bytes, nal: bytes) -> int:
    return h265.kind(nal) if kind == _H265 else h264.kind(nal) if nal else 0


def _form(kind: bytes, sets: Sequence[bytes]) -> Form | None:
    """None where nothing is said of it that we understand."""
    read = h265.read_sps if kind == _H265 else h264.read_sps
    sps = h265.SPS if kind == _H265 else h264.SPS
    try:
        found = next((read(nal) for nal in sets if _kind(kind, nal) == sps), None)
    except h264.NotH264:
        return None
    return (
        None if found is None else Form(found.width, found.height, found.profile, found.chroma, found.depth)
    )


def _with_sets(header: Header, record: _Record, sets: Sequence[bytes], form: Form) -> Header:
    if record.kind == _H265:
        body = h265.write_hvcc(header.data[record.start + 8 : record.end], sets)
    else:
        body = h264.write_avcc(h264.gathered(sets))
    box = struct.pack(">I4s", 8 + len(body), record.kind) + body
    data = bytearray(header.data[: record.start] + box + header.data[record.end :])
    for place in record.around:
        (size,) = struct.unpack_from(">I", data, place)
        struct.pack_into(">I", data, place, size + len(box) - (record.end - record.start))
    struct.pack_into(">HH", data, record.around[-1] + 8 + _WIDTH_AT, form.width, form.height)
    shown = box_path(bytes(data), b"moov", b"trak", b"tkhd")[-1]
    struct.pack_into(">II", data, shown.end - 8, form.width << 16, form.height << 16)
    return replace(header, data=bytes(data))
