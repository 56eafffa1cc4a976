"""Values as people read and type them: sizes, times, names; and the terminal they are shown on.

Whatever came from outside passes `printable` before it reaches a terminal.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from datetime import UTC, datetime, tzinfo

from ezrec.domain.durations import span as span

_PIPE_WIDTH = 80
_UNITS = ("B", "kB", "MB", "GB", "TB")
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kKMGT]?B)?")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def printable(text: str) -> str:
    """`text` with everything escaped that a terminal could obey instead of show."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def terminal() -> tuple[int | None, bool]:
    """The width to fit, and whether colours are welcome. A file or a pipe gets 80 columns, or COLUMNS."""
    is_terminal = sys.stdout.isatty()
    colour = is_terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    if is_terminal or os.environ.get("COLUMNS", "").isdigit():
        return max(40, shutil.get_terminal_size().columns), colour
    return _PIPE_WIDTH, colour


def cut(text: str, width: int) -> str:
    """`text` in at most `width` characters."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def size(count: int) -> str:
    """Bytes, with three digits at most: 4.5 GB."""
    number = float(count)
    for unit in _UNITS:
        if number < 999.5 or unit == _UNITS[-1]:
            break
        number /= 1000
    return f"{number:.0f} {unit}" if unit == "B" or number >= 99.5 else f"{number:.1f} {unit}"


def length(seconds: float) -> str:
    """A length of footage, to the tenth of a second: 1:00:05.2."""
    tenths = max(0, round(seconds * 10))
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest // 10:02}.{rest % 10}"


def window(start: datetime, end: datetime, zone: tzinfo, now: datetime, short: bool = False) -> str:
    """A booking's window in local time: `Fri 21 Nov 18:00–19:00`, with the year where it is not this one.

    `short` leaves out the day of the week, and seconds.
    """
    start, end, now = start.astimezone(zone), end.astimezone(zone), now.astimezone(zone)
    year = f" {start.year}" if start.year != now.year else ""
    return f"{_day(start, short)}{year} {_clock(start, short)}–{_clock(end, short)}"


def _day(at: datetime, short: bool) -> str:
    """The date in our own words: not the locale's, and faster than strftime."""
    day = f"{at.day:2} {_MONTHS[at.month]}"
    return day if short else f"{_DAYS[at.weekday()]} {day}"


def _clock(at: datetime, short: bool) -> str:
    clock = f"{at.hour:02}:{at.minute:02}"
    return clock if short or not at.second else f"{clock}:{at.second:02}"


def moment(at: datetime, zone: tzinfo) -> str:
    """An instant in local time, to the second."""
    at = at.astimezone(zone)
    return f"{_day(at, short=False)} {at.hour:02}:{at.minute:02}:{at.second:02}"


def when(at: datetime, now: datetime) -> str:
    """How far away an instant is: `in 40 s`, `now`."""
    left = (at - now).total_seconds()
    return f"in {span(left)}" if left >= 0.5 else "now"


def parse_size(text: str) -> int:
    """`500MB`, `20GB`, or plain bytes; raises ValueError."""
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text[:40]!r} is no size such as 500MB or 20GB")
    return int(float(match[1]) * 1000 ** _UNITS.index((match[2] or "B").replace("K", "k")))


def utc(moment: datetime | None) -> str | None:
    """An instant for machines."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
