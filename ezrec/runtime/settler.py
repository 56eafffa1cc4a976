"""`Settler`: moves an entry on when its handler has ended: by the table, one rename, then the hooks."""

from __future__ import annotations

import contextlib
import logging
import random
from dataclasses import dataclass, field
from datetime import datetime

from ezrec.domain.job import Job, JobOutcome
from ezrec.domain.outcomes import Crash, Crashed, Outcome
from ezrec.domain.ports import Clock
from ezrec.domain.stages import RECORD, Stage, State, settle
from ezrec.runtime.handling import log_outcome
from ezrec.runtime.hooks import Hooks
from ezrec.spool.spool import Entry, Gone, Spool


@dataclass(slots=True)
class Settler:
    """`keeps`: finished videos stay for a while when their job leaves the spool."""

    stage: Stage
    spool: Spool
    hooks: Hooks
    clock: Clock
    log: logging.Logger
    keeps: bool
    _unsettled: dict[str, tuple[Entry, Outcome]] = field(default_factory=dict)  # worked, but not moved on

    def settled(self, entry: Entry, outcome: Outcome) -> bool:
        """Settle; False when the disk refused it."""
        before = entry.job
        try:
            with contextlib.suppress(Gone):  # somebody else has moved it: then it is theirs
                self.settle(entry, outcome)
        except OSError as fault:
            self.log.error("job %s cannot be moved on, and is taken up again later: %s", entry.id, fault)
            entry.job = before  # decided anew then, and counted once
            self._unsettled[entry.id] = (entry, outcome)
            return False
        self._unsettled.pop(entry.id, None)
        return True

    def settled_again(self, entry: Entry) -> bool:
        """Settle what the disk refused before; False when this entry is none of those. Raises OSError."""
        known = self._unsettled.get(entry.id)
        if known is None or known[0].path != entry.path:
            return False
        with contextlib.suppress(Gone):
            self.settle(*known)
        del self._unsettled[entry.id]
        return True

    def settle(self, entry: Entry, outcome: Outcome) -> None:
        """Raises OSError, and `Gone` when somebody else was faster."""
        state, job = settle(self.stage, entry.job, outcome, self._now(entry.job, outcome), random.random())
        path = entry.path
        if state is State.DONE:
            self.spool.leave(entry, job, keep=self.keeps and job.outcome is JobOutcome.PUBLISHED)
        else:
            path = self.spool.move(entry, state, job).path
        log_outcome(self.log, outcome, job, state)
        self.hooks.announce(state, self.stage.name, path, job)

    def _now(self, job: Job, outcome: Outcome) -> datetime:
        """The time; after a death that of the recording, which goes on whatever the clock was set to."""
        reckoned = None
        if job.reckoning and self.stage is RECORD and isinstance(outcome, Crashed | Crash):
            reckoned = job.reckoning.now(self.clock.boot_id(), self.clock.monotonic())
        return reckoned or self.clock.now()
