"""`FfmpegCamera`: the port `Camera` over an FFmpeg child that writes fragmented MP4 to its standard output.

One thread a life: it starts the child, reads it, watches the time, and ends it. It has to be one thread,
because the kernel kills the child when the thread that started it is gone. It never waits for a disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from ezrec.camera.device_clock import CameraClock
from ezrec.camera.ffmpeg_sources import SoftwareSource, Source, with_bitrate
from ezrec.camera.live_stream import LiveStream
from ezrec.camera.picture_size import PictureForm
from ezrec.camera.shared_camera import CameraOptions, Life, SharedCamera
from ezrec.domain.errors import Retry
from ezrec.domain.ports import Clock
from ezrec.media.ffmpeg import runner
from ezrec.media.mp4.fragments import BadStream, Fragment, FragmentReader

_KEYLESS_S = 120.0  # a smart codec's key frames are 20 to 60 s apart; a new connection may bring one
_PIPE_BYTES = 1 << 20  # four times 0.2 s at 10 Mbit/s: a moment in which nobody reads loses nothing


@dataclass(frozen=True, slots=True)
class CameraLimits:
    """How long what may last, in seconds."""

    start_s: float = 10.0
    key_s: float = 12.0  # frames that come count as a start, also before the first key frame
    silence_s: float = 3.0
    term_s: float = 2.0
    kill_s: float = 5.0


class FfmpegCamera(SharedCamera):
    """A logo is drawn where the source can draw."""

    def __init__(
        self,
        source: Source,
        clock: Clock,
        limits: CameraLimits | None = None,
        options: CameraOptions | None = None,
    ) -> None:
        options = options or CameraOptions()
        limits = limits or CameraLimits(start_s=source.start_s)

        self._refused = ""  # the logo with which the camera did not start
        self._begun: LiveStream | None = None

        def begin() -> tuple[LiveStream, Life]:
            timeline = CameraClock(options.warn) if source.has_own_clock else None
            stream = LiveStream(clock, options.disk, options.queue_bytes, fps=source.fps, timeline=timeline)
            self._begun, before = stream, self._begun
            now = with_bitrate(source, options.bitrate()) if options.bitrate else source
            drawing = self._with_logo(now, before, options)
            stream.burned_in = drawing.logo.key if drawing and drawing.logo else ""
            return stream, _Child(drawing or now, clock, stream, limits, options.warn)

        # A little longer than the child is given: its own last word says more than "no picture".
        super().__init__(source.name, begin, limits.start_s + limits.term_s, limits.key_s)

    def _with_logo(
        self, source: Source, before: LiveStream | None, options: CameraOptions
    ) -> SoftwareSource | None:
        """The source with the logo in its pictures; None where none is drawn.

        A start with a logo that ended before its first picture is followed by one without: whatever it
        was, a logo is not worth a match.
        """
        if not isinstance(source, SoftwareSource) or (logo := options.overlay()) is None:
            return None
        if before is not None and before.burned_in and before.health().frames == 0:
            self._refused = before.burned_in
            options.warn(f"the logo is not drawn at capture but laid over in processing: {before.fault}")
        return None if logo.key == self._refused else replace(source, logo=logo)


class _Child:
    """One child from its start to its end: a `Life`."""

    def __init__(
        self,
        source: Source,
        clock: Clock,
        stream: LiveStream,
        limits: CameraLimits,
        warn: Callable[[str], None],
    ) -> None:
        self._source, self._clock, self._stream, self._limits = source, clock, stream, limits
        self._reader, self._log, self._warn = FragmentReader(), runner.Log(), warn
        self._remarked = ""  # told with the first pictures
        self._form: PictureForm | None = None
        self._stop_asked = threading.Event()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._thread = threading.Thread(target=self._live, name=source.name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop_asked.set()
        with contextlib.suppress(OSError):  # asked before: both ends are closed
            self._wake_writer.send(b"!")
        limits = self._limits
        self._thread.join(2 * limits.term_s + limits.kill_s)
        if self._thread.is_alive():
            raise Retry(f"{self._source.name} cannot be ended: the device does not answer")
        self._wake_reader.close()
        self._wake_writer.close()

    # ---- the camera's thread

    def _live(self) -> None:
        try:
            child = runner.start(self._source.argv(), 0, self._log, self._source.private())
        except Retry as fault:
            self._stream.lose(fault.reason)
            return
        try:
            self._stream.lose(self._source.described(self._attend(child)))
        finally:
            self._end(child)

    def _attend(self, child: subprocess.Popen[bytes]) -> str:
        """Read until the stream is over; returns why it is."""
        assert child.stdout
        assert child.stderr
        with contextlib.suppress(OSError):
            fcntl.fcntl(child.stdout, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        with selectors.DefaultSelector() as selector:
            selector.register(child.stdout, selectors.EVENT_READ)
            selector.register(child.stderr, selectors.EVENT_READ)
            selector.register(self._wake_reader, selectors.EVENT_READ)
            try:
                return self._read(child, selector)
            except BadStream as fault:
                return str(fault)

    def _read(self, child: subprocess.Popen[bytes], selector: selectors.DefaultSelector) -> str:
        assert child.stdout
        assert child.stderr
        limit_s = self._limits.start_s
        ends = time.monotonic() + limit_s
        while (left_s := ends - time.monotonic()) > 0:
            for key, _ in selector.select(left_s):
                if key.fileobj is self._wake_reader:
                    selector.unregister(self._wake_reader)
                    child.terminate()
                    ends = time.monotonic() + self._limits.term_s
                    continue
                data = os.read(key.fd, 1 << 18)
                if key.fd == child.stderr.fileno():
                    self._log.write(data)
                    self._remark(data)
                    if not data:
                        selector.unregister(child.stderr)
                elif not data:
                    return self._last_word(child)
                elif self._receive(data) and not self._stop_asked.is_set():
                    limit_s = self._limits.silence_s
                    ends = time.monotonic() + limit_s
        if self._stop_asked.is_set():
            return "the camera was stopped"
        return f"no frames for {limit_s:g} s"

    def _remark(self, said: bytes) -> None:
        self._remarked = self._remarked or self._source.remark(said)

    def _receive(self, data: bytes) -> bool:
        """True when a fragment became whole."""
        fragments = self._reader.feed(data, self._clock.monotonic())
        if self._form is None and self._reader.header is not None:
            self._form = PictureForm(self._reader.header)
            self._stream.open(self._reader.header)
        if fragments and self._remarked:
            self._warn(self._remarked)
            self._remarked = ""
        for fragment in fragments:
            self._push(fragment)
        if self._stream.keyless_s > _KEYLESS_S:
            raise BadStream(f"no key frame for {_KEYLESS_S:g} s: have the camera send one every 1 to 2 s")
        return bool(fragments)

    def _push(self, fragment: Fragment) -> None:
        if self._form is not None and (how := self._form.look(fragment)):
            self._stream.renew(self._form.header, f"the camera changed its picture {how}")
        self._stream.push(fragment)

    def _last_word(self, child: subprocess.Popen[bytes]) -> str:
        """Why a child closed its output: its own last line, once it has ended."""
        if self._stop_asked.is_set():
            return "the camera was stopped"
        assert child.stderr
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(1)
        os.set_blocking(child.stderr.fileno(), False)
        with contextlib.suppress(BlockingIOError):
            while data := os.read(child.stderr.fileno(), 1 << 16):
                self._log.write(data)
        return f"the camera ended by itself ({_ending(child.returncode)}): {self._log.last_word()}"

    def _end(self, child: subprocess.Popen[bytes]) -> None:
        """Kill what still runs and collect it. What cannot be collected keeps the thread; `stop` says so."""
        if self._stop_asked.is_set():
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(self._limits.term_s)
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        for pipe in (child.stdout, child.stderr):
            if pipe:
                pipe.close()


def _ending(code: int | None) -> str:
    if code is None:
        return "closed its output"
    return f"exit {code}" if code >= 0 else signal.Signals(-code).name
