"""Lengths of time as people write them, in settings and on the command line."""

from __future__ import annotations

import re
from datetime import timedelta

_SPAN = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_duration(text: str) -> timedelta:
    """`90s`, `30m`, `12h`, `2d`, `1w`; raises ValueError."""
    match = _SPAN.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text[:40]!r} is no length of time such as 90s, 30m, 12h, 2d or 1w")
    return timedelta(seconds=float(match[1]) * _SECONDS[match[2]])


def format_duration(span: timedelta) -> str:
    """The same, to be read again: in the largest unit that leaves no rest."""
    seconds = span.total_seconds()
    unit = next((unit for unit in "wdhm" if seconds and seconds % _SECONDS[unit] == 0), "s")
    return f"{seconds / _SECONDS[unit]:g}{unit}" if seconds else "0"
