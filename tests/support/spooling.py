"""What the tests of the spool share: jobs, and a look at all that lies on the disk."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ezrec.domain.booking import Booking
from ezrec.domain.job import Job, Kind, Result, Take
from ezrec.domain.names import safe_id
from ezrec.domain.stages import DIRECTORIES, State
from ezrec.spool.spool import Entry, Spool

NOW = datetime(2026, 7, 1, 16, tzinfo=UTC)
FOOTAGE = b"every second of it" * 1000
TAKE = "raw_b1_20260701_180000.mp4"
RESULT = Result(f"processed_{TAKE}", 3610.0, 6, ("x",))


def new_spool(root: Path) -> Spool:
    spool = Spool(root)
    spool.prepare()
    return spool


def finish_off(spool: Spool) -> list[str]:
    """What the next start does after a crash, all of it at once; returns what it logs."""
    return [*spool.finish_building(), *spool.finish_deleting()]


def booking(job_id: str = "b1", **fields: Any) -> Booking:
    start = fields.pop("start", NOW + timedelta(hours=1))
    return Booking(safe_id(job_id), start, fields.pop("end", start + timedelta(hours=1)), **fields)


def clip_job(job_id: str = "b1", **fields: Any) -> Job:
    take = Take(TAKE, NOW, 0.0, len(FOOTAGE), "dropped in")
    return Job(safe_id(job_id), Kind.CLIP, NOW, takes=(take,), **fields)


def booking_job(job_id: str = "b1", **fields: Any) -> Job:
    made = booking(job_id)
    return Job(safe_id(job_id), Kind.BOOKING, NOW, made, due=made.start, **fields)


def put_clip(spool: Spool, state: State = State.RAW, job_id: str = "b1", **fields: Any) -> Entry:
    """An entry with footage, however it came there."""
    source = spool.root.parent / f"source-{job_id}.mp4"
    source.write_bytes(FOOTAGE)
    return spool.create(state, clip_job(job_id, **fields), (source, TAKE))


def whereabouts(spool: Spool) -> dict[str, list[str]]:
    """For each job id: the directories in which it stands (once, if all is well)."""
    found: dict[str, list[str]] = {}
    for state in DIRECTORIES:
        entries, unknown_files = spool.look(state)
        assert not unknown_files, (state, unknown_files)
        for entry in entries:
            found.setdefault(entry.id, []).append(str(state))
    return found


def footage_in(root: Path) -> Counter[str]:
    """How often each footage's bytes lie anywhere below: by the directory at the top."""
    return Counter(
        path.relative_to(root).parts[0]
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink() and path.read_bytes() == FOOTAGE
    )
