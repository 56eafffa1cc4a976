"""Reads H.265 parameter sets, and writes those that a file's header (`hvcC`) repeats.

Pure: bytes in, values out. Raises `NotH264` for what makes no sense, as `h264.py` does, so that callers
handle one exception.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ezrec.media.mp4.h264 import Bits, NotH264

VPS, SPS, PPS = 32, 33, 34
_PROFILE_BYTES = 12  # profile, compatibility, constraints, level
_PROFILE_AT = 1  # in the record of a header
_ARRAYS_AT = 22


@dataclass(frozen=True, slots=True)
class HevcSps:
    """A sequence parameter set; `profile_bytes`: its profile, compatibility, constraints and level."""

    width: int
    height: int
    profile: int
    chroma: int
    depth: int
    chroma_depth: int
    layers: int
    nested: int
    profile_bytes: bytes


def kind(nal: bytes) -> int:
    return nal[0] >> 1 & 0x3F if nal else 0


def read_sps(nal: bytes) -> HevcSps:
    bits = Bits(nal[2:])
    bits.take(4)
    layers, nested = bits.take(3) + 1, bits.take(1)
    profile = bits.take(8 * _PROFILE_BYTES).to_bytes(_PROFILE_BYTES, "big")
    _skip_layers(bits, layers - 1)
    bits.ue()
    chroma = bits.ue()
    if chroma == 3:
        bits.take(1)
    width, height = bits.ue(), bits.ue()
    if bits.take(1):
        left, right, top, bottom = bits.ue(), bits.ue(), bits.ue(), bits.ue()
        across, down = (2 if chroma in (1, 2) else 1), (2 if chroma == 1 else 1)
        width, height = width - across * (left + right), height - down * (top + bottom)
    depth, chroma_depth = bits.ue() + 8, bits.ue() + 8
    if not (0 < width < 1 << 16 and 0 < height < 1 << 16 and chroma < 4 and max(depth, chroma_depth) <= 16):
        raise NotH264("a picture out of bounds")
    return HevcSps(width, height, profile[0] & 0x1F, chroma, depth, chroma_depth, layers, nested, profile)


def _skip_layers(bits: Bits, count: int) -> None:
    if not count:
        return
    present = [(bits.take(1), bits.take(1)) for _ in range(count)]
    bits.take(2 * (8 - count))
    for has_profile, has_level in present:
        bits.take(88 * has_profile + 8 * has_level)


def read_hvcc(body: bytes) -> tuple[bytes, ...]:
    """The parameter sets in an `hvcC`. Raises `NotH264` unless unit lengths have four bytes."""
    found, at = list[bytes](), _ARRAYS_AT + 1
    try:
        if body[_ARRAYS_AT - 1] & 3 != 3:
            raise NotH264("unit lengths that have not four bytes")
        for _ in range(body[_ARRAYS_AT]):
            count, at = int.from_bytes(body[at + 1 : at + 3], "big"), at + 3
            for _ in range(count):
                size = int.from_bytes(body[at : at + 2], "big")
                found.append(body[at + 2 : at + 2 + size])
                if not size or len(found[-1]) != size:
                    raise NotH264("the header is cut short")
                at += 2 + size
    except IndexError:
        raise NotH264("the header is cut short") from None
    return tuple(found)


def write_hvcc(before: bytes, sets: Sequence[bytes]) -> bytes:
    """An `hvcC` with these sets; the other fields are taken from the `hvcC` in `before`."""
    sps = next(read_sps(nal) for nal in sets if kind(nal) == SPS)
    out = bytearray(before[:_ARRAYS_AT])
    out[_PROFILE_AT : _PROFILE_AT + _PROFILE_BYTES] = sps.profile_bytes
    out[16:19] = bytes((0xFC | sps.chroma, 0xF8 | sps.depth - 8, 0xF8 | sps.chroma_depth - 8))
    out[21] = sps.layers << 3 | sps.nested << 2 | 3
    arrays = [(number, [nal for nal in sets if kind(nal) == number]) for number in (VPS, SPS, PPS)]
    arrays = [(number, nals) for number, nals in arrays if nals]
    out.append(len(arrays))
    for number, nals in arrays:
        out += bytes((number,)) + len(nals).to_bytes(2, "big")
        for nal in nals:
            out += len(nal).to_bytes(2, "big") + nal
    return bytes(out)
