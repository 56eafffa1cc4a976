"""What timers do: sync the bookings, tell the statuses, send the heartbeat, collect the logs.

Each is a plain function that does its thing once. What must survive is in the spool or in the booking
cache before anybody is told; a pulse that fails is simply due again.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import stat
import subprocess
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from ezrec import durable
from ezrec.branding import MediaCache
from ezrec.domain.booking import FINISHED, Booking, parse_booking
from ezrec.domain.errors import Reject
from ezrec.domain.job import Job, JobOutcome, Kind
from ezrec.domain.names import BadName, JobId, safe_id, shown
from ezrec.domain.stages import State
from ezrec.handlers.upload import booking_id
from ezrec.ports import Backend, Clock, Gauges
from ezrec.settings import Settings
from ezrec.spool import Entry, Spool

_ABSENT_TWICE = 2
TOLD = "told.json"
_WITH_FOOTAGE = (State.RAW, State.PROCESSING, State.PROCESSED, State.DEFERRED, State.FAILED)
COMPLETED, PROCESSED, _ = FINISHED


# ---- sync


@dataclass(slots=True)
class Sync:
    """Fetches the bookings and drops what is new or changed into `incoming/`, where the recorder adopts it.

    One empty or failed answer erases nothing: a booking is taken for deleted only after it was absent
    from two complete answers in a row. The cache is written after the drops: a crash in between drops
    again, which changes nothing.
    """

    backend: Backend
    spool: Spool
    cache: Path
    media: MediaCache
    log: logging.Logger
    _absences: dict[str, int] = field(default_factory=dict)

    def __call__(self) -> None:
        known = {_key(row): row for row in read_cache(self.cache)}
        fetched = {_key(row): row for row in self.backend.bookings()}
        for key, row in fetched.items():
            if known.get(key) != row or self._is_unknown(row):
                self._drop(key, row)
        gone = self._gone(known, fetched)
        for key in gone:
            self.log.warning("booking %s is in the table no more: taken for cancelled", shown(key))
            self._drop(key, {**known[key], "status": "cancelled"})
        rows = [
            *fetched.values(),
            *(row for key, row in known.items() if key not in fetched and key not in gone),
        ]
        if rows != list(known.values()):
            durable.write(self.cache, json.dumps(rows, indent=1).encode())
            self.log.info(
                "%d bookings, %d new or changed", len(rows), sum(known.get(_key(r)) != r for r in rows)
            )
        self.media.refresh(self.backend, self.log.info)

    def from_cache(self) -> None:
        """Hand over what is known already, before the network is asked: after a reboot it may be away."""
        for row in read_cache(self.cache):
            if self._is_unknown(row):
                self._drop(_key(row), row)

    def _gone(self, known: Mapping[str, Any], fetched: Mapping[str, Any]) -> list[str]:
        absent = [key for key in known if key not in fetched]
        self._absences = {key: self._absences.get(key, 0) + 1 for key in absent}
        return [key for key in absent if self._absences[key] >= _ABSENT_TWICE]

    def _is_unknown(self, row: Mapping[str, Any]) -> bool:
        try:
            return not self.spool.knows(safe_id(row.get("id"))) and row.get("status") not in FINISHED
        except BadName:
            return False

    def _drop(self, key: str, row: Mapping[str, Any]) -> None:
        """As a person would: a booking's row as a `.json` in `incoming/`."""
        name = key if _is_safe(key) else f"unsafe-{abs(hash(key)):x}"
        durable.write(self.spool.directory(State.INCOMING) / f"{name}.json", json.dumps(row).encode())


def _key(row: Mapping[str, Any]) -> str:
    return str(row.get("id"))


def _is_safe(text: str) -> bool:
    try:
        safe_id(text)
    except BadName:
        return False
    return True


def read_cache(path: Path) -> list[dict[str, Any]]:
    """The rows of the booking cache; none where there is no cache, or an unreadable one."""
    try:
        found = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError):
        return []
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def known_booking(cache: Path, zone: Any) -> Callable[[str], Booking | None]:
    """Looks a booking up in the cache, for videos that a person drops in."""

    def look_up(wanted: str) -> Booking | None:
        for row in read_cache(cache):
            if row.get("id") == wanted:
                with suppress(ValueError):
                    return parse_booking(row, zone)
        return None

    return look_up


# ---- tell


