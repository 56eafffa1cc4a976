"""Takes, reads and applies a booking's `.json` in `incoming/`.

1. It is renamed to a hidden name (`.taken.…`). A newer version that is dropped under the old name from now on
   is another file.
2. It is read, and becomes a job or an amendment.
3. It is removed by its hidden name.

What a crash or a fault leaves taken is found by `left` and applied later: applying it twice changes nothing.
Call it under the lock of the stage `record`.
"""

from __future__ import annotations

import logging
import os
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import msgspec

from ezrec.domain.booking import BadBooking, Booking, parse_booking, span_text
from ezrec.domain.job import Job, JobOutcome, Kind
from ezrec.domain.names import JobId, safe_id
from ezrec.domain.ports import Clock
from ezrec.domain.stages import State
from ezrec.spool.spool import Entry, Gone, Spool, Taken
from ezrec.system import durable, plain_files

LARGEST = 64 * 1024  # bytes
_TAKEN = ".taken."
_LONGEST_NAME = 255  # bytes, on every file system of ours
_MOVES = 3  # how often a job may change its directory while we look for it
_Mark = tuple[int, int, int]


@dataclass(slots=True)
class BookingIntake:
    """`lead_s`: how many seconds before its start a booking is due."""

    spool: Spool
    clock: Clock
    zone: tzinfo
    log: logging.Logger
    lead_s: float = 0.0
    _starts: dict[str, tuple[_Mark, str, float]] = field(default_factory=dict)

    # ---- the file

    def left(self) -> list[str]:
        """The names of what was taken and is not applied yet."""
        return [name for name in os.listdir(self._directory) if name.startswith(_TAKEN)]

    def take(self, name: str) -> Path:
        """Rename the file `name` to a hidden name, unless it has one. Returns its path; raises OSError."""
        path = self._directory / name
        if name.startswith(_TAKEN):
            return path
        taken = os.fsencode(f"{_TAKEN}{secrets.token_hex(4)}.{name}")[:_LONGEST_NAME]
        return path.rename(self._directory / os.fsdecode(taken))

    @staticmethod
    def shown_name(name: str) -> str:
        """The name under which a file was dropped."""
        return name.removeprefix(_TAKEN).partition(".")[2] if name.startswith(_TAKEN) else name

    def remove(self, taken: Path) -> None:
        taken.unlink(missing_ok=True)
        durable.sync_directory(taken.parent)

    @property
    def _directory(self) -> Path:
        return self.spool.directory(State.INCOMING)

    # ---- what goes first

    def in_order(self, names: list[str]) -> list[str]:
        """File names, the booking that begins next first, those that are over last. Files about one booking
        stay in the order in which they were written. A booking of today must not wait for a whole season.
        """
        now = self.clock.now().timestamp()
        found = {name: self._start_of(name) for name in names}
        soonest: dict[str, float] = {}
        for _, booking_id, end in found.values():
            rank = end if end > now else float("inf")
            soonest[booking_id] = min(rank, soonest.get(booking_id, float("inf")))
        self._starts = found
        return sorted(names, key=lambda name: (soonest[found[name][1]], found[name][0]))

    def _start_of(self, name: str) -> tuple[_Mark, str, float]:
        """The file's time, inode and size, its booking's id and the end of that: for the order alone."""
        path = self._directory / name
        mark, booking_id, end = (0, 0, 0), name, 0.0
        try:
            info = os.lstat(path)
            mark = (info.st_mtime_ns, info.st_ino, info.st_size)
            known = self._starts.get(name)
            if known is not None and known[0] == mark:
                return known
            booking = read_booking(path, self.zone)
            booking_id, end = booking.id, booking.end.timestamp()
        except (OSError, BadBooking):
            pass  # said when it is its turn
        return mark, booking_id, end

    # ---- what it means

    def apply(self, booking: Booking) -> Entry | None:
        """Make an entry of a booking, or amend the one it has. Returns what was changed, None when
        nothing.
        """
        for _ in range(_MOVES):
            try:
                return self._apply(booking)
            except (Gone, FileNotFoundError):  # its job went on to the next directory while we looked
                continue
        return self._apply(booking)

    def _apply(self, booking: Booking) -> Entry | None:
        job_id = self._id_of_its_job(booking)
        entry = self.spool.find(job_id)
        if entry is None:
            return self._begin(job_id, booking)
        is_news = entry.job.booking != booking or entry.has_amendment()  # it may be changed back
        if entry.job.kind is not Kind.BOOKING or not is_news:
            return None
        if entry.state is State.RECORDING:
            self.spool.amend(entry, booking)
        elif entry.state is State.INCOMING or entry.job.return_to == State.INCOMING:
            due = None if booking.is_cancelled else self.due(booking)
            entry.update(booking=booking, due=None if entry.job.held else due)
        else:
            self.log.info("booking %s changed after it was recorded: nothing to do", booking.id)
            return None
        self.log.info(
            "booking %s amended: %s to %s, %s", booking.id, booking.start, booking.end, booking.status
        )
        return entry

    def _begin(self, job_id: JobId, booking: Booking) -> Entry | None:
        """Make the booking's job, unless it is over."""
        again = self._is_on_again(booking, self.spool.finished(job_id))
        if booking.is_cancelled or booking.is_finished or self.spool.knows(job_id, anew=again):
            self.log.info("booking %s is over (%s): nothing to do", booking.id, booking.status)
            return None
        job = Job(job_id, Kind.BOOKING, self.clock.now(), booking, due=self.due(booking))
        try:
            entry = self.spool.create(State.INCOMING, job, anew=again)
        except Taken:
            raise Gone(job_id) from None  # somebody was faster: look again, it may be an amendment
        self.log.info("booking %s: %s", booking.id, span_text(booking.window, self.zone))
        return entry

    def _id_of_its_job(self, booking: Booking) -> JobId:
        """The booking's own id, unless a dropped video has that id and the booking is still to come."""
        job = self.spool.last_word(booking.id)
        is_over = booking.end <= self.clock.now() and self.clock.is_synchronised()
        if job is None or job.kind is Kind.BOOKING or is_over:
            return booking.id
        return safe_id(f"{booking.id[:57]}-booked")

    def _is_on_again(self, booking: Booking, over: Job | None) -> bool:
        """True for one that was cancelled or missed, has changed, and is still to come."""
        if over is None or over.outcome not in (JobOutcome.CANCELLED, JobOutcome.MISSED):
            return False
        return over.booking != booking and booking.end > self.clock.now()

    def due(self, booking: Booking) -> datetime:
        """When the recorder claims the booking: early enough to arm the camera."""
        return booking.start - timedelta(seconds=self.lead_s)


def read_booking(path: Path, zone: tzinfo) -> Booking:
    """The booking in a dropped file. Raises `BadBooking`, and OSError when it cannot be read now."""
    return parse_booking(read_row(path), zone)


def read_row(path: Path) -> object:
    """The value in a small JSON file. Follows no link, waits for no FIFO. Raises as `read_booking` does."""
    data = plain_files.read(path, LARGEST + 1, shared=True)
    if len(data) > LARGEST:
        raise BadBooking(f"a booking of more than {LARGEST} bytes")
    try:
        return msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"))  # a byte order mark from Windows
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise BadBooking(f"not readable as JSON: {fault}") from None
