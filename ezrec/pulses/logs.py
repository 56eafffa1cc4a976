"""The pulse `logs`: collects the logs into a job that is uploaded like any other.

Also the handler of a request for them, which a person drops into `raw/`: packed by the same rules, at once.
"""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass, replace
from pathlib import Path

from ezrec import archive, durable
from ezrec.archive import Pending
from ezrec.domain.errors import Busy, Retry
from ezrec.domain.job import Job, JobOutcome, Kind
from ezrec.domain.names import JobId
from ezrec.domain.outcomes import Closed, Done
from ezrec.domain.stages import State
from ezrec.ports import Clock
from ezrec.settings import Settings
from ezrec.spool import Entry, Spool
from ezrec.survey import last_report
from ezrec.task import Task

_WAITING = (State.PROCESSED, State.DEFERRED)
# An uplink that is measured to be faster than this takes logs without a recording noticing.
FAST_BYTES_S = 1_250_000
_LOCK = "logs"
_LOCK_WAIT_S = 60.0
_EARLY = 0.8  # of the interval: a beat that comes sooner was rung by an event


@dataclass(slots=True)
class CollectLogs:
    """Packs what is new in the log files and in the journal into a job of kind `logs`.

    Nothing is packed while an archive still waits: the next one will hold all of it, and days without a
    network do not fill the disk with archives. Rung early, by a file in LOGS_DIR, it acts only when a log was
    rotated away: that is where the oldest part is lost first.
    """

    spool: Spool
    clock: Clock
    settings: Settings
    log: logging.Logger
    _began: float | None = None

    def __call__(self) -> None:
        now = self.clock.monotonic()
        is_regular = self._began is None or now - self._began >= self.settings.logs_interval_s * _EARLY
        if self._must_wait():
            return
        with self.spool.lock(_LOCK).held(_LOCK_WAIT_S, "collecting logs"):
            sent = archive.read_sent(self.settings.state, self.spool)
            if not is_regular and not archive.is_rotated_and_new(self.settings.logs, sent):
                return
            self._began = now
            self._collect(sent)

    def _must_wait(self) -> bool:
        if any(entry.job.kind is Kind.LOGS for state in _WAITING for entry in self.spool.entries(state)):
            return True
        if self.settings.logs_while_recording or not self.spool.names(State.RECORDING):
            return False
        last = last_report(self.settings.state)
        rate = last.facts.uploads.bytes_a_second if last else None
        return rate is None or rate < FAST_BYTES_S

    def _collect(self, sent: archive.Sent) -> None:
        now = self.clock.now()
        stamp = archive.stamp_after(sent.stamp, now)
        name = f"{stamp}_logs.zip"
        job = Job(JobId(f"logs-{stamp.replace('_', '-')}-{secrets.token_hex(2)}"), Kind.LOGS, now)
        for old in self.spool.root.glob(".*_logs.zip"):
            old.unlink(missing_ok=True)  # of one that was killed
        building = self.spool.root / f".{name}"
        try:
            reached = archive.pack(building, self.settings.logs, sent)
            if reached is None:
                return
            archive.prepare(self.settings.state, Pending(job.id, name, replace(reached, stamp=stamp)))
            self.log.info("logs packed as job %s", job.id)
            self.spool.create(State.PROCESSED, job, (building, name))
            archive.keep(self.settings.state)
        except OSError as fault:  # a full disk, say: nothing counts as sent
            raise Retry(f"the logs cannot be packed: {fault.strerror}") from None
        finally:
            building.unlink(missing_ok=True)


def collect(
    entry: Entry,
    task: Task,
    *,
    spool: Spool,
    clock: Clock,
    settings: Settings,
    log: logging.Logger,
    wait_s: float = _LOCK_WAIT_S,
) -> Done | Closed:
    """The handler of a request for logs: packs them into the job."""
    if list(entry.path.glob("*_logs.zip")):
        return Done()
    try:
        with spool.lock(_LOCK).held(wait_s, "collecting logs", lambda: task.is_stopping):
            return _collect_into(entry.path, entry.id, spool, clock, settings, log)
    except Busy as fault:
        raise Retry(str(fault), blameless=True) from None


def _collect_into(
    place: Path, job_id: str, spool: Spool, clock: Clock, settings: Settings, log: logging.Logger
) -> Done | Closed:
    sent = archive.read_sent(settings.state, spool)
    stamp = archive.stamp_after(sent.stamp, clock.now())
    name = f"{stamp}_logs.zip"
    building = place / f".{name}"
    building.unlink(missing_ok=True)
    try:
        reached = archive.pack(building, settings.logs, sent)
        if reached is None:
            return Closed(JobOutcome.PUBLISHED, "nothing was written since the last archive")
        archive.prepare(settings.state, Pending(job_id, name, replace(reached, stamp=stamp)))
        durable.rename(building, place / name)
        archive.keep(settings.state)
    except OSError as fault:
        raise Retry(f"the logs cannot be packed: {fault.strerror}") from None
    log.info("job %s: logs packed as asked", job_id)
    return Done()
