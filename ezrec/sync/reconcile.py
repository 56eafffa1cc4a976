"""What an answer of the cloud means for the bookings that are known. Values in, values out.

The cloud is believed slowly where belief would lose a recording, and at once where it would make one:

- a row that is new or changed counts at once;
- a row that is absent is kept, and taken for deleted only when a second complete answer in a row lacks it;
- a row older than what was asked for is not judged at all. A clock that runs in the future asks for
  nothing that we know, and "nothing came" must not cancel the season;
- an answer without any row at all counts only with a witness that the rows would be seen if they were
  there: row-level security tells whoever it shuts out the same empty list, complete and with status 200.

A failed or partial answer never comes here: the backend raises instead.
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
    """What is known now. `rows` is the whole cache; `changed` and `cancelled` are for the spool.

    `absences` goes into the next call.
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

    `since` is the day from which on the answer is complete (None: all of time); rows before it are kept,
    and forgotten when `may_forget` says that the clock is trusted.
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
    """True when the row's day lies before `since`; the day itself belongs to neither side for sure.

    The day of a row that names none in `date` stands in its `start_time`.
    """
    for name in ("date", "start_time"):
        text = row.get(name)
        if isinstance(text, str):
            try:
                return date.fromisoformat(text.strip()[:10]) <= since
            except ValueError:
                continue
    return False
