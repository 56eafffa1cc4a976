"""Reads the tables of a track in a plain MP4 file, in blocks: no table is ever whole in memory."""

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
_BLOCK = 96 << 10  # a whole number of rows of each table


class Sizes(NamedTuple):
    """How many samples there are, and the size of all; 0: each has its own."""

    uniform: int
    samples: int


def words(data: bytes, code: str = "I") -> array[int]:
    """Big-endian numbers of four bytes, or of eight with the code `Q`."""
    found = array(code, data)
    if sys.byteorder == "little":
        found.byteswap()
    return found


def sizes_of(boxes: Boxes, tables: Mapping[bytes, Box]) -> Sizes:
    if b"stsz" not in tables:
        return Sizes(0, 0)
    return Sizes(*struct.unpack(">II", boxes.read(tables[b"stsz"].body + 4, 8)))


def fill(track: Track, boxes: Boxes, tables: Mapping[bytes, Box], sizes: Sizes) -> None:
    """Fill all columns but the composition offsets. Raises `TornFile` if the tables disagree."""
    if sizes.uniform:
        if sizes.uniform * sizes.samples > boxes.length:
            raise limits.Beyond(f"damaged: {sizes.samples} samples of {sizes.uniform} bytes")
        track.sizes = array("I", (sizes.uniform,)) * sizes.samples
    else:
        for block in _blocks(boxes, tables[b"stsz"], 1, sizes.samples, skip=12):
            track.sizes.extend(words(block))
    _time(track, runs(boxes, tables[b"stts"]), sizes.samples)
    _place(track, boxes, tables, sizes.samples)
    track.keys = bytearray(sizes.samples) if b"stss" in tables else bytearray(b"\1") * sizes.samples
    for number in _listed(boxes, tables.get(b"stss")):
        track.keys[number - 1] = 1


def runs(boxes: Boxes, table: Box) -> Iterator[tuple[int, int]]:
    """The rows of `stts` or `ctts`: how many samples in a row have which value."""
    for block in _blocks(boxes, table, 2, _count(boxes, table)):
        yield from struct.iter_unpack(">II", block)


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
        for block in _blocks(boxes, stsc, 3, _count(boxes, stsc))
        for row in struct.iter_unpack(">III", block)
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
        for block in _blocks(boxes, table, 1 if code == "I" else 2, _count(boxes, table)):
            yield from words(block, code)


def _count(boxes: Boxes, table: Box) -> int:
    return boxes.word(table.body + 4)


def _blocks(boxes: Boxes, table: Box, wide: int, count: int, skip: int = 8) -> Iterator[bytes]:
    """The rows of a table, `wide` words each, some at a time. Raises `TornFile` if some are missing."""
    at, end = table.body + skip, table.body + skip + 4 * wide * count
    if end > min(table.end, boxes.length):
        raise TornFile("its tables are shorter than they say")
    while at < end:
        block = boxes.read(at, min(_BLOCK, end - at))
        yield block
        at += len(block)
