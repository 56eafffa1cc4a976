"""`FakeBackend`: the port `Backend` in memory, with faults to order and calls to count."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ezrec.domain.booking import normal, statuses_before
from ezrec.domain.errors import Reject
from ezrec.domain.names import InvalidKey, object_parts
from ezrec.domain.ownership import Mark, Whose
from ezrec.domain.ports import Branding, OnStop, Row


class FakeBackend:
    """What it holds lies open: tests put rows and objects in, and look at them afterwards.

    `calls` counts by method, failed ones too. `fail_next(2, Retry("…"), "store")` makes the next two
    calls of `store` (of anything, if no method is named) raise that, before they do anything.
    """

    def __init__(self, user_id: str = "user-1", camera_id: str = "0") -> None:
        self.user_id = user_id
        self.camera_id = camera_id
        self.booking_rows: dict[str, dict[str, Any]] = {}
        self.video_rows: dict[tuple[str, str], dict[str, Any]] = {}
        self.status_rows: dict[tuple[str, str], dict[str, Any]] = {}
        self.assets = Branding()
        self.is_shut_out = False  # as by row-level security: bookings() is empty, and nothing witnesses it
        self.objects: dict[tuple[str, ...], bytes] = {}
        self.marks: dict[tuple[str, ...], Mark] = {}  # of objects that were stored for a job
        self.row_jobs: dict[tuple[str, str], str] = {}
        self.calls: Counter[str] = Counter()
        self._faults: list[tuple[str, Exception]] = []
        self._lock = threading.RLock()

    def fail_next(self, times: int, fault: Exception, method: str = "") -> None:
        with self._lock:
            self._faults += [(method, fault)] * times

    def add_booking(self, row: Row) -> None:
        """Put a row in as the front end would; what it leaves out has the table's defaults."""
        defaults = {"user_id": self.user_id, "camera_id": "0", "status": "confirmed"}
        with self._lock:
            self.booking_rows[row["id"]] = {**defaults, **row}

    def bookings(self) -> list[dict[str, Any]]:
        with self._call("bookings"):
            rows = [] if self.is_shut_out else self.booking_rows.values()
            return [dict(row) for row in rows if self._is_mine(row)]

    def sees_bookings(self) -> bool:
        with self._call("sees_bookings"):
            return not self.is_shut_out

    def advance_status(self, booking_id: str, status: str) -> bool:
        with self._call("advance_status"):
            try:
                before = statuses_before(status)
            except ValueError as fault:
                raise Reject(str(fault), "report one of the steps in their order") from fault
            row = self.booking_rows.get(booking_id)
            if row is None or row["user_id"] != self.user_id or normal(row["status"]) not in before:
                return False
            row["status"] = status
            return True

    def branding(self) -> Branding:
        with self._call("branding"):
            return self.assets

    def fetch(self, bucket: str, key: str, target: Path) -> None:
        with self._call("fetch"):
            found = self.objects.get(_parts(bucket, key))
            if found is None:
                raise Reject(f"there is no object {bucket}/{key}", "store it, or name another one")
            target.write_bytes(found)

    def store(
        self,
        bucket: str,
        key: str,
        source: Path,
        progress: Callable[[float], None],
        *,
        state: Path | None = None,
        on_stop: OnStop | None = None,
        mark: Mark | None = None,
    ) -> bool:
        with self._call("store"):
            parts = _parts(bucket, key)
            if source.is_symlink() or not source.is_file():
                raise Reject(f"{source} cannot be stored", "name a plain file that is there")
            data = source.read_bytes()
            progress(0.5)
            if mark is not None and self._whose(parts, data, mark) is Whose.ANOTHERS:
                return False
            self.marks.pop(parts, None)
            if mark is not None:
                self.marks[parts] = mark
            self.objects[parts] = data
            progress(1.0)
            return True

    def whose(self, bucket: str, key: str, source: Path, mark: Mark, *, state: Path | None = None) -> Whose:
        with self._call("whose"):
            return self._whose(_parts(bucket, key), source.read_bytes(), mark)

    def _whose(self, parts: tuple[str, ...], data: bytes, mark: Mark) -> Whose:
        if parts not in self.objects:
            return Whose.NOBODYS
        if parts in self.marks:
            return mark.whose(self.marks[parts])
        return Whose.OURS if self.objects[parts] == data else Whose.ANOTHERS

    def size_of(self, bucket: str, key: str) -> int | None:
        with self._call("size_of"):
            found = self.objects.get(_parts(bucket, key))
            return None if found is None else len(found)

    def has_row(self, user_id: str, filename: str, *, job: str) -> bool:
        with self._call("has_row"):
            name = (user_id, filename)
            return name in self.video_rows and self.row_jobs.get(name) != job

    def publish_row(self, row: Row, *, job: str = "") -> bool:
        with self._call("publish_row"):
            if not row.get("user_id") or not row.get("filename"):
                raise Reject("a video's row needs user_id and filename", "correct the row, then try again")
            name = (row["user_id"], row["filename"])
            if job and self.row_jobs.get(name) not in (None, "", job):
                return False
            self.row_jobs[name] = job or self.row_jobs.get(name, "")
            self.video_rows.setdefault(name, {}).update(row)
            return True

    def heartbeat(self, row: Row) -> None:
        with self._call("heartbeat"):
            own = {"user_id": self.user_id, "camera_id": self.camera_id}
            self.status_rows.setdefault((self.user_id, self.camera_id), {}).update({**row, **own})

    def _is_mine(self, row: Row) -> bool:
        return row["user_id"] == self.user_id and (row["camera_id"] or "0") == self.camera_id

    def _call(self, method: str) -> threading.RLock:
        """Count the call, raise the fault that was ordered for it, and give the lock to do the rest under."""
        with self._lock:
            self.calls[method] += 1
            for number, (wanted, fault) in enumerate(self._faults):
                if wanted in ("", method):
                    del self._faults[number]
                    raise fault
        return self._lock


def _parts(bucket: str, key: str) -> tuple[str, ...]:
    try:
        return object_parts(bucket, key)
    except InvalidKey as fault:
        raise Reject(str(fault), "give the object a plain name") from fault
