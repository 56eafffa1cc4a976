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
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from ezrec import durable
from ezrec.adapters.ffmpeg_run import Switch
from ezrec.adapters.reach import Reach
from ezrec.adapters.supabase_bookings import Bookings, Scope, rows_of
from ezrec.adapters.supabase_connection import Access, Connection, check_key
from ezrec.adapters.supabase_errors import LOCKED_AFTER_S, PORTAL, CloudError, redacted, unknown_column
from ezrec.adapters.supabase_notes import CameraRow, Heartbeats, Lacking, Limit, Notes
from ezrec.adapters.supabase_realtime import Hint
from ezrec.adapters.tus import Pace, Upload
from ezrec.adapters.tus_sizes import Sizes
from ezrec.domain.errors import Reject, Retry
from ezrec.domain.keys import InvalidKey, object_parts
from ezrec.domain.pieces import Pieces, pieces
from ezrec.ports import Branding, Clock, OnStop, Row
from ezrec.settings import Settings

T = TypeVar("T")
_TYPES = {
    ".mp4": "video/mp4", ".zip": "application/zip", ".png": "image/png", ".jpg": "image/jpeg",
    ".vtt": "text/vtt", ".json": "application/json",
}  # fmt: skip
_VIDEO_IDS = uuid.UUID("6f2cfb52-54a5-5d0f-8f0e-3c6c4c1f7f0a")  # names the ids that are made of file names
_BAD_ID = ("22P02", "428C9")  # the table numbers its rows by itself
_log = logging.getLogger("ezrec.supabase")


