"""What timers do: sync the bookings, tell the statuses, send the heartbeat, collect the logs.

Each is a plain function that does its thing once. What must survive is in the spool or in the booking
cache before anybody is told; a pulse that fails is simply due again.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import stat
import subprocess
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import msgspec

from ezrec import durable
from ezrec.branding import MediaCache
from ezrec.domain.booking import FINISHED, BadBooking, Booking, parse_booking
from ezrec.domain.errors import Reject
from ezrec.domain.job import Job, JobOutcome, Kind
from ezrec.domain.names import BadName, JobId, safe_id, shown, stand_in
from ezrec.domain.reconcile import reconcile
from ezrec.domain.stages import State
from ezrec.handlers.record import OPEN
from ezrec.handlers.upload import booking_id
from ezrec.logs import redacted
from ezrec.ports import Backend, Clock, Gauges
from ezrec.settings import Settings
from ezrec.spool import Entry, Spool

_PAST = timedelta(days=1)  # a row that ended longer ago is history, and no booking that was missed
TOLD = "told.json"
_WITH_FOOTAGE = (State.RAW, State.PROCESSING, State.PROCESSED, State.DEFERRED, State.FAILED)
COMPLETED, PROCESSED, _ = FINISHED


# ---- sync


@dataclass(slots=True)
class Sync:
    """Fetches the bookings and drops what is new or changed into `incoming/`, where the recorder adopts it.

    One empty or failed answer erases nothing: a booking is taken for deleted only after it was absent
    from two complete answers in a row (counted beside the cache, because a timer starts us anew each
    time). The cache is written after the drops: a crash in between drops again, which changes nothing.
    """

    backend: Backend
    spool: Spool
    cache: Path
    media: MediaCache
    clock: Clock
    zone: tzinfo
    log: logging.Logger
    past_days: int | None = None  # how far back the backend's answers reach
    _has_begun: bool = False

    def __call__(self) -> None:
        if not self._has_begun:
            self.from_cache()
            self._has_begun = True
        known = read_cache(self.cache)
        found = reconcile(
            known,
            self.backend.bookings(),
            _read_counts(self._absences),
            since=self._since(),
            may_forget=self.clock.is_synchronised(),
        )
        before = {_key(row): row for row in known}
        for row in found.rows:
            if self._is_news(row, before.get(_key(row))):
                self._drop(_key(row), row)
        for row in found.cancelled:
            self.log.warning("booking %s is in the table no more: taken for cancelled", shown(_key(row)))
            self._drop(_key(row), row)
        if found.absences != _read_counts(self._absences):
            durable.write(self._absences, _as_json(found.absences))
        if list(found.rows) != known:
            durable.write(self.cache, _as_json(found.rows))
            self.log.info("%d bookings, %d new or changed", len(found.rows), len(found.changed))
        self.media.refresh(self.backend, self.log.info)

    def from_cache(self) -> None:
        """Hand over what is known already, before the network is asked: after a reboot it may be away."""
        for row in read_cache(self.cache):
            if self._is_news(row, row):
                self._drop(_key(row), row)

    def _is_news(self, row: Mapping[str, Any], before: Mapping[str, Any] | None) -> bool:
        """True when the recorder has to hear of a row: it is to come and unknown to it, or it has changed."""
        try:
            booking = parse_booking(row, self.zone)
        except BadBooking as fault:
            if row != before:
                self.log.error("a booking that cannot be used: %s", fault)
            return row != before  # told once, by the entry that it becomes in failed/
        if not self.spool.knows(booking.id):
            is_past = booking.end < self.clock.now() - _PAST
            return not (booking.is_cancelled or booking.is_finished or is_past)
        return row != before and self.spool.finished(booking.id) is None

    @property
    def _absences(self) -> Path:
        return self.cache.with_name(f"{self.cache.stem}.absent.json")

    def _since(self) -> date | None:
        """The day from which on the backend's answers are complete; None: all of time."""
        if self.past_days is None:
            return None
        return (self.clock.now().astimezone(self.zone) - timedelta(days=self.past_days)).date()

    def _drop(self, key: str, row: Mapping[str, Any]) -> None:
        """As a person would: a booking's row as a `.json` in `incoming/`."""
        name = key if _is_safe(key) else stand_in(ascii(key))
        durable.write(self.spool.directory(State.INCOMING) / f"{name}.json", _as_json(row))


