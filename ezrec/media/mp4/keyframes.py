"""Where in a video of any codec a decoder may begin, according to the video's own tables.

For videos that are decoded, not copied: B-frames and unknown codecs are accepted. Reads no media data. The
file may be wrong: whoever cuts at these key frames has to check the result.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from operator import add
from pathlib import Path

from ezrec.media.mp4 import edit_lists
from ezrec.media.mp4.boxes import TornFile
from ezrec.media.mp4.samples import NotSimple, Reader, Track, signed
from ezrec.system import plain_files


@dataclass(frozen=True, slots=True)
class Keys:
    """The samples of a picture track at which a decoder may begin, and when each is shown.

    `shown`: seconds after the first picture that is shown.
    """

    track: Track
    numbers: tuple[int, ...]
    shown: tuple[Fraction, ...]


@dataclass(frozen=True, slots=True)
class KeyframeTables:
    """All tracks of a file by their index, and each sample's composition offset in ticks (`delays`)."""

    tracks: dict[int, Track]
    delays: dict[int, array[int]]

    def shown(self, index: int) -> int:
        """How many samples of a track are shown; its owner cut off the others."""
        track = self._track(index)
        times = array("q", map(add, track.starts, self._delayed(track)))
        shown = sum(edit_lists.is_shown(track, time) for time in times)
        last = max(times, default=0)
        is_last_left_out = shown and track.until == last and edit_lists.has_whole_end(track, last)
        return shown + bool(is_last_left_out)

    def is_cut(self, *indexes: int) -> bool:
        """True when the owner cut something off one of these tracks."""
        tracks = [self._track(index) for index in indexes]
        return any(
            edit_lists.is_trimmed(track) if track.kind == b"soun" else self.shown(track.index) < len(track)
            for track in tracks
        )

    def keys(self, index: int) -> Keys:
        track = self._track(index)
        if track.kind != b"vide":
            raise NotSimple("its index does not describe its picture")
        delays = self._delayed(track)
        zero = track.shift * track.scale
        begin = min(
            (
                time
                for start, delay in zip(track.starts, delays, strict=True)
                if (time := start + delay) + zero >= 0
            ),
            default=0,
        )
        numbers = tuple(track.key_numbers())
        shown = (Fraction(track.starts[number] + delays[number] - begin, track.scale) for number in numbers)
        return Keys(track, numbers, tuple(shown))

    def _track(self, index: int) -> Track:
        track = self.tracks.get(index)
        if track is None or not len(track):
            raise NotSimple("its index does not describe its picture")
        return track

    def _delayed(self, track: Track) -> array[int]:
        delays = self.delays[track.number] or array("q", (0,)) * len(track)
        if len(delays) != len(track):
            raise TornFile("its tables do not agree")
        return delays


def read(path: Path) -> KeyframeTables:
    """Raises `ValueError`, with one line that says why, if the file's tables are of no use, and `OSError`."""
    with plain_files.opened(path, shared=True) as file:
        reader = _Reader(file)
        try:
            tracks = reader.tracks()
        except (struct.error, LookupError, OverflowError, ZeroDivisionError, StopIteration):
            raise TornFile("its index makes no sense") from None
    return KeyframeTables(
        {track.index: track for track in tracks}, {track.number: reader.of(track) for track in tracks}
    )


class _Reader(Reader):
    """Keeps the composition offset of each sample; its base class wants them all equal."""

    _known: dict[int, array[int]] | None = None

    def of(self, track: Track) -> array[int]:
        if self._known is None:
            self._known = {}
        return self._known.setdefault(track.number, array("q"))

    def _delay(self, track: Track, runs: Iterable[tuple[int, int]]) -> None:
        delays = self.of(track)
        for count, delay in runs:
            count = min(count, len(track.starts) - len(delays))
            delays.extend(array("q", (signed(delay),)) * count)

    def _describe(self, track: Track, stsd: bytes) -> None:
        """Samples that are decoded may have several descriptions."""