class SupabaseBackend:
    """May be shared between threads. Connects at the first call.

    `past_days`: bookings older than that are not asked for (None: all of them). `unassigned`: rows that
    name no camera belong to this one. `upload_bytes_s`: 0 is unlimited. `silence_s`: a link that is silent
    for so long is given up; not below 15 in use, for a request that died holds an upload's lock for 3.
    `wait_s`: the first of the growing waits within one upload; `sizes`: of its requests (None: by
    who the server is, and what it has refused).
    `state`: the folder where it says how the cloud treats it, and remembers which columns the tables lack;
    None: only in memory.
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
        state: Path | None = None,
        sizes: Pieces | None = None,
        reach: Reach | None = None,
    ) -> None:
        self.user_id, self.camera_id = user_id, camera_id
        self._upload_bytes_s = upload_bytes_s
        self._notes = Notes(state, clock, access.mark)
        self._lacking = Lacking(state, clock)
        self._cloud = Connection(
            access,
            silence_s=silence_s,
            on_access=self._notes.access,
            reach=reach,
            rest=self._notes.rest(LOCKED_AFTER_S),
            state=state,
            boot_id=clock.boot_id(),
        )
        self._bookings = Bookings(
            self._cloud,
            clock,
            Scope(user_id, camera_id, past_days, camera_id == "0" if unassigned is None else unassigned),
        )
        self._sizes = sizes
        self._limit = Limit(state, clock, access.url)
        self._wait_s = wait_s
        self._camera_row = CameraRow(clock)
        self._heartbeats = Heartbeats(clock, fixed=("user_id", "camera_id"))

    def close(self) -> None:
        self._cloud.close()

    def hint(self, ring: Callable[[], None]) -> Hint:
        """Rings when Realtime tells of a changed booking; see there what it is worth."""
        return Hint(self._cloud, self.user_id, self.camera_id, ring)

    # ---- bookings

    def bookings(self) -> list[dict[str, Any]]:
        rows = self._bookings.fetch()
        if rows:
            self._notes.hidden(False)
        return rows

    def sees_bookings(self) -> bool:
        seen = self._bookings.are_seen()
        self._notes.hidden(not seen)
        return seen

    def advance_status(self, booking_id: str, status: str) -> bool:
        return self._bookings.advance(booking_id, status)

    # ---- branding and objects

    def branding(self) -> Branding:
        doing = "fetching the branding"

        def work() -> list[dict[str, Any]]:
            query = self._table("user_settings").select("*").eq("user_id", self.user_id).limit(1)
            return rows_of(query.execute().data, doing)

        rows = self._cloud.call(doing, work)
        if not rows:
            return Branding()
        row = rows[0]
        sponsors = [row.get(f"sponsor_logo{number}_path") for number in (1, 2, 3)]
        return Branding(
            row.get("intro_video_path") or None, row.get("logo_path") or None, tuple(filter(None, sponsors))
        )

    def fetch(self, bucket: str, key: str, target: Path) -> None:
        path = "/".join(_parts(bucket, key))
        size = self.size_of(bucket, key)  # what is fetched is kept for good: it must be the object itself
        self._cloud.call(f"fetching {path}", lambda: self._download(path, target, size))

    def _download(self, path: str, target: Path, size: int | None) -> None:
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
                if file.tell() != size:
                    raise Retry(f"{path} came with {file.tell()} bytes, and storage has {size}")
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
            sizes=self._piece_sizes(),
            content_type=_TYPES.get(Path(key).suffix.lower(), "application/octet-stream"),
        )
        size = self._cloud.call(f"uploading {path}", upload.run)
        there = self.size_of(bucket, key)
        if there != size:
            upload.forget()
            raise Retry(f"{path} was uploaded, and storage has {there} bytes of {size}")
        progress(1.0)

    def _piece_sizes(self) -> Sizes:
        host = urlsplit(self._cloud.access.url).hostname or ""
        sizes = self._sizes or pieces(host, None)
        sizes = replace(sizes, most=min(sizes.most, self._limit.most() or sizes.most))
        return Sizes(sizes, looks=self._sizes is None, on_limit=self._limit.found)

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

        def work() -> Row:
            news = self._heartbeats.news(row)
            if self._update("system_status", whose, news, doing):
                return news
            self._insert("system_status", {**row, **whose}, (*whose,), doing)
            return row

        self._heartbeats.told(self._cloud.call(doing, work))
        self._touch_camera(row)

    def _touch_camera(self, heartbeat: Row) -> None:
        """Bring the camera's row in `cameras` up to date, where there is one. It never makes one: a person
        registers cameras. What goes wrong here is no reason to call the heartbeat a failure.
        """
        row = self._camera_row.due(heartbeat)
        if row is None:
            return
        whose = {"id": self.camera_id, "user_id": self.user_id}
        doing = "telling that the camera is there"
        try:
            there = self._cloud.call(doing, lambda: self._update("cameras", whose, row, doing))
        except Reject as fault:
            _log.info("%s; not asked again for a while", fault)
            there = False
        except Retry:
            return
        self._camera_row.told(row, there=there)

    def _update(self, table: str, whose: Row, row: Row, doing: str) -> bool:
        """Change the rows that are there; False when there is none."""

        def send(known: dict[str, Any]) -> bool:
            query = self._table(table).update(known, count="exact", returning="minimal")
            for name, value in whose.items():
                query = query.eq(name, value)
            count = query.execute().count
            if count is None:  # always told when it is asked for
                raise CloudError(502, PORTAL, "a change was answered without saying of how many rows")
            return bool(count)

        return self._without_unknown(table, row, (*whose,), send)

    def _insert(self, table: str, row: Row, required: tuple[str, ...], doing: str) -> None:
        def send(known: dict[str, Any]) -> None:
            answer = self._table(table).insert(known).execute()
            if not rows_of(answer.data, doing):
                _log.warning("%s: expected the new row and got %s", doing, redacted(str(answer.data)))
                raise CloudError(502, PORTAL, "a new row was answered without the row")

        self._without_unknown(table, row, required, send)

    def _without_unknown(
        self, table: str, row: Row, required: tuple[str, ...], send: Callable[[dict[str, Any]], T]
    ) -> T:
        """Send the row without the columns that this table lacks; each is met once and remembered."""
        while True:
            lacking = self._lacking.of(table)
            known = {name: value for name, value in row.items() if name not in lacking}
            try:
                return send(known)
            except CloudError as error:
                is_bad_id = error.code in _BAD_ID and "id" in known
                column = "id" if is_bad_id else unknown_column(error)
                if column is None or column not in known or column in required:
                    raise
                self._lacking.add(table, column)
                _log.warning("the table %s has no column %s: left out from now on", table, column)

    # ---- both

    def _table(self, name: str) -> Any:
        return self._cloud.supabase.table(name)


def from_settings(settings: Settings, clock: Clock, state: Path | None) -> SupabaseBackend:
    """The backend that the settings describe. Warns of a weak or all too strong key; raises `ConfigError`."""
    access = Access(
        settings.supabase_url, settings.supabase_key, settings.device_email, settings.device_password
    )
    warnings = check_key(access)
    if warnings and Notes(state, clock).is_worth_saying("key"):
        for warning in warnings:
            _log.warning("%s", warning)
    return SupabaseBackend(
        access,
        settings.user_id,
        settings.camera_id,
        clock,
        past_days=settings.sync_past_days,
        unassigned=settings.unassigned or settings.camera_id == "0",
        upload_bytes_s=settings.upload_kbps * 125.0,
        state=state,
        sizes=None if settings.upload_piece_mib is None else pieces("", settings.upload_piece_mib),
        reach=Reach(settings.reach),
    )


def _parts(bucket: str, key: str) -> tuple[str, ...]:
    try:
        return object_parts(bucket, key)
    except InvalidKey as fault:
        raise Reject(str(fault), "give the object a plain name") from fault
