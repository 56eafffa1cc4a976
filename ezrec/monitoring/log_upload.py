"""The periodic task `logs`: packs the logs into a job that is uploaded like any other.

Also the handler of a person's request: an empty file named `logs` in `raw/` has them packed at once.

With one unit for each part, the unit that works on `raw/` may not read the journal, because it reads hostile
files. There the periodic task, which may, answers the request:

1. the handler marks the job with the file `asked`, touches `logs.asked` in EZREC_STATE, and lets the job wait
2. a path unit starts the periodic task, which packs into the waiting job and returns it to `raw/`
3. the handler finds the archive there and is done

When nobody has come within a minute, the handler packs what it may read itself.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from ezrec.domain.errors import Busy, Retry
from ezrec.domain.job import Job, JobOutcome, Kind
from ezrec.domain.names import JobId
from ezrec.domain.outcomes import Closed, Done
from ezrec.domain.ports import Clock
from ezrec.domain.stages import RETRY, State, settle
from ezrec.monitoring import log_archive
from ezrec.monitoring.log_archive import Pending
from ezrec.monitoring.state_files import read_status_file
from ezrec.runtime.periodic import PeriodicWork
from ezrec.settings import Settings
from ezrec.spool.spool import Entry, Gone, Spool
from ezrec.system import durable, journald
from ezrec.system.task import Task

_WAITING = (State.PROCESSED, State.DEFERRED)
# A faster uplink than this takes logs without disturbing a recording.
FAST_BYTES_S = 1_250_000
ASKED = "logs.asked"  # in EZREC_STATE: a path unit starts the periodic task when it appears
_MARK = "asked"  # in the job: somebody else was asked to pack it
_ANSWER_S = 60.0
_ON_ITS_WAY_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
_LOCK = "logs"
_LOCK_WAIT_S = 60.0
_DAY = timedelta(days=1)
_EARLY = 0.8  # of the interval: a run that comes sooner was started by an event


@dataclass(slots=True)
class LogCollector(PeriodicWork):
    """Packs what is new in the log files and in the journal into a job of kind `logs`.

    Nothing is packed while an archive still waits, or has failed within a day: the next one will hold all of
    it, and days without a network do not fill the disk with archives. Rung early, by a file in LOGS_DIR, it
    acts only when a log was rotated away: that is where the oldest part is lost first.
    """

    spool: Spool
    clock: Clock
    settings: Settings
    log: logging.Logger
    _began: float | None = None

    def __call__(self) -> None:
        if self._answer_requests():
            return
        now = self.clock.monotonic()
        is_regular = self._began is None or now - self._began >= self.settings.logs_interval_s * _EARLY
        if self._must_wait():
            return
        with self.spool.lock(_LOCK).held(_LOCK_WAIT_S, "collecting logs"):
            sent = log_archive.read_sent(self.settings.state, self.spool)
            if not is_regular and not log_archive.is_rotated_and_new(self.settings.logs, sent):
                return
            self._began = now
            self._pack(sent)

    def _answer_requests(self) -> bool:
        """Pack into the jobs that wait for a reader of the journal; True when there was one."""
        with suppress(OSError):  # first: what fails below must not start the unit without end
            (self.settings.state / ASKED).unlink(missing_ok=True)
        asked = self._asked()
        if asked:
            with self.spool.lock(_LOCK).held(_LOCK_WAIT_S, "collecting logs"):
                for entry in asked:
                    with suppress(Gone, FileNotFoundError):  # a minute was over: it is packed elsewhere
                        self._answer(entry)
        return bool(asked)

    def _asked(self) -> list[Entry]:
        """Requests in `deferred/`. The handler asks before its job is moved there, so it is waited for."""
        for pause_s in _ON_ITS_WAY_S:
            if not any(_is_asked(entry) for entry in self.spool.entries(State.PROCESSING)):
                break
            time.sleep(pause_s)
        return [entry for entry in self.spool.entries(State.DEFERRED) if _is_asked(entry)]

    def _answer(self, entry: Entry) -> None:
        _pack_into(entry.path, entry.id, self.spool, self.clock, self.settings, self.log)
        state, job = settle(RETRY, entry.job, Done(), self.clock.now(), 0.0)
        self.spool.move(entry, state, job)

    def _must_wait(self) -> bool:
        if any(entry.job.kind is Kind.LOGS for state in _WAITING for entry in self.spool.entries(state)):
            return True
        if any(self._failed_today(entry.job) for entry in self.spool.entries(State.FAILED)):
            return True
        if not self.spool.names(State.RECORDING):
            return False
        last = read_status_file(self.settings.state)
        rate = last.facts.uploads.bytes_a_second if last else None
        return rate is None or rate < FAST_BYTES_S

    def _failed_today(self, job: Job) -> bool:
        """The next archive would fail for the same reason: one a day shows whether it still does."""
        return job.kind is Kind.LOGS and abs(self.clock.now() - job.since) < _DAY

    def _pack(self, sent: log_archive.Sent) -> None:
        now = self.clock.now()
        stamp = log_archive.stamp_after(sent.stamp, now)
        job = Job(JobId(f"logs-{stamp.replace('_', '-')}-{secrets.token_hex(2)}"), Kind.LOGS, now)
        for old in self.spool.root.glob(".*_logs.zip"):
            old.unlink(missing_ok=True)  # of a collector that was killed

        def put(archive: Path, name: str) -> None:
            self.log.info("logs packed as job %s", job.id)
            self.spool.create(State.PROCESSED, job, (archive, name))

        _archive(self.spool.root, job.id, stamp, sent, self.settings, put)


def pack_requested(
    entry: Entry,
    task: Task,
    *,
    spool: Spool,
    clock: Clock,
    settings: Settings,
    log: logging.Logger,
    wait_s: float = _LOCK_WAIT_S,
    is_closed: Callable[[], bool] = journald.is_closed,
) -> Done | Closed:
    """The handler of a request: packs the logs into its job. `is_closed`: we may not read the journal."""
    if _is_packed(entry):
        return Done()
    if is_closed():
        _ask_the_periodic_task(entry, spool, settings, log)
    try:
        with spool.lock(_LOCK).held(wait_s, "collecting logs", lambda: task.is_stopping):
            return _pack_into(entry.path, entry.id, spool, clock, settings, log)
    except Busy as fault:
        raise Retry(str(fault), blameless=True) from None


def _ask_the_periodic_task(entry: Entry, spool: Spool, settings: Settings, log: logging.Logger) -> None:
    """Raises `Retry` while the periodic task may still answer; returns when it did not, or never does."""
    if (entry.path / _MARK).exists():
        log.warning("job %s: nobody came who may read the journal; its logs are packed without it", entry.id)
        return
    if not log_archive.read_sent(settings.state, spool).cursors:
        return  # nobody here has ever read one
    try:
        (entry.path / _MARK).touch()
        (settings.state / ASKED).touch()
    except OSError as fault:
        raise Retry(f"the logs cannot be asked for: {fault.strerror}") from None
    raise Retry(
        "the logs are packed by `ezrec pulse logs`, which may read the journal", _ANSWER_S, blameless=True
    )


def _is_asked(entry: Entry) -> bool:
    is_ours = entry.job.kind is Kind.LOGS and not entry.job.held
    return is_ours and (entry.path / _MARK).exists() and not _is_packed(entry)


def _is_packed(entry: Entry) -> bool:
    return any(entry.path.glob("*_logs.zip"))


def _pack_into(
    folder: Path, job_id: str, spool: Spool, clock: Clock, settings: Settings, log: logging.Logger
) -> Done | Closed:
    """Pack what is new into the folder of a job that is there."""
    sent = log_archive.read_sent(settings.state, spool)
    stamp = log_archive.stamp_after(sent.stamp, clock.now())

    def put(archive: Path, name: str) -> None:
        durable.rename(archive, folder / name)

    if not _archive(folder, job_id, stamp, sent, settings, put):
        return Closed(JobOutcome.PUBLISHED, "nothing was written since the last archive")
    log.info("job %s: logs packed as asked", job_id)
    return Done()


def _archive(
    folder: Path,
    job_id: str,
    stamp: str,
    sent: log_archive.Sent,
    settings: Settings,
    put: Callable[[Path, str], None],
) -> bool:
    """Pack what is new under a hidden name in `folder`, then `put` it into its job; False: nothing is new."""
    name = f"{stamp}_logs.zip"
    building = folder / f".{name}"
    building.unlink(missing_ok=True)
    try:
        reached = log_archive.pack(building, settings.logs, sent)
        if reached is None:
            return False
        log_archive.prepare(settings.state, Pending(job_id, name, replace(reached, stamp=stamp)))
        put(building, name)
        log_archive.keep(settings.state)
    except OSError as fault:  # a full disk, say: nothing counts as sent
        raise Retry(f"the logs cannot be packed: {fault.strerror}") from None
    finally:
        building.unlink(missing_ok=True)
    return True
