"""What the Supabase backend keeps in EZREC_STATE: how the cloud treats it, and which columns are missing.

The files are for people and for later runs, and none is needed: an unreadable file counts as missing, and a
disk that cannot be written stops no booking.
"""

from __future__ import annotations

import logging
import os
import threading
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from ezrec.domain import cloud_state, heartbeat, json_decode
from ezrec.domain.cloud_state import Access, Cloud
from ezrec.domain.ports import Clock, Row
from ezrec.system import durable

COLUMNS = "columns.json"
_ASKED_AGAIN = timedelta(days=1)  # somebody may have added the column
_TOUCHED_S, _ABSENT_S = 300.0, 3600.0  # not more often: the heartbeat shows whether a box is online
_WARN_AGAIN_S = 3600.0
_log = logging.getLogger("ezrec.supabase")


class StateCache:
    """Keeps `cloud.json`; writes it when something changes, and not at every request."""

    def __init__(self, folder: Path | None, clock: Clock, who: str = "") -> None:
        self._folder = folder
        self._clock = clock
        self._who = who
        self._guard = threading.Lock()
        self._now: Cloud | None = None
        self._mark: tuple[int, int] | None = None  # of the file that `_now` was read from

    def record_access(self, access: Access, answer: str = "") -> None:
        with self._guard:
            self._recall()
            was, now = self._now, self._clock.now()
            is_news = was is None or was.access is not access
            if not is_news and access is Access.GOOD:
                return
            since = now if was is None or is_news else was.since
            known = was or Cloud(access, since)
            found = Cloud(access, since, answer, hidden=known.hidden, most_bytes=known.most_bytes)
            if access in cloud_state.PAUSING:
                found = replace(found, refused_at=now, who=self._who)
            self._keep(found)
            if is_news and access is not Access.GOOD:
                for message, remedy in found.alarms:
                    _log.error("%s; %s", message, remedy)

    def pause(self, refused_s: float) -> tuple[float, str]:
        """Seconds for which no request may be sent because a process was refused, and the cloud's message."""
        with self._guard:
            self._recall()
            if self._now is None:
                return 0.0, ""
            return self._now.rests_s(self._clock.now(), self._who, refused_s), self._now.said

    def is_warning_due(self, name: str) -> bool:
        """False when any process gave the warning `name` within the hour."""
        if self._folder is None:
            return True
        mark, now = self._folder / f"{name}.said", self._clock.now().timestamp()
        with suppress(OSError):
            if 0 <= now - mark.stat().st_mtime < _WARN_AGAIN_S:
                return False
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            mark.touch()
            os.utime(mark, (now, now))
        return True

    def record_hidden(self, hidden: bool) -> None:
        with self._guard:
            self._recall()
            if self._now is not None and self._now.hidden is not hidden:
                self._keep(replace(self._now, hidden=hidden))

    def is_upload_limit_due(self) -> bool:
        """True once an hour: somebody may have raised the limit."""
        return self._folder is not None and self.is_warning_due("limit")

    def record_upload_limit(self, most_bytes: int) -> None:
        with self._guard:
            self._recall()
            if self._now is not None and self._now.most_bytes != most_bytes:
                self._keep(replace(self._now, most_bytes=most_bytes))

    def _recall(self) -> None:
        """Read the file if any process has changed it: so short-lived processes need not write it each time,
        and long-lived ones do not use an old copy.
        """
        mark = self._marked()
        if mark is not None and mark != self._mark and self._folder is not None:
            self._mark = mark
            with suppress(OSError, ValueError):
                self._now = cloud_state.decode((self._folder / cloud_state.FILE).read_bytes())

    def _keep(self, now: Cloud) -> None:
        self._now = now
        _write(self._folder, cloud_state.FILE, cloud_state.encode(now))
        self._mark = self._marked()

    def _marked(self) -> tuple[int, int] | None:
        if self._folder is not None:
            with suppress(OSError):
                found = os.stat(self._folder / cloud_state.FILE)
                return found.st_ino, found.st_mtime_ns
        return None


class MissingColumns:
    """The columns that tables were found to lack, each with the time when it was found."""

    def __init__(self, folder: Path | None, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._guard = threading.Lock()
        self._found: dict[str, dict[str, datetime]] | None = None

    def of(self, table: str) -> frozenset[str]:
        with self._guard:
            now = self._clock.now()
            found = self._known().get(table, {})
            return frozenset(name for name, at in found.items() if abs(now - at) < _ASKED_AGAIN)

    def add(self, table: str, column: str) -> None:
        with self._guard:
            known = self._known()
            known.setdefault(table, {})[column] = self._clock.now()
            _write(self._folder, COLUMNS, msgspec.json.encode(known))

    def _known(self) -> dict[str, dict[str, datetime]]:
        if self._found is None:
            self._found = {}
            if self._folder is not None:
                with suppress(OSError, msgspec.DecodeError):
                    data = (self._folder / COLUMNS).read_bytes()
                    found = json_decode.decode(data, dict[str, dict[str, datetime]])
                    aware = {t: {c: at for c, at in each.items() if at.tzinfo} for t, each in found.items()}
                    self._found = aware
        return self._found


@dataclass(slots=True)
class CameraRowSchedule:
    """When to update the row in `cameras`: after a change or five minutes; if there is none, hourly."""

    clock: Clock
    _sent: tuple[Any, ...] | None = None
    _again_at: float = float("-inf")

    def due(self, heartbeat: Row) -> dict[str, Any] | None:
        """The row to be sent now, or None."""
        row = {
            "is_recording": bool(heartbeat.get("is_recording")),
            "last_seen": heartbeat.get("last_heartbeat") or self.clock.now().isoformat(),
            "status": "online",
        }
        is_news = self._sent is not None and self._sent != _facts(row)
        return row if is_news or self.clock.monotonic() >= self._again_at else None

    def record(self, row: Row, *, there: bool) -> None:
        self._sent = _facts(row) if there else None
        self._again_at = self.clock.monotonic() + (_TOUCHED_S if there else _ABSENT_S)


@dataclass(slots=True)
class HeartbeatChanges:
    """Which columns of a heartbeat have changed. All of them every five minutes: others write the row too.

    `fixed` columns identify the row and are never part of a change.
    """

    clock: Clock
    fixed: tuple[str, ...]
    _sent: Row = field(default_factory=dict)
    _whole_at: float = float("-inf")

    def changes(self, row: Row) -> dict[str, Any]:
        is_whole = self.clock.monotonic() >= self._whole_at
        whole = {name: value for name, value in row.items() if name not in self.fixed}
        news = heartbeat.news(whole, self._sent)
        return whole if is_whole or not news else news  # the response to an empty change looks like "no row"

    def record(self, sent: Row) -> None:
        """`sent`: the columns that the row has now."""
        if self.clock.monotonic() >= self._whole_at:
            self._whole_at = self.clock.monotonic() + _TOUCHED_S
        self._sent = {**self._sent, **sent}


def _facts(row: Row) -> tuple[Any, ...]:
    return tuple(value for name, value in sorted(row.items()) if name != "last_seen")


def _write(folder: Path | None, name: str, data: bytes) -> None:
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        durable.write(folder / name, data)
    except OSError as fault:
        _log.warning("%s could not be kept: %s", name, fault.strerror)