def _as_json(value: object) -> bytes:
    return json.dumps(value, indent=1, default=str).encode()


def _read_counts(path: Path) -> dict[str, int]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, int])
    except (OSError, msgspec.DecodeError):
        return {}


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
        found = json.loads(path.read_bytes())  # takes whatever `_as_json` writes, half a character too
    except (OSError, ValueError, RecursionError):
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
        failed = sorted(self.spool.entries(State.FAILED), key=_arrived)
        self.backend.heartbeat(
            {
                "user_id": self.settings.user_id,
                "camera_id": self.settings.camera_id,
                "pi_active": True,
                "last_heartbeat": now,
                "updated_at": now,
                "is_recording": any(map(_is_writing, self.spool.entries(State.RECORDING))),
                "last_error": failed[-1].job.reason if failed else None,
                **self.gauges.read(),
            }
        )


def _is_writing(entry: Entry) -> bool:
    return any(take.ended_by == OPEN for take in entry.job.takes)


def _arrived(entry: Entry) -> datetime:
    return entry.job.arrivals[-1].at if entry.job.arrivals else entry.job.created


# ---- logs


@dataclass(slots=True)
class CollectLogs:
    """Packs the log files and the journal into a job of kind `logs`, which is uploaded like any other.

    Nothing is packed while an archive still waits: the next one will hold all of it, and days without a
    network do not fill the disk with archives.
    """

    spool: Spool
    clock: Clock
    settings: Settings
    log: logging.Logger

    def __call__(self) -> None:
        if any(entry.job.kind is Kind.LOGS for state in _WAITING for entry in self.spool.entries(state)):
            return
        stamp = self.settings.logs / ".collected"
        since = stamp.stat().st_mtime if stamp.exists() else 0.0
        began = time.time()  # before the first look: what is written meanwhile is new the next time
        files = [path for path in sorted(self.settings.logs.glob("*.log")) if _is_newer(path, since)]
        journal = _journal(since)
        if not files and not journal:
            return
        now = self.clock.now()
        name = f"{now:%Y%m%d_%H%M%S}_logs.zip"
        building = self.settings.logs / f".{name}.{secrets.token_hex(4)}"
        for old in self.settings.logs.glob(".*_logs.zip.*"):
            old.unlink(missing_ok=True)  # of one that was killed
        try:
            with zipfile.ZipFile(building, "w", zipfile.ZIP_DEFLATED) as archive:
                for path in files:
                    with suppress(OSError):
                        archive.writestr(path.name, self._cleaned(_read_log(path)))
                for unit, text in journal.items():
                    archive.writestr(f"journal_{unit}.log", self._cleaned(text))
            job = Job(JobId(f"logs-{now:%Y%m%d-%H%M%S}"), Kind.LOGS, now)
            self.log.info("%d log files packed as job %s", len(files) + len(journal), job.id)
            self.spool.create(State.PROCESSED, job, (building, name), number=True)
            stamp.touch()
            os.utime(stamp, (began, began))
        finally:
            building.unlink(missing_ok=True)

    def _cleaned(self, text: str) -> str:
        key = self.settings.supabase_key
        return redacted(text.replace(key, "***") if key else text)


def _is_newer(path: Path, since: float) -> bool:
    info = path.lstat()
    return stat.S_ISREG(info.st_mode) and info.st_mtime > since


def _read_log(path: Path) -> str:
    """The text of a log file: its end, where somebody let it grow; never what a link points to."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _MOST_OF_A_LOG))
        return file.read(_MOST_OF_A_LOG).decode(errors="replace")


_WAITING = (State.PROCESSED, State.DEFERRED)
_MOST_OF_A_LOG = 16 << 20
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
_JOURNAL = ("--output", "short-iso", "--no-pager", "--quiet", "--lines", "5000")


def _journal(since: float, units: Sequence[str] = _UNITS) -> dict[str, str]:
    """The newest lines of the journal by unit; none where there is no journal."""
    found: dict[str, str] = {}
    for unit in units:
        command = ["journalctl", *_JOURNAL, "--unit", unit, "--since", f"@{since:.0f}"]
        try:
            said = subprocess.run(command, capture_output=True, timeout=_JOURNAL_LIMIT_S, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return found
        text = said.stdout.decode(errors="replace")
        if said.returncode == 0 and text.strip():
            found[unit] = text
    return found
