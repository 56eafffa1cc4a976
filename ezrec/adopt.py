"""Loose files become entries: a video dropped into `raw/`, a booking's `.json` dropped into `incoming/`.

What a stranger left is hostile until shown otherwise. A name is never followed, a FIFO never opened
for reading, and nothing is judged while somebody may still be writing it. What cannot be used goes to
`failed/` with the reason beside it; the thing itself is moved, not read, and nothing else is touched.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import msgspec

from ezrec import durable
from ezrec.domain.booking import BadBooking, Booking, parse_booking
from ezrec.domain.job import Job, Kind, Take
from ezrec.domain.names import (
    UNFINISHED_SUFFIXES,
    BadName,
    JobId,
    parse_clip_name,
    raw_name,
    safe_id,
    shown,
    stand_in,
)
from ezrec.domain.stages import DIRECTORIES, State
from ezrec.ports import Clock
from ezrec.spool import Entry, Gone, Spool, Stranger, Taken

QUIET_S = 3.0  # unchanged for so long counts as complete where a lease cannot be had
FORGOTTEN_S = 600.0  # a half-copied file that nobody has written for so long goes to a person
_LARGEST_BOOKING = 64 * 1024  # bytes
REJECTED = "rejected"  # the name under which a bad thing lies in its entry: its own may be hostile


@dataclass(slots=True)
class Adopter:
    """Adopts what lies loose in one directory. Remembers only what it saw last, to tell quiet from busy.

    `known_booking` answers what is known of a booking id (from the booking cache), for dropped videos.
    """

    spool: Spool
    state: State
    clock: Clock
    zone: tzinfo
    log: logging.Logger
    lead_s: float = 0.0
    known_booking: Callable[[str], Booking | None] = lambda _: None
    _seen: dict[str, tuple[tuple[int, int, int], float]] = field(default_factory=dict)

    def adopt(self, strangers: list[Stranger]) -> tuple[list[Entry], float | None]:
        """Adopt what is complete. Returns the changed or new entries, and in how many seconds to look
        again for what is not complete yet (None: nothing is pending).
        """
        adopted: list[Entry] = []
        look_again: float | None = None
        for stranger in sorted(strangers, key=self._age):
            wait_s = self._wait_s(stranger.name)
            if wait_s is not None:
                look_again = min(wait_s, look_again or wait_s)
                continue
            self._seen.pop(stranger.name, None)
            with suppress(Gone, FileNotFoundError):  # taken away while we looked: then it is not ours
                entry = self._adopt(stranger)
                if entry is not None:
                    adopted.append(entry)
        self._seen = {
            name: seen for name, seen in self._seen.items() if any(s.name == name for s in strangers)
        }
        return adopted, look_again

    def _path(self, name: str) -> Path:
        return self.spool.directory(self.state) / name

    def _age(self, stranger: Stranger) -> int:
        try:
            return os.lstat(self._path(stranger.name)).st_mtime_ns
        except OSError:
            return 0

    # ---- is it complete?

    def _wait_s(self, name: str) -> float | None:
        """Seconds until the thing may be judged; None when it is complete (or will never be)."""
        path = self._path(name)
        try:
            info = os.lstat(path)
        except OSError:
            return None
        if name.endswith(UNFINISHED_SUFFIXES):
            return self._quiet_for(name, info, FORGOTTEN_S)
        if stat.S_ISDIR(info.st_mode) or (stat.S_ISREG(info.st_mode) and info.st_size == 0):
            return self._quiet_for(name, info, QUIET_S)
        if not stat.S_ISREG(info.st_mode):
            return None
        match _being_written(path):
            case True:
                return QUIET_S
            case False:
                return None
            case _:
                return self._quiet_for(name, info, QUIET_S)

    def _quiet_for(self, name: str, info: os.stat_result, needed_s: float) -> float | None:
        """Wait until size and times have stood still for `needed_s` seconds of the monotonic clock."""
        mark, now = (info.st_size, info.st_mtime_ns, info.st_ctime_ns), self.clock.monotonic()
        seen = self._seen.get(name)
        if seen is None or seen[0] != mark:
            self._seen[name] = (mark, now)
            return needed_s
        left = seen[1] + needed_s - now
        return left if left > 0 else None

    # ---- what is it?

    def _adopt(self, stranger: Stranger) -> Entry | None:
        path = self._path(stranger.name)
        info = os.lstat(path)
        fault = _unusable(info, self.spool.root) or self._wrong_place(stranger.name)
        if stat.S_ISDIR(info.st_mode):
            return self._reject(stranger.name, stranger.why, "move the videos in it to spool/raw/")
        if fault:
            return self._reject(stranger.name, fault[0], fault[1])
        if self.state is State.INCOMING:
            return self._adopt_booking(stranger.name)
        return self._adopt_clip(stranger.name, info)

    def _wrong_place(self, name: str) -> tuple[str, str] | None:
        wanted = {State.INCOMING: ".json", State.RAW: ".mp4"}.get(self.state)
        if name.endswith(UNFINISHED_SUFFIXES):
            return f"{shown(name)} was never finished: nobody has written it for 10 minutes", "copy it again"
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
            started = booking.start if booking else datetime.fromtimestamp(info.st_mtime, UTC)
        started = started.astimezone(self.zone)
        take = Take(
            raw_name(clip.booking_id, started), started.astimezone(UTC), 0.0, info.st_size, "dropped in"
        )
        job = Job(
            id=clip.booking_id, kind=Kind.CLIP, created=self.clock.now(), booking=booking, takes=(take,)
        )
        entry = self.spool.create(self.state, job, (self._path(name), take.file), number=True)
        self.log.info("adopted %s as job %s", shown(name), entry.id)
        return entry

    def _adopt_booking(self, name: str) -> Entry | None:
        path = self._path(name)
        try:
            row = msgspec.json.decode(_read_small(path))
            booking = parse_booking(row, self.zone)
        except (BadBooking, msgspec.DecodeError, UnicodeDecodeError, OSError) as fault:
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
        entry = self.spool.find(booking.id)
        if entry is None:
            if booking.is_cancelled or booking.is_finished or self.spool.knows(booking.id):
                self.log.info("booking %s is over (%s): nothing to do", booking.id, booking.status)
                return None
            job = Job(booking.id, Kind.BOOKING, self.clock.now(), booking, due=self.due(booking))
            with suppress(Taken):
                entry = self.spool.create(State.INCOMING, job)
                self.log.info("booking %s: %s to %s", booking.id, booking.start, booking.end)
            return entry
        if entry.job.booking == booking:
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

    def due(self, booking: Booking) -> datetime:
        """When the recorder takes the booking in hand: the camera is armed before the first frame counts."""
        return booking.start - timedelta(seconds=self.lead_s)

    def _reject(self, name: str, reason: str, remedy: str) -> Entry:
        """Move the thing, unread, into an entry of its own in `failed/`."""
        job = replace(
            Job(_id_for(name), Kind.CLIP, self.clock.now()),
            reason=reason,
            remedy=remedy,
            return_to=self.state,
        )
        entry = self.spool.create(State.FAILED, job, (self._path(name), REJECTED), number=True)
        self.spool.move(entry, State.FAILED)
        self.log.warning("%s → failed/%s: %s", shown(name), entry.id, reason)
        return entry


def _id_for(name: str) -> JobId:
    stem = name.rpartition(".")[0] or name
    try:
        return safe_id(stem)
    except BadName:
        return stand_in(name)


def _unusable(info: os.stat_result, root: Path) -> tuple[str, str] | None:
    """Why a thing of this type is never opened, and what to do instead."""
    if stat.S_ISLNK(info.st_mode):
        return "a symbolic link is never followed", "copy the file itself"
    if stat.S_ISREG(info.st_mode) and info.st_nlink > 1:
        return (
            f"the file has {info.st_nlink} names (hard links): it could change under us",
            "copy the file itself",
        )
    if not stat.S_ISREG(info.st_mode) and not stat.S_ISDIR(info.st_mode):
        return "neither a file nor a directory (a FIFO, socket or device)", "copy a plain file"
    if info.st_dev != os.lstat(root).st_dev:
        return "it lies on another file system than the spool", "copy it onto the spool's file system"
    return None


def _being_written(path: Path) -> bool | None:
    """True while any process has the file open for writing; None when the kernel will not tell.

    A read lease is granted only when nobody has the file open for writing, so it answers at once,
    where comparing sizes waits seconds and still guesses.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return False
    except OSError as fault:
        return True if fault.errno == errno.EAGAIN else None
    finally:
        os.close(fd)


def _read_small(path: Path) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(fd, "rb") as file:
        data = file.read(_LARGEST_BOOKING + 1)
    if len(data) > _LARGEST_BOOKING:
        raise BadBooking(f"a booking of more than {_LARGEST_BOOKING} bytes")
    return data


def take_in_strangers(adopter: Adopter, strangers: list[Stranger]) -> None:
    """Move strangers out of a directory that only stages write to (`recording/`, `processing/`)."""
    for stranger in strangers:
        with suppress(Gone, FileNotFoundError):
            adopter._reject(stranger.name, stranger.why, "drop videos into spool/raw/")


ADOPTING = tuple(state for state in DIRECTORIES if state in (State.INCOMING, State.RAW, State.PROCESSED))
