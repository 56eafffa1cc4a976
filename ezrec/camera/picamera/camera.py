"""`PicameraCamera`: the port `Camera` over a Raspberry Pi camera module and picamera2.

One thread a life: it starts the device, turns packets into fragments for the stream, watches frames and
packets apart, and stops the device. What runs in picamera2's own threads only fills the queue.

A camera that fell silent is not stopped: `stop()` would wait for ever. Its stream ends, and from then on
`hold` raises and `hung` says that a fresh process is needed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from ezrec.camera import snapshots
from ezrec.camera.live_stream import LiveStream
from ezrec.camera.overlay.blend import CaptureOverlay, LogoBlend
from ezrec.camera.picamera.device import Device, PicameraLimits, PictureFormat
from ezrec.camera.picamera.frame_callback import FrameCallback
from ezrec.camera.picamera.muxer import Muxer
from ezrec.camera.picamera.packet_queue import PacketQueue, silence
from ezrec.camera.shared_camera import CameraOptions, Life, SharedCamera
from ezrec.domain.errors import Retry
from ezrec.domain.ports import Clock
from ezrec.media.mp4.fragments import BadStream, FragmentReader

_LOOK_S = 0.25
_STOPPED = "the camera was stopped"


class PicameraCamera(SharedCamera):
    def __init__(
        self,
        picture: PictureFormat,
        clock: Clock,
        limits: PicameraLimits | None = None,
        options: CameraOptions | None = None,
    ) -> None:
        options = options or CameraOptions()
        limits = limits or PicameraLimits()
        self._device = device = Device(picture, limits)
        self._limits, self._callback = limits, FrameCallback(PacketQueue(clock.monotonic))

        def begin() -> tuple[LiveStream, Life]:
            device.bitrate = options.bitrate() if options.bitrate else picture.bitrate
            queue = PacketQueue(clock.monotonic)
            stream = LiveStream(clock, options.disk, options.queue_bytes, fps=picture.fps, sensor=queue)
            blend, stream.burned_in = _blend(options.overlay(), options.warn)
            self._callback = FrameCallback(queue, blend)
            return stream, _Life(device, picture, clock, stream, self._callback, limits, options.warn)

        # A little longer than the life gives itself: its own last word says more than "no picture".
        whole_s = limits.load_s + 3 * limits.call_s + limits.start_s + 2
        super().__init__("camera module", begin, whole_s)

    @property
    def hung(self) -> str:
        """Why only a fresh process can have the camera again; empty while that is not so."""
        return self._device.hung or super().hung

    def snapshot(self, path: Path) -> None:
        """The port's `snapshot`, of the second, small stream: it needs no encoder and no decoder."""
        if not self.health().running:
            raise Retry(f"{self.name} is not running")
        seen = self._callback.next_picture(self._limits.silence_s)
        if isinstance(seen, str):
            raise Retry(f"{self.name}: {seen}")
        snapshots.draw_raw(*seen, path)

    def close(self) -> None:
        """Give the device back when nobody holds it. Raises `Retry`."""
        self._device.close()


class _Life:
    def __init__(
        self,
        device: Device,
        picture: PictureFormat,
        clock: Clock,
        stream: LiveStream,
        callback: FrameCallback,
        limits: PicameraLimits,
        warn: Callable[[str], None],
    ) -> None:
        self._device, self._clock, self._stream, self._limits = device, clock, stream, limits
        self._callback, self._queue, self._warn = callback, callback.queue, warn
        self._muxer, self._reader = Muxer(picture.fps), FragmentReader()
        self._stop_asked = threading.Event()
        self._thread = threading.Thread(target=self._live, name="camera module", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop_asked.set()
        self._queue.wake()
        limits = self._limits
        self._thread.join(limits.load_s + 4 * limits.call_s)
        if self._device.hung:
            raise Retry(self._device.hung)
        if self._thread.is_alive():
            raise Retry("the camera module cannot be ended: it does not answer")

    # ---- the life's own thread

    def _live(self) -> None:
        try:
            self._stream.lose(self._run())
        except Retry as fault:
            self._stream.lose(fault.reason)
        except BadStream as bad:
            self._stream.lose(str(bad))
            self._give_back()
        finally:
            self._stream.lose("the camera's thread failed")  # an earlier fault counts

    def _run(self) -> str:
        """From the start to the end; returns why it is over."""
        self._device.begin(self._callback)
        if fault := self._attend():
            self._device.abandon(fault)
        else:
            fault = self._end()
        # What is still in memory belongs to whoever records.
        self._mux(0)
        self._push(self._muxer.close(), self._clock.monotonic())
        return fault

    def _attend(self) -> str:
        """Until somebody asks for the stop (then empty), or the camera falls silent (then how)."""
        began, limits = self._clock.monotonic(), self._limits
        while not self._stop_asked.is_set():
            self._mux(_LOOK_S)
            self._check_logo()
            now, is_open = self._clock.monotonic(), self._reader.header is not None
            limit_s = limits.silence_s if is_open else limits.start_s
            if fault := silence(self._queue, now, began, limit_s):
                return fault
            if not is_open and now - began > limit_s:
                raise BadStream(f"no key frame with its parameters within {limit_s:g} s")
        return ""

    def _check_logo(self) -> None:
        """What could not be drawn is laid over in processing: said once."""
        if self._callback.fault and self._stream.burned_in:
            self._stream.burned_in = ""
            self._warn(f"{self._callback.fault}; it is laid over in processing")

    def _mux(self, wait_s: float) -> None:
        for packet in self._queue.take(wait_s):
            self._push(self._muxer.add(packet), packet.arrived)

    def _push(self, data: bytes, arrived: float) -> None:
        is_open = self._reader.header is not None
        fragments = self._reader.feed(data, arrived)
        if not is_open and self._reader.header is not None:
            self._stream.open(self._reader.header)
        for fragment in fragments:
            self._stream.push(fragment)

    def _end(self) -> str:
        try:
            self._device.end()
        except Retry as fault:
            return fault.reason
        return _STOPPED

    def _give_back(self) -> None:
        try:
            self._device.end()
            self._device.close()
        except Retry:
            return  # the next `hold` meets the same device and says so


def _blend(logo: CaptureOverlay | None, warn: Callable[[str], None]) -> tuple[LogoBlend | None, str]:
    """Ready to draw, and the key of what is drawn. A logo never keeps a camera from its start."""
    if logo is None:
        return None, ""
    try:
        return LogoBlend(logo.path.read_bytes(), logo.place), logo.key
    except (OSError, ValueError, ImportError) as fault:
        warn(f"the logo cannot be drawn: {fault}; it is laid over in processing")
        return None, ""
