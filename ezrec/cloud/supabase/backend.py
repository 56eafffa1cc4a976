"""`SupabaseBackend`: the port `Backend` over a Supabase project, for one account and one camera.

Rows go through the `supabase` client, uploads through `tus`, and both through one `Connection`, which sorts
every error. Responses get lost, so every write may be repeated.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from ezrec.cloud.connectivity import Connectivity
from ezrec.cloud.supabase.bookings import Bookings, rows_of
from ezrec.cloud.supabase.connection import Connection
from ezrec.cloud.supabase.credentials import Credentials, check_key
from ezrec.cloud.supabase.errors import LOCKED_AFTER_S, PORTAL, CloudError, redacted, unknown_column
from ezrec.cloud.supabase.objects import ObjectStore
from ezrec.cloud.supabase.state_cache import CameraRowSchedule, HeartbeatChanges, MissingColumns, StateCache
from ezrec.domain.chunk_size import ChunkSize
from ezrec.domain.errors import Reject, Retry
from ezrec.domain.ownership import Mark, Whose
from ezrec.domain.ports import Branding, Clock, OnStop, Row
from ezrec.settings import Settings

T = TypeVar("T")
_VIDEO_IDS = uuid.UUID("6f2cfb52-54a5-5d0f-8f0e-3c6c4c1f7f0a")  # names the ids of rows
_BAD_ID = ("22P02", "428C9")  # the table numbers its rows by itself
_log = logging.getLogger("ezrec.supabase")


class SupabaseBackend:
    """May be shared between threads. Connects at the first call.

    `past_days`, `unassigned`: see `Bookings`; by default rows without a camera belong to camera 0.
    `upload_bytes_s`: 0 is unlimited. `silence_s`: a connection that is silent for so long is given up; use at
    least 15, because a dead request holds an upload's lock for 3 s. `wait_s`: the first of the growing waits
    within one upload. `chunk_size`: of uploads; None: chosen by the server's name and headers. `state`: the
    folder of `cloud.json`, `columns.json` and the session; None: they are kept in memory.
    """

    def __init__(
        self,
        credentials: Credentials,
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
        chunk_size: ChunkSize | None = None,
        connectivity: Connectivity | None = None,
    ) -> None:
        self.user_id, self.camera_id = user_id, camera_id
        self._state = StateCache(state, clock, credentials.mark)
        self._missing_columns = MissingColumns(state, clock)
        self._cloud = Connection(
            credentials,
            silence_s=silence_s,
            on_access=self._state.record_access,
            connectivity=connectivity,
            pause=self._state.pause(LOCKED_AFTER_S),
            state=state,
            boot_id=clock.boot_id(),
        )
        self._bookings = Bookings(
            self._cloud,
            clock,
            user_id,
            camera_id,
            past_days,
            camera_id == "0" if unassigned is None else unassigned,
        )
        self._objects = ObjectStore(
            self._cloud,
            upload_bytes_s=upload_bytes_s,
            wait_s=wait_s,
            chunk_size=chunk_size,
        )
        self._camera_row = CameraRowSchedule(clock)
        self._heartbeats = HeartbeatChanges(clock, fixed=("user_id", "camera_id"))

    def close(self) -> None:
        self._cloud.close()

    # ---- bookings

    def bookings(self) -> list[dict[str, Any]]:
        rows = self._bookings.fetch()
        if rows:
            self._state.record_hidden(False)
        return rows

    def sees_bookings(self) -> bool:
        seen = self._bookings.are_seen()
        self._state.record_hidden(not seen)
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
        self._objects.fetch(bucket, key, target)

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
        return self._objects.store(bucket, key, source, progress, state=state, on_stop=on_stop, mark=mark)

    def whose(self, bucket: str, key: str, source: Path, mark: Mark, *, state: Path | None = None) -> Whose:
        return self._objects.whose(bucket, key, source, mark, state)

    def size_of(self, bucket: str, key: str) -> int | None:
        return self._objects.size_of(bucket, key)

    # ---- rows

    def has_row(self, user_id: str, filename: str, *, job: str) -> bool:
        own = _row_id(user_id, filename, job)
        found = self._cloud.call(f"asking for the row of {filename}", lambda: self._ids(user_id, filename))
        return any(each != own for each in found)

    def publish_row(self, row: Row, *, job: str = "") -> bool:
        if not row.get("user_id") or not row.get("filename"):
            raise Reject("a video's row needs user_id and filename", "correct the row, then try again")
        doing = f"publishing {row['filename']}"

        def work() -> bool:
            try:
                return self._publish(row, job, doing)
            except CloudError as error:
                if error.code != "23505":
                    raise
            try:  # another writer was faster, perhaps a request of ours that was still on its way
                return self._publish(row, job, doing)
            except CloudError as error:
                if error.code == "23505" and job:  # a row that this device may not see
                    return False
                raise

        return self._cloud.call(doing, work)

    def _publish(self, row: Row, job: str, doing: str) -> bool:
        whose = {name: row[name] for name in ("user_id", "filename")}
        # Made from the job's id, so that a repeated request has the same primary key as the first.
        own, former = _row_id(**whose, job=job), _row_id(**whose, job="")
        found = self._ids(**whose)
        if job and any(_is_anothers(each, (own, former)) for each in found):
            return False
        if not found or not self._update("videos", whose, row, doing):
            self._insert("videos", {"id": own, **row}, (*whose,), doing)
        return True

    def _ids(self, user_id: str, filename: str) -> list[str]:
        """The ids of the rows of that name; an empty string for each where the table has no ids."""
        query = self._table("videos").select("*").eq("user_id", user_id).eq("filename", filename).limit(10)
        found = rows_of(query.execute().data, f"asking for the row of {filename}")
        return [str(each.get("id", "")) for each in found]

    def heartbeat(self, row: Row) -> None:
        whose = {"user_id": self.user_id, "camera_id": self.camera_id}
        doing = "sending the heartbeat"

        def work() -> Row:
            news = self._heartbeats.changes(row)
            if self._update("system_status", whose, news, doing):
                return news
            self._insert("system_status", {**row, **whose}, (*whose,), doing)
            return row

        self._heartbeats.record(self._cloud.call(doing, work))
        self._touch_camera(row)
        self._ask_for_limit()

    def _ask_for_limit(self) -> None:
        """Record the upload limit, so that one too low for a match raises an alert before the match."""
        if self._state.is_upload_limit_due():
            with suppress(Retry, Reject):
                self._state.record_upload_limit(self._objects.most_bytes("videos"))

    def _touch_camera(self, heartbeat: Row) -> None:
        """Update the camera's row in `cameras` if there is one; a person registers cameras. A failure here
        does not make the heartbeat fail.
        """
        row = self._camera_row.due(heartbeat)
        if row is None:
            return
        whose = {"id": self.camera_id, "user_id": self.user_id}
        doing = "updating the camera's row"
        try:
            there = self._cloud.call(doing, lambda: self._update("cameras", whose, row, doing))
        except Reject as fault:
            _log.info("%s; not asked again for a while", fault)
            there = False
        except Retry:
            return
        self._camera_row.record(row, there=there)

    def _update(self, table: str, whose: Row, row: Row, doing: str) -> bool:
        """Change the rows that match; False when there is none."""

        def send(known: dict[str, Any]) -> bool:
            query = self._table(table).update(known, count="exact", returning="minimal")
            for name, value in whose.items():
                query = query.eq(name, value)
            count = query.execute().count
            if count is None:  # PostgREST always sends it when asked to
                raise CloudError(502, PORTAL, "a change was answered without the number of rows")
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
        """Send the row without the columns that this table lacks; each is found once and remembered."""
        while True:
            lacking = self._missing_columns.of(table)
            known = {name: value for name, value in row.items() if name not in lacking}
            try:
                return send(known)
            except CloudError as error:
                is_bad_id = error.code in _BAD_ID and "id" in known
                column = "id" if is_bad_id else unknown_column(error)
                if column is None or column not in known or column in required:
                    raise
                self._missing_columns.add(table, column)
                _log.warning("the table %s has no column %s: left out from now on", table, column)

    # ---- both

    def _table(self, name: str) -> Any:
        return self._cloud.supabase.table(name)


def from_settings(settings: Settings, clock: Clock, state: Path | None) -> SupabaseBackend:
    """The backend that the settings describe. Warns of a weak or too strong key; raises `ConfigError`."""
    credentials = Credentials.from_settings(settings)
    warnings = check_key(credentials)
    if warnings and StateCache(state, clock).is_warning_due("key"):
        for warning in warnings:
            _log.warning("%s", warning)
    return SupabaseBackend(
        credentials,
        settings.user_id,
        settings.camera_id,
        clock,
        past_days=settings.sync_past_days,
        unassigned=settings.unassigned or settings.camera_id == "0",
        upload_bytes_s=settings.upload_kbps * 125.0,
        state=state,
        connectivity=Connectivity(settings.reach),
    )


def _row_id(user_id: str, filename: str, job: str) -> str:
    """The id of a job's row. With an empty `job` it is the id that older versions gave."""
    return str(uuid.uuid5(_VIDEO_IDS, "/".join(filter(None, (job, user_id, filename)))))


def _is_anothers(row_id: str, ours: tuple[str, ...]) -> bool:
    """True for an id that EZREC made for another job; ids that EZREC did not make are random, or numbers."""
    try:
        return uuid.UUID(row_id).version == 5 and row_id not in ours
    except ValueError:
        return False
