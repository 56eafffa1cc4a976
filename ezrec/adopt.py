"""Loose files become entries: a video dropped into `raw/`, a booking's `.json` dropped into `incoming/`.

What a stranger left is hostile until shown otherwise. A name is never followed, a FIFO never opened
for reading, and nothing is judged while somebody may still be writing it. What cannot be used goes to
`failed/` with the reason beside it; the thing itself is moved, not read, and nothing else is touched.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import msgspec

from ezrec import durable, plain
from ezrec.domain.booking import BadBooking, Booking, parse_booking
from ezrec.domain.job import Job, JobOutcome, Kind, Take
from ezrec.domain.names import (
    UNFINISHED_SUFFIXES,
    BadName,
    JobId,
    numbered,
    parse_clip_name,
    raw_name,
    rejected_id,
    safe_id,
    shown,
)
from ezrec.domain.stages import DIRECTORIES, IN_HAND, State
from ezrec.entry import unusable
from ezrec.ports import Clock
from ezrec.spool import AMENDMENT, Entry, Gone, Spool, Stranger, Taken
from ezrec.stillness import FORGOTTEN_S, QUIET_S, Stillness

_LARGEST_BOOKING = 64 * 1024  # bytes
_IMMOVABLE = (errno.EACCES, errno.EPERM, errno.EXDEV, errno.EBUSY, errno.EROFS)
LOGS_REQUESTS = ("logs", "logs.request")  # names in raw/ by which a person asks for a log archive
REJECTED = "rejected"  # the name under which a bad thing lies in its entry: its own may be hostile


@dataclass(slots=True)
class Adopter:
    """Adopts what lies loose in one directory. Remembers only what it saw last, to tell quiet from busy.

    To be called under the lock of the stage that takes from the directory: it amends what waits there.

    `known_booking` answers what is known of a booking id (from the booking cache), for dropped videos.
    """

    spool: Spool
    state: State
    clock: Clock
    zone: tzinfo
    log: logging.Logger
    lead_s: float = 0.0
    known_booking: Callable[[str], Booking | None] = lambda _: None
    quiet_s: float = QUIET_S
    forgotten_s: float = FORGOTTEN_S
    _stillness: Stillness = field(init=False)

    def __post_init__(self) -> None:
        self._stillness = Stillness(self.clock, self.quiet_s, self.forgotten_s, self._is_whole)

    def adopt(self, strangers: list[Stranger]) -> tuple[list[Entry], float | None]:
        """Adopt what is complete. Returns the changed or new entries, and in how many seconds to look
        again for what is not complete yet (None: nothing is pending).
        """
        adopted: list[Entry] = []
        look_again: float | None = None
        for stranger in sorted(strangers, key=self._age):
            wait_s = self._stillness.wait_s(self._path(stranger.name))
            if wait_s is not None:
                look_again = min(wait_s, look_again or wait_s)
                continue
            entry = self._adopted(stranger)
            if entry is not None:
                adopted.append(entry)
        self._stillness.forget_all_but({self._path(stranger.name) for stranger in strangers})
        return adopted, look_again

    def _adopted(self, stranger: Stranger) -> Entry | None:
        """Adopt one thing. Its faults are its own: the others must not wait for it."""
        try:
            return self._adopt(stranger)
        except (Gone, FileNotFoundError):
            return None  # taken away while we looked: then it is not ours
        except OSError as fault:
            self.log.error(
                "%s in %s/ cannot be adopted: %s", shown(stranger.name), self.state, fault.strerror
            )
            if fault.errno in _IMMOVABLE:
                return self._cannot_move(stranger.name, fault)
            return None

    def _path(self, name: str) -> Path:
        return self.spool.directory(self.state) / name

    def _age(self, stranger: Stranger) -> int:
        try:
            return os.lstat(self._path(stranger.name)).st_mtime_ns
        except OSError:
            return 0

    def _is_whole(self, path: Path) -> bool:
        """A booking: of half an object no JSON can be read, for its last sign closes it."""
        if self.state is not State.INCOMING or not path.name.lower().endswith(".json"):
            return False
        try:
            return isinstance(msgspec.json.decode(_read_small(path)), dict)
        except (OSError, BadBooking, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False

    # ---- what is it?

    def _adopt(self, stranger: Stranger) -> Entry | None:
        path = self._path(stranger.name)
        info = os.lstat(path)
        fault = _elsewhere(info, self.spool.root) or unusable(info) or self._wrong_place(stranger.name)
        if stat.S_ISDIR(info.st_mode):
            return self._reject(stranger.name, stranger.why, "move the videos in it to spool/raw/")
        if fault:
            return self._reject(stranger.name, fault[0], fault[1])
        if stranger.name in LOGS_REQUESTS:
            return self._adopt_request(stranger.name)
        if not os.access(path, os.R_OK, follow_symlinks=False):
            why = f"{shown(stranger.name)} may not be read by us (permission denied)"
            return self._reject(stranger.name, why, "chmod a+r, then drop it again")
        if self.state is State.INCOMING:
            return self._adopt_booking(stranger.name)
        return self._adopt_clip(stranger.name, info)

    def _wrong_place(self, name: str) -> tuple[str, str] | None:
        wanted = {State.INCOMING: ".json", State.RAW: ".mp4"}.get(self.state)
        if name.endswith(UNFINISHED_SUFFIXES):
            return f"{shown(name)} was never finished: nobody has written it for 10 minutes", "copy it again"
        if self.state is State.RAW and name in LOGS_REQUESTS:
            return None
        if wanted is None:
            return (
                f"{self.state}/ takes no loose files, and {shown(name)} is one",
                "drop videos into spool/raw/",
            )
        if not name.lower().endswith(wanted):
            where = "videos as .mp4 into spool/raw/, bookings as .json into spool/incoming/"
            return f"{shown(name)} does not end in {wanted}", f"drop {where}"
        return None

    def _adopt_clip(self, name: str, info: os.stat_result) -> Entry | None:
        try:
            clip = parse_clip_name(name)
        except BadName as fault:
            return self._reject(name, str(fault), "rename it to <booking id>.mp4 and drop it into spool/raw/")
        if info.st_size == 0:
            return self._reject(name, f"{shown(name)} is empty (0 bytes)", "copy it again")
        booking = self.known_booking(clip.booking_id)
        started = clip.started.replace(tzinfo=self.zone) if clip.started else None
        if started is None:
            started = booking.start if booking else self._written(info)
        started = started.astimezone(self.zone)
        take = Take(
            raw_name(clip.booking_id, started), started.astimezone(UTC), 0.0, info.st_size, "dropped in"
        )
        job_id = clip.booking_id
        if booking is not None and booking.end > self.clock.now():
            job_id = numbered(job_id, 2)  # the plain id is for the recording that is still to come
        job = Job(id=job_id, kind=Kind.CLIP, created=self.clock.now(), booking=booking, takes=(take,))
        entry = self.spool.create(self.state, job, (self._path(name), take.file), number=True)
        self.log.info("adopted %s as job %s", shown(name), entry.id)
        return entry

    def _adopt_request(self, name: str) -> Entry:
        """A wish for the logs: what stands in the file is not read."""
        now = self.clock.now()
        job = Job(safe_id(f"logs-{now:%Y%m%d-%H%M%S}"), Kind.LOGS, now)
        entry = self.spool.create(self.state, job, number=True)
        path = self._path(name)
        path.unlink(missing_ok=True)
        durable.sync_directory(path.parent)
        self.log.info("the logs are asked for: job %s", entry.id)
        return entry

    def _written(self, info: os.stat_result) -> datetime:
        """When a file was last written, as far as its stamp can be a date at all."""
        try:
            written = datetime.fromtimestamp(info.st_mtime, UTC)
        except (ValueError, OverflowError, OSError):
            return self.clock.now()
        return written if 1970 <= written.year < 2200 else self.clock.now()

    def _adopt_booking(self, name: str) -> Entry | None:
        path = self._path(name)
        try:
            row = msgspec.json.decode(_read_small(path))
            booking = parse_booking(row, self.zone)
        except (BadBooking, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
            why = str(fault) if isinstance(fault, BadBooking) else f"not readable as JSON: {fault}"
            return self._reject(
                name, f"{shown(name)}: {why}", "correct it and drop it into spool/incoming/ again"
            )
        entry = self._apply(booking)
        path.unlink(missing_ok=True)
        durable.sync_directory(path.parent)
        return entry

    def _apply(self, booking: Booking) -> Entry | None:
        """A booking becomes an entry, or amends the one it has, or is known to be over."""
        job_id = self._id_of_its_job(booking)
        entry = self.spool.find(job_id)
        if entry is None:
            return self._begin(job_id, booking)
        is_news = entry.job.booking != booking or (entry.path / AMENDMENT).exists()  # back to what it was
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
            return None
        self.log.info("booking %s: %s to %s", booking.id, booking.start, booking.end)
        return entry

    def _id_of_its_job(self, booking: Booking) -> JobId:
        """Its own id, unless footage that was dropped in bears it and the booking is still to come."""
        job = self.spool.last_word(booking.id)
        is_over = booking.end <= self.clock.now() and self.clock.is_synchronised()
        if job is None or job.kind is Kind.BOOKING or is_over:
            return booking.id
        return safe_id(f"{booking.id[:57]}-booked")

    def _is_on_again(self, booking: Booking, over: Job | None) -> bool:
        """True for one that was cancelled and is confirmed again, or missed and moved to a time to come."""
        if over is None or over.outcome not in (JobOutcome.CANCELLED, JobOutcome.MISSED):
            return False
        return over.booking != booking and booking.end > self.clock.now()

    def due(self, booking: Booking) -> datetime:
        """When the recorder takes the booking in hand: the camera is armed before the first frame counts."""
        return booking.start - timedelta(seconds=self.lead_s)

    def _reject(self, name: str, reason: str, remedy: str) -> Entry:
        """Move the thing, unread, into an entry of its own in `failed/`."""
        job = self._rejection(name, reason, remedy)
        entry = self.spool.create(State.FAILED, job, (self._path(name), REJECTED), number=True)
        self.log.warning("%s → failed/%s: %s", shown(name), entry.id, reason)
        return entry

    def _rejection(self, name: str, reason: str, remedy: str) -> Job:
        return Job(
            rejected_id(name),
            Kind.CLIP,
            self.clock.now(),
            reason=reason,
            remedy=remedy,
            return_to=State.RAW if self.state in IN_HAND else self.state,
        )

    def _cannot_move(self, name: str, fault: OSError) -> Entry | None:
        """Tell of a thing that has to stay where it is: once, by an entry without it."""
        reason = f"{shown(name)} cannot be moved out of {self.state}/: {fault.strerror}"
        remedy = f"move it away by hand, then: ezrec spool rm {rejected_id(name)}"
        with suppress(Taken, OSError):
            return self.spool.create(State.FAILED, self._rejection(name, reason, remedy))
        return None


def _elsewhere(info: os.stat_result, root: Path) -> tuple[str, str] | None:
    if info.st_dev == os.lstat(root).st_dev:
        return None
    return "it lies on another file system than the spool", "copy it onto the spool's file system"


def _read_small(path: Path) -> bytes:
    data = plain.read(path, _LARGEST_BOOKING + 1)
    if len(data) > _LARGEST_BOOKING:
        raise BadBooking(f"a booking of more than {_LARGEST_BOOKING} bytes")
    return data


def take_in_strangers(adopter: Adopter, strangers: list[Stranger]) -> None:
    """Move strangers out of a directory that only stages write to (`recording/`, `processing/`)."""
    for stranger in strangers:
        with suppress(Gone):
            try:
                adopter._reject(stranger.name, stranger.why, "drop videos into spool/raw/")
            except OSError as fault:
                adopter.log.error("%s cannot be moved out: %s", shown(stranger.name), fault.strerror)


ADOPTING = tuple(state for state in DIRECTORIES if state in (State.INCOMING, State.RAW, State.PROCESSED))
