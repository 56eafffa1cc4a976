"""`wait`: until a job is published, has failed or is held.

File events wake it; it also looks every 2 s, in case one is missed.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from ezrec.domain.errors import Refused, Retry
from ezrec.domain.job import Job, JobOutcome
from ezrec.domain.names import shown
from ezrec.domain.stages import State
from ezrec.spool.lookup import DONE, TRASH, JobMatch, find
from ezrec.spool.spool import Spool

_LOOK_S = 2.0
_GOOD = (JobOutcome.PUBLISHED, JobOutcome.RECORDED, JobOutcome.PARTIAL)


def wait(spool: Spool, prefix: str, timeout_s: float | None = None) -> Job:
    """Wait until a job has ended; returns its record when it ended well.

    Raises `Refused` when it ended badly or needs a person, `Retry` when `timeout_s` seconds were not enough.
    """
    ends = None if timeout_s is None else time.monotonic() + timeout_s
    with _woken(spool) as changed:  # before the first look, so that no change is missed
        found = find(spool, prefix)
        job_id = found.job.id
        while not _is_over(found):
            left = _LOOK_S if ends is None else min(_LOOK_S, ends - time.monotonic())
            if left <= 0:
                raise Retry(f"job {job_id} is still in {found.place}/ after {timeout_s:g} s")
            changed.wait(left)
            changed.clear()
            found = find(spool, job_id)
    return _verdict(found)


def _is_over(found: JobMatch) -> bool:
    return found.place in (DONE, TRASH, State.FAILED) or bool(found.job.held)


def _verdict(found: JobMatch) -> Job:
    job = found.job
    if found.place == DONE and job.outcome in _GOOD:
        return job
    if found.place == DONE:
        raise Refused(f"job {job.id} is over, {job.outcome}: {job.reason or 'nothing was published'}")
    if found.place == TRASH:
        raise Refused(f"job {job.id} is in the trash", f"ezrec spool restore {job.id}")
    if job.held:
        raise Refused(f"job {job.id} is held: {shown(job.held)[1:-1]}", f"ezrec spool release {job.id}")
    raise Refused(f"job {job.id} failed: {job.reason}", job.remedy or f"ezrec spool retry {job.id}")


@contextlib.contextmanager
def _woken(spool: Spool) -> Iterator[threading.Event]:
    """An event that is set when something arrives in a directory where waiting ends."""
    from watchdog.events import (
        DirCreatedEvent,
        DirMovedEvent,
        FileCreatedEvent,
        FileMovedEvent,
        FileSystemEvent,
        FileSystemEventHandler,
    )
    from watchdog.observers import Observer

    changed = threading.Event()

    class Flag(FileSystemEventHandler):
        def on_any_event(self, event: FileSystemEvent) -> None:
            changed.set()

    wanted = [DirCreatedEvent, DirMovedEvent, FileCreatedEvent, FileMovedEvent]
    observer = Observer()
    try:
        for place in (spool.done, spool.trash, *map(spool.directory, (State.FAILED, State.DEFERRED))):
            observer.schedule(Flag(), str(place), event_filter=wanted)
        observer.start()
    except OSError:  # no inotify left on this machine: the looks every 2 s are enough
        yield changed
        return
    try:
        yield changed
    finally:
        observer.stop()
        observer.join(timeout=5)
