"""Compares the cloud's answer with the bookings that are known. Values in, values out.

A row that adds a recording counts at once; a missing row, which would lose one, counts slowly:

- a new or changed row counts at once;
- a missing row is kept, and counts as deleted only when two complete answers in a row lack it;
- a row that is older than the days that were asked for is not judged. With a clock that is years ahead, no
  known row would be asked for, and the empty answer must not cancel the season;
- an empty answer counts only with a witness, something that shows that rows would be visible: row-level
  security gives a device without access the same empty list, with status 200.

Failed and partial answers never come here: the backend raises instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

Row = Mapping[str, Any]
ANSWERS = 2  # complete answers in a row that must lack a booking


@dataclass(frozen=True, slots=True)
class Reconciled:
    """`rows`: the whole cache. `changed` and `cancelled`: for the spool. `absences`: for the next call, by id
    how many answers in a row lacked it.
    """

    rows: tuple[Row, ...]
    changed: tuple[Row, ...] = ()
    cancelled: tuple[Row, ...] = ()
    absences: Mapping[str, int] = field(default_factory=dict)


def needs_witness(known: Sequence[Row], fetched: Sequence[Row], *, since: date | None = None) -> bool:
    """True when the answer is empty and contradicts what is known."""
    return not fetched and any(since is None or not _is_before(row, since) for row in known)


def reconcile(
    known: Sequence[Row],
    fetched: Sequence[Row],
    absences: Mapping[str, int],
    *,
    since: date | None = None,
    may_forget: bool = False,
) -> Reconciled:
    """Compare what is known with a complete answer.

    `since`: the first day of which the answer has all rows (None: of all days). Rows of earlier days are
    kept, or with `may_forget` dropped.
    """
    former = {_id(row): row for row in known}
    now = {_id(row): row for row in fetched}
    rows: list[Row] = list(now.values())
    cancelled: list[Row] = []
    missing: dict[str, int] = {}
    for booking_id, row in former.items():
        if booking_id in now:
            continue
        if since is not None and _is_before(row, since):
            if not may_forget:
                rows.append(row)
            continue
        times = absences.get(booking_id, 0) + 1
        if times >= ANSWERS:
            cancelled.append({**row, "status": "cancelled"})
        else:
            missing[booking_id] = times
            rows.append(row)
    changed = tuple(row for booking_id, row in now.items() if former.get(booking_id) != row)
    return Reconciled(tuple(rows), changed, tuple(cancelled), missing)


def _id(row: Row) -> str:
    return str(row.get("id"))


def _is_before(row: Row, since: date) -> bool:
    """True when the row's day, in `date` or else `start_time`, is `since` or earlier: of `since` itself the
    answer may lack rows.
    """
    for name in ("date", "start_time"):
        text = row.get(name)
        if isinstance(text, str):
            try:
                return date.fromisoformat(text.strip()[:10]) <= since
            except ValueError:
                continue
    return False
