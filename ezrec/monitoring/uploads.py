"""What waits for its upload, how far the one under way is, and how fast uploads get on. Reads records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime

from ezrec.domain import json_decode
from ezrec.domain.job import Job
from ezrec.domain.progress import part_done
from ezrec.domain.snapshot import Snapshot, Uploads, Waiting, measured_rate
from ezrec.domain.stages import State
from ezrec.domain.upload_schedule import UPLOAD_STATE, UploadDeadline, Wait
from ezrec.spool.spool import Entry
from ezrec.system import plain_files

_LARGEST = 1 << 16  # bytes of a note that are read; real ones have a few hundred
# A job that waits for the hours or a recording is as it should be; a cure has an alert of its own.
_AS_MEANT = (Wait.HOURS, Wait.RECORDING, Wait.CURE)


def oldest_of(entries: Iterator[Entry]) -> Waiting | None:
    """The job that has waited longest; what a person holds does not count."""
    waiting = [_waiting(entry) for entry in entries if not entry.job.held]
    return min(waiting, key=lambda found: found.since, default=None)


def _waiting(entry: Entry) -> Waiting:
    return Waiting(entry.id, str(entry.state), _since(entry.job, str(entry.state)))


def _since(job: Job, state: str) -> datetime:
    """Since when it waits for its stage: a job that is deferred again and again waits all the while."""
    queue = job.return_to if state == State.DEFERRED else state
    return min((arrival.at for arrival in job.arrivals if arrival.state == queue), default=job.since)


def seen(
    entries: Mapping[State, list[Entry]],
    now: datetime,
    uptime_s: float | None,
    before: Snapshot | None,
    boot_id: str,
) -> Uploads:
    """What waits for its upload, and the upload under way; measured against the look `before`."""
    waiting = list(entries[State.PROCESSED])
    waiting += [entry for entry in entries[State.DEFERRED] if entry.job.return_to == State.PROCESSED]
    sizes: dict[str, int] = {entry.id: _to_upload(entry) for entry in waiting}
    job, sent = _under_way(entries[State.PROCESSED], sizes)
    held = [entry for entry in waiting if entry.job.held]
    resting = [entry for entry in waiting if entry.job.waits_for in _AS_MEANT]
    oldest = oldest_of(iter([entry for entry in waiting if entry not in (*held, *resting)]))
    expires = next((_expires(entry) for entry in entries[State.PROCESSED] if entry.id == job), None)
    found = Uploads(
        len(waiting), sum(sizes.values()), oldest, job, sent, job_bytes=sizes.get(job, 0), expires_at=expires
    )
    if before is None:
        return replace(found, moved_at=now if job else None)
    then = before.uploads
    seconds = 0.0
    if before.boot_id == boot_id and uptime_s is not None and before.machine.uptime_s is not None:
        seconds = uptime_s - before.machine.uptime_s
    has_moved = (
        (job, sent) != (then.job, then.sent_bytes) if job else bool(then.job) and then.job not in sizes
    )
    return replace(
        found,
        bytes_a_second=measured_rate(then, found, seconds),
        moved_at=now if has_moved else then.moved_at,
    )


def _expires(entry: Entry) -> datetime | None:
    """When the address of an upload ends, where the service told."""
    try:
        return json_decode.decode(
            plain_files.read(entry.path / UPLOAD_STATE, _LARGEST), UploadDeadline
        ).expires
    except (OSError, ValueError):
        return None


def _to_upload(entry: Entry) -> int:
    return entry.job.result.size if entry.job.result else entry.size()


def _under_way(entries: list[Entry], sizes: Mapping[str, int]) -> tuple[str, int]:
    """The upload that somebody has in hand, and how much of it is sent."""
    for entry in entries:
        part = part_done(entry.progress_now(State.PROCESSED)) if entry.job.boot_id else None
        if part is not None:
            return entry.id, int(part * sizes[entry.id])
    return "", 0
