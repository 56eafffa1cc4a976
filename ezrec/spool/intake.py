"""Loose files become entries: a video dropped into `raw/`, a booking's `.json` dropped into `incoming/`.

What a stranger left is hostile until shown otherwise. A name is never followed, a FIFO never opened
for reading, and nothing is judged while somebody may still be writing it. What cannot be used goes to
`failed/` with the reason beside it; the thing itself is moved, not read, and nothing else is touched.
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
from ezrec.spool.spool import Entry, Gone, Spool, Taken, UnknownFile
from ezrec.system import durable

_AGAIN_S = 5.0  # after a fault of the disk a thing is tried again
_LASTS_S = 60.0  # what fails for so long is no passing fault, and a person is told
_UNREAD_LASTS_S = 600.0  # the same for what may be a sound job
_IMMOVABLE = (errno.EACCES, errno.EPERM, errno.EXDEV, errno.EBUSY, errno.EROFS)
LOGS_REQUESTS = ("logs", "logs.request")  # names in raw/ by which a person asks for a log archive
REJECTED = "rejected"  # the name under which a bad thing lies in its entry: its own may be hostile


@dataclass(frozen=True, slots=True)
class _Fault:
    """Since when a thing cannot be adopted, and from when on it may be tried again; monotonic."""

    began: float
    again: float


@dataclass(slots=True)
class Intake:
    """Adopts what lies loose in one directory. Remembers only what it saw last, to tell quiet from busy.

    To be called under the lock of the stage that takes from the directory: it amends what waits there.

    `known_booking` answers what is known of a booking id (from the booking cache), for dropped videos.
    `lacks` says what a video lacks that could still be copied: such a one waits, and is refused in the end,
    as it is. Only what we have recorded ourselves is ever cut or mended.
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
    _stillness: FileStability = field(init=False)
    _bookings: BookingIntake = field(init=False)
    _faults: dict[str, _Fault] = field(default_factory=dict, init=False)
    _has_left: bool = field(default=True, init=False)  # bookings that were taken and are not applied

    def __post_init__(self) -> None:
        self._bookings = BookingIntake(self.spool, self.clock, self.zone, self.log, self.lead_s)
        self._stillness = FileStability(
            self.clock, self.quiet_s, self.forgotten_s, self._is_whole, is_torn=self._is_torn
        )

    @property
    def is_pending(self) -> bool:
        """True while something may lie here that no listing shows."""
        return self._has_left

    def is_left(self) -> bool:
        """True while a booking that was taken is not applied."""
        return bool(self._left())

    def adopt(
        self, strangers: list[UnknownFile], slice_s: float = math.inf
    ) -> tuple[list[Entry], float | None]:
        """Adopt what is complete, for about `slice_s` seconds. Returns the changed or new entries, and in how
        many seconds to look again for what is not complete yet (None: nothing is pending).
        """
        adopted: list[Entry] = []
        waits: list[float] = []
        ends = self.clock.monotonic() + slice_s
        strangers = self._in_order(strangers)
        for stranger in strangers:
            wait_s = self._stillness.wait_s(self._path(stranger.name)) or self._rest_s(stranger)
            if wait_s:
                waits.append(wait_s)
                continue
            if self.clock.monotonic() >= ends:
                waits.append(0.0)
                break
            entry = self._adopted(stranger)
            if entry is not None:
                adopted.append(entry)
            waits += [
                fault.again - self.clock.monotonic() for fault in [self._faults.get(stranger.name)] if fault
            ]
        names = {stranger.name for stranger in strangers}
        self._stillness.forget_all_but({self._path(name) for name in names})
        self._faults = {name: fault for name, fault in self._faults.items() if name in names}
        if self._has_left and not waits and self._left():
            waits.append(_AGAIN_S)
        return adopted, max(0.0, min(waits)) if waits else None

    def _in_order(self, strangers: list[UnknownFile]) -> list[UnknownFile]:
        if self.state is not State.INCOMING:
            return sorted(strangers, key=self._age)
        by_name = {stranger.name: stranger for stranger in (*strangers, *self._left())}
        return [by_name[name] for name in self._bookings.in_order(list(by_name))]

    def _left(self) -> list[UnknownFile]:
        """Bookings that we, or who died in our place, took and did not apply."""
        if self.state is not State.INCOMING or not self._has_left:
            return []
        left = [
            UnknownFile(name, "a booking that was taken and not applied") for name in self._bookings.left()
        ]
        self._has_left = bool(left)
        return left

    # ---- faults that may pass

    def _adopted(self, stranger: UnknownFile) -> Entry | None:
        """Adopt one thing. Its faults are its own: the others must not wait for it."""
        try:
            entry = self._adopt(stranger)
        except (Gone, FileNotFoundError):
            self._has_left = True
            return None  # taken away while we looked: then it is not ours
        except OSError as fault:
            self._has_left = True
            return self._failed(stranger.name, fault)
        self._faults.pop(stranger.name, None)
        self._take_back_note(stranger.name)
        return entry

    def _failed(self, name: str, fault: OSError) -> Entry | None:
        """A disk that refuses once may give in a moment later: only what lasts is told to a person."""
        now = self.clock.monotonic()
        began = self._faults[name].began if name in self._faults else now
        lasts = now - began >= _LASTS_S
        self._faults[name] = _Fault(began, now + (_LASTS_S if lasts else _AGAIN_S))
        self.log.error("%s in %s/ cannot be adopted: %s", shown(name), self.state, fault.strerror)
        return self._cannot_move(name, fault) if lasts and fault.errno in _IMMOVABLE else None

    def _rest_s(self, stranger: UnknownFile) -> float | None:
        """Seconds until a thing that has failed may be tried again."""
        now = self.clock.monotonic()
        if not stranger.unread:
            known = self._faults.get(stranger.name)
            return known.again - now if known and known.again > now else None
        known = self._faults.setdefault(stranger.name, _Fault(now, now + _AGAIN_S))
        return None if self._lasts(stranger.name, _UNREAD_LASTS_S) else _AGAIN_S

    def _lasts(self, name: str, limit_s: float = _LASTS_S) -> bool:
        known = self._faults.get(name)
        return known is not None and self.clock.monotonic() - known.began >= limit_s

    def _path(self, name: str) -> Path:
        return self.spool.directory(self.state) / name

    def _age(self, stranger: UnknownFile) -> int:
        try:
            return os.lstat(self._path(stranger.name)).st_mtime_ns
        except OSError:
            return 0

    def _is_whole(self, path: Path) -> bool:
        """A booking: of half an object no JSON can be read, for its last sign closes it."""
        if self.state is not State.INCOMING or not path.name.lower().endswith(".json"):
            return False
        try:
            return isinstance(read_row(path), dict)
        except (OSError, BadBooking):
            return False

    def _is_torn(self, path: Path) -> bool:
        return self.state is State.RAW and path.name.lower().endswith(".mp4") and bool(self.lacks(path))

    # ---- what is it?

    def _adopt(self, stranger: UnknownFile) -> Entry | None:
        path = self._path(stranger.name)
        info = os.lstat(path)
        fault = _elsewhere(info, self.spool.root) or unusable(info) or self._wrong_place(stranger.name)
        if stat.S_ISDIR(info.st_mode):
            return self._reject(stranger.name, stranger.why, "move the videos in it to spool/raw/")
        if fault:
            return self._reject(stranger.name, fault[0], fault[1])
        if stranger.name in LOGS_REQUESTS:
            return self._adopt_request(stranger.name, info)
        if not os.access(path, os.R_OK, follow_symlinks=False):
            if not self._lasts(stranger.name):  # it may be about to get its rights from who dropped it
                raise PermissionError(errno.EACCES, "it may not be read by us")
            why = f"{shown(stranger.name)} may not be read by us (permission denied)"
            return self._reject(stranger.name, why, "chmod a+r, then drop it again")
        if self.state is State.INCOMING:
            return self._adopt_booking(stranger.name)
        return self._adopt_clip(stranger.name, info)

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
            why = f"{shown(name)} is not whole, and nobody goes on writing it: {why}"
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
        """A wish for the logs: what stands in the file is not read. Its time is its name: a wish that could
        not be removed when its job was made is the same one.
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
        """When a file was last written, as far as its stamp can be a date at all."""
        try:
            written = datetime.fromtimestamp(info.st_mtime, UTC)
        except (ValueError, OverflowError, OSError):
            return self.clock.now()
        return written if 1970 <= written.year < 2200 else self.clock.now()

    def _adopt_booking(self, name: str) -> Entry | None:
        """Take it, then read it: what is dropped under its name from now on is another, newer word."""
        self._has_left = True  # whatever happens from here on: `left` will tell
        taken = self._bookings.take(name)
        if self._stillness.is_held_open(taken):
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
        """Move the thing, unread, into an entry of its own in `failed/`."""
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
        """Tell of a thing that has to stay where it is: once, by an entry without it."""
        reason = f"{shown(name)} cannot be moved out of {self.state}/: {fault.strerror}"
        remedy = f"move it away by hand, then: ezrec spool rm {rejected_id(name)}"
        with suppress(Taken, OSError):
            return self.spool.create(State.FAILED, self._rejection(name, reason, remedy))
        return None

    def _take_back_note(self, name: str) -> None:
        """What could be adopted after all needs no person any more."""
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


def adopt_unknown_files(adopter: Intake, strangers: list[UnknownFile]) -> None:
    """Move strangers out of a directory that only stages write to (`recording/`, `processing/`)."""
    for stranger in strangers:
        if stranger.unread:
            continue  # perhaps a sound job, which the next look can read
        with suppress(Gone):
            try:
                adopter._reject(stranger.name, stranger.why, "drop videos into spool/raw/")
            except OSError as fault:
                adopter.log.error("%s cannot be moved out: %s", shown(stranger.name), fault.strerror)


ADOPTING = tuple(state for state in DIRECTORIES if state in (State.INCOMING, State.RAW, State.PROCESSED))
