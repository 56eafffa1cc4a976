"""What a measure returns, and how it is written down. Measures nothing."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Result:
    """One measure beside its floor. `is_met`: whether the goal, as `goal` says it, was reached."""

    what: str
    found: str
    floor: str
    ratio: float
    goal: str
    is_met: bool
    how: str

    def row(self) -> str:
        met = "yes" if self.is_met else "**no**"
        return f"| {self.what} | {self.found} | {self.floor} | {self.ratio:.2f} | {self.goal} | {met} |"


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def percentile(values: Sequence[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def times(count: int, size: float, least: int = 1) -> int:
    """How often, for a measure of which only the part `size` is wanted."""
    return max(least, round(count * size))
