"""`Device`: the one camera module of this process, through picamera2, old or new.

Opened and configured once, then only started and stopped; a fault that it answers to closes it. Every
call that can block has a limit. A camera that does not answer is hung: it is never asked for anything
again, least of all to stop, because it would wait for ever. Only the end of the process frees it.
"""

from __future__ import annotations

import atexit
import importlib
import inspect
import os
from collections.abc import Callable, Container
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from ezrec.camera.picamera.frame_callback import FrameCallback
from ezrec.camera.picamera.packet_queue import PacketQueue
from ezrec.domain.errors import Retry
from ezrec.system.timeout import Broken, Hung, call_with_timeout

T = TypeVar("T")

MISSING = (
    "picamera2 is not installed: sudo apt-get install python3-picamera2, in a virtual environment that sees "
    "the system's packages; for another camera set EZREC_CAMERA, as in v4l2:/dev/video0"
)
NO_CAMERA = (
    "no camera module is connected: switch the power off, plug the ribbon cable in, start again; "
    "for a USB or network camera set EZREC_CAMERA, as in v4l2:/dev/video0 or rtsp://…"
)


def is_absent(fault: str) -> bool:
    """True for a fault that says: no camera module can be had here, so another camera may be meant."""
    return MISSING in fault or NO_CAMERA in fault


_BUSY = ("busy", "in use", "acquire")
_HARDWARE = "bcm2835-codec-encode"
_DEVICES = ("/dev/media", "/dev/video")
_LORES_WIDTH = 640  # enough to see whether the court is in the picture


@dataclass(frozen=True, slots=True)
class PicameraLimits:
    """How long what may last, in seconds."""

    load_s: float = 20.0  # the first import, from a slow card
    call_s: float = 8.0
    start_s: float = 10.0  # to the first packet
    silence_s: float = 3.0


@dataclass(frozen=True, slots=True)
class PictureFormat:
    """What the camera is asked for."""

    width: int
    height: int
    fps: float
    bitrate: int

    @property
    def small(self) -> tuple[int, int]:
        """The second stream: the same shape, even numbers, never wider than the picture."""
        width = min(_LORES_WIDTH, self.width)
        return width, max(2, round(self.height * width / self.width / 2) * 2)

    @property
    def frame_us(self) -> int:
        return round(1_000_000 / self.fps)


class Device:
    def __init__(self, picture: PictureFormat, limits: PicameraLimits) -> None:
        self._picture, self._limits = picture, limits
        self.bitrate = picture.bitrate  # of the next start
        self._camera: Any = None
        self._encoder: Any = None
        self.hung = ""

    def begin(self, callback: FrameCallback) -> None:
        """Frames come before `callback` and packets into its queue from now on. Raises `Retry`."""
        if self.hung:
            raise Retry(self.hung)
        if self._camera is None:
            module = self._ask("loading picamera2", _load, self._limits.load_s)
            self._camera = self._ask("opening the camera", lambda: _open(module))
            self._ask("configuring the camera", self._configure)
        self._ask("starting the camera", lambda: self._start(callback))

    def end(self) -> None:
        """Stop, in the order in which nothing waits for a frame that no longer comes. Raises `Retry`."""
        if self.hung or self._camera is None:
            return
        camera, encoder, self._encoder = self._camera, self._encoder, None
        self._ask("stopping the camera", camera.stop)
        if encoder is not None:
            self._ask("stopping the encoder", lambda: camera.stop_encoder(encoder))

    def close(self) -> None:
        """Give the camera back, so that the next `begin` opens it afresh. Raises `Retry`."""
        camera, self._camera, self._encoder = self._camera, None, None
        if camera is not None and not self.hung:
            try:
                call_with_timeout(self._limits.call_s, "closing the camera", camera.close)
            except Hung as fault:
                self._camera = camera
                raise Retry(self.abandon(str(fault))) from fault
            except Broken as fault:
                raise Retry(_explained(fault)) from fault

    def abandon(self, fault: str) -> str:
        """Never touch the camera again; returns why."""
        self.hung = f"{fault}; the camera does not answer, and only a fresh process can have it again"
        if self._camera is not None:
            # picamera2 closes its cameras at exit, and would wait for this one there for ever.
            atexit.unregister(self._camera.close)
            self._camera.close = _leave_alone
        return self.hung

    def _ask(self, what: str, call: Callable[[], T], limit_s: float | None = None) -> T:
        try:
            return call_with_timeout(limit_s or self._limits.call_s, what, call)
        except Hung as fault:
            raise Retry(self.abandon(str(fault))) from fault
        except Broken as fault:
            reason = _explained(fault)
            self.close()
            raise Retry(reason) from fault

    def _configure(self) -> None:
        camera = self._camera
        asked = configuration(self._picture, camera.camera_controls)
        camera.configure(camera.create_video_configuration(**asked))

    def _start(self, callback: FrameCallback) -> None:
        camera = self._camera
        self._encoder = encoder = make_encoder(replace(self._picture, bitrate=self.bitrate))
        callback.mapped = importlib.import_module("picamera2").MappedArray
        camera.pre_callback = callback.on_frame
        camera.start_encoder(encoder, _make_output(callback.queue), name="main")
        camera.start()


