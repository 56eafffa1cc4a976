"""What takes hold of a window: the gaps between them, and the share that is covered. Values only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from ezrec.domain.booking import Window
from ezrec.domain.job import Take


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


def share_covered(window: Window, takes: Iterable[Take]) -> float:
    """The part of `window` that takes hold, 0 to 1."""
    missing_s = sum(gap.length_s for gap in gaps_in(window, takes))
    return max(0.0, 1 - missing_s / window.length_s) if window.length_s > 0 else 0.0


def footage_s(takes: Iterable[Take]) -> float:
    """Seconds in all takes together."""
    return sum(take.duration_s for take in takes)


def first_start(takes: Iterable[Take]) -> datetime | None:
    """When the first take began."""
    return min((take.started for take in takes), default=None)
