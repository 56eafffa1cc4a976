"""Reads and writes what H.264 says about itself: parameter sets, and which of them a picture uses.

Pure: bytes in, values out. Decodes no picture. Every number read here was written by somebody else, so
each has its bounds; what makes no sense raises `NotH264`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

SLICE, IDR, SPS, PPS = 1, 5, 7, 8
_WITH_CHROMA = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128})
_HIGH = frozenset({100, 110, 122, 144})
_EXTENDED_SAR = 255
_START_CODE = re.compile(rb"\x00\x00\x01")
_MOST_IDS = {SPS: 32, PPS: 256}


class NotH264(ValueError):
    """The message says in one line what makes no sense."""


@dataclass(frozen=True, slots=True)
class Sets:
    """The parameter sets that pictures may refer to, by their ids."""

    sps: Mapping[int, bytes]
    pps: Mapping[int, bytes]

    def __or__(self, more: Sets) -> Sets:
        """Both together. Raises `NotH264` where one id would mean two things."""
        for mine, theirs in ((self.sps, more.sps), (self.pps, more.pps)):
            if any(mine.get(key, nal) != nal for key, nal in theirs.items()):
                raise NotH264("the parameter sets differ under one id")
        return Sets({**self.sps, **more.sps}, {**self.pps, **more.pps})

    @property
    def is_complete(self) -> bool:
        return bool(self.sps and self.pps)

    def free_id(self, *taken: int) -> int:
        """An id that neither kind uses."""
        return next(n for n in range(1, 32) if n not in self.sps and n not in self.pps and n not in taken)


@dataclass(frozen=True, slots=True)
class Sps:
    """What a sequence parameter set promises of the pictures. `sar` is the shape of a pixel."""

    id: int
    profile: int
    flags: int
    level: int
    width: int
    height: int
    chroma: int
    depth: int
    progressive: bool
    full_range: bool
    colours: tuple[int, int, int]
    sar: tuple[int, int]


def nals(data: bytes, at: int = 0) -> Iterator[bytes]:
    """The units of a sample as MP4 holds it, each behind its length in four bytes; a cut one is left out.

    `at`: where the sample begins in `data`.
    """
    while at + 4 < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 0 or at + 4 + size > len(data):
            return
        yield data[at + 4 : at + 4 + size]
        at += 4 + size


def unit_ranges(data: bytes, size: int | None = None) -> Iterator[tuple[int, int]]:
    """Begin and end of each unit of a sample, each behind its length in four bytes.

    `data` is the beginning of a sample of `size` bytes, by default all of it; the last unit may end behind
    `data`. Raises `NotH264` where the units do not fill the sample.
    """
    at, size = 0, len(data) if size is None else size
    while at + 4 <= len(data):
        begin = at + 4
        end = begin + int.from_bytes(data[at:begin], "big")
        if end == begin or end > size:
            break
        yield begin, end
        at = end
    if at < size <= len(data) or at + 4 <= len(data):
        raise NotH264("its samples are not made of whole units")


def byte_stream_nals(data: bytes) -> Iterator[bytes]:
    """The units of a byte stream (Annex B), each behind a start code."""
    starts = [match.end() for match in _START_CODE.finditer(data)]
    for start, following in itertools.pairwise([*starts, len(data) + 3]):
        unit = data[start : following - 3].rstrip(b"\0")
        if unit:
            yield unit


def kind(nal: bytes) -> int:
    return nal[0] & 0x1F


def gathered(units: Iterable[bytes]) -> Sets:
    """The parameter sets among some units; of two with one id the later one counts, as in a decoder."""
    sps, pps = dict[int, bytes](), dict[int, bytes]()
    for nal in units:
        if kind(nal) == SPS:
            sps[_id_of(nal)] = nal
        elif kind(nal) == PPS:
            pps[_id_of(nal)] = nal
    return Sets(sps, pps)


def slice_pps(nal: bytes) -> int:
    """Which picture parameter set a slice uses."""
    bits = Bits(nal[1:40])
    bits.ue()  # first macroblock
    bits.ue()  # type
    return bits.ue()


def read_avcc(body: bytes) -> Sets:
    """The parameter sets of a file's header. Raises `NotH264` for lengths of other than four bytes."""
    try:
        if body[4] & 3 != 3:
            raise NotH264("lengths of other than four bytes")
        found, at, count = list[bytes](), 6, body[5] & 0x1F
        for many in (count, None):
            if many is None:
                many, at = body[at], at + 1
            for _ in range(many):
                size = int.from_bytes(body[at : at + 2], "big")
                nal = body[at + 2 : at + 2 + size]
                if not size or len(nal) != size:
                    raise NotH264("a header cut short")
                found.append(nal)
                at += 2 + size
    except IndexError:
        raise NotH264("a header cut short") from None
    return gathered(found)


