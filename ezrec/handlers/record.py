"""Record: one booking, from arming the camera to the last second of its window.

Asks nobody over a network and judges only by the clock and the camera. Every take stands in the record
before its first byte does, so that whoever finds the entry after a crash knows what lies in it.

1. take stock: cut the torn tails of takes that a dead predecessor left
2. arm the camera shortly before the window
3. write takes until the window is over; a camera that breaks off is asked again, after 1, 2, 5, 10, 15 s
4. obey amendments on the way: another end, a cancellation
5. name the outcome: recorded, partial (with its gaps), missed
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

from ezrec.domain.booking import Booking, Window
from ezrec.domain.coverage import gaps_in, share_covered
from ezrec.domain.errors import Reject, Retry
from ezrec.domain.job import OPEN as OPEN
from ezrec.domain.job import JobOutcome, Take
from ezrec.domain.names import raw_name
from ezrec.domain.stages import Closed, Done
from ezrec.ports import Camera, Clock, Recording
from ezrec.spool import Entry
from ezrec.task import Task

_LADDER_S = (1.0, 2.0, 5.0, 10.0, 15.0)  # pauses between tries for a camera, the last one repeated
_FINISH_LIMIT_S = 10.0
_LONGEST_WAIT_S = 30.0  # a wait for the clock is looked at anew at least so often
_REPORT_S = 1.0
_UNNAMED_GAP_S = 1.0  # less is the distance of two frames and a key frame, not a hole


@dataclass(frozen=True, slots=True)
class Padding:
    """Seconds around a booking: recorded before and after it, and the lead with which the camera is armed."""

    before_s: float = 5.0
    after_s: float = 5.0
    arm_s: float = 30.0


def record(
    entry: Entry,
    task: Task,
    *,
    camera: Camera,
    clock: Clock,
    zone: tzinfo,
    padding: Padding,
    salvage: Callable[[Path], float],
    log: logging.Logger,
) -> Done | Closed:
    """The handler of bookings. `salvage` cuts a file's torn tail and tells its seconds (0: nothing in it)."""
    if entry.job.booking is None:
        raise Reject("a job without a booking cannot be recorded", f"remove it: ezrec spool rm {entry.id}")
    session = _Session(entry, task, camera, clock, zone, padding, salvage, log)
    _take_stock(entry, salvage, log)
    session.run()
    return session.outcome()


