"""Which frames of a take are encoded to show the logo. Pure: tables in, frame numbers out.

A segment begins at a key frame and has the very frames of the take, one for one. Where the logo is always
shown, all frames are in segments of 30 s; else only the groups of pictures that show it (*smart render*).
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from ezrec.media.ffmpeg.rates import usual_rate
from ezrec.media.ffmpeg.tools import NotApplicable
from ezrec.media.mp4.copyable import StreamInfo
from ezrec.media.mp4.samples import Track

PART_S = 30  # what a kill may cost, and what is left to be done when a recording ends
MOST_PARTS = 800  # each is a file kept open while the video is joined
_MOST_RUNS = 400
_MOST_SHOWN = 0.7  # of all frames; beyond that a full encode costs as much
_RATE_FROM = 300  # frames at the beginning of a take that decide its rate


@dataclass(frozen=True, slots=True)
class LogoSegment:
    """Frames `first` to `last` (not included) of a take, from a key frame on.

    The logo shows from frame `on` to `off` (not included), counted from `first`.
    """

    first: int
    last: int
    on: int
    off: int

    @property
    def count(self) -> int:
        return self.last - self.first


def whole_take(take: StreamInfo, *, growing: bool = False) -> list[LogoSegment]:
    """All frames of a take. The segments of a growing take stay the same while it grows."""
    track, cuts = take.tables.picture, [0]
    for idr in take.idrs:
        if track.starts[idr] - track.starts[cuts[-1]] >= PART_S * track.scale:
            cuts.append(idr)
    if not growing:
        cuts.append(len(track))
    return [LogoSegment(first, last, 0, last - first) for first, last in itertools.pairwise(cuts)]


def shown_in(take: StreamInfo, spans: Sequence[tuple[float, float]]) -> list[LogoSegment]:
    """The groups of pictures that show the logo in these spans, in seconds of this take."""
    track, found = take.tables.picture, list[LogoSegment]()
    begins = [Fraction(start - track.starts[0], track.scale) for start in track.starts]
    for begin, end in spans:
        on, off = bisect.bisect_left(begins, begin), bisect.bisect_left(begins, end)
        if on >= off:
            continue
        first = take.idrs[bisect.bisect_right(take.idrs, on) - 1]
        after = bisect.bisect_left(take.idrs, off)
        last = take.idrs[after] if after < len(take.idrs) else len(track)
        if found and first < found[-1].last:
            raise NotApplicable("the logo comes back within one group of pictures")
        found.append(LogoSegment(first, last, on - first, off - first))
    return found


def plan(takes: Sequence[StreamInfo], spans: Sequence[tuple[float, float]] | None) -> list[list[LogoSegment]]:
    """The segments of each take. `spans`: seconds of all takes together; None: always.

    Raises `NotApplicable` for too many segments.
    """
    if spans is None:
        planned = [whole_take(take) for take in takes]
        if sum(map(len, planned)) > MOST_PARTS:
            raise NotApplicable(f"more than {MOST_PARTS} parts of {PART_S} s")
        return planned
    planned, begin = [], 0.0
    for take in takes:
        length = float(take.tables.picture.length_s)
        own = [(on - begin, off - begin) for on, off in spans]
        planned.append(shown_in(take, [(max(0.0, on), off) for on, off in own if off > 0 and on < length]))
        begin += length
    shown = sum(segment.count for segments in planned for segment in segments)
    total = sum(len(take.tables.picture) for take in takes)
    if shown > total * _MOST_SHOWN:
        raise NotApplicable(f"the logo is wanted in {shown} of {total} frames")
    if sum(map(len, planned)) > _MOST_RUNS:
        raise NotApplicable(f"the logo comes more than {_MOST_RUNS} times")
    return planned


def rate_of(track: Track) -> Fraction:
    """Frames a second, by the beginning alone: it must not change while the take grows."""
    starts = track.starts[: _RATE_FROM + 1]
    lengths = sorted(after - before for before, after in itertools.pairwise(starts))
    if not lengths:
        raise NotApplicable("a take of one frame")
    rate = Fraction(track.scale, max(1, lengths[len(lengths) // 2]))
    return usual_rate(rate) or Fraction(min(120, max(1, round(rate))))
