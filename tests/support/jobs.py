"""Jobs for tests: entries as the stages would have left them, on a real file system."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ezrec.domain.booking import Booking
from ezrec.domain.job import Job, Kind, Result, Take, encode
from ezrec.domain.names import safe_id
from ezrec.domain.stages import State
from ezrec.spool.spool import Entry, Spool

NOW = datetime(2026, 11, 21, 18, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def booking(job_id: str, start: datetime = NOW + HOUR, minutes: float = 60) -> Booking:
    return Booking(safe_id(job_id), start, start + timedelta(minutes=minutes), "u1", "0")


def take_of(job_id: str) -> Take:
    return Take(f"raw_{job_id}_20261121_160000.mp4", NOW - 2 * HOUR, 3600.0, 5, "end of window")


def result_of(job_id: str) -> Result:
    return Result(f"processed_{take_of(job_id).file}", 3610.0, 6, ("x",), 10.0)


def laid(spool: Spool, state: State, job_id: str, **changes: Any) -> Entry:
    """An entry in `state` with what a job there usually holds; `changes` are fields of its record."""
    known: dict[str, Any] = {"booking": booking(job_id), "created": NOW - HOUR}
    files: dict[str, bytes] = {}
    if state is not State.INCOMING:
        known["booking"] = booking(job_id, NOW - 2 * HOUR)
        known["takes"] = (take_of(job_id),)
        files[take_of(job_id).file] = b"video"
    if state is State.PROCESSED:
        known["result"] = result_of(job_id)
        files[result_of(job_id).file] = b"videos"
    if state is State.FAILED:
        known |= {"return_to": "raw", "reason": "no picture", "remedy": "copy it again"}
    job = Job(safe_id(job_id), **{"kind": Kind.BOOKING, **known, **changes})
    path = spool.directory(state) / job_id
    path.mkdir()
    (path / "job.json").write_bytes(encode(job.arrived(state, NOW - HOUR)))
    for name, content in files.items():
        (path / name).write_bytes(content)
    return spool.read(state, job_id)


def where(spool: Spool, job_id: str) -> str:
    """The one place in which the job stands."""
    places = [state for state in State if (spool.root / state / job_id).exists()]
    places += [place for place in (".trash",) if (spool.root / place / job_id).exists()]  # type: ignore[misc]
    assert len(places) == 1, f"{job_id} stands in {places}"
    return str(places[0])


def ezrec(
    home: Path, *arguments: str, limit_s: float = 60, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run the program as a person does: a process of its own, with nothing of our environment but PATH."""
    clean = {"PATH": os.environ["PATH"], "EZREC_HOME": str(home), "TZ": "UTC", "LANG": "C.UTF-8", **environ}
    command = [sys.executable, "-m", "ezrec", *arguments]
    return subprocess.run(command, env=clean, capture_output=True, text=True, timeout=limit_s, check=False)
