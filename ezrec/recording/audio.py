"""`AudioRecording`: the sound of one booking, by a microphone of its own and never in the picture's way.

A thread keeps the microphone running, because starting one may take long. About once a second the booking's
own thread begins a sound file beside the take, or another one where the last broke off. A failure is only a
warning, in the record and in the log.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from ezrec.domain.errors import Retry
from ezrec.domain.job import OPEN, UNANSWERED, Fault, Sound
from ezrec.domain.ports import Camera, Recording
from ezrec.recording.session_clock import SessionClock
from ezrec.spool.spool import Entry

_RETRY_PAUSES_S = (1.0, 2.0, 5.0, 10.0, 15.0)  # pauses between tries for a microphone, the last one repeated
_LOOK_S = 30.0
_FINISH_LIMIT_S = 3.0


class AudioRecording:
    """All but `start` and `stop` are for the booking's own thread. `remember` changes the job's record."""

    def __init__(
        self,
        entry: Entry,
        microphone: Camera,
        clock: SessionClock,
        remember: Callable[..., None],
        log: logging.Logger,
    ) -> None:
        self._entry, self._microphone, self._clock, self._log = entry, microphone, clock, log
        self._remember = remember
        self._over, self._wake_up = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._fault = self._warned = ""
        self._recording: Recording | None = None
        self._sounds: list[Sound] = []
        self._file = ""
        self._picture: float | None = None

    def start(self) -> None:
        """Start the microphone in the background; may be called again."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep, name=f"sound {self._entry.id}", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._wake_up.set()

    # ---- the thread that keeps the microphone

    def _keep(self) -> None:
        failures = 0
        while not self._over.is_set():
            try:
                with self._microphone.hold(self._wake_up.set):
                    self._fault, failures = "", 0
                    while self._microphone.health().running and not self._over.is_set():
                        self._wake_up.wait(_LOOK_S)
                        self._wake_up.clear()
                    self._fault = self._microphone.health().fault or "the microphone broke off"
            except Retry as fault:
                self._fault = fault.reason
            pause_s = _RETRY_PAUSES_S[min(failures, len(_RETRY_PAUSES_S) - 1)]
            failures += 1
            self._over.wait(pause_s)

    # ---- the booking's thread

    def follow(self, take: str, picture: Recording, wanted: datetime) -> None:
        """Called about once a second: begin the sound of a take at `wanted`, or again after it broke off."""
        self._picture = picture.span[0] if picture.span else self._picture
        if self._recording is not None and self._recording.lost.is_set():
            self._close(self._clock.now())
            wanted = self._clock.now()
        if self._recording is None and self._microphone.health().running:
            self._begin(take, wanted if not self._sounds else self._clock.now())
        self._note(take)
        self._warn_once()

    def finish(self, take: str, at: datetime) -> tuple[Sound, ...]:
        """End the sound of a take; returns its files."""
        if self._recording is not None:
            self._close(at)
        self._warn_once()
        sounds, self._sounds, self._picture = tuple(self._sounds), [], None
        return sounds

    def _begin(self, take: str, wanted: datetime) -> None:
        path = _free_path(self._entry.path / take)
        try:
            self._recording = self._microphone.attach(path, self._clock.on_the_wall(wanted))
        except Retry as fault:
            self._fault = fault.reason
        self._file = path.name

    def _note(self, take: str) -> None:
        """Write the sound into the record as soon as its start is known: needed after a crash."""
        recording = self._recording
        if recording is None or recording.span is None or self._picture is None:
            return
        if any(sound.file == self._file for sound in self._sounds):
            return
        self._sounds.append(Sound(self._file, self._offset(recording.span[0]), ended_by=OPEN))
        takes = self._entry.job.takes
        sounds = tuple(self._sounds)
        self._remember(takes=tuple(replace(one, sound=sounds) if one.file == take else one for one in takes))

    def _close(self, at: datetime) -> None:
        recording, self._recording = self._recording, None
        assert recording is not None
        closed = recording.finish(self._clock.on_the_wall(at), _FINISH_LIMIT_S)
        self._fault = closed.ended_by or self._fault
        self._sounds = [sound for sound in self._sounds if sound.file != self._file]
        if closed.duration_s and recording.span and self._picture is not None:
            began, ended = recording.span
            sound = Sound(
                self._file, self._offset(began), closed.duration_s, round(ended - began, 6), closed.size,
                closed.ended_by,
            )  # fmt: skip
            self._sounds.append(sound)
        elif closed.ended_by != UNANSWERED:  # else its writer is still at it
            with suppress(OSError):
                (self._entry.path / self._file).unlink(missing_ok=True)

    def _offset(self, began: float) -> float:
        assert self._picture is not None
        return round(began - self._picture, 6)

    def _warn_once(self) -> None:
        if self._fault and self._fault != self._warned:
            self._warned = self._fault
            self._log.warning("booking %s: without sound: %s", self._entry.id, self._fault)
            fault = Fault(self._clock.now(), "record", "warning", f"without sound: {self._fault}")
            self._remember(errors=self._entry.job.with_fault(fault).errors)


def _free_path(take: Path) -> Path:
    """`<take>.1.m4a` and so on: never overwritten, and listed beside its take."""
    n = 1
    while (path := take.with_name(f"{take.stem}.{n}.m4a")).exists():
        n += 1
    return path
