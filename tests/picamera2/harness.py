"""What real picamera2 needs to run on libcamera's virtual camera. Stands in for hardware alone.

Import it before anything that imports picamera2. It replaces:

- dma-heap buffers by memfd ones, through picamera2's own allocator
- the list of raw modes, which a camera without a raw stream cannot give
- the status of frames, which libcamera 0.4's virtual pipeline never fills in
- the pace: the virtual camera is as fast as it can, so each frame waits for its turn
"""

from __future__ import annotations

import importlib
import mmap
import os
import sys
import threading
import time
import types
from typing import Any

FPS = 30


class Pace:
    """Lets a frame through when its time has come. `stall` stops it, and the event loop with it."""

    def __init__(self) -> None:
        self.flows = threading.Event()
        self.flows.set()
        self.limit_s = 60.0
        self._next = 0.0

    def stall(self) -> None:
        self.flows.clear()

    def wait(self) -> None:
        self.flows.wait(self.limit_s)
        now = time.monotonic()
        self._next = max(self._next + 1 / FPS, now - 0.5)
        time.sleep(max(0.0, self._next - now))


pace = Pace()


def _stub_what_only_a_display_needs() -> None:
    for name in ("pykms", "pidng", "pidng.core", "pidng.camdefs"):
        module = types.ModuleType(name)
        module.__getattr__ = lambda _name: type("Absent", (), {})  # type: ignore[method-assign]
        sys.modules.setdefault(name, module)


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

    status: Any = libcamera.FrameMetadata.Status
    always = type("Always", (status,), {"__eq__": lambda *_: True, "__hash__": lambda _: 0})
    status.Success = always(0)

    request: Any = importlib.import_module("picamera2.encoders.encoder").Encoder
    encode = request.encode

    def paced(self: Any, stream: Any, frame: Any) -> Any:
        pace.wait()
        return encode(self, stream, frame)

    request.encode = paced
    return module


picamera2 = _set_up()
