"""The upload policy: no uploads outside their hours and, if so set, none during a recording.

It is checked before an upload and between its chunks. The retry stage asks `ended_waits` which waiting jobs
may go on.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from ezrec.domain import json_decode
from ezrec.domain.errors import Retry, Stopped
from ezrec.domain.job import Job
from ezrec.domain.ports import Clock
from ezrec.domain.stages import State
from ezrec.domain.upload_schedule import UPLOAD_STATE, Hours, UploadDeadline, Wait, hold, upload_order
from ezrec.spool.spool import Entry, Spool


@dataclass(slots=True)
class UploadPolicy:
    """`is_offline`: True when the last try did not reach the cloud. `rate`: measured bytes a second of
    uploads, None before the first.
    """

    spool: Spool
    clock: Clock
    zone: tzinfo
    hours: Hours
    while_recording: bool
    is_offline: Callable[[], bool]
    rate: Callable[[], float | None] = lambda: None
    _seen: int = 0

    def check(self, job: Job) -> None:
        """Raise `Retry` (blameless) while uploads have to wait, and `Stopped` when a job has come that goes
        first: the worker then takes that one, and what was sent is kept.
        """
        self._check_time()
        directory = self.spool.directory(State.PROCESSED)
        stamp = os.stat(directory).st_mtime_ns  # changes with every arrival, and not with our chunks
        if stamp == self._seen:
            return
        self._seen = stamp
        mine = self.order(job)
        for entry in self.spool.entries(State.PROCESSED):
            if entry.id != job.id and not entry.job.held and self.order(entry.job) < mine:
                raise Stopped(f"{entry.id} goes first")

    def _check_time(self) -> None:
        now = self.clock.now()
        found = hold(
            now,
            self.zone,
            self.hours,
            while_recording=self.while_recording,
            recorded_until=None if self.while_recording else self._recorded_until(),
        )
        if found is not None:
            wait_s = (found.until - now).total_seconds()
            raise Retry(found.reason, wait_s, blameless=True, waits_for=found.what)

    def _recorded_until(self) -> datetime | None:
        """When the last recording in hand will end."""
        jobs = [entry.job for entry in self.spool.entries(State.RECORDING)]
        return max((job.booking.end if job.booking else job.created for job in jobs), default=None)

    def order(self, job: Job) -> Any:
        """The sort key of uploads."""
        return upload_order(job, self.urgent_until(job))

    def urgent_until(self, job: Job) -> datetime | None:
        """When a started upload expires, if that is so soon that no other may go first."""
        path = self.spool.directory(State.PROCESSED) / job.id
        with suppress(OSError, ValueError):
            deadline = json_decode.decode((path / UPLOAD_STATE).read_bytes(), UploadDeadline)
            part = Entry(path, job).progress().get("part")
            sent = float(part) if isinstance(part, int | float) else 0.0
            if deadline.is_urgent(self.clock.now(), sent, self.rate()):
                return deadline.expires
        return None

    def ended_waits(self) -> frozenset[str]:
        """What deferred jobs need no longer wait for."""
        waits = {
            Wait.NETWORK: not self.is_offline(),
            Wait.HOURS: self.hours.are_open(self.clock.now(), self.zone),
            Wait.RECORDING: self.while_recording or not self.spool.names(State.RECORDING),
        }
        return frozenset(what for what, is_over in waits.items() if is_over)
