"""The periodic task `tidy`: removes by age what nobody needs any more.

While the clock is not synchronised everything may look old: then only temporary files of killed writers go.
Making room on a short disk is the disk guard's task (`disk_guard.py`), and needs no clock.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from ezrec.domain import disk_policy
from ezrec.domain.disk_policy import Goes
from ezrec.domain.ports import Clock
from ezrec.monitoring import outcomes
from ezrec.runtime.periodic import PeriodicWork
from ezrec.spool import imports, usage
from ezrec.spool.spool import Spool, forget

TRASHED = timedelta(days=30)  # as long as the history: until then `ezrec spool restore` brings a job back


@dataclass(slots=True)
class Retention(PeriodicWork):
    """`keep`: how long videos stay after their upload. `places`: where temporary files may be left.
    `state`: EZREC_STATE, where it is remembered what a person has put away."""

    spool: Spool
    clock: Clock
    log: logging.Logger
    keep: timedelta
    logs: Path
    places: Sequence[Path] = ()
    state: Path | None = None

    def __call__(self) -> None:
        self._sweep()
        if not self.clock.is_synchronised():
            return
        now = self.clock.now()
        gone = forget(self.spool, now, is_synchronised=True)
        if gone:
            self.log.info("%d finished jobs were a month old and are forgotten", len(gone))
        if self.state is not None:
            outcomes.forget(self.state, now)
        limits = {Goes.TRASH: TRASHED, Goes.KEPT: self.keep}
        found = usage.evictables(self.spool, self.logs)
        for one in disk_policy.expired(found, now, limits, is_synchronised=True):
            if usage.remove(self.spool, one):
                self.log.info(
                    "removed %s (%s, %.1f MB): its time is over", one.name, one.goes, one.size / 1e6
                )

    def _sweep(self) -> None:
        """Remove the temporary files that killed writers left."""
        for path in imports.sweep(self.spool):
            self.log.info("removed %s, which a killed process left", path)
        for place in (self.spool.root, *self.places):
            for path in usage.sweep(place, self.clock.now().timestamp()):
                self.log.info("removed %s, which a killed process left", path)
