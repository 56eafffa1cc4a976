"""Jobs and stages for the measures: the real ones, with handlers that do nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from ezrec.domain.job import Job, Kind, Take
from ezrec.domain.names import safe_id
from ezrec.domain.outcomes import Done
from ezrec.domain.stages import STAGES
from ezrec.runtime.hooks import Hooks
from ezrec.runtime.worker import Handler, Worker
from ezrec.spool.intake import Intake
from ezrec.spool.spool import Entry, Spool
from ezrec.system.clock import SystemClock
from ezrec.system.task import Task

LOG = logging.getLogger("bench")
LOG.addHandler(logging.NullHandler())
LOG.propagate = False


@contextmanager
def home() -> Iterator[Path]:
    with TemporaryDirectory(prefix="ezrec-bench-") as path:
        yield Path(path)


def new_spool(root: Path) -> Spool:
    spool = Spool(root / "spool")
    spool.prepare()
    return spool


def job(number: int) -> Job:
    """A job as the process stage finds it."""
    now = datetime.now(UTC)
    name = f"job-{number:05}"
    take = Take(f"raw_{name}_20260701_180000.mp4", now, 3600.0, 4_500_000_000, "end of window")
    return Job(safe_id(name), Kind.CLIP, now, takes=(take,))


def nothing(entry: Entry, task: Task) -> Done:
    return Done()


def stage(name: str, spool: Spool, handler: Handler = nothing) -> Worker:
    clock = SystemClock(assume=True)
    intake = Intake(spool, STAGES[name].takes_from, clock, UTC, LOG)
    hooks = Hooks(spool.root.parent / "hooks", 10, LOG)
    handlers = dict.fromkeys(Kind, handler)
    return Worker(STAGES[name], spool, hooks, clock, LOG, handlers, intake, wide=name == "record")


def environment(home: Path, path: str, **more: str) -> Mapping[str, str]:
    """What the program is given: the local backend, the software camera, nothing of ours but PATH."""
    return {
        "PATH": path,
        "LANG": "C.UTF-8",
        "EZREC_HOME": str(home),
        "EZREC_BACKEND": "local",
        "EZREC_CAMERA": "software",
        "EZREC_ASSUME_CLOCK": "yes",
        **more,
    }