def write_avcc(sets: Sets) -> bytes:
    """A file's header for all these sets: what it claims of profile and level holds for every one."""
    parsed = [read_sps(nal) for nal in sets.sps.values()]
    if not parsed:
        raise NotH264("no parameter sets")
    first = parsed[0]
    profile, level = max(sps.profile for sps in parsed), max(sps.level for sps in parsed)
    flags = 0xFF
    for sps in parsed:
        flags &= sps.flags
    out = bytearray((1, profile, flags, level, 0xFC | 3, 0xE0 | len(sets.sps)))
    for nal in sets.sps.values():
        out += len(nal).to_bytes(2, "big") + nal
    out.append(len(sets.pps))
    for nal in sets.pps.values():
        out += len(nal).to_bytes(2, "big") + nal
    if profile in _HIGH:
        out += bytes((0xFC | first.chroma, 0xF8 | first.depth - 8, 0xF8 | first.depth - 8, 0))
    return bytes(out)


def read_sps(nal: bytes) -> Sps:
    bits = Bits(nal[1:])
    profile, flags, level = bits.take(8), bits.take(8), bits.take(8)
    number = bits.ue()
    chroma, depth = _formats(bits) if profile in _WITH_CHROMA else (1, 8)
    bits.ue()  # log2_max_frame_num
    _skip_order(bits)
    bits.ue()  # max_num_ref_frames
    bits.take(1)
    width, height = (bits.ue() + 1) * 16, (bits.ue() + 1) * 16
    progressive = bool(bits.take(1))
    if not progressive:
        height *= 2
        bits.take(1)
    bits.take(1)
    if bits.take(1):
        left, right, top, bottom = bits.ue(), bits.ue(), bits.ue(), bits.ue()
        across, down = (2 if chroma in (1, 2) else 1), (2 if chroma == 1 else 1) * (2 - progressive)
        width, height = width - across * (left + right), height - down * (top + bottom)
    sar, full_range, colours = _usability(bits) if bits.take(1) else ((1, 1), False, (2, 2, 2))
    return Sps(
        number, profile, flags, level, width, height,
        chroma, depth, progressive, full_range, colours, sar,
    )  # fmt: skip


def _formats(bits: Bits) -> tuple[int, int]:
    chroma = bits.ue()
    if chroma == 3:
        bits.take(1)
    depth = bits.ue() + 8
    bits.ue()
    bits.take(1)
    if bits.take(1):
        raise NotH264("scaling lists")
    return chroma, depth


def _skip_order(bits: Bits) -> None:
    order = bits.ue()
    if order == 0:
        bits.ue()
    elif order == 1:
        bits.take(1)
        for _ in range(2):
            bits.ue()
        for _ in range(min(bits.ue(), 255)):
            bits.ue()


def _usability(bits: Bits) -> tuple[tuple[int, int], bool, tuple[int, int, int]]:
    """The part of VUI that changes how a picture looks."""
    sar, full_range, colours = (1, 1), False, (2, 2, 2)
    if bits.take(1):
        number = bits.take(8)
        if number == _EXTENDED_SAR:
            sar = (bits.take(16), bits.take(16))
        elif number > 1:
            sar = (number, 0)  # one of the table's shapes: none of them square
    if bits.take(1):
        bits.take(1)
    if bits.take(1):
        bits.take(3)
        full_range = bool(bits.take(1))
        if bits.take(1):
            colours = (bits.take(8), bits.take(8), bits.take(8))
    return sar, full_range, colours


def _id_of(nal: bytes) -> int:
    what = kind(nal)
    number = Bits(nal[4:] if what == SPS else nal[1:]).ue()
    if number >= _MOST_IDS[what]:
        raise NotH264(f"a parameter set numbered {number}")
    return number


class Bits:
    """Reads bits, without the bytes that only keep start codes apart."""

    def __init__(self, data: bytes) -> None:
        data = data.replace(b"\0\0\3", b"\0\0")
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, count: int) -> int:
        if count > self._left:
            raise NotH264("a parameter set cut short")
        self._left -= count
        return self._value >> self._left & (1 << count) - 1

    def ue(self) -> int:
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros > 31:
                raise NotH264("a number out of bounds")
        return (1 << zeros) - 1 + self.take(zeros)
