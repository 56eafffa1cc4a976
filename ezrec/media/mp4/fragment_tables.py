"""Reads the two tables of a fragment's index: `tfhd` (defaults of a track) and `trun` (sample by sample).

Pure: bytes in, values out. Raises `TornFile` or `struct.error` for a table that is shorter than it says.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from typing import NamedTuple

from ezrec.media.mp4.boxes import TornFile
from ezrec.media.mp4.table_reader import words

DURATION, SIZE, FLAGS, DELAY = 0x100, 0x200, 0x400, 0x800  # the columns of a `trun`, in their order
_NOT_A_KEY = 0x0001_0000  # sample_is_non_sync_sample
_WORD, _WORDS = struct.Struct(">I"), struct.Struct(">II")


class SampleDefaults(NamedTuple):
    """The values of samples that have none of their own; `duration` in ticks, `size` in bytes."""

    duration: int = 0
    size: int = 0
    flags: int = 0


class TrackFragment(NamedTuple):
    """A `tfhd`. `base`: where in the file its data offsets count from; None: from the start of its `moof`."""

    base: int | None
    is_relative: bool
    defaults: SampleDefaults


class TrackRun(NamedTuple):
    """A `trun`. `offset`: where its media begins, in bytes after the base; None: after the run before it.

    `table`: the offset of its columns within the body.
    """

    flags: int
    samples: int
    offset: int | None
    first_flags: int | None
    table: int
    columns: dict[int, array[int]]

    def durations(self, defaults: SampleDefaults) -> Sequence[int]:
        return self.columns.get(DURATION) or alike(defaults.duration, self.samples)

    def sizes(self, defaults: SampleDefaults) -> array[int]:
        return self.columns.get(SIZE) or alike(defaults.size, self.samples)

    def keys(self, defaults: SampleDefaults) -> bytearray:
        """1 for each sample at which a decoder can begin, else 0."""
        if FLAGS in self.columns:
            keys = bytearray(not flags & _NOT_A_KEY for flags in self.columns[FLAGS])
        else:
            keys = bytearray((not defaults.flags & _NOT_A_KEY,)) * self.samples
        if self.first_flags is not None:
            keys[0] = not self.first_flags & _NOT_A_KEY
        return keys


def track_number(tfhd: bytes) -> int:
    return int(_WORD.unpack_from(tfhd, 4)[0])


def read_tfhd(body: bytes, trex: SampleDefaults) -> TrackFragment:
    """`trex`: the defaults that the file's header gives for this track."""
    flags, at, base = _WORD.unpack_from(body)[0], 8, None
    if flags & 0x1:
        base, at = struct.unpack_from(">Q", body, at)[0], at + 8
    at += 4 if flags & 0x2 else 0
    values = list(trex)
    for number, bit in enumerate((0x8, 0x10, 0x20)):
        if flags & bit:
            values[number], at = _WORD.unpack_from(body, at)[0], at + 4
    return TrackFragment(base, bool(flags & 0x2_0000), SampleDefaults(*values))


def read_trun(body: bytes) -> TrackRun:
    """The caller has to limit `samples` before it uses columns that the table does not have."""
    flags, count = _WORDS.unpack_from(body)
    at, offset, first = 8, None, None
    if flags & 0x1:
        offset, at = struct.unpack_from(">i", body, at)[0], at + 4
    if flags & 0x4:
        first, at = _WORD.unpack_from(body, at)[0], at + 4
    given = [bit for bit in (DURATION, SIZE, FLAGS, DELAY) if flags & bit]
    step, end = len(given), at + 4 * count * len(given)
    if end > len(body):
        raise TornFile("damaged: a fragment's index is shorter than its content")
    values = words(body[at:end])
    columns = {bit: values[place::step] for place, bit in enumerate(given)}
    return TrackRun(flags, count, offset, first, at, columns)


def alike(word: int, count: int) -> array[int]:
    return array("I", (word,)) * count