@dataclass(slots=True)
class _Session:
    entry: Entry
    task: Task
    camera: Camera
    clock: Clock
    zone: tzinfo
    padding: Padding
    salvage: Callable[[Path], float]
    log: logging.Logger
    failures: int = 0
    fault: str = ""

    @property
    def booking(self) -> Booking:
        booking = self.entry.job.booking
        assert booking is not None
        return booking

    @property
    def window(self) -> Window:
        return self.booking.window.padded(self.padding.before_s, self.padding.after_s)

    @property
    def armed(self) -> datetime:
        """When the camera has to run."""
        return self.window.start - timedelta(seconds=self.padding.arm_s)

    # ---- the way through the window

    def run(self) -> None:
        while not self._is_over():
            self.task.check()
            if self.clock.now() < self.armed:
                self._wait_until(self.armed)
                continue
            try:
                with self.camera.hold(self.task.bell.ring):
                    self._record_while_it_runs()
            except Retry as fault:
                self._pause(fault.reason)

    def _record_while_it_runs(self) -> None:
        """From an armed camera to the end of the window, or until it breaks off."""
        while not self._is_over() and self.clock.now() < self.window.start:
            self.task.check()
            if not self.camera.health().running:
                raise Retry("the camera broke off before the start")
            if self.clock.now() < self.armed:
                return  # the booking was moved: the camera need not run till then
            self._wait_until(self.window.start)
        if self._is_over():
            return
        recording, take = self._attach()
        try:
            self._write(recording, take)
        finally:
            closed = self._close(recording, take)
        if recording.lost.is_set() and not self._is_over():
            raise Retry(closed.ended_by or self.camera.health().fault or "the camera broke off")

    def _write(self, recording: Recording, take: Take) -> None:
        self.failures = 0
        while not self._is_over() and not recording.lost.is_set() and self.clock.now() >= self.armed:
            self.task.check()
            self._report(take)
            self._wait_until(self.window.end, longest_s=_REPORT_S)

    def _is_over(self) -> bool:
        """True behind the window, or when there is none any more. Takes in what was amended."""
        if self.entry.take_amendment() is not None:
            self.log.info("booking %s: now %s to %s, %s", self.entry.id, *_words(self.booking, self.zone))
        return self.booking.is_cancelled or self.clock.now() >= self.window.end

    def _wait_until(self, moment: datetime, longest_s: float = _LONGEST_WAIT_S) -> None:
        self.task.wait(min((moment - self.clock.now()).total_seconds(), longest_s))

    def _pause(self, reason: str) -> None:
        """After a failure: wait by the ladder, but not beyond the window."""
        pause_s = _LADDER_S[min(self.failures, len(_LADDER_S) - 1)]
        self.failures += 1
        self.fault = reason
        self.log.error("booking %s: %s; again in %g s", self.entry.id, reason, pause_s)
        ends = self.clock.monotonic() + pause_s
        self.entry.report(stage="record", doing="waiting for the camera", fault=reason)
        while not self._is_over() and (left_s := ends - self.clock.monotonic()) > 0:
            self.task.check()
            self.task.wait(left_s)

    # ---- takes

    def _attach(self) -> tuple[Recording, Take]:
        begins = max(self.window.start, self.clock.now())
        path = self._free_path(begins)
        take = Take(path.name, begins, 0.0, 0, OPEN)
        # What the running camera still has in memory of the time before counts as well.
        wanted = max([self.window.start, *(known.ended for known in self.entry.job.takes)])
        known_before = self.entry.job.takes
        self.entry.update(takes=(*known_before, take))
        try:
            recording = self.camera.attach(path, wanted)
        except Retry:
            self.entry.update(takes=known_before)  # broken off this very moment: there is no such take
            raise
        self.log.info("booking %s: recording %s", self.entry.id, path.name)
        return recording, take

    def _free_path(self, begins: datetime) -> Path:
        """A name of this second that no take has yet: nothing is ever overwritten."""
        while True:
            path = self.entry.path / raw_name(self.booking.id, begins.astimezone(self.zone))
            if not path.exists():
                return path
            begins += timedelta(seconds=1)

    def _close(self, recording: Recording, take: Take) -> Take:
        until = min(
            self.window.end, self.clock.now()
        )  # earlier than the end: stopped, cancelled, moved, lost
        closed = replace(recording.finish(until, _FINISH_LIMIT_S), file=take.file)
        path = self.entry.path / take.file
        if not closed.duration_s:
            closed = replace(closed, duration_s=self.salvage(path) if path.exists() else 0.0)
        others = (known for known in self.entry.job.takes if known.file != take.file)
        self.entry.update(takes=(*others, closed) if closed.duration_s else tuple(others))
        if not closed.duration_s:
            path.unlink(missing_ok=True)  # a header without a picture: it would only be in the way
        self.log.info("booking %s: %s holds %.1f s", self.entry.id, closed.file, closed.duration_s)
        return closed

    def _report(self, take: Take) -> None:
        window, now = self.window, self.clock.now()
        done_s = max(0.0, (now - window.start).total_seconds())
        self.entry.report(
            stage="record",
            doing=f"writing {take.file}",
            part=round(min(1.0, done_s / window.length_s), 4),
            frames=self.camera.health().frames,
        )

    # ---- the end

    def outcome(self) -> Done | Closed:
        entry, booking = self.entry, self.booking
        takes = entry.job.takes
        if booking.is_cancelled and takes:
            raise Reject(
                "the booking was cancelled while it was recorded",
                f"publish what there is: ezrec spool retry {entry.id} --from process; "
                f"or remove it: ezrec spool rm {entry.id} --with-footage",
            )
        if booking.is_cancelled:
            return Closed(JobOutcome.CANCELLED, "the booking was cancelled")
        if not takes:
            return self._missed()
        gaps = gaps_in(booking.window, takes, _UNNAMED_GAP_S)
        coverage = share_covered(booking.window, takes)
        entry.update(
            gaps=gaps,
            coverage_pct=round(100 * coverage, 2),
            recording=JobOutcome.PARTIAL if gaps else JobOutcome.RECORDED,
        )
        return Done()

    def _missed(self) -> Closed:
        """Nothing was recorded. That is judged only by a clock that can be trusted."""
        if not self.clock.is_synchronised():
            raise Retry("the clock is not synchronised yet: no booking is judged", 30, blameless=True)
        if self.fault:
            return Closed(JobOutcome.MISSED, f"no camera during the whole booking: {self.fault}")
        return Closed(JobOutcome.MISSED, "the booking was over before this machine could record it")


def _take_stock(entry: Entry, salvage: Callable[[Path], float], log: logging.Logger) -> None:
    """Measure the takes that nobody closed: the recorder died, or lost power, while it wrote them."""
    if not any(take.ended_by == OPEN for take in entry.job.takes):
        return
    takes = []
    for take in entry.job.takes:
        path = entry.path / take.file
        if take.ended_by == OPEN:
            seconds = salvage(path) if path.exists() else 0.0
            log.warning("booking %s: %s was cut off after %.1f s", entry.id, take.file, seconds)
            if not seconds:
                path.unlink(missing_ok=True)  # no whole picture in it: there is nothing to lose
                continue
            take = replace(take, duration_s=seconds, size=path.stat().st_size, ended_by="the recorder died")
        takes.append(take)
    entry.update(takes=tuple(takes))


def _words(booking: Booking, zone: tzinfo) -> tuple[str, str, str]:
    return (
        f"{booking.start.astimezone(zone):%H:%M:%S}",
        f"{booking.end.astimezone(zone):%H:%M:%S}",
        booking.status,
    )