def configuration(picture: PictureFormat, controls: Container[str]) -> dict[str, Any]:
    """What the camera is asked for: pictures to encode, small ones for snapshots, a rate that does not
    follow the light. `controls`: those that it knows.
    """
    rate = {"FrameDurationLimits": (picture.frame_us, picture.frame_us)}
    return {
        "main": {"size": (picture.width, picture.height), "format": "YUV420"},
        "lores": {"size": picture.small, "format": "YUV420"},
        "controls": {name: value for name, value in rate.items() if name in controls},
    }


def has_hardware_encoder(devices: Path = Path("/sys/class/video4linux")) -> bool:
    """A Pi 4 and older have one; a Pi 5 and other machines do not, though picamera2 may say so."""
    for name in devices.glob("*/name"):
        try:
            if name.read_text().startswith(_HARDWARE):
                return True
        except OSError:
            continue
    return False


def make_encoder(picture: PictureFormat) -> Any:
    kind = "H264Encoder" if has_hardware_encoder() else "LibavH264Encoder"
    module = importlib.import_module("picamera2.encoders")
    return _made(
        getattr(module, kind),
        bitrate=picture.bitrate,
        repeat=True,  # every key frame brings its parameters: a take may begin at any of them
        iperiod=max(1, round(picture.fps)),
        framerate=round(picture.fps),
    )


def _made(kind: Any, **options: Any) -> Any:
    """An object with those of the options that this version knows."""
    known = inspect.signature(kind).parameters
    return kind(**{name: value for name, value in options.items() if name in known})


def _make_output(queue: PacketQueue) -> Any:
    """An `Output` of picamera2's; old versions call it with three values, new ones with five."""

    def outputframe(
        _self: Any,
        frame: Any,
        keyframe: bool = True,
        timestamp: int | None = None,
        _packet: Any = None,
        audio: bool = False,
    ) -> None:
        if not audio:
            queue.put(frame, keyframe, timestamp)

    base = importlib.import_module("picamera2.outputs").Output
    return type("QueueOutput", (base,), {"outputframe": outputframe})()


def _load() -> Any:
    # It begins with one thread for ever and a list of cameras: nothing to do before one is asked for.
    return importlib.import_module("picamera2")


def _open(module: Any) -> Any:
    if not module.Picamera2.global_camera_info():
        raise LookupError(NO_CAMERA)
    return module.Picamera2(0)


def _leave_alone() -> None:
    """In place of a hung camera's `close`."""


def _explained(fault: Broken) -> str:
    """What a person can do about an exception out of picamera2."""
    chain: list[BaseException] = []
    link: BaseException | None = fault.__cause__
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    if any(isinstance(each, ModuleNotFoundError) for each in chain):
        return f"{MISSING} ({chain[-1]})"
    said = " – ".join(dict.fromkeys(str(each) for each in chain))
    if any(word in said.lower() for word in _BUSY):
        return f"the camera is busy, held by {holder()}: {said}"
    return said if NO_CAMERA in said else f"{fault}: {said}"


def holder(processes: Path = Path("/proc")) -> str:
    """Which other process has a camera open, as far as we may look."""
    for prefix in _DEVICES:  # who has the media device has the camera; a video node alone may be a codec's
        for entry in processes.glob("[0-9]*/fd/*"):
            process = entry.parents[1]
            try:
                if process.name != str(os.getpid()) and os.readlink(entry).startswith(prefix):
                    return f"pid {process.name} ({(process / 'comm').read_text().strip()})"
            except OSError:
                continue
    return "a process of another user"
