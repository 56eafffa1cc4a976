"""`ezrec spool purge`: chooses what may be removed, lists it and removes it, whether EZREC runs or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ezrec.cli.formatting import printable, size, span, utc
from ezrec.domain import disk_policy
from ezrec.domain.disk_policy import Evictable, Goes
from ezrec.domain.errors import Refused
from ezrec.domain.ports import Clock
from ezrec.spool import usage
from ezrec.spool.spool import Spool


@dataclass(frozen=True, slots=True)
class Plan:
    """What would go, in order; how much is free now, and how much is wanted."""

    chosen: tuple[Evictable, ...]
    free: int
    wanted: int | None

    @property
    def is_enough(self) -> bool:
        return self.wanted is None or self.free + sum(one.size for one in self.chosen) >= self.wanted


def plan(spool: Spool, logs: Path, clock: Clock, older: timedelta | None, until_free: int | None) -> Plan:
    """Choose. Raises `Refused` when the age of things cannot be known."""
    found = usage.evictables(spool, logs)
    if older is not None:
        if not clock.is_synchronised():
            raise Refused(
                "the clock is not synchronised: nothing can be judged by its age",
                "leave --older out, or wait for the clock: ezrec doctor",
            )
        found = disk_policy.expired(found, clock.now(), dict.fromkeys(Goes, older), is_synchronised=True)
    free = usage.space(spool.root).free
    if until_free is not None:
        found = disk_policy.until(found, until_free - free)
    return Plan(tuple(found), free, until_free)


def carry_out(spool: Spool, made: Plan) -> list[Evictable]:
    """Remove what was chosen until enough is free; returns what was removed."""
    gone = []
    for one in made.chosen:
        if made.wanted is not None and usage.space(spool.root).free >= made.wanted:
            break
        if usage.remove(spool, one):
            gone.append(one)
    return gone


def draw(made: Plan, gone: Sequence[Evictable] | None, now: datetime) -> list[str]:
    """The plan, or with `gone` what became of it."""
    shown = made.chosen if gone is None else gone
    lines = [_line(one, now) for one in shown]
    total = size(sum(one.size for one in shown))
    if gone is not None:
        lines.append(f"{len(gone)} removed, {total}." if gone else "Nothing was removed.")
    elif not shown:
        lines.append(
            f"Nothing has to go: {size(made.free)} are free." if made.is_enough else "Nothing may be removed."
        )
    else:
        lines.append(f"{len(shown)} would be removed, {total}; to do it, add --yes.")
    if not made.is_enough:
        lines.append(f"That is not enough for {size(made.wanted or 0)}: all else here was never uploaded.")
    return lines


def _line(one: Evictable, now: datetime) -> str:
    age = span((now - one.since).total_seconds())
    return f"{one.goes:<9}{size(one.size):>8}  {age:>7}  {printable(one.name)}"


def as_json(made: Plan, gone: Sequence[Evictable], now: datetime) -> dict[str, Any]:
    """For machines; times in UTC, sizes in bytes."""
    went = {one.path for one in gone}
    return {
        "free": made.free,
        "wanted": made.wanted,
        "is_enough": made.is_enough,
        "items": [
            {
                "kind": str(one.goes),
                "name": one.name,
                "size": one.size,
                "since": utc(one.since),
                "removed": one.path in went,
            }
            for one in made.chosen
        ],
    }
