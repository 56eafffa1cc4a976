"""Lengths of time as people write them, in settings and on the command line."""

from __future__ import annotations

import re
from datetime import timedelta

_SECONDS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_PART = r"(?:(?P<{0}>\d{{1,8}}(?:\.\d{{1,6}})?){0})?"
_DURATION = re.compile("".join(_PART.format(unit) for unit in _SECONDS), re.ASCII)


def parse_duration(text: str) -> timedelta:
    """`90s`, `30m`, `1h30m`, `2d`, `1w`; raises ValueError. A bare number is refused: of what unit is it?"""
    match = _DURATION.fullmatch(text.strip().lower())
    parts = {unit: float(value) for unit, value in match.groupdict().items() if value} if match else {}
    if not parts:
        raise ValueError(f"{text[:40]!r} is not a duration such as 90s, 30m, 1h30m, 2d or 1w")
    return timedelta(seconds=sum(value * _SECONDS[unit] for unit, value in parts.items()))


def format_duration(span: timedelta) -> str:
    """The same, to be read again: in the largest unit that leaves no rest."""
    seconds = span.total_seconds()
    unit = next((unit for unit in "wdhm" if seconds and seconds % _SECONDS[unit] == 0), "s")
    return f"{seconds / _SECONDS[unit]:g}{unit}" if seconds else "0"
