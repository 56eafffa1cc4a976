"""What real picamera2 needs to run on libcamera's virtual camera. Stands in for hardware alone.

Import it before anything that imports picamera2. It replaces:

- dma-heap buffers by memfd ones, through picamera2's own allocator
- the list of raw modes, which a camera without a raw stream cannot give
- the status of frames, which libcamera 0.4's virtual pipeline never fills in
- the name of the frames' format: the virtual camera makes NV12, which has the same size and the same rows
  as the YUV420 that a real one gives, so it is called that; only colours suffer
- `width`, an argument of PyAV's that Raspberry Pi's own build of Debian 12 has and Debian 13's has not
- the pace: the virtual camera is as fast as it can, so requests are held back to 30 a second
"""

from __future__ import annotations

import importlib
import mmap
import os
import queue
import sys
import threading
import time
import types
from typing import Any

FPS = 30


class Sensor:
    """The virtual camera completes a request as soon as it has it: so it gets one a frame's time.

    `stall` stops the frames, as a loose cable does. When all requests are elsewhere the next frame waits.
    """

    def __init__(self) -> None:
        self.flows = threading.Event()
        self.flows.set()
        self._free: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
        # Never let go: a request that dies unfinished leaves its buffers cancelled for good (libcamera 0.4).
        self._kept: list[Any] = []
        self._gate = threading.Lock()
        self._queue_request: Any = None

    def stall(self) -> None:
        self.flows.clear()

    def stand_between(self, camera: Any) -> None:
        """`camera`: libcamera's class."""
        self._queue_request, stop = camera.queue_request, camera.stop

        def stopped(one: Any) -> Any:
            with self._gate:
                while not self._free.empty():
                    self._kept.append(self._free.get())
                return stop(one)

        camera.queue_request = lambda one, request: self._free.put((one, request))
        camera.stop = stopped
        threading.Thread(target=self._tick, name="sensor", daemon=True).start()

    def _tick(self) -> None:
        due = time.monotonic()
        while True:
            due = max(due + 1 / FPS, time.monotonic() - 0.5)
            time.sleep(max(0.0, due - time.monotonic()))
            self.flows.wait()
            with self._gate:
                if not self._free.empty():
                    self._queue_request(*self._free.get())


sensor = Sensor()


class _Anything(type):
    """A class with every attribute that is asked for."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything(name, (), {})


def _stub_what_only_a_display_needs() -> None:
    for name in ("pykms", "pidng", "pidng.core", "pidng.camdefs"):
        module = types.ModuleType(name)
        module.__getattr__ = lambda name: _Anything(name, (), {})  # type: ignore[method-assign]
        sys.modules.setdefault(name, module)


class _Frames:
    """`av` for an old encoder, which asks for frames as Raspberry Pi's build of PyAV gives them."""

    def __init__(self, av: Any) -> None:
        self._av, self.VideoFrame = av, self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._av, name)

    def from_ndarray(self, array: Any, format: str, width: int = 0) -> Any:  # noqa: A002 - PyAV's own word
        return self._av.VideoFrame.from_ndarray(array[:, : width or None].copy(), format=format)


def _help_an_old_encoder() -> None:
    encoder: Any = importlib.import_module("picamera2.encoders.libav_h264_encoder")
    if not hasattr(encoder.LibavH264Encoder, "force_key_frame"):
        encoder.av = _Frames(encoder.av)


class _NoSync:
    """Memory of our own needs no cache flushed."""

    def __init__(self, allocator: Any, buffer: Any, _write: bool) -> None:
        self._mapped = allocator.mapped_buffers[buffer]

    def __enter__(self) -> Any:
        return self._mapped

    def __exit__(self, *_: object) -> None:
        pass


def _memfd_allocator(libcamera: Any, base: Any) -> Any:
    def init(self: Any) -> None:
        base.__init__(self)
        self.sync, self.fds, self.frame_buffers, self.mapped_buffers = _NoSync, [], {}, {}

    def allocate(self: Any, configuration: Any, _use_case: Any) -> None:
        self.close()
        for stream in configuration:
            self.frame_buffers[stream.stream] = [_buffer(self, stream) for _ in range(stream.buffer_count)]

    def _buffer(self: Any, stream: Any) -> Any:
        fd = os.memfd_create("frame")
        self.fds.append(fd)
        os.ftruncate(fd, stream.frame_size)
        pixels = stream.size.width * stream.size.height
        planes = []
        for offset, length in ((0, pixels), (pixels, pixels // 2)):
            plane = libcamera.FrameBuffer.Plane()
            plane.fd, plane.offset, plane.length = fd, offset, length
            planes.append(plane)
        buffer = libcamera.FrameBuffer(planes)
        self.mapped_buffers[buffer] = mmap.mmap(fd, stream.frame_size)
        return buffer

    def close(self: Any) -> None:
        for fd in self.fds:
            os.close(fd)
        self.fds, self.frame_buffers, self.mapped_buffers = [], {}, {}

    methods = {
        "__init__": init,
        "allocate": allocate,
        "buffers": lambda self, stream: self.frame_buffers[stream],
        "close": close,
    }
    return type("MemfdAllocator", (base,), methods)


def _set_up() -> Any:
    _stub_what_only_a_display_needs()
    libcamera: Any = importlib.import_module("libcamera")
    module: Any = importlib.import_module("picamera2.picamera2")
    allocator: Any = importlib.import_module("picamera2.allocators.allocator")
    module.DmaAllocator = _memfd_allocator(libcamera, allocator.Allocator)
    module.Picamera2._get_raw_modes = lambda _self: [{"format": "NV12", "size": (1280, 720)}]

    update = module.Picamera2._update_stream_config

    def as_yuv420(self: Any, stream_config: Any, libcamera_config: Any) -> None:
        update(self, stream_config, libcamera_config)
        if stream_config["format"] == "NV12":
            stream_config["format"] = "YUV420"

    module.Picamera2._update_stream_config = as_yuv420

    status: Any = libcamera.FrameMetadata.Status
    always = type("Always", (status,), {"__eq__": lambda *_: True, "__hash__": lambda _: 0})
    status.Success = always(0)

    _help_an_old_encoder()
    sensor.stand_between(libcamera.Camera)
    return module


picamera2 = _set_up()
