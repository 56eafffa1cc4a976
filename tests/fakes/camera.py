"""`FakeCamera`: two seconds of real footage, again and again in real time, without a child process.

Only the device is false: takes, ring and sharing are the real ones. `stall`, `die` and `absent` act at once.
`footage` gives the same fragments to tests that need no camera.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ezrec.camera.live_stream import LiveStream
from ezrec.camera.shared_camera import Life, SharedCamera
from ezrec.domain.errors import Retry
from ezrec.domain.ports import Clock
from ezrec.media.mp4.fragments import Fragment, FragmentReader, Header

FOOTAGE = Path(__file__).with_name("camera.mp4")
FPS = 15
GOP_S = 1.0


@functools.cache
def _parsed() -> tuple[Header, tuple[Fragment, ...]]:
    reader = FragmentReader()
    fragments = reader.feed(FOOTAGE.read_bytes(), 0.0)
    assert reader.header is not None
    return reader.header, tuple(fragments)


def header() -> Header:
    return _parsed()[0]


def footage(began: float = 0.0, key_every_s: float = GOP_S) -> Iterator[Fragment]:
    """Fragments without end, each arriving at its end; `began` is the monotonic time of the first frame.

    With `key_every_s` most of its key frames are not told as such.
    """
    base_time = 0
    while True:
        for fragment in _parsed()[1]:
            arrived = began + (base_time + fragment.duration) / fragment.timescale
            is_key = fragment.starts_with_key and base_time % round(key_every_s * fragment.timescale) == 0
            yield replace(fragment, base_time=base_time, arrived=arrived, starts_with_key=is_key)
            base_time += fragment.duration


class FakeCamera(SharedCamera):
    """Set `absent` to a reason, and the next `hold` fails with it; set `stuck`, and it cannot be stopped."""

    def __init__(self, clock: Clock, key_every_s: float = GOP_S) -> None:
        self.key_every_s = key_every_s
        self.absent = ""
        self.stuck = ""
        self.frozen = False
        self.starts = self.stops = 0
        self.logo = ""  # what it draws into its pictures, by the next start's word
        self._clock = clock

        def begin() -> tuple[LiveStream, Life]:
            self.starts += 1
            stream = LiveStream(clock, fps=FPS)
            stream.burned_in = self.logo
            return stream, _Player(self, clock, stream)

        super().__init__("fake camera", begin, start_limit_s=10)

    def stall(self) -> None:
        """The frames cease, and 3 s are over."""
        self._break_off("no frames for 3 s")

    def freeze(self) -> None:
        """The frames cease, and nobody notices: as when what watches the camera hangs with it."""
        self.frozen = True

    @property
    def stream(self) -> LiveStream | None:
        return self._stream

    def die(self) -> None:
        self._break_off("the camera ended by itself (exit 1): it was told to")

    def _break_off(self, fault: str) -> None:
        if self._stream is not None:
            self._stream.lose(fault)


class _Player:
    def __init__(self, camera: FakeCamera, clock: Clock, stream: LiveStream) -> None:
        self._camera, self._clock, self._stream, self._absent = camera, clock, stream, camera.absent
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._play, name="fake camera", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._camera.stops += 1
        if self._camera.stuck:
            raise Retry(self._camera.stuck)
        self._over.set()
        self._thread.join(5)
        if self._thread.is_alive():
            raise Retry("the fake camera does not end")

    def _play(self) -> None:
        if self._absent:
            self._stream.lose(self._absent)
            return
        self._stream.open(header())
        for fragment in footage(self._clock.monotonic(), self._camera.key_every_s):
            if self._over.wait(max(0.0, fragment.arrived - self._clock.monotonic())) or self._stream.is_lost:
                break
            if not self._camera.frozen:
                self._stream.push(fragment)
        self._stream.lose("the camera was stopped")
