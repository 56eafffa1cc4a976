"""`SharedCamera`: one camera for all bookings that record now. Started for the first, stopped after the last.

Implements the port `Camera` for every kind of camera. What differs is the `Life`: one run of the device. A
life that broke off is not started again: the next `hold` begins another.

A life that does not stop within its limit makes the camera `hung`. It is not touched again, because every
call to a hung camera waits for ever. Only a fresh process can use it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Protocol

from ezrec.camera import snapshots
from ezrec.camera.live_stream import Holder, LiveStream, StreamRecording
from ezrec.camera.overlay.blend import CaptureOverlay
from ezrec.camera.take_writer import Disk
from ezrec.domain.errors import Retry
from ezrec.domain.ports import CameraHealth

_ASLEEP = CameraHealth(running=False, frame_age_s=None, frames=0, dropped=0)


@dataclass(frozen=True, slots=True)
class CameraOptions:
    """What a recorder's camera is given beside its device.

    `overlay` is asked at each start for what is to be drawn into the frames, `bitrate` for the bits a second
    where the camera lets us choose. `warn` gets the reason why no logo is drawn, and what is wrong with the
    camera's clock. `disk` and `queue_bytes` are handed to the takes.
    """

    overlay: Callable[[], CaptureOverlay | None] = lambda: None
    warn: Callable[[str], None] = lambda warning: None
    bitrate: Callable[[], int] | None = None
    disk: Disk | None = None
    queue_bytes: int | None = None


class Life(Protocol):
    """One run of a camera. It pushes into the stream it was made with, and calls `lose` when it ends."""

    def start(self) -> None:
        """Begin; returns at once. Faults from here on go to `LiveStream.lose`."""

    def stop(self) -> None:
        """End, within a limit; may be called again. Raises `Retry` when the device cannot be let go."""


class SharedCamera:
    """`begin` makes a stream and a life around it; `name` is what a fault calls the camera.

    A start whose frames come is not broken off for want of a key frame: after `key_limit_s` it counts.
    """

    def __init__(
        self,
        name: str,
        begin: Callable[[], tuple[LiveStream, Life]],
        start_limit_s: float,
        key_limit_s: float = float("inf"),
    ) -> None:
        self.name = name
        self._begin, self._start_limit_s, self._key_limit_s = begin, start_limit_s, key_limit_s
        # Starts and stops one after the other: two lives at once would fight for the device.
        self._gate = threading.Lock()
        self._counting = threading.RLock()
        self._stream: LiveStream | None = None
        self._life: Life | None = None
        self._hung = ""
        self._restarts = 0
        self._before = _ASLEEP  # what earlier lives counted

    @property
    def hung(self) -> str:
        """Why only a fresh process can have the camera again; empty while that is not so."""
        return self._hung

    @contextlib.contextmanager
    def hold(self, on_lost: Callable[[], None]) -> Iterator[None]:
        holder = Holder(on_lost)
        with self._gate:
            stream = self._running()
            if not stream.join(holder):
                raise Retry(f"{self.name}: {stream.fault}")
        try:
            yield
        finally:
            self._leave(stream, holder)

    def attach(self, path: Path, at: datetime) -> StreamRecording:
        stream = self._stream
        if stream is None:
            raise Retry(f"{self.name} is not running: nobody holds it")
        return stream.attach(path, at)

    def health(self) -> CameraHealth:
        with self._counting:
            before = self._before
            now = _ASLEEP if self._stream is None else self._stream.health()
            return replace(
                now,
                frames=before.frames + now.frames,
                dropped=before.dropped + now.dropped,
                packets=before.packets + now.packets,
                written=before.written + now.written,
                restarts=self._restarts,
                hung=self.hung,
            )

    @property
    def burned_in(self) -> str:
        stream = self._stream
        return "" if stream is None else stream.burned_in

    def snapshot(self, path: Path) -> None:
        """The port's `snapshot`, of the newest key frame."""
        data = self.picture()
        if data is None:
            raise Retry(f"{self.name} is not running")
        snapshots.draw(data, path)

    def picture(self) -> bytes | None:
        """A tiny MP4 with the newest key frame in front; None when the camera is not running."""
        stream = self._stream
        return None if stream is None or stream.is_lost else stream.newest_key()

    def _running(self) -> LiveStream:
        if self._stream is not None and not self._stream.is_lost:
            return self._stream
        if self.hung:
            raise Retry(f"{self.name}: {self.hung}")
        self._stop()
        self._restarts += self._stream is not None
        self._forget()
        self._stream, self._life = self._begin()
        self._life.start()
        if not self._stream.wait_for_picture(self._start_limit_s, self._key_limit_s):
            fault = self._stream.fault or f"no picture within {self._start_limit_s:g} s"
            self._stream.lose(fault)
            self._stop()
            raise Retry(f"{self.name}: {fault}")
        return self._stream

    def _leave(self, stream: LiveStream, holder: Holder) -> None:
        with self._gate:
            if not stream.leave(holder) or stream is not self._stream:
                return
            broke_off = stream.is_lost
            with contextlib.suppress(Retry):  # the next `hold` meets the same device and says so
                self._stop()
            if not broke_off:
                self._forget()  # else it stays, for its fault to be read

    def _stop(self) -> None:
        """End the life that was; the device must be free before it is asked for again."""
        life, self._life = self._life, None
        if life is None:
            return
        try:
            life.stop()
        except Retry as fault:
            self._hung = self.hung or fault.reason
            raise

    def _forget(self) -> None:
        """Keep the counts of the life that was."""
        with self._counting:
            self._before = self.health()
            self._stream = None
