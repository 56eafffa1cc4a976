"""`LiveStream`: one life of a camera as takes see it: its header, its last seconds, and who records from it.

Every camera pushes its fragments here, whatever makes them. `push` is called in the camera's own thread
and never waits for a disk or a booking. Knows no device and no child process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from ezrec.camera.ring_buffer import BufferedFragment, RingBuffer, Timeline
from ezrec.camera.take_writer import Disk, TakeWriter
from ezrec.domain.errors import Retry
from ezrec.domain.job import Take
from ezrec.domain.ports import CameraHealth, Clock
from ezrec.media.mp4.fragments import Fragment, Header

_BUFFERED_S = 10.0
_BUFFERED_BYTES = 48 << 20  # all since a key frame of a minute ago, at 6 Mbit/s
_MOST_RESERVED_S = 2.0  # of `finish`'s limit, kept back for making the take durable
_FAR_S = 20.0  # seconds without a second key frame, after which their distance is reported all the same
_SLOW = 0.5  # of the promised rate: below it the camera is called slow


@dataclass(eq=False, slots=True)
class Holder:
    """One booking that keeps the camera running."""

    on_lost: Callable[[], None]


class Sensor(Protocol):
    """What a camera counts before its fragments are made, frames and packets apart.

    A frozen encoder is seen by packets that stand still while frames go on. `frame_at` is monotonic;
    `dropped` frames left the encoder and reached no fragment.
    """

    frames: int
    packets: int
    dropped: int
    frame_at: float | None


class Placing(Protocol):
    """Says when a camera's fragments were taken. `fault` is what is wrong with its stamps, if anything is."""

    fault: str

    def place(self, fragment: Fragment) -> BufferedFragment: ...


@dataclass(slots=True)
class _Keys:
    """When key frames came."""

    began: float | None = None  # the first fragment at all
    newest: float | None = None
    every_s: float | None = None

    def note(self, buffered: BufferedFragment) -> None:
        self.began = buffered.began if self.began is None else self.began
        if buffered.fragment.starts_with_key:
            if self.newest is not None:
                self.every_s = buffered.began - self.newest
            self.newest = buffered.began

    def distance_s(self, now: float) -> float | None:
        """Seconds between the two newest ones; what it has been already, where the next one is overdue."""
        since = self.began if self.newest is None else self.newest
        if since is None:
            return None
        if self.every_s is None:  # a figure that only grows says little
            return now - since if now - since > _FAR_S else None
        return max(self.every_s, now - since)


@dataclass(slots=True)
class _Counts:
    frames: int = 0
    dropped: int = 0  # by takes that are finished
    written: int = 0  # the same
    arrived: float | None = None


@dataclass(slots=True)
class _State:
    """Everything that the stream's lock guards."""

    header: Header | None = None
    fault: str = ""
    is_lost: bool = False
    recordings: list[StreamRecording] = field(default_factory=list)
    holders: list[Holder] = field(default_factory=list)
    counts: _Counts = field(default_factory=_Counts)
    keys: _Keys = field(default_factory=_Keys)


