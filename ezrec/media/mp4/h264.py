"""Reads and writes H.264 parameter sets, and finds which of them a picture uses.

Pure: bytes in, values out. Decodes no picture. Every number comes from somebody else's file, so each has a
limit; `NotH264` is raised for one that makes no sense.
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
    """The message says in one line what is wrong."""


@dataclass(frozen=True, slots=True)
class Sets:
    """The parameter sets that pictures may refer to, by their ids."""

    sps: Mapping[int, bytes]
    pps: Mapping[int, bytes]

    def __or__(self, more: Sets) -> Sets:
        """Both together. Raises `NotH264` when they use one id for different sets."""
        for mine, theirs in ((self.sps, more.sps), (self.pps, more.pps)):
            if any(mine.get(key, nal) != nal for key, nal in theirs.items()):
                raise NotH264("the parameter sets differ under one id")
        return Sets({**self.sps, **more.sps}, {**self.pps, **more.pps})

    @property
    def is_complete(self) -> bool:
        return bool(self.sps and self.pps)

    def free_id(self, above: int = 0) -> int:
        """The next id above `above` that no set uses. Raises `NotH264` when there is none."""
        for number in range(above + 1, 32):
            if number not in self.sps and number not in self.pps:
                return number
        raise NotH264("its parameter sets use every id")


@dataclass(frozen=True, slots=True)
class Sps:
    """A sequence parameter set. `sar`: the shape of a pixel, width and height."""

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
    """The units of a sample in MP4 (each follows its length, four bytes); an incomplete last one is left out.

    `at`: where the sample begins in `data`.
    """
    while at + 4 < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 0 or at + 4 + size > len(data):
            return
        yield data[at + 4 : at + 4 + size]
        at += 4 + size


def unit_ranges(data: bytes, size: int | None = None) -> Iterator[tuple[int, int]]:
    """Begin and end of each unit of a sample in MP4 (each follows its length, four bytes).

    `data` is the beginning of a sample of `size` bytes, by default all of it; the last unit may end beyond
    `data`. Raises `NotH264` when the units do not fill the sample.
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
    """The units of a byte stream (Annex B), which start codes separate."""
    starts = [match.end() for match in _START_CODE.finditer(data)]
    for start, following in itertools.pairwise([*starts, len(data) + 3]):
        unit = data[start : following - 3].rstrip(b"\0")
        if unit:
            yield unit


def kind(nal: bytes) -> int:
    return nal[0] & 0x1F


def gathered(units: Iterable[bytes]) -> Sets:
    """The parameter sets among these units; of two with the same id the later counts, as in a decoder."""
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
    """The parameter sets in an `avcC`. Raises `NotH264` unless unit lengths have four bytes."""
    try:
        if body[4] & 3 != 3:
            raise NotH264("unit lengths that have not four bytes")
        found, at, count = list[bytes](), 6, body[5] & 0x1F
        for many in (count, None):
            if many is None:
                many, at = body[at], at + 1
            for _ in range(many):
                size = int.from_bytes(body[at : at + 2], "big")
                nal = body[at + 2 : at + 2 + size]
                if not size or len(nal) != size:
                    raise NotH264("the header is cut short")
                found.append(nal)
                at += 2 + size
    except IndexError:
        raise NotH264("the header is cut short") from None
    return gathered(found)


def write_avcc(sets: Sets) -> bytes:
    """An `avcC` with all these sets; its profile and level are the highest of all."""
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
    """Pixel shape, range and colours from the VUI: what changes how a picture looks."""
    sar, full_range, colours = (1, 1), False, (2, 2, 2)
    if bits.take(1):
        number = bits.take(8)
        if number == _EXTENDED_SAR:
            sar = (bits.take(16), bits.take(16))
        elif number > 1:
            sar = (number, 0)  # a shape from the standard's table; none of these is square
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
    """Reads the bits of a unit, without its emulation prevention bytes."""

    def __init__(self, data: bytes) -> None:
        data = data.replace(b"\0\0\3", b"\0\0")
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, count: int) -> int:
        if count > self._left:
            raise NotH264("a parameter set is cut short")
        self._left -= count
        return self._value >> self._left & (1 << count) - 1

    def ue(self) -> int:
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros > 31:
                raise NotH264("a number out of bounds")
        return (1 << zeros) - 1 + self.take(zeros)
