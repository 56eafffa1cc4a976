"""The pulse `tell`: tells the backend how far the bookings have come."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from ezrec import durable
from ezrec.domain.booking import FINISHED
from ezrec.domain.errors import Reject
from ezrec.domain.job import Job, JobOutcome, Kind
from ezrec.domain.stages import State
from ezrec.handlers.upload import booking_id
from ezrec.ports import Backend
from ezrec.spool import Entry, Spool

TOLD = "told.json"
_WITH_FOOTAGE = (State.RAW, State.PROCESSING, State.PROCESSED, State.DEFERRED, State.FAILED)
COMPLETED, PROCESSED, _ = FINISHED


@dataclass(slots=True)
class Tell:
    """Tells the backend how far the bookings have come, beside their work and never in its way.

    What was told stands in the entry as `told.json`: the record itself belongs to the job's owner.
    """

    backend: Backend
    spool: Spool
    log: logging.Logger

    def __call__(self) -> None:
        for state in _WITH_FOOTAGE:
            for entry in self.spool.entries(state):
                self._tell(entry)

    def _tell(self, entry: Entry) -> None:
        wanted = _reached(entry.job)
        if wanted is None or _told(entry) == wanted:
            return
        try:
            self.backend.advance_status(booking_id(entry.job), wanted)
        except Reject as fault:
            self.log.error("job %s: its status %s was refused: %s; %s", entry.id, wanted, fault, fault.remedy)
        path = entry.path / TOLD
        with suppress(FileNotFoundError):  # it has moved on: the next look finds it there
            durable.write(path, json.dumps({"status": wanted}).encode())


def _reached(job: Job) -> str | None:
    """The status that a job's record speaks for, before it is uploaded."""
    if job.kind is Kind.LOGS:
        return None
    if job.result is not None:
        return PROCESSED
    return COMPLETED if job.recording in (JobOutcome.RECORDED, JobOutcome.PARTIAL) else None


def _told(entry: Entry) -> str | None:
    try:
        found = msgspec.json.decode((entry.path / TOLD).read_bytes())
    except (OSError, msgspec.DecodeError):
        return None
    return found.get("status") if isinstance(found, dict) else None
