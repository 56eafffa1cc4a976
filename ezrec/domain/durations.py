"""Lengths of time as people write and read them, in settings and on the command line."""

from __future__ import annotations

import re
from datetime import timedelta

_SECONDS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_DURATION = re.compile(
    "".join(rf"(?:(?P<{unit}>\d{{1,8}}(?:\.\d{{1,6}})?){unit})?" for unit in _SECONDS), re.ASCII
)


def parse_duration(text: str) -> timedelta:
    """Reads `90s`, `5m`, `1h30m`, `2d`, `1w`. Raises ValueError, also for a number without a unit."""
    match = _DURATION.fullmatch(text.strip().lower())
    parts = {unit: float(count) for unit, count in match.groupdict().items() if count} if match else {}
    try:
        if parts:
            return timedelta(seconds=sum(count * _SECONDS[unit] for unit, count in parts.items()))
    except OverflowError:
        pass
    raise ValueError(f"{text[:40]!r} is not a duration such as 90s, 30m, 1h30m, 2d or 1w")


def format_duration(span: timedelta) -> str:
    """Writes what `parse_duration` reads, in the largest unit that is exact."""
    seconds = span.total_seconds()
    unit = next((unit for unit in "wdhm" if seconds and seconds % _SECONDS[unit] == 0), "s")
    return f"{seconds / _SECONDS[unit]:g}{unit}" if seconds else "0"


def span(seconds: float) -> str:
    """Seconds for people, rounded: 43 min, 2 h 05, 3 d."""
    whole = max(0, round(seconds))
    if whole < 100:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 100:
        return f"{minutes} min"
    if minutes < 600:
        return f"{minutes // 60} h {minutes % 60:02}"
    hours = round(whole / 3600)
    return f"{hours} h" if hours < 48 else f"{round(hours / 24)} d"
