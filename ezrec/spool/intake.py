"""Makes entries of loose files: a video dropped into `raw/`, a booking's `.json` dropped into `incoming/`.

A dropped file is not trusted. No link is followed, no FIFO opened for reading, and nothing is judged while
somebody may still be writing it. A file that cannot be used is moved, unread, to `failed/`, with the reason
beside it.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo
from pathlib import Path

from ezrec.domain.booking import BadBooking, Booking
from ezrec.domain.job import BadRecord, Job, JobOutcome, Kind, Take
from ezrec.domain.names import (
    UNFINISHED_SUFFIXES,
    BadName,
    numbered,
    parse_clip_name,
    raw_name,
    rejected_id,
    safe_id,
    shown,
)
from ezrec.domain.ports import Clock
from ezrec.domain.stages import DIRECTORIES, IN_HAND, State
from ezrec.spool.booking_intake import BookingIntake, read_booking, read_row
from ezrec.spool.entry import unusable
from ezrec.spool.file_stability import FORGOTTEN_S, QUIET_S, FileStability
from ezrec.spool.passing_faults import AGAIN_S, PassingFaults
from ezrec.spool.spool import Entry, Gone, Spool, Taken, UnknownFile
from ezrec.system import durable

_IMMOVABLE = (errno.EACCES, errno.EPERM, errno.EXDEV, errno.EBUSY, errno.EROFS)
LOGS_REQUESTS = ("logs", "logs.request")  # names in raw/ by which a person asks for a log archive
REJECTED = "rejected"  # the name of a refused file in its entry: its own may be hostile


@dataclass(slots=True)
class Intake:
    """Adopts the loose files of one directory. Call it under the lock of the stage that takes from there.

    `known_booking` looks up the booking of a dropped video by its id. `lacks` says in words what a video
    lacks, empty where it is whole: one that lacks something may still be copied, so it waits, and in the end
    is refused as it is. Only EZREC's own recordings are ever cut or repaired.
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
    lacks: Callable[[Path], str] = lambda _: ""
    _stability: FileStability = field(init=False)
    _bookings: BookingIntake = field(init=False)
    _faults: PassingFaults = field(init=False)
    _has_left: bool = field(default=True, init=False)  # bookings that were taken and are not applied

    def __post_init__(self) -> None:
        self._faults = PassingFaults(self.clock)
        self._bookings = BookingIntake(self.spool, self.clock, self.zone, self.log, self.lead_s)
        self._stability = FileStability(
            self.clock, self.quiet_s, self.forgotten_s, self._is_whole, is_torn=self._is_torn
        )

    @property
    def is_pending(self) -> bool:
        """True while something may be here that no listing shows."""
        return self._has_left

    def is_left(self) -> bool:
        """True while a booking file was taken and is not applied."""
        return bool(self._left())

    def adopt(
        self, unknown_files: list[UnknownFile], slice_s: float = math.inf
    ) -> tuple[list[Entry], float | None]:
        """Adopt what is complete, for about `slice_s` seconds.

        Returns the new or changed entries, and in how many seconds to look again (None: nothing is pending).
        """
        adopted: list[Entry] = []
        waits: list[float] = []
        ends = self.clock.monotonic() + slice_s
        unknown_files = self._in_order(unknown_files)
        for unknown_file in unknown_files:
            wait_s = self._stability.wait_s(self._path(unknown_file.name)) or self._rest_s(unknown_file)
            if wait_s:
                waits.append(wait_s)
                continue
            if self.clock.monotonic() >= ends:
                waits.append(0.0)
                break
            entry = self._adopted(unknown_file)
            if entry is not None:
                adopted.append(entry)
            wait_s = self._faults.wait_s(unknown_file.name)  # it may have failed just now
            if wait_s is not None:
                waits.append(wait_s)
        names = {unknown_file.name for unknown_file in unknown_files}
        self._stability.forget_all_but({self._path(name) for name in names})
        self._faults.forget_all_but(names)
        if self._has_left and not waits and self._left():
            waits.append(AGAIN_S)
        return adopted, max(0.0, min(waits)) if waits else None

    def _in_order(self, unknown_files: list[UnknownFile]) -> list[UnknownFile]:
        if self.state is not State.INCOMING:
            return sorted(unknown_files, key=self._age)
        by_name = {unknown_file.name: unknown_file for unknown_file in (*unknown_files, *self._left())}
        return [by_name[name] for name in self._bookings.in_order(list(by_name))]

    def _left(self) -> list[UnknownFile]:
        """Booking files that this process, or a dead one, took and did not apply."""
        if self.state is not State.INCOMING or not self._has_left:
            return []
        left = [
            UnknownFile(name, "a booking that was taken and not applied") for name in self._bookings.left()
        ]
        self._has_left = bool(left)
        return left

    # ---- faults that may pass

    def _adopted(self, unknown_file: UnknownFile) -> Entry | None:
        """Adopt one file. When that fails, the others must not wait for it."""
        try:
            entry = self._adopt(unknown_file)
        except (Gone, FileNotFoundError):
            self._has_left = True
            return None  # somebody took it away
        except OSError as fault:
            self._has_left = True
            return self._failed(unknown_file.name, fault)
        self._faults.passed(unknown_file.name)
        self._take_back_note(unknown_file.name)
        return entry

    def _failed(self, name: str, fault: OSError) -> Entry | None:
        """A fault of the disk may pass: a person is asked only when it has lasted a minute."""
        lasts = self._faults.failed(name)
        self.log.error("%s in %s/ cannot be adopted: %s", shown(name), self.state, fault.strerror)
        return self._cannot_move(name, fault) if lasts and fault.errno in _IMMOVABLE else None

    def _rest_s(self, unknown_file: UnknownFile) -> float | None:
        """Seconds until a file that has failed is tried again; None: now."""
        if unknown_file.unread:
            return self._faults.unread_wait_s(unknown_file.name)
        wait_s = self._faults.wait_s(unknown_file.name)
        return wait_s if wait_s is not None and wait_s > 0 else None

    def _path(self, name: str) -> Path:
        return self.spool.directory(self.state) / name

    def _age(self, unknown_file: UnknownFile) -> int:
        try:
            return os.lstat(self._path(unknown_file.name)).st_mtime_ns
        except OSError:
            return 0

    def _is_whole(self, path: Path) -> bool:
        """True for a booking file that holds a whole JSON object: of half an object none can be read."""
        if self.state is not State.INCOMING or not path.name.lower().endswith(".json"):
            return False
        try:
            return isinstance(read_row(path), dict)
        except (OSError, BadBooking):
            return False

    def _is_torn(self, path: Path) -> bool:
        return self.state is State.RAW and path.name.lower().endswith(".mp4") and bool(self.lacks(path))

    # ---- what is it?

    def _adopt(self, unknown_file: UnknownFile) -> Entry | None:
        path = self._path(unknown_file.name)
        info = os.lstat(path)
        fault = _elsewhere(info, self.spool.root) or unusable(info) or self._wrong_place(unknown_file.name)
        if stat.S_ISDIR(info.st_mode):
            return self._reject(unknown_file.name, unknown_file.why, "move the videos in it to spool/raw/")
        if fault:
            return self._reject(unknown_file.name, fault[0], fault[1])
        if unknown_file.name in LOGS_REQUESTS:
            return self._adopt_request(unknown_file.name, info)
        if not os.access(path, os.R_OK, follow_symlinks=False):
            if not self._faults.lasts(unknown_file.name):  # whoever dropped it may be about to chmod it
                raise PermissionError(errno.EACCES, "no permission to read it")
            why = f"{shown(unknown_file.name)} cannot be read (permission denied)"
            return self._reject(unknown_file.name, why, "chmod a+r, then drop it again")
        if self.state is State.INCOMING:
            return self._adopt_booking(unknown_file.name)
        return self._adopt_clip(unknown_file.name, info)

    def _wrong_place(self, name: str) -> tuple[str, str] | None:
        name = self._bookings.shown_name(name)
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
        if why := self.lacks(self._path(name)):
            why = f"{shown(name)} is not whole, and nobody is writing it any more: {why}"
            return self._reject(name, why, "copy the whole video again, under the same name")
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

    def _adopt_request(self, name: str, info: os.stat_result) -> Entry | None:
        """A request for the logs: the file is not read. The job's id is made of the file's time, so a request
        that could not be removed makes no second job.
        """
        job = Job(safe_id(f"logs-{self._written(info):%Y%m%d-%H%M%S}"), Kind.LOGS, self.clock.now())
        entry = None
        with suppress(Taken):
            entry = self.spool.create(self.state, job, anew=True)
        path = self._path(name)
        path.unlink(missing_ok=True)
        durable.sync_directory(path.parent)
        self.log.info("the logs are asked for: job %s", job.id)
        return entry

    def _written(self, info: os.stat_result) -> datetime:
        """When a file was last written; now, where its time cannot be true."""
        try:
            written = datetime.fromtimestamp(info.st_mtime, UTC)
        except (ValueError, OverflowError, OSError):
            return self.clock.now()
        return written if 1970 <= written.year < 2200 else self.clock.now()

    def _adopt_booking(self, name: str) -> Entry | None:
        """Take it, then read it: what is dropped under its name from now on is another file."""
        self._has_left = True  # until `left` finds nothing
        taken = self._bookings.take(name)
        if self._stability.is_held_open(taken):
            return None  # somebody began to write in it just before we took it
        try:
            booking = read_booking(taken, self.zone)
        except BadBooking as fault:
            why = f"{shown(self._bookings.shown_name(name))}: {fault}"
            return self._reject(taken.name, why, "correct it and drop it into spool/incoming/ again")
        entry = self._bookings.apply(booking)
        self._bookings.remove(taken)
        return entry

    def _reject(self, name: str, reason: str, remedy: str) -> Entry:
        """Move the file, unread, into an entry of its own in `failed/`."""
        job = self._rejection(name, reason, remedy)
        entry = self.spool.create(State.FAILED, job, (self._path(name), REJECTED), number=True)
        name = self._bookings.shown_name(name)
        self.log.warning("%s → failed/%s: %s", shown(name), entry.id, reason)
        return entry

    def _rejection(self, name: str, reason: str, remedy: str) -> Job:
        return Job(
            rejected_id(self._bookings.shown_name(name)),
            Kind.CLIP,
            self.clock.now(),
            reason=reason,
            remedy=remedy,
            return_to=State.RAW if self.state in IN_HAND else self.state,
        )

    def _cannot_move(self, name: str, fault: OSError) -> Entry | None:
        """Make one entry in `failed/` about a file that cannot be moved there."""
        reason = f"{shown(name)} cannot be moved out of {self.state}/: {fault.strerror}"
        remedy = f"move it away by hand, then: ezrec spool rm {rejected_id(name)}"
        with suppress(Taken, OSError):
            return self.spool.create(State.FAILED, self._rejection(name, reason, remedy))
        return None

    def _take_back_note(self, name: str) -> None:
        """Remove that entry once the file could be adopted."""
        path = self.spool.directory(State.FAILED) / rejected_id(name)
        if not os.path.lexists(path):
            return
        with suppress(OSError, Gone, BadRecord):
            note = self.spool.read(State.FAILED, path.name)
            if f"{shown(name)} cannot be moved out of" in note.job.reason and not note.media():
                self.spool.leave(note, replace(note.job, outcome=JobOutcome.REMOVED))


def _elsewhere(info: os.stat_result, root: Path) -> tuple[str, str] | None:
    if info.st_dev == os.lstat(root).st_dev:
        return None
    return "it lies on another file system than the spool", "copy it onto the spool's file system"


def adopt_unknown_files(intake: Intake, unknown_files: list[UnknownFile]) -> None:
    """Move unknown files out of a directory that only stages write to (`recording/`, `processing/`)."""
    for unknown_file in unknown_files:
        if unknown_file.unread:
            continue  # it may be a good job, which the next look can read
        with suppress(Gone):
            try:
                intake._reject(unknown_file.name, unknown_file.why, "drop videos into spool/raw/")
            except OSError as fault:
                intake.log.error("%s cannot be moved out: %s", shown(unknown_file.name), fault.strerror)


ADOPTING = tuple(state for state in DIRECTORIES if state in (State.INCOMING, State.RAW, State.PROCESSED))
