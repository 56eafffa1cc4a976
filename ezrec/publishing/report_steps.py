"""The periodic task `tell`: reports to the backend how far the bookings have come."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from ezrec.domain.booking import FINISHED
from ezrec.domain.errors import Reject
from ezrec.domain.job import Job, JobOutcome, Kind
from ezrec.domain.ports import Backend, Clock
from ezrec.domain.stages import State
from ezrec.publishing import step_log
from ezrec.runtime.periodic import PeriodicWork
from ezrec.spool.spool import Entry, Spool

_WITH_FOOTAGE = (State.RAW, State.PROCESSING, State.PROCESSED, State.DEFERRED, State.FAILED)
COMPLETED, PROCESSED, _ = FINISHED


@dataclass(slots=True)
class StepReporter(PeriodicWork):
    """Reports each status once, without waiting for the work or holding it up.

    What was reported stands in the job's step log; what was refused is tried again an hour later.
    """

    backend: Backend
    spool: Spool
    clock: Clock
    log: logging.Logger

    def __call__(self) -> None:
        for state in _WITH_FOOTAGE:
            for entry in self.spool.entries(state):
                self._report(entry)

    def _report(self, entry: Entry) -> None:
        status, now = _reached(entry.job), self.clock.now()
        if status is None or step_log.is_settled(entry, status, now):
            return
        try:
            self.backend.advance_status(step_log.booking_id(entry.job), status)
        except Reject as fault:
            self.log.error("job %s: its status %s was refused: %s; %s", entry.id, status, fault, fault.remedy)
            step_log.record_report(entry, status, now, is_refused=True)
        else:
            step_log.record_report(entry, status, now)


def _reached(job: Job) -> str | None:
    """The status that the job has reached, before its upload."""
    if job.kind is Kind.LOGS:
        return None
    if job.result is not None:
        return PROCESSED
    return COMPLETED if job.recording in (JobOutcome.RECORDED, JobOutcome.PARTIAL) else None
