"""The samples of an MP4 file's tracks, in columns. Reads nothing."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path


class NotSimple(ValueError):
    """An undamaged file cannot be joined by copying; the message says why."""


@dataclass(slots=True)
class Track:
    """One track, in columns. `starts`: the samples' decode times, in ticks; `end`: the track's.

    `shift`: seconds that a player adds to these times, for example because sound begins later. The edit list
    shows the track from `begin` to `until` (ticks; None: its end). `header_length`: ticks, as its header
    says.
    """

    kind: bytes = b""
    number: int = 0
    index: int = 0  # among all tracks of the file
    scale: int = 1
    entry: bytes = b""
    header: bytes = b""
    turned: bool = False
    shift: Fraction = Fraction(0)
    offsets: array[int] = field(default_factory=lambda: array("Q"))
    sizes: array[int] = field(default_factory=lambda: array("I"))
    starts: array[int] = field(default_factory=lambda: array("Q"))
    keys: bytearray = field(default_factory=bytearray)
    end: int = 0
    begin: int = 0
    until: int | None = None
    header_length: int | None = None
    delay: int = 0  # composition offset in ticks, if all samples have the same
    is_cut: bool = False  # samples that its owner cut off were removed

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def begin_s(self) -> Fraction:
        return Fraction(self.starts[0], self.scale) + self.shift

    @property
    def length(self) -> int:
        return self.end - self.starts[0]

    @property
    def length_s(self) -> Fraction:
        return Fraction(self.length, self.scale)

    def key_numbers(self) -> Iterator[int]:
        at = self.keys.find(1)
        while at >= 0:
            yield at
            at = self.keys.find(1, at + 1)


@dataclass(frozen=True, slots=True)
class SampleTables:
    """A file's picture track, and its sound track if it has one."""

    path: Path
    picture: Track
    sound: Track | None
