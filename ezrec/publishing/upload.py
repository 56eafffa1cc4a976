"""Upload: a finished video becomes an object, a row and a status, exactly once in effect.

The order matters: no row names a video that is not there, and nothing is deleted before the service has
confirmed it.

1. choose a name: the video's own, or one with the job's tag when the name is another job's
2. store the object, unless ours is there already
3. compare the size that the service has
4. write the row in `videos`
5. advance the booking's status
6. publish the artefacts; failures are only logged

An object is ours when it carries our mark, not when it has our size: two clips of one booking, or two boxes,
may want the same name. Neither an object nor a row of another job is ever overwritten.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, tzinfo
from typing import Any

from ezrec.domain.booking import FINISHED
from ezrec.domain.errors import Reject, Retry
from ezrec.domain.job import Job, JobOutcome, Result
from ezrec.domain.names import BadName, safe_id, tagged_name
from ezrec.domain.outcomes import Done
from ezrec.domain.ownership import Mark, Whose
from ezrec.domain.ownership import mark as mark_of
from ezrec.domain.ports import Backend, Clock
from ezrec.domain.upload_schedule import UPLOAD_STATE
from ezrec.publishing import artefacts, step_log
from ezrec.spool.progress import ProgressMeter
from ezrec.spool.spool import Entry
from ezrec.system import plain_files
from ezrec.system.task import Task

BUCKET = "videos"
OBJECT, UPLOADED = "object", FINISHED[-1]


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
    check_policy: Callable[[Job], None] = lambda job: None,
) -> Done:
    """The handler of finished videos. `check_policy` raises while the upload has to wait."""
    job, result = entry.job, entry.job.result
    if result is None:
        raise Reject(
            "there is no finished video in the job", f"make it: ezrec spool retry {job.id} --from process"
        )
    owner = _owner(job, user_id)
    mark = _mark(entry, result.file)
    for name in _names(job, result, mark):
        whose = _whose(entry, backend, owner, name, mark)
        if whose is Whose.ANOTHERS:
            continue
        if name != result.file and entry.job.published_as != name:
            entry.update(published_as=name)
        if whose is not Whose.OURS and not _put(entry, task, backend, f"{owner}/{name}", mark, check_policy):
            continue
        _check_size(entry, backend, f"{owner}/{name}")
        step_log.record(entry, OBJECT, clock.now())
        row = _row(entry.job, result, owner, name, camera_id, clock.now(), zone)
        if backend.publish_row(row, job=mark.job):
            break
        log.warning("job %s: the row of %s is another job's: the next name is tried", job.id, name)
    else:
        raise Reject(
            f"{owner}/{result.file} is another job's video, and so is the name with this job's tag",
            f"look at them in the bucket {BUCKET}; then: ezrec spool retry {job.id}",
        )
    step_log.record(entry, "row", clock.now())
    backend.advance_status(step_log.booking_id(job), UPLOADED)
    step_log.record(entry, UPLOADED, clock.now())
    entry.update(outcome=JobOutcome.PUBLISHED)
    log.info("job %s: published as %s/%s/%s", job.id, BUCKET, owner, name)
    artefacts.publish(entry, task, backend, BUCKET, artefacts.prefix(owner, name), log)
    return Done()


def _mark(entry: Entry, file: str) -> Mark:
    """The mark that the object of the job's `file` carries. Raises `Reject` where the file is not usable."""
    try:
        info = plain_files.look(entry.path / file)
    except plain_files.NotPlain as fault:
        raise Reject(
            f"the finished video {file} is not our own: {fault.strerror}",
            f"make it again: ezrec spool retry {entry.id} --from process",
        ) from None
    except FileNotFoundError:
        raise Reject(
            f"the finished video {file} is missing",
            f"make it again: ezrec spool retry {entry.id} --from process",
        ) from None
    return mark_of(entry.job.id, entry.job.created, info.st_size, info.st_mtime_ns)


def _names(job: Job, result: Result, mark: Mark) -> tuple[str, ...]:
    """The names to try. A job that once took its second name keeps it: the first may be free again."""
    names = (result.file, tagged_name(result.file, mark.tag))
    return (job.published_as,) if job.published_as else names


