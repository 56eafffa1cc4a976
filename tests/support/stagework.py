"""What the tests of the machinery share: a spool on disk, jobs in it, stages with small handlers."""

from __future__ import annotations

import contextlib
import logging
import resource
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from ezrec.domain.job import Job, Kind
from ezrec.domain.names import safe_id
from ezrec.domain.outcomes import Closed, Done
from ezrec.domain.ports import Clock
from ezrec.domain.stages import DIRECTORIES, STAGES, State
from ezrec.runtime.handling import Handler
from ezrec.runtime.hooks import Hooks
from ezrec.runtime.worker import Worker
from ezrec.runtime.worker_thread import WorkerThread
from ezrec.spool.intake import Intake
from ezrec.spool.spool import Entry, Spool
from ezrec.system.task import Task, WakeUp
from tests.fakes.clock import StandingClock
from tests.support.wait import LIMIT_S

LOG = logging.getLogger("test.stagework")
CREATED = datetime(2026, 6, 1, 11, 0, tzinfo=UTC)
ZONE = ZoneInfo("Europe/Berlin")


def a_spool(root: Path) -> Spool:
    spool = Spool(root / "spool")
    spool.prepare()
    return spool


def put(spool: Spool, state: State, job_id: str, **known: Any) -> Entry:
    """A job that lies in `state`."""
    job = replace(Job(safe_id(job_id), Kind.CLIP, CREATED), **known)
    return spool.create(state, job)


def where(spool: Spool) -> dict[str, str]:
    """The directory of every job, by id; `done` for what has left the spool."""
    found = {name: str(state) for state in DIRECTORIES for name in spool.names(state)}
    return found | {path.stem: "done" for path in spool.done.glob("*.json")}


def read(spool: Spool, job_id: str) -> Job:
    entry = spool.find(job_id)
    job = entry.job if entry else spool.finished(job_id)
    assert job is not None, f"{job_id} is nowhere"
    return job


def done(entry: Entry, task: Task) -> Done | Closed:
    return Done()


def a_drain(stage: str, spool: Spool, handler: Handler = done, **other: Any) -> Worker:
    """A stage over `spool` that works every kind of job by `handler`; hooks lie beside the spool."""
    clock: Clock = other.pop("clock", None) or StandingClock()
    if "intake" not in other:
        other["intake"] = Intake(spool, STAGES[stage].takes_from, clock, ZONE, LOG)
    hooks = Hooks(spool.root.parent / "hooks", 10, LOG)
    return Worker(STAGES[stage], spool, hooks, clock, LOG, dict.fromkeys(Kind, handler), **other)


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """As long as it lasts no file takes a byte from this process; renames go on, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def running_thread(
    turn: Callable[[], float | None], bell: WakeUp, longest_s: float = 3600.0
) -> Iterator[WorkerThread]:
    """A thread named `lane` that works by `turn`, ended at the end."""
    lane = WorkerThread("lane", turn, bell, longest_s, LOG)
    lane.start()
    try:
        yield lane
    finally:
        lane.stop()
        lane.join(LIMIT_S)
