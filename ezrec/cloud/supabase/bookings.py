"""The table `bookings`: reads it whole, and moves statuses forward. Writes only the column `status`.

A successful select may be incomplete: it stops silently at 1,000 rows, and is empty when row-level security
hides all rows. An update that is not allowed is answered like one that found no row.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from ezrec.cloud.supabase.connection import Connection
from ezrec.cloud.supabase.errors import CloudError, redacted
from ezrec.domain.booking import normal, statuses_before
from ezrec.domain.errors import Reject, Retry
from ezrec.domain.names import BadName, safe_id
from ezrec.domain.ports import Clock

_PAGE = 1000  # rows; a select silently returns no more
_TRIES = 3
_NO_TABLE = ("PGRST205", "42P01")
_log = logging.getLogger("ezrec.supabase")


@dataclass(frozen=True, slots=True)
class Bookings:
    """One account's and one camera's bookings.

    `past_days`: older ones are not fetched (None: all are). `unassigned`: rows that name no camera are ours
    too.
    """

    cloud: Connection
    clock: Clock
    user_id: str
    camera_id: str
    past_days: int | None
    unassigned: bool

    def fetch(self) -> list[dict[str, Any]]:
        """All of them, ordered by time. Raises `Retry` or `Reject`."""
        rows = self.cloud.call("fetching the bookings", self._fetch)
        return sorted(
            rows, key=lambda row: tuple(str(row.get(name)) for name in ("date", "start_time", "id"))
        )

    def _fetch(self) -> list[dict[str, Any]]:
        """Page by page, ordered by id: rows that come or go meanwhile do not move others to another page."""
        found: list[dict[str, Any]] = []
        while True:
            query = self._table().select("*", count="exact").eq("user_id", self.user_id)
            query = query.or_(self._mine()) if self.unassigned else query.eq("camera_id", self.camera_id)
            if self.past_days is not None:
                oldest = (self.clock.now() - timedelta(days=self.past_days)).date()
                query = query.or_(f"date.gte.{oldest},date.is.null")
            if found:
                query = query.gt("id", found[-1]["id"])
            answer = query.order("id").limit(_PAGE).execute()
            page = rows_of(answer.data, "fetching the bookings")
            found += page
            if answer.count is None or answer.count < len(page) or (answer.count and not page):
                raise Retry(f"the bookings came incomplete: {len(page)} of {answer.count}")
            if len(page) == answer.count:
                return found

    def _mine(self) -> str:
        # The front end does not send a camera: the column's default is '0', older rows have NULL.
        names = dict.fromkeys((self.camera_id, "0"))
        return ",".join([*(f"camera_id.eq.{name}" for name in names), "camera_id.is.null"])

    def are_seen(self) -> bool:
        """True when there is evidence that we would see bookings if there were any.

        That is a key that bypasses policies; or our row in `devices`, by which the policies of `ezrec schema`
        decide, if it names our camera; or any booking of the account, older or another camera's. Rows of
        other tables prove nothing: row-level security is switched on per table, and the usual accident hides
        `bookings` only.
        """
        if self.cloud.credentials.bypasses_policies:
            return True
        return self.cloud.call("looking whether bookings can be seen", self._has_witness)

    def _has_witness(self) -> bool:
        ours = {"user_id": self.user_id, "camera_id": self.camera_id}
        devices = self._devices()
        if devices:
            return any(
                all(str(device.get(name)) == value for name, value in ours.items()) for device in devices
            )
        query = self._table().select("id").eq("user_id", self.user_id).limit(1)
        return bool(rows_of(query.execute().data, "looking for any booking"))

    def _devices(self) -> list[dict[str, Any]]:
        """The rows of `devices` that this device may see: with our policies, only its own."""
        if not self.cloud.credentials.email:
            return []
        query = self.cloud.supabase.table("devices").select("user_id,camera_id")
        try:
            return rows_of(query.limit(_PAGE).execute().data, "looking for this device")
        except CloudError as error:
            if error.code in _NO_TABLE or error.code == "42501":
                return []
            raise

    def advance(self, booking_id: str, status: str) -> bool:
        try:
            before = statuses_before(status)
        except ValueError as fault:
            raise Reject(str(fault), "report one of the steps in their order") from fault
        try:
            safe_id(booking_id)
        except BadName:
            return False
        doing = f"reporting {status} for booking {booking_id}"
        return self.cloud.call(doing, lambda: self._advance(booking_id, status, before, doing))

    def _advance(self, booking_id: str, status: str, before: tuple[str, ...], doing: str) -> bool:
        """Compare and set. We compare here, because some rows have capitals and blanks; the database sets the
        status only if it is still what we saw.
        """
        for _ in range(_TRIES):
            answer = self._own_booking(self._table().select("status"), booking_id).execute()
            rows = rows_of(answer.data, doing)
            if not rows:
                _log.info("%s: no such booking any more", doing)
                return False
            seen = rows[0]["status"]
            if normal(seen) not in before:
                return False
            change = self._own_booking(self._table().update({"status": status}), booking_id)
            change = change.is_("status", "null") if seen is None else change.eq("status", seen)
            done = change.execute()
            if rows_of(done.data, doing):
                return True
            # It has changed meanwhile, or row-level security forbids it: the response to both is 200 and [].
            _log.warning("%s: expected the changed row and got %s", doing, redacted(str(done.data)))
        raise Reject(
            f"{doing}: it is {seen!r}, and changing it has no effect",
            "let the device change the status: apply the policies that `ezrec schema` prints",
        )

    def _own_booking(self, query: Any, booking_id: str) -> Any:
        return query.eq("id", booking_id).eq("user_id", self.user_id)

    def _table(self) -> Any:
        return self.cloud.supabase.table("bookings")


def rows_of(data: object, doing: str) -> list[dict[str, Any]]:
    """The rows of an answer; anything else is logged whole and raises `Retry`."""
    if isinstance(data, list) and all(isinstance(row, dict) for row in data):
        return data
    _log.warning("%s: expected rows and got %s", doing, redacted(str(data)))
    raise Retry(f"{doing}: the answer holds no rows")
