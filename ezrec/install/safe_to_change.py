"""Refuses a change while something is recorded or a booking is near. Reads the spool with no spool code."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ezrec.domain.errors import Refused
from ezrec.install import env_file, system

_AHEAD = timedelta(minutes=10)
_FRESH_S = 60.0
_LARGEST = 1 << 20  # bytes of a record


def refuse_if_busy(home: Path, what: str, *, now: datetime | None = None) -> None:
    """Raise `Refused` while something is recorded, or within 10 minutes before a booking."""
    spool = Path(env_file.read_file(home / ".env").get("EZREC_SPOOL") or home / "spool")
    now = now or datetime.now(UTC)
    for name in _visible(spool / "recording"):
        raise Refused(f"{name} is being recorded", f"{what} when it is over: ezrec spool ls")
    for job in _waiting(spool):
        start, end = _instant(job, "start"), _instant(job, "end")
        if start and end and start - _AHEAD <= now < end:
            when = f"booking {job.get('id')} begins at {start:%H:%M} UTC"
            raise Refused(when, f"{what} when it is over: ezrec spool ls")


def _visible(directory: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))
    return []


def _waiting(spool: Path) -> Iterator[Mapping[str, Any]]:
    for state in ("incoming", "deferred"):
        for name in _visible(spool / state):
            with contextlib.suppress(OSError, ValueError, RecursionError):
                job = json.loads(_read(spool / state / name / "job.json"))
                if not isinstance(job, dict):
                    continue
                is_to_come = state == "incoming" or job.get("return_to") == "incoming"
                if is_to_come and isinstance(job.get("booking"), dict) and not job.get("held"):
                    yield job["booking"]


def _read(path: Path) -> bytes:
    """Read a record; follows no link and does not wait at a FIFO."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        return os.read(fd, _LARGEST)
    finally:
        os.close(fd)


def _instant(booking: Mapping[str, Any], name: str) -> datetime | None:
    if booking.get("status") in ("cancelled", "canceled"):
        return None
    try:
        found = datetime.fromisoformat(booking[name])
    except (KeyError, TypeError, ValueError):
        return None
    if not 1900 <= found.year < 2500:
        return None  # the program does not take such a job either
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def refuse_if_older_records(home: Path) -> None:
    """The older EZREC writes plain MP4s: stopped in the middle, the whole match is lost."""
    if system.older_unit("recorder") is None or not system.is_active("recorder.service"):
        return
    known = env_file.read_file(home / ".env")
    folder = Path(known.get("RAW_RECORDINGS_DIR") or home / "raw_recordings")
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.suffix in (".mp4", ".h264") and time.time() - path.stat().st_mtime < _FRESH_S:
                raise Refused(f"the older EZREC is recording {path}", "install when it is over")
