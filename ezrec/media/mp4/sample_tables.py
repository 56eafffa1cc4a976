"""What is known of an MP4 file's tracks: their samples, in columns. Reads nothing."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path


class NotSimple(ValueError):
    """An undamaged file that cannot be joined by copying; the message says why."""


@dataclass(slots=True)
class Track:
    """One track in columns. `starts` are decode times in ticks; the track ends at `end`.

    `shift` is what a player adds to those times, in seconds: files say there that sound begins later.
    It is shown from `begin` on, and up to `until` where that is known, in ticks: the rest was cut off by its
    owner. `said`: how long the track is by its header, in ticks.
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
    said: int | None = None
    delay: int = 0  # ticks from a sample's decoding to its showing, where that is the same for all
    is_cut: bool = False  # what its owner cut off is no longer among the samples

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
    """A file's picture, and its sound where it has one."""

    path: Path
    picture: Track
    sound: Track | None
