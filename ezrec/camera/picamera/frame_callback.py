"""`FrameCallback`: each frame is counted, given its logo and, when asked, copied, before it is encoded.

Called in picamera2's own thread, so it never raises and never waits: an exception there would end the camera
for good. A fault is kept in `fault`, and the frame goes on without the logo.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ezrec.camera.overlay.blend import LogoBlend
from ezrec.camera.picamera.packet_queue import PacketQueue

_FORMAT = "YUV420"


class FrameCallback:
    """`blend` None: nothing is drawn. `fault` says why nothing is drawn any more."""

    def __init__(self, queue: PacketQueue, blend: LogoBlend | None = None) -> None:
        self.queue, self._blend = queue, blend
        self.fault = ""
        self.mapped: Callable[..., Any] | None = None  # picamera2's MappedArray
        self._request: _PictureRequest | None = None

    # ---- from the camera's thread

    def on_frame(self, request: Any) -> None:
        self.queue.note_frame()
        if self._blend is not None:
            try:
                self._draw(request, self._blend)
            except Exception as fault:  # noqa: BLE001 - in a camera's callback nothing may be raised
                self._blend = None
                self.fault = f"the logo cannot be drawn: {fault or type(fault).__name__}"
        wanted, self._request = self._request, None
        if wanted is not None:
            try:
                wanted.planes, wanted.size = self._copied(request)
            except Exception as fault:  # noqa: BLE001 - as above
                wanted.fault = f"no picture could be copied: {fault or type(fault).__name__}"
            wanted.fulfilled.set()

    def _draw(self, request: Any, blend: LogoBlend) -> None:
        width, height, stride = _shape(request, "main")
        with self._opened(request, "main") as mapped:
            blend.draw(mapped.array, width, height, stride)

    def _copied(self, request: Any) -> tuple[bytes, tuple[int, int]]:
        width, height, stride = _shape(request, "lores")
        with self._opened(request, "lores") as mapped:
            return _planes(mapped.array, width, height, stride), (width, height)

    def _opened(self, request: Any, stream: str) -> Any:
        assert self.mapped is not None
        return self.mapped(request, stream, reshape=False)

    # ---- from any thread

    def next_picture(self, limit_s: float) -> tuple[bytes, tuple[int, int]] | str:
        """The small picture of the next frame, as planes and size; else why there is none."""
        wanted = _PictureRequest()
        self._request = wanted
        if not wanted.fulfilled.wait(limit_s):
            return f"no frame came within {limit_s:g} s"
        return wanted.fault or (wanted.planes, wanted.size)


class _PictureRequest:
    """A thread waits for a copy of the next frame."""

    def __init__(self) -> None:
        self.fulfilled = threading.Event()
        self.planes, self.size, self.fault = b"", (0, 0), ""


def _shape(request: Any, stream: str) -> tuple[int, int, int]:
    config = request.config[stream]
    if config["format"] != _FORMAT:
        raise ValueError(f"frames come as {config['format']}")
    width, height = config["size"]
    return int(width), int(height), int(config["stride"])


def _planes(frame: Any, width: int, height: int, stride: int) -> bytes:
    """Without what stands behind the end of each row."""
    made, begin = [], 0
    for across, down, step in ((width, height, stride), *((width // 2, height // 2, stride // 2),) * 2):
        plane = frame[begin : begin + step * down].reshape(down, step)
        made.append(plane[:, :across].tobytes())
        begin += step * down
    return b"".join(made)
