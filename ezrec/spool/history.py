"""The history: the last records of jobs that have left the spool, in `.done/`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from ezrec.domain import job as records
from ezrec.domain.booking import instant_of
from ezrec.domain.job import BadRecord, Job
from ezrec.spool.entry import LARGEST_RECORD
from ezrec.spool.layout import SpoolLayout
from ezrec.system import plain_files

_REMEMBERED = timedelta(days=30)


def history(places: SpoolLayout, since: datetime | None = None) -> Iterator[Job]:
    """The last records of finished jobs, newest first; unreadable ones are left out."""
    found = []
    for path in places.done.glob("*.json"):
        with contextlib.suppress(OSError, BadRecord):
            stamp = path.stat().st_mtime
            if since is None or stamp >= since.timestamp():
                found.append((stamp, records.decode(plain_files.read(path, LARGEST_RECORD, shared=True))))
    for _, job in sorted(found, key=lambda pair: pair[0], reverse=True):
        yield job


def forget(
    places: SpoolLayout, now: datetime, *, is_synchronised: bool, after: timedelta = _REMEMBERED
) -> list[str]:
    """Drop records from the history that are older than `after`; returns the ids.

    Does nothing while the clock is not synchronised: by a wrong one every record may look old, and a booking
    that was forgotten would be recorded again.
    """
    if not is_synchronised:
        return []
    dropped = []
    for path in places.done.iterdir():
        with contextlib.suppress(OSError):
            if _age(path, now) <= after:
                continue
            path.unlink()
            dropped.append(path.name.removesuffix(".json"))
    return dropped


def _age(path: Path, now: datetime) -> timedelta:
    """How long ago the newest time in the record is; the file's own time may be of 1970."""
    moments = [instant_of(path.stat().st_mtime)]
    with contextlib.suppress(BadRecord):
        job = records.decode(plain_files.read(path, LARGEST_RECORD, shared=True))
        moments += [arrival.at for arrival in job.arrivals]
        moments += [job.booking.end] if job.booking else []
    return now - max(moments)
