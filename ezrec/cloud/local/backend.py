"""`LocalBackend`: the port `Backend` on this machine's disk, and what `ezrec local` does there.

The default: no account, no network. Under its root:

    tables.db         bookings, videos, user_settings, system_status, cameras   (tables.py)
    buckets/          videos/ usermedia/ logs/, each object at the path of its key  (buckets.py)
    changes/bookings  written whenever a person changed a booking or the branding

To notice changes at once, watch the folder `changes/`, never the root: reading the tables creates and removes
SQLite's own files there, so a watcher would wake itself for ever. The file carries no facts: call
`bookings()`.
"""

from __future__ import annotations

import logging
import os
import re
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

from ezrec.cloud.local.buckets import Buckets
from ezrec.cloud.local.tables import Tables, put, transaction
from ezrec.domain.booking import (
    CANCELLED,
    OPEN,
    BadBooking,
    Window,
    normal,
    parse_booking,
    statuses_before,
    window_columns,
)
from ezrec.domain.errors import Reject
from ezrec.domain.ownership import Mark, Whose
from ezrec.domain.ports import Branding, Clock, OnStop, Row

# As `booking.normal` does it, in SQL.
_STATUS = "lower(trim(coalesce(status, ''), char(9, 10, 13, 32)))"
_SPONSORS = tuple(f"sponsor_logo{number}" for number in (1, 2, 3))
_ASSETS = {
    "intro": "intro_video_path", "logo": "logo_path", **{name: f"{name}_path" for name in _SPONSORS},
}  # fmt: skip
_log = logging.getLogger("ezrec.local")