@dataclass(slots=True)
class Tell:
    """Tells the backend how far the bookings have come, beside their work and never in its way.

    What was told stands in the entry as `told.json`: the record itself belongs to the job's owner.
    """

    backend: Backend
    spool: Spool
    log: logging.Logger

    def __call__(self) -> None:
        for state in _WITH_FOOTAGE:
            for entry in self.spool.entries(state):
                self._tell(entry)

    def _tell(self, entry: Entry) -> None:
        wanted = _reached(entry.job)
        if wanted is None or _told(entry) == wanted:
            return
        try:
            self.backend.advance_status(booking_id(entry.job), wanted)
        except Reject as fault:
            self.log.error("job %s: its status %s was refused: %s; %s", entry.id, wanted, fault, fault.remedy)
        path = entry.path / TOLD
        with suppress(FileNotFoundError):  # it has moved on: the next look finds it there
            durable.write(path, json.dumps({"status": wanted}).encode())


def _reached(job: Job) -> str | None:
    """The status that a job's record speaks for, before it is uploaded."""
    if job.kind is Kind.LOGS:
        return None
    if job.result is not None:
        return PROCESSED
    return COMPLETED if job.recording in (JobOutcome.RECORDED, JobOutcome.PARTIAL) else None


def _told(entry: Entry) -> str | None:
    try:
        found = msgspec.json.decode((entry.path / TOLD).read_bytes())
    except (OSError, msgspec.DecodeError):
        return None
    return found.get("status") if isinstance(found, dict) else None


# ---- status


@dataclass(slots=True)
class Status:
    """The heartbeat: this camera's one row in `system_status`."""

    backend: Backend
    gauges: Gauges
    spool: Spool
    clock: Clock
    settings: Settings

    def __call__(self) -> None:
        now = self.clock.now().isoformat()
        failed = self.spool.entries(State.FAILED)
        self.backend.heartbeat(
            {
                "user_id": self.settings.user_id,
                "camera_id": self.settings.camera_id,
                "pi_active": True,
                "last_heartbeat": now,
                "updated_at": now,
                "is_recording": bool(self.spool.entries(State.RECORDING)),
                "last_error": failed[-1].job.reason if failed else None,
                **self.gauges.read(),
            }
        )


# ---- logs


@dataclass(slots=True)
class CollectLogs:
    """Packs the log files and the journal into a job of kind `logs`, which is uploaded like any other."""

    spool: Spool
    clock: Clock
    settings: Settings
    log: logging.Logger

    def __call__(self) -> None:
        stamp = self.settings.logs / ".collected"
        since = stamp.stat().st_mtime if stamp.exists() else 0.0
        files = [path for path in sorted(self.settings.logs.glob("*.log")) if _is_newer(path, since)]
        journal = _journal()
        if not files and not journal:
            return
        now = self.clock.now()
        name = f"{now:%Y%m%d_%H%M%S}_logs.zip"
        building = self.settings.logs / f".{name}.{secrets.token_hex(4)}"
        try:
            with zipfile.ZipFile(building, "w", zipfile.ZIP_DEFLATED) as archive:
                for path in files:
                    with suppress(FileNotFoundError):
                        archive.write(path, path.name)
                for unit, text in journal.items():
                    archive.writestr(f"journal_{unit}.log", text)
            job = Job(JobId(f"logs-{now:%Y%m%d-%H%M%S}"), Kind.LOGS, now)
            entry = self.spool.create(State.PROCESSED, job, (building, name), number=True)
            stamp.touch()
            self.log.info("%d log files packed as job %s", len(files) + len(journal), entry.id)
        finally:
            building.unlink(missing_ok=True)


def _is_newer(path: Path, since: float) -> bool:
    info = path.lstat()
    return stat.S_ISREG(info.st_mode) and info.st_mtime > since


_UNITS = (
    "ezrec",
    "ezrec-recorder",
    "ezrec-process",
    "ezrec-upload",
    "ezrec-sync",
    "ezrec-status",
    "ezrec-logs",
)
_JOURNAL_LIMIT_S = 20
_MOST_LINES = "5000"


def _journal(units: Sequence[str] = _UNITS) -> dict[str, str]:
    """The newest lines of the journal by unit; none where there is no journal."""
    found: dict[str, str] = {}
    for unit in units:
        command = [
            "journalctl",
            "--unit",
            unit,
            "--lines",
            _MOST_LINES,
            "--output",
            "short-iso",
            "--no-pager",
            "--quiet",
        ]
        try:
            said = subprocess.run(command, capture_output=True, timeout=_JOURNAL_LIMIT_S, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return found
        text = said.stdout.decode(errors="replace")
        if said.returncode == 0 and text.strip():
            found[unit] = redacted(text)
    return found


_SECRET = re.compile(r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*|sb_secret_\w+|(?<=token=)[^&\s]+")


def redacted(text: str) -> str:
    """`text` without keys and tokens."""
    return _SECRET.sub("***", text)
