"""Draws `ezrec spool ls`: rows as plain lines that fit the terminal. Pure.

One line for each job; below it, where there is something to say, why it waits and the command that helps.
On a narrow terminal ids are cut to the shortest beginning that names one job only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, tzinfo

import click

from ezrec.cli.drawing import GAP, column_widths, columns, folded
from ezrec.cli.formatting import printable, size, span, window
from ezrec.cli.job_list import Row
from ezrec.domain.job import Kind
from ezrec.spool.lookup import DONE, IN_SPOOL, TRASH

HEADINGS = ("ID", "STATE", "BOOKING", "SIZE", "AGE", "TRY", "NEXT")
_RIGHT = (3, 4, 5)  # columns of numbers
_SHORTEST = 8  # characters of an id: enough to tell two jobs apart at a glance
_INDENT = 4
_WIDE = 110  # from here on there is room for the day of the week
_NO_JOB = {"loose": "loose", "unreadable": "broken"}  # in place of an id, as short as one
_COLOURS = {
    "recording": "red", "processing": "cyan", "deferred": "yellow", "failed": "bright_red", DONE: "green",
}  # fmt: skip


def draw(
    rows: Sequence[Row],
    ids: Collection[str],
    now: datetime,
    zone: tzinfo,
    width: int | None,
    colour: bool = False,
) -> list[str]:
    """The lines of the listing. `ids`: all that exist, for unique beginnings; `width` None: no limit."""
    if not rows:
        return []
    rows = sorted(rows, key=_is_archive)
    names = _short_ids(rows, ids, width)
    cells = [HEADINGS, *(_cells(row, names, now, zone, width) for row in rows)]
    widths = column_widths(cells)
    if width is not None:
        widths[0] = min(widths[0], max(_SHORTEST, width - sum(widths[1:]) - len(GAP) * (len(widths) - 1)))
    is_long = [len(cell[0]) > widths[0] for cell in cells]  # no shorter beginning tells it apart from others
    heading, *drawn = columns(
        [("", *cell[1:]) if long else cell for cell, long in zip(cells, is_long, strict=True)], widths, _RIGHT
    )
    lines = [heading]
    state_at = widths[0] + len(GAP)
    is_apart = False
    for row, cell, long, line in zip(rows, cells[1:], is_long[1:], drawn, strict=True):
        if _is_archive(row) and not is_apart:
            lines += ["", "Archives of this box's logs:"]
            is_apart = True
        if long:
            lines.append(cell[0])
        lines.append(_coloured(line, state_at, row) if colour else line)
        if row.next_step.why:
            lines += _remarks(row, width, colour)
    return lines


def _is_archive(row: Row) -> bool:
    return row.job is not None and row.job.kind is Kind.LOGS


def _cells(
    row: Row, names: dict[str, str], now: datetime, zone: tzinfo, width: int | None
) -> tuple[str, ...]:
    booking = row.job.booking if row.job else None
    narrow = width is not None and width < _WIDE
    when = window(booking.start, booking.end, zone, now, short=narrow) if booking else "–"
    return (
        names[row.name] if row.job else f"({_NO_JOB[row.kind]})",
        row.place,
        when,
        "–" if row.size is None else size(row.size),
        "–" if row.since is None else span((now - row.since).total_seconds()),
        str(row.tries or "–"),
        row.next_step.shown,
    )


def _short_ids(rows: Sequence[Row], ids: Collection[str], width: int | None) -> dict[str, str]:
    """Each job's id: whole where there is room, else its shortest unique beginning."""
    names = [row.name for row in rows if row.job is not None]
    longest = max(map(len, names), default=0)
    if width is None or longest <= _SHORTEST or width >= _WIDE - _SHORTEST + longest:
        return {name: name for name in names}
    needed = _unique_lengths(ids)
    return {name: name[: max(_SHORTEST, needed.get(name, len(name)))] for name in names}


def _unique_lengths(ids: Collection[str]) -> dict[str, int]:
    """How many characters tell each id from all others; comparing sorted neighbours is enough."""
    needed: dict[str, int] = {}
    before = ""
    for name in sorted(ids):
        shared = _shared(before, name)
        if before:
            needed[before] = max(needed[before], shared + 1)
        needed[name] = shared + 1
        before = name
    return needed


def _shared(one: str, other: str) -> int:
    n = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        n += 1
    return n


def _coloured(line: str, state_at: int, row: Row) -> str:
    colour = _COLOURS.get(row.place)
    if colour is None:
        return line
    end = state_at + len(row.place)
    return line[:state_at] + click.style(row.place, fg=colour, bold=row.place == "recording") + line[end:]


def _remarks(row: Row, width: int | None, colour: bool) -> list[str]:
    lines = folded(printable(row.next_step.why), width, indent=_INDENT)
    if not row.next_step.cure:
        return lines
    cure = folded("→ " + printable(row.next_step.cure), width, "  ", _INDENT)
    return lines + ([click.style(line, bold=True) for line in cure] if colour else cure)


def footer(
    rows: Sequence[Row], facts: Iterable[tuple[str, bool]], width: int | None, colour: bool
) -> list[str]:
    """How many, and the facts `(text, is it good?)` about the machine, folded between facts."""
    counts = Counter(row.place if row.job else _NO_JOB[row.kind] for row in rows)
    words = (*IN_SPOOL, DONE, TRASH, *_NO_JOB.values())
    named = ", ".join(f"{counts[word]} {word}" for word in words if counts[word])
    jobs = sum(row.job is not None for row in rows)
    waiting = sum(row.next_step.needs_you for row in rows)
    parts = [(f"{jobs} job{'' if jobs == 1 else 's'}: {named}" if rows else "no jobs", True)]
    if waiting:
        parts.append((f"{waiting} need{'s' if waiting == 1 else ''} you", False))
    return ["", *_joined(parts, width, colour), *_joined(facts, width, colour)]


def _joined(parts: Iterable[tuple[str, bool]], width: int | None, colour: bool) -> list[str]:
    mark: Callable[[str, bool], str] = (
        (lambda text, good: click.style(text, fg=None if good else "bright_red"))
        if colour
        else (lambda text, good: text)
    )
    lines: list[str] = []
    used = 0
    for text, good in parts:
        text = printable(text)
        if lines and (width is None or used + 3 + len(text) <= width):
            lines[-1] += " · " + mark(text, good)
            used += 3 + len(text)
        else:
            *first, last = folded(text, width, "  ")
            lines += [mark(line, good) for line in (*first, last)]
            used = len(last)
    return lines