class LocalBackend:
    """One account's and one camera's view of the store under `root`; created when it is first used.

    May be shared between threads, and used by several processes at once.
    """

    def __init__(self, root: Path, user_id: str, camera_id: str, zone: tzinfo, clock: Clock) -> None:
        self.root = root
        self.user_id = user_id
        self.camera_id = camera_id
        self.zone = zone
        self.clock = clock
        self.changes = root / "changes"
        self.tables = Tables(root / "tables.db")
        self.buckets = Buckets(root / "buckets")
        self._left_out: set[str] = set()

    # ---- the port

    def bookings(self) -> list[dict[str, Any]]:
        # The front end sends no camera: such rows belong to camera 0.
        mine = "camera_id = ?" + (" OR coalesce(camera_id, '') = ''" if self.camera_id == "0" else "")
        return self.tables.rows_again(
            f"SELECT * FROM bookings WHERE user_id = ? AND ({mine}) ORDER BY date, start_time, id",
            (self.user_id, self.camera_id),
        )

    def sees_bookings(self) -> bool:
        return True  # our own file hides nothing

    def advance_status(self, booking_id: str, status: str) -> bool:
        try:
            before = statuses_before(status)
        except ValueError as fault:
            raise Reject(str(fault), "report one of the steps in their order") from fault
        return self._set_status(booking_id, status, before)

    def branding(self) -> Branding:
        found = self.tables.rows_again("SELECT * FROM user_settings WHERE user_id = ?", (self.user_id,))
        if not found:
            return Branding()
        row = found[0]
        sponsors = tuple(key for name in _SPONSORS if (key := row[_ASSETS[name]]))
        return Branding(row["intro_video_path"] or None, row["logo_path"] or None, sponsors)

    def fetch(self, bucket: str, key: str, target: Path) -> None:
        self.buckets.fetch(bucket, key, target)

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
        return self.buckets.store(bucket, key, source, progress, mark)

    def whose(self, bucket: str, key: str, source: Path, mark: Mark, *, state: Path | None = None) -> Whose:
        return self.buckets.whose(bucket, key, source, mark)

    def size_of(self, bucket: str, key: str) -> int | None:
        return self.buckets.size_of(bucket, key)

    def has_row(self, user_id: str, filename: str, *, job: str) -> bool:
        query = "SELECT id FROM videos WHERE user_id = ? AND filename = ?"
        known = self.tables.rows(query, (user_id, filename))
        return bool(known) and self.buckets.job_of("videos", f"{user_id}/{filename}") != job

    def publish_row(self, row: Row, *, job: str = "") -> bool:
        # A row belongs to the job whose mark its object carries; there is no column for it.
        place = f"{row.get('user_id')}/{row.get('filename')}"
        if job and self.buckets.job_of("videos", place) not in ("", job):
            return False
        self._warn_left_out("videos", self.tables.put("videos", row, ("user_id", "filename")))
        return True

    def heartbeat(self, row: Row) -> None:
        own = {"user_id": self.user_id, "camera_id": self.camera_id}
        camera = {
            "id": self.camera_id,
            "user_id": self.user_id,
            "is_recording": row.get("is_recording"),
            "last_seen": row.get("last_heartbeat") or self.clock.now(),
            "status": "online",
        }
        with self.tables.open() as db, transaction(db):
            left_out = put(db, "system_status", {**row, **own}, ("user_id", "camera_id"))
            put(db, "cameras", camera, ("user_id", "id"))
        self._warn_left_out("system_status", left_out)

    # ---- for `ezrec local`

    def book(self, start: datetime, end: datetime) -> str:
        """Enter a booking for this camera; returns its id."""
        booking_id, now = str(uuid.uuid4()), self.clock.now()
        row = {
            "id": booking_id,
            "user_id": self.user_id,
            "camera_id": self.camera_id,
            **self._columns(start, end),
            "status": "confirmed",
            "created_at": now,
            "updated_at": now,
        }
        self.tables.put("bookings", row, ("id",))
        self._notify()
        return booking_id

    def cancel(self, booking_id: str) -> bool:
        """Cancel a booking, also while it is being recorded. False when there is none with that id."""
        if not self._set_status(booking_id, "cancelled", OPEN + CANCELLED):
            if self._booking(booking_id) is None:
                return False
            raise Reject(f"booking {booking_id} is recorded already", "remove its job or its video instead")
        self._notify()
        return True

    def change(self, booking_id: str, start: datetime | None = None, end: datetime | None = None) -> bool:
        """Give a booking another start or end. False when there is none with that id."""
        with self.tables.open() as db, transaction(db):
            row = db.execute(
                "SELECT * FROM bookings WHERE id = ? AND user_id = ?", (booking_id, self.user_id)
            ).fetchone()
            if row is None:
                return False
            if normal(row["status"]) not in OPEN:
                raise Reject(f"booking {booking_id} is {row['status']}", "make a new booking")
            columns = self._columns(*self._moved(dict(row), start, end))
            db.execute(
                "UPDATE bookings SET date = ?, start_time = ?, end_time = ?, updated_at = ? WHERE id = ?",
                (*columns.values(), self.clock.now().isoformat(), booking_id),
            )
        self._notify()
        return True

    def all_bookings(self) -> list[dict[str, Any]]:
        """This account's bookings, of every camera."""
        return self.tables.rows(
            "SELECT * FROM bookings WHERE user_id = ? ORDER BY date, start_time, id", (self.user_id,)
        )

    def videos(self) -> list[dict[str, Any]]:
        """This account's published videos, oldest first."""
        return self.tables.rows("SELECT * FROM videos WHERE user_id = ? ORDER BY id", (self.user_id,))

    def video_path(self, filename: str) -> Path | None:
        """The file of a published video, or None when its object is not there."""
        key = f"{self.user_id}/{filename}"
        return None if self.size_of("videos", key) is None else self.buckets.path("videos", key)

    def set_branding(
        self,
        intro: Path | None = None,
        logo: Path | None = None,
        *,
        sponsors: Sequence[Path] = (),
        remove: Collection[str] = (),
    ) -> Branding:
        """Store and use an intro or a logo; `remove` names those to use no more. The rest stays.

        `sponsors`, three at most, replace all sponsors' logos. A new file always gets a new key, so that
        readers and caches of the old one are not disturbed.
        """
        gone = [name for kind in remove for name in (_SPONSORS if kind == "sponsors" else (kind,))]
        row: dict[str, Any] = {_ASSETS[kind]: None for kind in (*gone, *(_SPONSORS if sponsors else ()))}
        for kind, path in (("intro", intro), ("logo", logo), *zip(_SPONSORS, sponsors, strict=False)):
            if path is not None:
                row[_ASSETS[kind]] = self._store_asset(kind, path)
        if row:
            whose = {"user_id": self.user_id, "updated_at": self.clock.now()}
            self.tables.put("user_settings", {**whose, **row}, ("user_id",))
            self._notify()
        return self.branding()

    # ---- how

    def _set_status(self, booking_id: str, status: str, before: tuple[str, ...]) -> bool:
        """Compare and set in one statement: of several callers, one changes the row."""
        moved = self.tables.change(
            "UPDATE bookings SET status = ?, updated_at = ? WHERE id = ? AND user_id = ? "
            f"AND {_STATUS} IN ({', '.join('?' * len(before))})",
            (status, self.clock.now(), booking_id, self.user_id, *before),
        )
        return moved > 0

    def _booking(self, booking_id: str) -> dict[str, Any] | None:
        found = self.tables.rows(
            "SELECT * FROM bookings WHERE id = ? AND user_id = ?", (booking_id, self.user_id)
        )
        return found[0] if found else None

    def _columns(self, start: datetime, end: datetime) -> dict[str, str]:
        if start.tzinfo is None or end.tzinfo is None:
            raise ValueError("a booking begins and ends at instants with a zone")
        try:
            return window_columns(Window(start.astimezone(UTC), end.astimezone(UTC)), self.zone)
        except BadBooking as fault:
            raise _not_bookable(fault) from fault

    def _moved(
        self, row: Mapping[str, Any], start: datetime | None, end: datetime | None
    ) -> tuple[datetime, datetime]:
        if start is not None and end is not None:
            return start, end
        try:
            old = parse_booking(row, self.zone)
        except BadBooking as fault:
            raise _not_bookable(fault) from fault
        return start or old.start, end or old.end

    def _store_asset(self, kind: str, path: Path) -> str:
        suffix = path.suffix.lower()
        if not re.fullmatch(r"\.[a-z0-9]{1,5}", suffix):
            raise Reject(f"{path} has no ending that tells its format", "name it intro.mp4 or logo.png, say")
        at = self.clock.now()
        while self.size_of("usermedia", key := _asset_key(self.user_id, kind, at, suffix)) is not None:
            at += timedelta(milliseconds=1)
        self.store("usermedia", key, path, lambda _: None)
        return key

    def _notify(self) -> None:
        """Wake the watchers of `changes/`. If that fails, the next regular sync finds the change."""
        with suppress(OSError):
            self.changes.mkdir(parents=True, exist_ok=True)
            fd = os.open(self.changes / "bookings", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o664)
            with open(fd, "w") as file:
                file.write(f"{self.clock.now().isoformat()}\n")

    def _warn_left_out(self, table: str, columns: list[str]) -> None:
        for column in columns:
            if (name := f"{table}.{column}") not in self._left_out:
                self._left_out.add(name)
                _log.warning("the tables have no column %s: it is left out from now on", ascii(name))


def _asset_key(user_id: str, kind: str, at: datetime, suffix: str) -> str:
    return f"{user_id}/{kind}/{kind}_{int(at.timestamp() * 1000)}{suffix}"


def _not_bookable(fault: BadBooking) -> Reject:
    return Reject(str(fault), "name a start, and an end after it")
