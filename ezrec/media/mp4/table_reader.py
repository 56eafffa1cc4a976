"""The tables of a plain MP4 file's track, read piece by piece: none of them is ever whole in memory."""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import NamedTuple

from ezrec.media.mp4 import limits
from ezrec.media.mp4.boxes import Box, Boxes, TornFile
from ezrec.media.mp4.sample_tables import Track

NAMES = frozenset({b"stts", b"ctts", b"stss", b"stsc", b"stsz", b"stco", b"co64"})
_PIECE = 96 << 10  # a whole number of rows of each kind


class Sizes(NamedTuple):
    """How many samples there are, and how large: all alike, or (0) each for itself."""

    uniform: int
    samples: int


def words(data: bytes, code: str = "I") -> array[int]:
    """Big-endian numbers, of four bytes or (`Q`) eight."""
    found = array(code, data)
    if sys.byteorder == "little":
        found.byteswap()
    return found


def sizes_of(boxes: Boxes, tables: Mapping[bytes, Box]) -> Sizes:
    if b"stsz" not in tables:
        return Sizes(0, 0)
    return Sizes(*struct.unpack(">II", boxes.read(tables[b"stsz"].body + 4, 8)))


def fill(track: Track, boxes: Boxes, tables: Mapping[bytes, Box], sizes: Sizes) -> None:
    """All but the delays, which `runs` gives. Raises `TornFile` where the tables do not agree."""
    if sizes.uniform:
        if sizes.uniform * sizes.samples > boxes.length:
            raise limits.Beyond(f"damaged: {sizes.samples} samples of {sizes.uniform} bytes")
        track.sizes = array("I", (sizes.uniform,)) * sizes.samples
    else:
        for piece in _pieces(boxes, tables[b"stsz"], 1, sizes.samples, skip=12):
            track.sizes.extend(words(piece))
    _time(track, runs(boxes, tables[b"stts"]), sizes.samples)
    _place(track, boxes, tables, sizes.samples)
    track.keys = bytearray(sizes.samples) if b"stss" in tables else bytearray(b"\1") * sizes.samples
    for number in _listed(boxes, tables.get(b"stss")):
        track.keys[number - 1] = 1


def runs(boxes: Boxes, table: Box) -> Iterator[tuple[int, int]]:
    """How many samples in a row have which figure."""
    for piece in _pieces(boxes, table, 2, _count(boxes, table)):
        yield from struct.iter_unpack(">II", piece)


def _time(track: Track, lengths: Iterator[tuple[int, int]], count: int) -> None:
    at, longest = 0, limits.LONGEST_S * track.scale
    for many, length in lengths:
        many = min(many, count - len(track.starts))
        after = at + many * length
        if after > longest:
            raise limits.Beyond(f"damaged: its samples last more than {limits.LONGEST_S} s")
        if many:
            track.starts.extend(range(at, after, length) if length else array("Q", (at,)) * many)
        at = after
    track.end = at
    if len(track.starts) != count:
        raise TornFile("its tables do not agree")


def _place(track: Track, boxes: Boxes, tables: Mapping[bytes, Box], count: int) -> None:
    chunks = _listed(boxes, tables[b"stco"]) if b"stco" in tables else _listed(boxes, tables[b"co64"], "Q")
    stsc = tables[b"stsc"]
    rows = (
        row
        for piece in _pieces(boxes, stsc, 3, _count(boxes, stsc))
        for row in struct.iter_unpack(">III", piece)
    )
    run: tuple[int, ...] = next(rows, (1, 0, 1))
    after = next(rows, None)
    done = 0
    for number, offset in enumerate(chunks, 1):
        if after and number >= after[0]:
            run, after = after, next(rows, None)
        many = min(run[1], count - done)
        if many:
            track.offsets.extend(accumulate(track.sizes[done : done + many - 1], initial=offset))
            done += many
        if done == count:
            return
    raise TornFile("its tables do not agree")


def _listed(boxes: Boxes, table: Box | None, code: str = "I") -> Iterator[int]:
    if table is not None:
        for piece in _pieces(boxes, table, 1 if code == "I" else 2, _count(boxes, table)):
            yield from words(piece, code)


def _count(boxes: Boxes, table: Box) -> int:
    return boxes.word(table.body + 4)


def _pieces(boxes: Boxes, table: Box, wide: int, count: int, skip: int = 8) -> Iterator[bytes]:
    """The rows of a table, `wide` words each, some at a time. Raises `TornFile` where it has fewer."""
    at, end = table.body + skip, table.body + skip + 4 * wide * count
    if end > min(table.end, boxes.length):
        raise TornFile("its tables are shorter than they say")
    while at < end:
        piece = boxes.read(at, min(_PIECE, end - at))
        yield piece
        at += len(piece)