def _whose(entry: Entry, backend: Backend, owner: str, name: str, mark: Mark) -> Whose:
    """Whose the name is. A row alone makes it another's: that of a deleted video, for example."""
    path, state = entry.path / _file(entry), entry.path / UPLOAD_STATE
    whose = backend.whose(BUCKET, f"{owner}/{name}", path, mark, state=state)
    if whose is Whose.NOBODYS and OBJECT not in entry.job.steps:
        return Whose.ANOTHERS if backend.has_row(owner, name, job=mark.job) else whose
    return whose


def _owner(job: Job, user_id: str) -> str:
    """The account in whose folder the video belongs; a name that would lead elsewhere is refused."""
    owner = (job.booking.user_id if job.booking else "") or user_id
    try:
        return safe_id(owner)
    except BadName as fault:
        remedy = f"correct the booking, or remove the job: ezrec spool rm {job.id} --with-footage"
        raise Reject(f"the booking's user_id: {fault}", remedy) from None


def _file(entry: Entry) -> str:
    return entry.job.result.file if entry.job.result else ""


def _put(
    entry: Entry, task: Task, backend: Backend, key: str, mark: Mark, check_policy: Callable[[Job], None]
) -> bool:
    """Store the whole video at `key`; False when another job was faster."""
    path, state = entry.path / _file(entry), entry.path / UPLOAD_STATE
    task.check()
    check_policy(entry.job)
    meter = ProgressMeter(entry, "upload", "uploading")

    def progress(part: float) -> None:
        task.check()
        meter(part)
        if part < 1:  # once it is stored, it is published whatever the hour
            check_policy(entry.job)

    return backend.store(BUCKET, key, path, progress, state=state, on_stop=task.on_stop, mark=mark)


def _check_size(entry: Entry, backend: Backend, key: str) -> None:
    size, found = (entry.path / _file(entry)).stat().st_size, backend.size_of(BUCKET, key)
    if found != size:
        raise Retry(f"{BUCKET}/{key} was sent with {size} bytes, and the service has {found}")


def _row(
    job: Job, result: Result, owner: str, name: str, camera_id: str, now: datetime, zone: tzinfo
) -> dict[str, Any]:
    """The row of `videos`; columns that a database does not have are dropped by the backend."""
    started = min((take.started for take in job.takes), default=job.created)
    begins = job.booking.start if job.booking else started
    ends = job.booking.end if job.booking else max((take.ended for take in job.takes), default=started)
    return {
        "filename": name,
        "storage_path": f"{owner}/{name}",
        "user_id": owner,
        "file_url": f"{BUCKET}/{owner}/{name}",  # a path, not a link: whoever shows it signs its own
        "file_size": result.size,
        "created_at": started.isoformat(),
        "upload_timestamp": now.isoformat(),
        "duration_seconds": round(result.duration_s, 3),
        "booking_id": step_log.booking_id(job),
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
        path = entry.path / name
        if not plain_files.is_plain(path):
            raise Reject(f"{name} is no plain file of ours", f"remove it: ezrec spool rm {entry.id}")
        mark = _mark(entry, name)
        for key in (f"{camera_id}/{name}", f"{camera_id}/{_tagged_archive(name, mark)}"):
            whose = backend.whose(bucket, key, path, mark)
            if whose is Whose.OURS:
                break
            meter = ProgressMeter(entry, "upload", "uploading logs")
            if whose is not Whose.ANOTHERS and backend.store(bucket, key, path, meter, mark=mark):
                break
        else:
            raise Reject(f"{bucket}/{key} is another job's archive", f"ezrec spool rm {entry.id}")
        found = backend.size_of(bucket, key)
        if found != path.stat().st_size:
            raise Retry(f"{bucket}/{key} was sent, and the service has {found} bytes")
        log.info("job %s: stored as %s/%s", entry.id, bucket, key)
    return Done()


def _tagged_archive(name: str, mark: Mark) -> str:
    """The time stamp stays in front and `_logs.zip` at the end: an archive is recognised by these."""
    return f"{name.removesuffix('_logs.zip')}_{mark.tag}_logs.zip"
