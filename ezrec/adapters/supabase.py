"""`SupabaseBackend`: the port `Backend` over a Supabase project, for one account and one camera.

Rows go through the `supabase` client, uploads through `tus`, and both through one `Connection`, which
sorts every error. Nothing here may trust that a write happened once: answers get lost, so every write
can be said twice.
"""

from __future__ import annotations

import logging
import os
import threading
import uuid
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from ezrec import durable
from ezrec.adapters.ffmpeg_run import Switch
from ezrec.adapters.reach import Reach
from ezrec.adapters.supabase_connection import Access, Connection, check_key
from ezrec.adapters.supabase_errors import CloudError, redacted, unknown_column
from ezrec.adapters.tus import PIECE, Pace, Upload
from ezrec.domain.errors import Reject, Retry
from ezrec.domain.keys import InvalidKey, object_parts
from ezrec.domain.names import BadName, safe_id
from ezrec.domain.statuses import normal, statuses_before
from ezrec.ports import Branding, Clock, OnStop, Row
from ezrec.settings import Settings

T = TypeVar("T")
_PAGE = 1000  # rows; a select stops there and says nothing of the rest
_TYPES = {".mp4": "video/mp4", ".zip": "application/zip", ".png": "image/png", ".jpg": "image/jpeg"}
_VIDEO_IDS = uuid.UUID("6f2cfb52-54a5-5d0f-8f0e-3c6c4c1f7f0a")  # names the ids that are made of file names
_BAD_ID = ("22P02", "428C9")  # the table numbers its rows by itself
_log = logging.getLogger("ezrec.supabase")


