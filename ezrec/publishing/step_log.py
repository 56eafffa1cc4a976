"""A job's step log: which steps in the cloud are done, and when. Sends nothing.

The steps stand in `job.json`, which only the worker that holds the job may write. What the periodic task
`tell` reports meanwhile goes to `told.json`; the worker merges it when it records a step. A step may be
repeated: none does harm the second time.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta

import msgspec

from ezrec.domain import json_decode
from ezrec.domain.job import Job
from ezrec.spool.spool import Entry
from ezrec.system import durable, plain_files

REPORTED = "told.json"
_LARGEST = 1 << 16
_REFUSED = "refused: "
_REFUSED_AGAIN = timedelta(hours=1)  # somebody may have granted the rights


def booking_id(job: Job) -> str:
    """The booking whose steps these are. A dropped clip belongs to the one that its file was named after,
    though its job may be called …-2.
    """
    if job.booking is not None:
        return job.booking.id
    first = job.takes[0].file if job.takes else ""
    return first.removeprefix("raw_").rsplit("_", 2)[0] or job.id


def record(entry: Entry, step: str, now: datetime) -> None:
    """For the worker that holds the job: a step is done."""
    reported = {name: at for name, at in _read(entry).items() if not name.startswith(_REFUSED)}
    entry.update(steps={**reported, **entry.job.steps, step: now})


def record_report(entry: Entry, status: str, now: datetime, *, is_refused: bool = False) -> None:
    """For the periodic task: a status was reported, or refused."""
    reports = {**_read(entry), (_REFUSED + status if is_refused else status): now}
    with suppress(FileNotFoundError):  # the job has moved on: the next turn finds it there
        durable.write(entry.path / REPORTED, msgspec.json.encode(reports))


def is_settled(entry: Entry, status: str, now: datetime) -> bool:
    """True when `status` need not be reported now."""
    if status in entry.job.steps:
        return True
    reports = _read(entry)
    refused = reports.get(_REFUSED + status)
    return status in reports or (refused is not None and abs(now - refused) < _REFUSED_AGAIN)


def _read(entry: Entry) -> dict[str, datetime]:
    try:
        found = json_decode.decode(plain_files.read(entry.path / REPORTED, _LARGEST), dict[str, datetime])
    except (OSError, msgspec.DecodeError):
        return {}
    return {name: at for name, at in found.items() if at.tzinfo is not None}
