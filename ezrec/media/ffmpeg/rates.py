"""How many frames a second a video has: to the nearest usual rate where there is one. Pure."""

from __future__ import annotations

from fractions import Fraction

_USUAL_RATES = tuple(
    Fraction(*rate)
    for rate in ((24, 1), (25, 1), (30, 1), (50, 1), (60, 1), (24000, 1001), (30000, 1001), (60000, 1001))
)


def rate_of(base: Fraction | None, average: Fraction) -> Fraction:
    """Frames a second, to the nearest usual rate within 1 %, else to a whole number from 1 to 120.

    Dropped frames lower the average, so the base rate is believed where it is a usual one and more than
    half of its frames are there.
    """
    base = base or average
    usual = usual_rate(base)
    if usual and average > base / 2:
        return usual
    return usual_rate(average) or Fraction(min(120, max(1, round(average))))


def usual_rate(rate: Fraction) -> Fraction | None:
    """The usual rate within 1 %, if there is one."""
    nearest = min(_USUAL_RATES, key=lambda usual: abs(usual - rate))
    return nearest if abs(nearest - rate) <= nearest / 100 else None