class SupabaseBackend:
    """May be shared between threads. Connects at the first call.

    `past_days`: bookings older than that are not asked for (None: all of them). `unassigned`: rows that
    name no camera belong to this one. `upload_bytes_s`: 0 is unlimited. `silence_s`: a link that is silent
    for so long is given up; not below 15 in use, for a request that died holds an upload's lock for 3.
    `wait_s`: the first of the growing waits within one upload; `piece`: the bytes of one of its requests.
    """

    def __init__(
        self,
        access: Access,
        user_id: str,
        camera_id: str,
        clock: Clock,
        *,
        past_days: int | None = 3,
        unassigned: bool | None = None,
        upload_bytes_s: float = 0,
        silence_s: float = 30.0,
        wait_s: float = 0.25,
        piece: int = PIECE,
        reach: Reach | None = None,
    ) -> None:
        self.user_id, self.camera_id = user_id, camera_id
        self._clock = clock
        self._past_days = past_days
        self._unassigned = camera_id == "0" if unassigned is None else unassigned
        self._upload_bytes_s = upload_bytes_s
        self._cloud = Connection(access, silence_s=silence_s, reach=reach)
        self._piece = piece
        self._wait_s = wait_s
        self._lacking: dict[str, set[str]] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        self._cloud.close()

    # ---- bookings

    def bookings(self) -> list[dict[str, Any]]:
        rows = self._cloud.call("fetching the bookings", self._fetch_bookings)
        return sorted(
            rows, key=lambda row: tuple(str(row.get(name)) for name in ("date", "start_time", "id"))
        )

    def _fetch_bookings(self) -> list[dict[str, Any]]:
        """Page by page along the ids: a row that comes or goes meanwhile shifts no other."""
        found: list[dict[str, Any]] = []
        while True:
            query = self._table("bookings").select("*", count="exact").eq("user_id", self.user_id)
            query = query.or_(self._mine()) if self._unassigned else query.eq("camera_id", self.camera_id)
            if self._past_days is not None:
                query = query.or_(f"date.gte.{self._oldest(self._past_days)},date.is.null")
            if found:
                query = query.gt("id", found[-1]["id"])
            answer = query.order("id").limit(_PAGE).execute()
            page = self._rows(answer.data, "fetching the bookings")
            found += page
            if answer.count is None or answer.count < len(page) or (answer.count and not page):
                raise Retry(f"the bookings came incomplete: {len(page)} of {answer.count}")
            if len(page) == answer.count:
                return found

    def _mine(self) -> str:
        # The front end does not send a camera: the column's default is '0', older rows have NULL.
        names = dict.fromkeys((self.camera_id, "0"))
        return ",".join([*(f"camera_id.eq.{name}" for name in names), "camera_id.is.null"])

    def _oldest(self, days: int) -> date:
        return (self._clock.now() - timedelta(days=days)).date()

    def advance_status(self, booking_id: str, status: str) -> bool:
        try:
            before = statuses_before(status)
        except ValueError as fault:
            raise Reject(str(fault), "tell one of the steps in their order") from fault
        try:
            safe_id(booking_id)
        except BadName:
            return False
        doing = f"telling {status} for booking {booking_id}"
        return self._cloud.call(doing, lambda: self._advance(booking_id, status, before, doing))

    def _advance(self, booking_id: str, status: str, before: tuple[str, ...], doing: str) -> bool:
        """Compare and set: rows have been seen with capitals and blanks, so we compare here, and the database
        sets only what still stands as we saw it.
        """
        for _ in range(3):
            answer = self._own_booking(self._table("bookings").select("status"), booking_id).execute()
            rows = self._rows(answer.data, doing)
            if not rows:
                _log.info("%s: no such booking any more", doing)
                return False
            seen = rows[0]["status"]
            if normal(seen) not in before:
                return False
            change = self._own_booking(self._table("bookings").update({"status": status}), booking_id)
            change = change.is_("status", "null") if seen is None else change.eq("status", seen)
            done = change.execute()
            if self._rows(done.data, doing):
                return True
            # Changed meanwhile, or row-level security forbids it: that too is answered with 200 and [].
            _log.warning("%s: expected the changed row and got %s", doing, redacted(str(done.data)))
        return False

    def _own_booking(self, query: Any, booking_id: str) -> Any:
        return query.eq("id", booking_id).eq("user_id", self.user_id)

    # ---- branding and objects

    def branding(self) -> Branding:
        doing = "fetching the branding"

        def work() -> list[dict[str, Any]]:
            query = self._table("user_settings").select("*").eq("user_id", self.user_id).limit(1)
            return self._rows(query.execute().data, doing)

        rows = self._cloud.call(doing, work)
        if not rows:
            return Branding()
        return Branding(rows[0].get("intro_video_path") or None, rows[0].get("logo_path") or None)

    def fetch(self, bucket: str, key: str, target: Path) -> None:
        path = "/".join(_parts(bucket, key))
        self._cloud.call(f"fetching {path}", lambda: self._download(path, target))

    def _download(self, path: str, target: Path) -> None:
        part = target.with_name(f".{target.name}.{os.getpid()}-{threading.get_ident()}.part")
        url = f"{self._cloud.access.url}/storage/v1/object/{quote(path)}"
        try:
            # Unpacked content would not have the promised length.
            with (
                self._cloud.http.stream("GET", url, headers={"Accept-Encoding": "identity"}) as answer,
                part.open("wb") as file,
            ):
                for block in answer.iter_raw():
                    file.write(block)
                promised = answer.headers.get("content-length")
                if promised is not None and int(promised) != file.tell():
                    raise Retry(f"{path} came incomplete: {file.tell()} of {promised} bytes")
            durable.sync_file(part)
            durable.rename(part, target)
        finally:
            part.unlink(missing_ok=True)

    def store(
        self,
        bucket: str,
        key: str,
        source: Path,
        progress: Callable[[float], None],
        *,
        state: Path | None = None,
        on_stop: OnStop | None = None,
    ) -> None:
        path = "/".join(_parts(bucket, key))
        switch = Switch()
        if on_stop is not None:
            on_stop(switch.pull)
        upload = Upload(
            self._cloud,
            bucket,
            key,
            source,
            progress=progress,
            is_stopped=lambda: switch.pulled,
            state=state,
            pace=Pace(self._upload_bytes_s),
            wait_s=self._wait_s,
            piece=self._piece,
            content_type=_TYPES.get(Path(key).suffix.lower(), "application/octet-stream"),
        )
        size = self._cloud.call(f"uploading {path}", upload.run)
        there = self.size_of(bucket, key)
        if there != size:
            upload.forget()
            raise Retry(f"{path} was uploaded, and storage has {there} bytes of {size}")
        progress(1.0)

    def size_of(self, bucket: str, key: str) -> int | None:
        parts = _parts(bucket, key)
        doing = f"asking for {'/'.join(parts)}"

        def work() -> int | None:
            try:
                info = self._cloud.supabase.storage.from_(bucket).info(key)
            except CloudError as error:
                if error.status == 404:
                    return None
                raise
            size = info.get("size") if isinstance(info, dict) else None
            if not isinstance(size, int):
                _log.warning("%s: expected a size and got %s", doing, redacted(str(info)))
                raise Retry(f"{doing}: answered without a size")
            return size

        return self._cloud.call(doing, work)

    # ---- rows

    def publish_row(self, row: Row) -> None:
        if not row.get("user_id") or not row.get("filename"):
            raise Reject("a video's row needs user_id and filename", "correct the row, then try again")
        whose = {name: row[name] for name in ("user_id", "filename")}
        doing = f"publishing {row['filename']}"
        # Made of the name: a request that is still on its way when we ask again meets its own key.
        row_id = str(uuid.uuid5(_VIDEO_IDS, f"{row['user_id']}/{row['filename']}"))

        def work() -> None:
            if self._update("videos", whose, row, doing):
                return
            try:
                self._insert("videos", {"id": row_id, **row}, (*whose,), doing)
            except CloudError as error:
                if error.code != "23505":
                    raise
                if not self._update("videos", whose, row, doing):
                    raise

        self._cloud.call(doing, work)

    def heartbeat(self, row: Row) -> None:
        whose = {"user_id": self.user_id, "camera_id": self.camera_id}
        doing = "telling the status"

        def work() -> None:
            if not self._update("system_status", whose, {**row, **whose}, doing):
                self._insert("system_status", {**row, **whose}, (*whose,), doing)

        self._cloud.call(doing, work)

    def _update(self, table: str, whose: Row, row: Row, doing: str) -> bool:
        """Change the rows that are there; False when there is none."""

        def send(known: dict[str, Any]) -> bool:
            query = self._table(table).update(known, count="exact", returning="minimal")
            for name, value in whose.items():
                query = query.eq(name, value)
            return bool(query.execute().count)

        return self._without_unknown(table, row, (*whose,), send)

    def _insert(self, table: str, row: Row, required: tuple[str, ...], doing: str) -> None:
        def send(known: dict[str, Any]) -> None:
            answer = self._table(table).insert(known).execute()
            if not answer.data:
                _log.warning("%s: expected the new row and got %s", doing, redacted(str(answer.data)))

        self._without_unknown(table, row, required, send)

    def _without_unknown(
        self, table: str, row: Row, required: tuple[str, ...], send: Callable[[dict[str, Any]], T]
    ) -> T:
        """Send the row without the columns that this table lacks; each is met once and remembered."""
        while True:
            with self._lock:
                lacking = self._lacking.setdefault(table, set())
                known = {name: value for name, value in row.items() if name not in lacking}
            try:
                return send(known)
            except CloudError as error:
                is_bad_id = error.code in _BAD_ID and "id" in known
                column = "id" if is_bad_id else unknown_column(error)
                if column is None or column not in known or column in required:
                    raise
                with self._lock:
                    lacking.add(column)
                _log.warning("the table %s has no column %s: left out from now on", table, column)

    # ---- both

    def _table(self, name: str) -> Any:
        return self._cloud.supabase.table(name)

    def _rows(self, data: object, doing: str) -> list[dict[str, Any]]:
        if isinstance(data, list) and all(isinstance(row, dict) for row in data):
            return data
        _log.warning("%s: expected rows and got %s", doing, redacted(str(data)))
        raise Retry(f"{doing}: the answer holds no rows")


def from_settings(settings: Settings, clock: Clock) -> SupabaseBackend:
    """The backend that the settings describe. Warns of a weak or all too strong key; raises `ConfigError`."""
    access = Access(
        settings.supabase_url, settings.supabase_key, settings.device_email, settings.device_password
    )
    for warning in check_key(access):
        _log.warning("%s", warning)
    return SupabaseBackend(
        access,
        settings.user_id,
        settings.camera_id,
        clock,
        past_days=settings.sync_past_days,
        unassigned=settings.unassigned or settings.camera_id == "0",
        upload_bytes_s=settings.upload_kbps * 125.0,
        reach=Reach(settings.reach),
    )


def _parts(bucket: str, key: str) -> tuple[str, ...]:
    try:
        return object_parts(bucket, key)
    except InvalidKey as fault:
        raise Reject(str(fault), "give the object a plain name") from fault
