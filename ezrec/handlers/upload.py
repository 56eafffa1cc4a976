"""Upload: a finished video becomes an object, a row and a status, exactly once in effect.

The order is the promise: nobody is told of a video that is not there, and nothing is deleted here before
the service has confirmed it.

1. the object, unless one of the right size is there already
2. ask the service for its size
3. the row in `videos`
4. the status
5. what accompanies the video, as far as that goes
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, tzinfo
from typing import Any

from ezrec import outbox, plain
from ezrec.domain.booking import FINISHED
from ezrec.domain.errors import Reject, Retry
from ezrec.domain.job import Job, JobOutcome, Result
from ezrec.domain.names import BadName, safe_id
from ezrec.domain.outcomes import Done
from ezrec.handlers import artefacts
from ezrec.handlers.gate import open_always
from ezrec.ports import Backend, Clock
from ezrec.progress import Meter
from ezrec.spool import Entry
from ezrec.task import Task

BUCKET = "videos"
STATE = "upload.json"  # where an upload stands, for the backend that can go on with it
UPLOADED = FINISHED[-1]


def upload(
    entry: Entry,
    task: Task,
    *,
    backend: Backend,
    clock: Clock,
    zone: tzinfo,
    user_id: str,
    camera_id: str,
    log: logging.Logger,
    gate: Callable[[Job], None] = open_always,
) -> Done:
    """The handler of bookings and clips that have a finished video. `gate` raises while it has to wait."""
    job, result = entry.job, entry.job.result
    if result is None:
        raise Reject(
            "there is no finished video in the job", f"make it: ezrec spool retry {job.id} --from process"
        )
    owner = _owner(job, user_id)
    key = f"{owner}/{result.file}"
    _put(entry, task, backend, key, result, gate)
    outbox.record(entry, "object", clock.now())
    backend.publish_row(_row(job, result, owner, key, camera_id, clock.now(), zone))
    outbox.record(entry, "row", clock.now())
    backend.advance_status(booking_id(job), UPLOADED)
    outbox.record(entry, UPLOADED, clock.now())
    entry.update(outcome=JobOutcome.PUBLISHED)
    log.info("job %s: published as %s/%s", job.id, BUCKET, key)
    artefacts.publish(entry, task, backend, BUCKET, owner, result, log)
    return Done()


def _owner(job: Job, user_id: str) -> str:
    """The account in whose folder the video belongs; a name that would lead elsewhere is refused."""
    owner = (job.booking.user_id if job.booking else "") or user_id
    try:
        return safe_id(owner)
    except BadName as fault:
        remedy = f"correct the booking, or remove the job: ezrec spool rm {job.id} --with-footage"
        raise Reject(f"the booking's user_id: {fault}", remedy) from None


def _put(
    entry: Entry, task: Task, backend: Backend, key: str, result: Result, gate: Callable[[Job], None]
) -> None:
    path = entry.path / result.file
    try:
        size = plain.look(path).st_size
    except plain.NotPlain as fault:
        raise Reject(
            f"the finished video {result.file} is not our own: {fault.strerror}",
            f"make it again: ezrec spool retry {entry.id} --from process",
        ) from None
    except FileNotFoundError:
        raise Reject(
            f"the finished video {result.file} is missing",
            f"make it again: ezrec spool retry {entry.id} --from process",
        ) from None
    if backend.size_of(BUCKET, key) != size:
        task.check()
        gate(entry.job)
        meter = Meter(entry, "upload", "uploading")

        def progress(part: float) -> None:
            task.check()
            meter(part)
            if part < 1:  # what is there is told, whatever the hour
                gate(entry.job)

        state = entry.path / STATE
        backend.store(BUCKET, key, path, progress, state=state, on_stop=task.on_stop)
    found = backend.size_of(BUCKET, key)
    if found != size:
        raise Retry(f"{BUCKET}/{key} was sent with {size} bytes, and the service has {found}")


def booking_id(job: Job) -> str:
    """A dropped clip belongs to the booking it was named after, though its job may be called …-2."""
    if job.booking is not None:
        return job.booking.id
    first = job.takes[0].file if job.takes else ""
    return first.removeprefix("raw_").rsplit("_", 2)[0] or job.id


def _row(
    job: Job, result: Result, owner: str, key: str, camera_id: str, now: datetime, zone: tzinfo
) -> dict[str, Any]:
    """The row of `videos`; columns that a database does not have are dropped by the backend."""
    started = min((take.started for take in job.takes), default=job.created)
    begins = job.booking.start if job.booking else started
    ends = job.booking.end if job.booking else max((take.ended for take in job.takes), default=started)
    return {
        "filename": result.file,
        "storage_path": key,
        "user_id": owner,
        "file_url": f"{BUCKET}/{key}",  # a place, not a link: whoever shows it signs its own
        "file_size": result.size,
        "created_at": started.isoformat(),
        "upload_timestamp": now.isoformat(),
        "duration_seconds": round(result.duration_s, 3),
        "booking_id": booking_id(job),
        "camera_id": (job.booking.camera_id if job.booking else "") or camera_id,
        "recording_date": f"{begins.astimezone(zone):%Y-%m-%d}",
        "recording_start_time": begins.isoformat(),
        "recording_end_time": ends.isoformat(),
    }


def archive(
    entry: Entry, task: Task, *, backend: Backend, bucket: str, camera_id: str, log: logging.Logger
) -> Done:
    """The handler of log archives: each file of the job goes to `bucket` under the camera's name."""
    files: list[str] = sorted(path.name for path in entry.path.glob("*_logs.zip"))
    if not files:
        raise Reject("there is no log archive in the job", f"remove it: ezrec spool rm {entry.id}")
    for name in files:
        task.check()
        key, path = f"{camera_id}/{name}", entry.path / name
        if not plain.is_plain(path):
            raise Reject(f"{name} is no plain file of ours", f"remove it: ezrec spool rm {entry.id}")
        if backend.size_of(bucket, key) != path.stat().st_size:
            backend.store(bucket, key, path, Meter(entry, "upload", "uploading logs"))
            found = backend.size_of(bucket, key)
            if found != path.stat().st_size:
                raise Retry(f"{bucket}/{key} was sent, and the service has {found} bytes")
        log.info("job %s: stored as %s/%s", entry.id, bucket, key)
    return Done()
