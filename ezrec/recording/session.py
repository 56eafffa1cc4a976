"""`RecordingSession`: one booking while it is recorded: the camera held, takes written, amendments applied.

Before each step that could hang, a deadline is set (`HeartbeatRegistry`). A missed deadline tells the
recorder's supervisor to start a fresh process.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

from ezrec.domain import recording_outcome
from ezrec.domain.booking import Booking, Window
from ezrec.domain.errors import Retry
from ezrec.domain.health import Activity
from ezrec.domain.job import OPEN, UNANSWERED, Take
from ezrec.domain.names import raw_name
from ezrec.domain.outcomes import Closed, Done, Preserved
from ezrec.domain.ports import Camera, Recording, Repair
from ezrec.domain.recording_outcome import OnCancel, bounded
from ezrec.recording.audio import AudioRecording
from ezrec.recording.recovery import recover_takes, without_length
from ezrec.recording.session_clock import SessionClock
from ezrec.runtime.liveness import HeartbeatRegistry
from ezrec.spool.spool import Entry
from ezrec.system.task import Task

_RETRY_PAUSES_S = (1.0, 2.0, 5.0, 10.0, 15.0)  # pauses between tries for a camera, the last one repeated
_FINISH_LIMIT_S = 10.0
_LONGEST_WAIT_S = 30.0  # a wait for the clock is looked at anew at least so often
_REPORT_S = 1.0
_STEADY_S = 5.0  # a take that lasted so long resets the pauses between tries
# Deadlines. A memory card can take many seconds for a small write, a camera module's first start longer.
_DISK_S = 30.0
_CAMERA_S = 75.0


@dataclass(frozen=True, slots=True)
class Padding:
    """Seconds around a booking: recorded before and after it, and the lead with which the camera is armed."""

    before_s: float = 5.0
    after_s: float = 5.0
    arm_s: float = 30.0


@dataclass(slots=True)
class RecordingSession:
    """One booking in hand: what `record` does from step 2 on. Each method may raise `Retry` or `Stopped`."""

    entry: Entry
    task: Task
    camera: Camera
    clock: SessionClock
    zone: tzinfo
    padding: Padding
    repair: Repair
    log: logging.Logger
    on_cancel: OnCancel
    heartbeats: HeartbeatRegistry
    audio: AudioRecording | None = None
    failures: int = 0
    fault: str = ""
    begins: float = 0.0  # of the window, on the monotonic clock as it stood at the newest take
    unanswered: set[str] = field(default_factory=set)  # takes whose writer was not waited for any longer

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
                self._wait_until(self.armed, Activity.WAITS)
                continue
            if self.audio:
                self.audio.start()
            try:
                self._expect("the start of the camera", _CAMERA_S)
                with self.camera.hold(self.task.wake_up.set):
                    try:
                        self._record_while_it_runs()
                    finally:
                        self._expect("the end of the camera", _CAMERA_S, Activity.CLOSES)
            except Retry as fault:
                self._pause(fault.reason)

    def _record_while_it_runs(self) -> None:
        """From an armed camera to the end of the window, or until it breaks off (`Retry`).

        A take that ends while the camera goes on was ended by its disk: then the camera is not let go,
        for the others' sake and for what it has in memory.
        """
        while not self._is_over() and self.clock.now() >= self.armed:
            self.task.check()
            is_running = self.camera.health().running
            if self.clock.now() < self.window.start:
                if not is_running:
                    raise Retry("the camera broke off before the start")
                self._wait_until(self.window.start, Activity.ARMS)
                continue
            try:
                self._record_a_take()
            except Retry as fault:
                if not self.camera.health().running:
                    raise
                self._pause(fault.reason)

    def _record_a_take(self) -> None:
        """To the end of the window; raises `Retry` when it ended before."""
        recording, take = self._attach()
        try:
            self._write(recording, take)
        finally:
            self._expect(f"the end of {take.file}", _FINISH_LIMIT_S + _DISK_S, Activity.CLOSES)
            closed = self._close(recording, take)
        if recording.lost.is_set() and not self._is_over():
            if recording.goes_on:  # the pictures changed their size: the next take follows without a pause
                self.log.warning("booking %s: %s: another take begins", self.entry.id, closed.ended_by)
                return
            ended_by = UNANSWERED if closed.ended_by == OPEN else closed.ended_by
            raise Retry(ended_by or self.camera.health().fault or "the camera broke off")

    def _write(self, recording: Recording, take: Take) -> None:
        began = self.clock.monotonic()
        while not self._is_over() and not recording.lost.is_set() and self.clock.now() >= self.armed:
            self.task.check()
            if self.clock.monotonic() - began > _STEADY_S:
                self.failures = 0
            self._note_start(recording, take)
            self._note_time()
            if self.audio:
                self.audio.follow(take.file, recording, take.started)
            self._expect(f"writing {take.file}", _DISK_S, Activity.WRITES)
            self._report(take)
            self._wait_until(self.window.end, Activity.WRITES, longest_s=_REPORT_S)

    def _note_start(self, recording: Recording, take: Take) -> None:
        """Write down when the first frame was taken, as soon as that is known: needed after a crash."""
        span, takes = recording.span, self.entry.job.takes
        if span is None or not any(known is take for known in takes):
            return
        exact = replace(take, started=self.clock.instant(span[0]), early_s=self._early_s(recording))
        self.remember(takes=tuple(exact if known is take else known for known in takes))

    def _early_s(self, recording: Recording) -> float:
        """How long before the window its first picture was taken: a take begins with a key frame."""
        return round(max(0.0, self.begins - recording.span[0]), 6) if recording.span else 0.0

    def _note_time(self) -> None:
        """Write down the session's clock: after a crash the wall clock may have been set."""
        if self.clock.reckoning != self.entry.job.reckoning:
            self.remember(reckoning=self.clock.reckoning)

    def _is_over(self) -> bool:
        """True after the window, or when the booking was cancelled. Reads amendments."""
        before = self.booking
        try:
            self.entry.take_amendment()
        except OSError as fault:  # known, but not written: it stays beside the record until it can be
            self._unless_taken(fault)
            self.heartbeats.fault(f"job.json cannot be written: {fault.strerror}")
        if self.booking != before:
            self.log.info("booking %s: now %s to %s, %s", self.entry.id, *_words(self.booking, self.zone))
        return self.booking.is_cancelled or self.clock.now() >= self.window.end

    def _expect(self, doing: str, within_s: float, activity: Activity | None = None) -> None:
        if activity is None:
            activity = Activity.LACKS if self.clock.now() >= self.window.start else Activity.ARMS
        self.heartbeats.expect(self.entry.id, doing, within_s, activity)

    def _wait_until(self, moment: datetime, activity: Activity, longest_s: float = _LONGEST_WAIT_S) -> None:
        wait_s = max(0.0, min((moment - self.clock.now()).total_seconds(), longest_s))
        self._expect("a wait", wait_s + _DISK_S, activity)
        self.task.wait(wait_s)

    def _pause(self, reason: str) -> None:
        """After a failure: wait, longer each time, but not beyond the window."""
        pause_s = _RETRY_PAUSES_S[min(self.failures, len(_RETRY_PAUSES_S) - 1)]
        self.failures += 1
        self.fault = reason
        self.heartbeats.fault(reason)
        self.log.error("booking %s: %s; again in %g s", self.entry.id, reason, pause_s)
        ends = self.clock.monotonic() + pause_s
        self.entry.report(stage="record", doing="waiting for the camera", fault=reason)
        was_away = self.entry.is_away()
        while not self._is_over() and (left_s := ends - self.clock.monotonic()) > 0:
            self.task.check()
            if was_away and not self.entry.is_away():
                return  # at once: what the camera has in memory of the time between is still written
            window_s = (self.window.end - self.clock.now()).total_seconds()
            wait_s = max(0.0, min(left_s, window_s, _REPORT_S if was_away else window_s))
            self._expect("a pause", wait_s + _DISK_S)
            self.task.wait(wait_s)

    # ---- takes

    def _attach(self) -> tuple[Recording, Take]:
        begins = max(self.window.start, self.clock.now())
        self._expect("the beginning of a take", _DISK_S)
        path = self._free_path(begins)
        take = Take(path.name, begins, 0.0, 0, OPEN, burned_in=self.camera.burned_in)
        # What the running camera still has in memory of the time before counts as well.
        wanted = max([self.window.start, *(known.ended for known in self.entry.job.takes)])
        known_before = self.entry.job.takes
        self.begins = self.clock.monotonic() + (self.window.start - self.clock.now()).total_seconds()
        try:
            self.entry.update(takes=(*known_before, take))
            recording = self.camera.attach(path, self.clock.on_the_wall(wanted))
        except Retry:
            self.remember(takes=known_before)  # broken off this very moment: there is no such take
            raise
        except OSError as fault:  # a take that stands in no record would be lost in the next crash
            self._unless_taken(fault)
            self.entry.job = replace(self.entry.job, takes=known_before)
            raise Retry(f"job.json cannot be written: {fault.strerror}") from fault
        self.clock.hold_fast()
        self._note_time()
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
        closed = recording.finish(self.clock.on_the_wall(until), _FINISH_LIMIT_S)
        holes = tuple(
            Window(self.clock.as_held(hole.start), self.clock.as_held(hole.end)) for hole in closed.holes
        )
        started, early_s = self.clock.as_held(closed.started), self._early_s(recording)
        closed = replace(closed, file=take.file, started=started, holes=holes, early_s=early_s)
        path = self.entry.path / take.file
        closed, is_empty = bounded(closed), False
        if closed.ended_by == UNANSWERED:
            self.unanswered.add(closed.file)
        if not closed.duration_s:
            closed, is_empty = without_length(closed, self.entry, self.repair, self.log)
        if self.audio:
            closed = replace(closed, sound=self.audio.finish(take.file, until))
        others = (known for known in self.entry.job.takes if known.file != take.file)
        self.remember(takes=tuple(others) if is_empty else (*others, closed))
        if is_empty:
            with suppress(OSError):  # a header without a picture: it would only be in the way
                path.unlink()
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

    def outcome(self) -> Done | Closed | Preserved:
        # Of what could not be read before.
        recover_takes(self.entry, self.repair, self.log, self.remember, in_writing=self.unanswered)
        job, now, is_synchronised = self.entry.job, self.clock.now(), self.clock.is_synchronised()
        if self.booking.is_cancelled:
            outcome, noted = recording_outcome.of_a_cancelled(
                job, self.on_cancel, now, is_synchronised=is_synchronised
            )
            self.remember(**noted)
            return outcome
        if job.takes:
            self.remember(**recording_outcome.of_a_recorded(job), kept_until=None)
            return Done()
        if not is_synchronised:  # what is past is judged only by a clock that can be trusted
            raise Retry("the clock is not synchronised yet: no booking is judged", 30, blameless=True)
        return recording_outcome.of_a_missed(self.fault)

    def remember(self, **noted: Any) -> None:
        """Change the record. If the disk is full, the change stays in memory and is written with the next
        one, or when the job moves on. After a crash before that, the take is open and is measured.
        """
        try:
            self.entry.update(**noted)
        except OSError as fault:
            self._unless_taken(fault)
            self.log.error("booking %s: its record cannot be written: %s", self.entry.id, fault.strerror)
            self.heartbeats.fault(f"job.json cannot be written: {fault.strerror}")

    def _unless_taken(self, fault: OSError) -> None:
        """Raise `fault` where the entry was taken away by somebody. A spool that is away as a whole comes
        back.
        """
        if isinstance(fault, FileNotFoundError) and not self.entry.is_away():
            raise fault


def _words(booking: Booking, zone: tzinfo) -> tuple[str, str, str]:
    return (
        f"{booking.start.astimezone(zone):%H:%M:%S}",
        f"{booking.end.astimezone(zone):%H:%M:%S}",
        booking.status,
    )
