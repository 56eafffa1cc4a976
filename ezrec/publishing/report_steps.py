"""The pulse `tell`: tells the backend how far the bookings have come."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from ezrec.domain.booking import FINISHED
from ezrec.domain.errors import Reject
from ezrec.domain.job import Job, JobOutcome, Kind
from ezrec.domain.ports import Backend, Clock
from ezrec.domain.stages import State
from ezrec.publishing import step_log
from ezrec.publishing.upload import booking_id
from ezrec.runtime.periodic import PeriodicWork
from ezrec.spool.spool import Entry, Spool

_WITH_FOOTAGE = (State.RAW, State.PROCESSING, State.PROCESSED, State.DEFERRED, State.FAILED)
COMPLETED, PROCESSED, _ = FINISHED


@dataclass(slots=True)
class StepReporter(PeriodicWork):
    """Tells the backend how far the bookings have come, beside their work and never in its way.

    What was told stands in the job's outbox; what was refused is tried again hours later.
    """

    backend: Backend
    spool: Spool
    clock: Clock
    log: logging.Logger

    def __call__(self) -> None:
        for state in _WITH_FOOTAGE:
            for entry in self.spool.entries(state):
                self._tell(entry)

    def _tell(self, entry: Entry) -> None:
        wanted, now = _reached(entry.job), self.clock.now()
        if wanted is None or step_log.is_settled(entry, wanted, now):
            return
        try:
            self.backend.advance_status(booking_id(entry.job), wanted)
        except Reject as fault:
            self.log.error("job %s: its status %s was refused: %s; %s", entry.id, wanted, fault, fault.remedy)
            step_log.tell(entry, wanted, now, is_refused=True)
        else:
            step_log.tell(entry, wanted, now)


def _reached(job: Job) -> str | None:
    """The status that a job's record speaks for, before it is uploaded."""
    if job.kind is Kind.LOGS:
        return None
    if job.result is not None:
        return PROCESSED
    return COMPLETED if job.recording in (JobOutcome.RECORDED, JobOutcome.PARTIAL) else None
