"""What takes hold of a window: the gaps between them, and the share that is covered. Values only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ezrec.domain.booking import Window
from ezrec.domain.job import Take

UNNAMED_S = 0.5  # less is the distance of two frames and a key frame, not a hole
MOST_NAMED = 200  # in one list: a slow card can make thousands, and a record has to stay small


@dataclass(frozen=True, slots=True)
class Missing:
    """What is missing in a window: the longest gaps by name, the number of all, the seconds of all."""

    gaps: tuple[Window, ...]
    count: int
    seconds: float


def missing_in(window: Window, takes: Sequence[Take]) -> Missing:
    """What is missing. Tiny gaps count as seconds alone."""
    gaps = gaps_in(window, takes)
    named = [gap for gap in gaps if gap.length_s > UNNAMED_S]
    seconds = sum(gap.length_s for gap in gaps) + sum(take.unlisted_s for take in takes)
    return Missing(
        _longest(named), len(named) + sum(take.unlisted for take in takes), min(seconds, window.length_s)
    )


def bounded(take: Take) -> Take:
    """The take with its longest holes alone, and of the others their number and sum."""
    if len(take.holes) <= MOST_NAMED:
        return take
    kept = _longest(take.holes)
    others = set(take.holes) - set(kept)
    return replace(
        take,
        holes=kept,
        unlisted=take.unlisted + sum(hole.length_s > UNNAMED_S for hole in others),
        unlisted_s=round(take.unlisted_s + sum(hole.length_s for hole in others), 3),
    )


def _longest(windows: Sequence[Window]) -> tuple[Window, ...]:
    """In the order of time."""
    if len(windows) <= MOST_NAMED:
        return tuple(windows)
    longest = sorted(windows, key=lambda one: one.length_s, reverse=True)[:MOST_NAMED]
    return tuple(sorted(longest, key=lambda one: one.start))


def gaps_in(window: Window, takes: Iterable[Take], least_s: float = 0.0) -> tuple[Window, ...]:
    """The parts of `window` that no take holds and that last longer than `least_s` seconds."""
    gaps, reached = [], window.start
    for piece in sorted((piece for take in takes for piece in _pieces(take)), key=lambda piece: piece.start):
        begins = min(piece.start, window.end)
        if begins > reached:
            gaps.append(Window(reached, begins))
        reached = max(reached, piece.end)
    if reached < window.end:
        gaps.append(Window(reached, window.end))
    return tuple(gap for gap in gaps if gap.length_s > least_s)


def _pieces(take: Take) -> Iterator[Window]:
    """What a take holds between its holes."""
    begins = take.started
    for hole in take.holes:
        yield Window(begins, hole.start)
        begins = hole.end
    yield Window(begins, take.ended)


def share_covered(window: Window, takes: Sequence[Take]) -> float:
    """The part of `window` that takes hold, 0 to 1."""
    missing_s = missing_in(window, takes).seconds
    return max(0.0, 1 - missing_s / window.length_s) if window.length_s > 0 else 0.0


def footage_s(takes: Iterable[Take]) -> float:
    """Seconds in all takes together."""
    return sum(take.duration_s for take in takes)


def first_start(takes: Iterable[Take]) -> datetime | None:
    """When the first take began."""
    return min((take.started for take in takes), default=None)
