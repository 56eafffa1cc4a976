"""The periodic task `sync`: fetches the bookings and hands them to the recorder by way of `incoming/`."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import msgspec

from ezrec.domain import json_decode
from ezrec.domain.booking import BadBooking, Booking, parse_booking
from ezrec.domain.errors import Reject, Retry
from ezrec.domain.names import BadName, safe_id, shown, stand_in
from ezrec.domain.ports import Backend, Clock
from ezrec.domain.stages import State
from ezrec.runtime.periodic import PeriodicWork
from ezrec.spool.spool import Spool
from ezrec.sync.branding_cache import BrandingCache
from ezrec.sync.reconcile import needs_witness, reconcile
from ezrec.system import durable

_PAST = timedelta(days=1)  # a row that ended longer ago was not missed: it is history
_MARKED = timedelta(minutes=5)  # setting a file's time costs a memory card 16 kB, so not at each fetch
_BRANDING_SOON_S = 2.0  # as a rule nothing is new, which is known within this time
_BEFORE_BRANDING = (State.RECORDING, State.RAW, State.PROCESSING)


@dataclass(slots=True)
class BookingSync(PeriodicWork):
    """Fetches the bookings and drops what is new or changed into `incoming/`, where the recorder adopts it.

    No single empty or failed answer deletes a booking: two complete answers in a row must lack it. They are
    counted in a file beside the cache, because a timer starts a new process each time. An empty answer counts
    only when the backend shows that it would see bookings: a key without access gets the same empty list.
    All this holds for a booking that is being recorded too.

    The cache is written after the drops: after a crash in between they are dropped again, which changes
    nothing. The cache's time says when an answer last agreed with it. The branding is fetched in a thread, so
    that no booking waits for it.
    """

    backend: Backend
    spool: Spool
    cache: Path
    media: BrandingCache
    clock: Clock
    zone: tzinfo
    log: logging.Logger
    past_days: int | None = None  # the backend's answers have all bookings from so many days ago on
    branding_s: float = 0.0  # seconds between fetches of the branding on an idle box
    was_shut_out: Callable[[], bool] = lambda: False  # in an earlier process
    interval_s: float = 15.0  # from one fetch of the bookings to the next while the branding is fetched
    _fetching: threading.Thread | None = None
    _branding_fault: Exception | None = None
    _has_begun: bool = False
    _shut_out: bool = False

    def __call__(self) -> None:
        if not self._has_begun:
            self.from_cache()
            self._shut_out = self.was_shut_out()
            self._has_begun = True
        self._fetch_bookings()
        if self._is_fetching() or self._branding_is_due():
            self._fetch_branding()

    def finish(self, limit_s: float) -> None:
        """Wait for the branding that is being fetched; meanwhile the bookings are fetched as usual."""
        while self._is_fetching():
            self._wait_for_branding(self.interval_s)
            if self._is_fetching():
                try:
                    self._fetch_bookings()
                except (Retry, Reject) as fault:
                    self.log.warning("%s; again in %g s", fault, self.interval_s)

    def _fetch_bookings(self) -> None:
        known, since = read_cache(self.cache), self._since()
        fetched = self.backend.bookings()
        if not self._is_shut_out(known, fetched, since):
            self._take_in(known, fetched, since)
            self._mark(self.cache, _MARKED)

    # ---- the branding, beside the bookings

    def _fetch_branding(self) -> None:
        """In a thread: on a slow line an intro takes minutes."""
        if not self._is_fetching():
            self._fetching = threading.Thread(target=self._refresh, name="branding", daemon=True)
            self._fetching.start()
        self._wait_for_branding(_BRANDING_SOON_S)

    def _wait_for_branding(self, limit_s: float) -> None:
        """Wait for the thread; raises the fault that it met."""
        if self._fetching is not None:
            self._fetching.join(limit_s)
        if not self._is_fetching() and self._branding_fault is not None:
            fault, self._branding_fault = self._branding_fault, None
            raise fault

    def _is_fetching(self) -> bool:
        return self._fetching is not None and self._fetching.is_alive()

    def _refresh(self) -> None:
        try:
            self.media.refresh(self.backend, self.log.info)
        except (Retry, Reject, OSError) as fault:
            self._branding_fault = fault
            return
        if self.branding_s:
            self._mark(self.media.record, timedelta(seconds=self.branding_s))

    def _mark(self, path: Path, age: timedelta) -> None:
        """Set the file's time to now, unless it is younger than `age`: it says when the file was
        last right.
        """
        now = self.clock.now()
        with suppress(OSError):
            if not timedelta() <= now - _marked(path) <= age:
                os.utime(path, (now.timestamp(),) * 2)

    def _is_shut_out(
        self, known: Sequence[Mapping[str, Any]], fetched: Sequence[Mapping[str, Any]], since: date | None
    ) -> bool:
        """True when the answer is empty and nothing shows that the backend would see bookings."""
        was, self._shut_out = self._shut_out, False
        if needs_witness(known, fetched, since=since) and not self.backend.sees_bookings():
            self._shut_out = True
            if not was:
                self.log.error(
                    "the cloud shows no bookings any more: perhaps row-level security hides them from this "
                    "device. %d known ones are kept. Apply the policies that `ezrec schema` prints. If a "
                    "booking was really deleted: ezrec spool rm",
                    len(known),
                )
        elif was:
            self.log.info("the cloud's answers count again")
        return self._shut_out

    def _branding_is_due(self) -> bool:
        """True every few minutes, at once when the branding is not known, and always while a video waits."""
        try:
            age = self.clock.now() - _marked(self.media.record)
        except OSError:
            return True
        if not timedelta() <= age < timedelta(seconds=self.branding_s) or not self.media.assets().is_known:
            return True
        return any(self.spool.names(state) for state in _BEFORE_BRANDING)

    def _take_in(
        self, known: Sequence[dict[str, Any]], fetched: Sequence[dict[str, Any]], since: date | None
    ) -> None:
        found = reconcile(
            known,
            fetched,
            _read_counts(self._absences),
            since=since,
            may_forget=self.clock.is_synchronised(),
        )
        before = {_key(row): row for row in known}
        for row in found.rows:
            if self._is_news(row, before.get(_key(row))):
                self._drop(_key(row), row)
        for row in found.cancelled:
            self.log.warning("booking %s is no longer in the table: it counts as cancelled", shown(_key(row)))
            self._drop(_key(row), row)
        if found.absences != _read_counts(self._absences):
            durable.write(self._absences, _as_json(found.absences))
        if list(found.rows) != known or not self.cache.exists():
            durable.write(self.cache, _as_json(found.rows))
            self.log.info("%d bookings, %d new or changed", len(found.rows), len(found.changed))

    def from_cache(self) -> None:
        """Drop what is known already, before the network is asked: after a reboot it may be away."""
        for row in read_cache(self.cache):
            if self._is_news(row, row):
                self._drop(_key(row), row)

    def _is_news(self, row: Mapping[str, Any], before: Mapping[str, Any] | None) -> bool:
        """True when the recorder needs a row: it is to come and not in the spool, or it has changed."""
        try:
            booking = parse_booking(row, self.zone)
        except BadBooking as fault:
            if row != before:
                self.log.error("a booking that cannot be used: %s", fault)
            return row != before  # once: it becomes an entry in failed/
        if not self.spool.knows(booking.id):
            is_past = booking.end < self.clock.now() - _PAST
            return not (booking.is_cancelled or booking.is_finished or is_past)
        return row != before and self.spool.finished(booking.id) is None

    @property
    def _absences(self) -> Path:
        return self.cache.with_name(f"{self.cache.stem}.absent.json")

    def _since(self) -> date | None:
        """The first day of which the backend's answers have all rows; None: of all days."""
        if self.past_days is None:
            return None
        return (self.clock.now().astimezone(self.zone) - timedelta(days=self.past_days)).date()

    def _drop(self, key: str, row: Mapping[str, Any]) -> None:
        """Write a row as a `.json` into `incoming/`, as a person would. One that is there unchanged, because
        no recorder runs, is not written again: 200 bookings at each fetch wear a memory card out.
        """
        name = key if _is_safe(key) else stand_in(ascii(key))
        path, data = self.spool.directory(State.INCOMING) / f"{name}.json", _as_json(row)
        with suppress(OSError):
            if path.read_bytes() == data:
                return
        durable.write(path, data)


def _marked(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _as_json(value: object) -> bytes:
    return json.dumps(value, indent=1, default=str).encode()


def _read_counts(path: Path) -> dict[str, int]:
    try:
        return json_decode.decode(path.read_bytes(), dict[str, int])
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
        found = json.loads(path.read_bytes())  # reads whatever `_as_json` writes, lone surrogates too
    except (OSError, ValueError, RecursionError):
        return []
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def known_booking(cache: Path, zone: Any) -> Callable[[str], Booking | None]:
    """A function that looks up a booking in the cache by its id, for dropped videos."""

    def look_up(wanted: str) -> Booking | None:
        for row in read_cache(cache):
            if row.get("id") == wanted:
                with suppress(ValueError):
                    return parse_booking(row, zone)
        return None

    return look_up