class LiveStream:
    """Made by whoever starts a camera; `fps` is what the camera promises, where that is known.

    `timeline` is a `CameraClock` where the stamps are a device's.
    Without a `sensor`, what came in a fragment is all that is known of frames and packets.
    """

    def __init__(
        self,
        clock: Clock,
        disk: Disk | None = None,
        queue_bytes: int | None = None,
        *,
        fps: float | None = None,
        sensor: Sensor | None = None,
        buffer: RingBuffer | None = None,
        timeline: Placing | None = None,
    ) -> None:
        self._clock, self._fps, self._disk, self._queue_bytes = clock, fps, disk, queue_bytes
        self._buffer = buffer or RingBuffer(_BUFFERED_S, _BUFFERED_BYTES)
        self._sensor = sensor
        self._timeline: Placing = timeline or Timeline()
        self._state = _State()
        self.burned_in = ""  # the key of the logo that stands in the pictures
        self.changed = threading.Condition()

    # ---- from the camera's thread

    def open(self, header: Header) -> None:
        with self.changed:
            self._state.header = header

    def renew(self, header: Header, why: str) -> None:
        """The pictures that come from now on need another header, so other takes: those in hand end here."""
        with self.changed:
            self._state.header = header
            self._buffer.clear()
            for recording in self._state.recordings:
                recording.goes_on = not recording.lost.is_set()
                recording.writer.fail(why)

    def push(self, fragment: Fragment) -> None:
        """A fragment has come. Before the first key frame it only shows that the camera lives."""
        with self.changed:
            buffered = self._timeline.place(fragment)
            self._buffer.add(buffered)
            self._state.keys.note(buffered)
            self._state.counts.frames += fragment.frames
            self._state.counts.arrived = fragment.arrived
            for recording in self._state.recordings:
                recording.append(buffered)
            self.changed.notify_all()

    def lose(self, fault: str) -> None:
        """The stream is over for all; the first fault stands. Tells the recordings, then the holders."""
        with self.changed:
            if self._state.is_lost:
                return
            self._state.is_lost, self._state.fault = True, fault
            for recording in self._state.recordings:
                recording.writer.fail(fault)
            holders = list(self._state.holders)
            self.changed.notify_all()
        for holder in holders:
            holder.on_lost()

    # ---- from the bookings' threads

    @property
    def is_lost(self) -> bool:
        return self._state.is_lost

    @property
    def fault(self) -> str:
        return self._state.fault

    def wait_for_picture(self, limit_s: float, key_s: float = float("inf")) -> bool:
        """True as soon as a take could begin, or, after `key_s`, frames come that only lack their key frame.

        False when the stream ended first or the limit passed.
        """
        keyless = time.monotonic() + key_s
        with self.changed:
            self.changed.wait_for(
                lambda: self._state.is_lost or self._can_begin() or self._only_lacks_a_key(keyless), limit_s
            )
            return not self._state.is_lost and (self._can_begin() or self._only_lacks_a_key(keyless))

    @property
    def keyless_s(self) -> float:
        """For how long frames have come without any key frame among them."""
        keys = self._state.keys
        if keys.began is None or keys.newest is not None:
            return 0.0
        return self._clock.monotonic() - keys.began

    def join(self, holder: Holder) -> bool:
        """False when the stream is over already: nobody would call the holder any more."""
        with self.changed:
            if not self._state.is_lost:
                self._state.holders.append(holder)
            return not self._state.is_lost

    def leave(self, holder: Holder) -> bool:
        """True when it was the last one."""
        with self.changed:
            if holder in self._state.holders:
                self._state.holders.remove(holder)
            return not self._state.holders

    def attach(self, path: Path, at: datetime) -> StreamRecording:
        """The port's `attach`. What the file system has to do for it happens outside the lock."""
        header = self._header()
        options = {} if self._queue_bytes is None else {"queue_bytes": self._queue_bytes}
        wall_zero = self._clock.now() - timedelta(seconds=self._clock.monotonic())
        writer = TakeWriter(path, header, wall_zero, disk=self._disk, **options)
        recording = StreamRecording(self, writer)
        with self.changed:
            is_fitting = self._state.header is header
            for buffered in self._buffer.since(self.moment(at)) if is_fitting else ():
                recording.append(buffered)
            if self._state.is_lost:
                writer.fail(self._state.fault)
            elif not is_fitting:
                recording.goes_on = True
                writer.fail("the camera changed its picture this very moment")
            self._state.recordings.append(recording)
        return recording

    def _header(self) -> Header:
        header = self._state.header
        if header is None or self._state.is_lost:
            raise Retry(f"the camera is not running: {self._state.fault or 'no picture yet'}")
        return header

    def detach(self, recording: StreamRecording) -> None:
        with self.changed:
            if recording in self._state.recordings:
                self._state.recordings.remove(recording)
                self._state.counts.dropped += recording.writer.dropped
                self._state.counts.written += recording.writer.size

    def moment(self, at: datetime) -> float:
        """The monotonic time of `at`, as the clock now stands: a step later on moves nothing."""
        return self._clock.monotonic() + (at - self._clock.now()).total_seconds()

    def health(self) -> CameraHealth:
        with self.changed:
            state = self._state
            counts, rate = state.counts, self._buffer.rate()
            fault = state.fault or self._timeline.fault
            if not fault and self._fps and rate is not None and rate < self._fps * _SLOW:
                fault = f"slow: {rate:.0f} of {self._fps:g} frames a second"
            health = CameraHealth(
                running=not state.is_lost and counts.arrived is not None,
                frame_age_s=self._age(counts.arrived),
                frames=counts.frames,
                dropped=counts.dropped + sum(recording.writer.dropped for recording in state.recordings),
                fault=fault,
                packets=counts.frames,
                written=counts.written + sum(recording.writer.size for recording in state.recordings),
                fps=rate,
                key_every_s=None if state.is_lost else state.keys.distance_s(self._clock.monotonic()),
                awaits_key=not state.is_lost and counts.arrived is not None and not self._buffer.has_key,
            )
        return health if self._sensor is None else self._counted(health, self._sensor)

    def _counted(self, health: CameraHealth, sensor: Sensor) -> CameraHealth:
        return replace(
            health,
            frame_age_s=self._age(sensor.frame_at),
            frames=sensor.frames,
            packets=sensor.packets,
            dropped=health.dropped + sensor.dropped,
        )

    def _age(self, moment: float | None) -> float | None:
        return None if moment is None else self._clock.monotonic() - moment

    def newest_key(self) -> bytes | None:
        """The header and the newest fragment that begins with a key frame: a picture for a decoder."""
        with self.changed:
            header, newest = self._state.header, self._buffer.since(float("inf"))
            return header.data + newest[0].fragment.data if header and newest else None

    def _can_begin(self) -> bool:
        return self._state.header is not None and self._buffer.has_key

    def _only_lacks_a_key(self, since: float) -> bool:
        state = self._state
        return state.header is not None and state.counts.arrived is not None and time.monotonic() >= since


class StreamRecording:
    """The port `Recording`."""

    def __init__(self, stream: LiveStream, writer: TakeWriter) -> None:
        self.writer = writer
        self.goes_on = False  # the port says what it is
        self._stream = stream
        self._until = float("inf")
        self._last_frame = float("-inf")

    @property
    def lost(self) -> threading.Event:
        return self.writer.lost

    @property
    def span(self) -> tuple[float, float] | None:
        return self.writer.span

    def append(self, buffered: BufferedFragment) -> None:
        """One more fragment, under the stream's lock; what lies behind the end is not taken."""
        if self._last_frame < self._until:
            self._last_frame = buffered.last_frame
            self.writer.accept(buffered)

    def finish(self, at: datetime, limit_s: float) -> Take:
        """The port's `finish`: waits for the fragment that holds `at`, then for the disk."""
        ends = time.monotonic() + limit_s
        reserved_s = min(_MOST_RESERVED_S, limit_s / 2)
        with self._stream.changed:
            self._until = self._stream.moment(at)
            self._stream.changed.wait_for(
                lambda: self._last_frame >= self._until or self.lost.is_set(), limit_s - reserved_s
            )
        take = self.writer.finish(ends - time.monotonic())
        self._stream.detach(self)  # last, so that it is counted whole
        return replace(take, burned_in=self._stream.burned_in)
