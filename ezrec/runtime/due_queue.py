"""What is due in a stage's directory, and when the next entry will be."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime

from ezrec.domain.ports import Clock
from ezrec.domain.stages import ROLES, Role, Stage
from ezrec.spool.listing import Listing
from ezrec.spool.spool import Entry, Spool, UnknownFile


@dataclass(slots=True)
class DueQueue:
    """`unknown`: the loose files that stood beside the entries at the last look."""

    stage: Stage
    spool: Spool
    clock: Clock
    unknown: list[UnknownFile] = field(default_factory=list)
    _listing: Listing = field(init=False)
    _rest_until: dict[str, float] = field(default_factory=dict)  # monotonic, by the id of the job

    def __post_init__(self) -> None:
        self._listing = Listing(self.spool, self.stage.takes_from)

    def let_rest(self, job_id: str, seconds: float) -> None:
        """Leave a job alone that could not be moved."""
        self._rest_until[job_id] = self.clock.monotonic() + seconds

    def look(
        self, is_free: Callable[[Entry], bool], come: Callable[[], Collection[str]]
    ) -> tuple[list[Entry], float | None]:
        """The free entries that are due now, and in how many seconds the next will be; None: none waits.

        `come` tells which of the things that jobs wait for are there. Raises OSError.
        """
        entries, self.unknown = self._listing.look()
        now, tick = self.clock.now(), self.clock.monotonic()
        self._rest_until = {name: until for name, until in self._rest_until.items() if until > tick}
        free = [
            entry
            for entry in entries
            if is_free(entry) and entry.id not in self._rest_until and not entry.job.held
        ]
        due, soon = self._split(free, now, come)
        soon += [until - tick for until in self._rest_until.values()]
        return due, min((s for s in soon if s < math.inf), default=None)

    def _split(
        self, free: list[Entry], now: datetime, come: Callable[[], Collection[str]]
    ) -> tuple[list[Entry], list[float]]:
        """Those that are due, and in how many seconds each of the others is."""
        if ROLES[self.stage.takes_from][0] is Role.RUN_QUEUE:
            return free, []  # what must wait lies elsewhere; a time in the record is left from before
        arrived = come() if any(entry.job.waits_for for entry in free) else ()
        due = [entry for entry in free if entry.job.is_due(now) or entry.job.waits_for in arrived]
        waits = [moment for entry in free if (moment := entry.job.waits_until(now)) and moment > now]
        return due, [(moment - now).total_seconds() for moment in waits]
