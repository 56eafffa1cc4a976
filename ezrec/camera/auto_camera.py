"""`AutoCamera`: the camera that is there: the module, else the first USB camera; never a test picture.

Looked for each time that the first booking wants it: a camera may be plugged in, or picamera2 installed,
while the recorder runs. Once it runs, all who hold it have the same one.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from ezrec.domain.errors import Retry
from ezrec.domain.ports import Camera, CameraHealth, Recording

NONE_FOUND = "no USB camera is plugged in either"


class AutoCamera:
    """`module` is the camera module; `is_missing` tells by its fault that there is none. `usb` answers the
    camera of the USB device that is plugged in (for one device always the same), or None.
    """

    def __init__(
        self, module: Camera, is_missing: Callable[[Retry], bool], usb: Callable[[], Camera | None]
    ) -> None:
        self._module, self._is_missing, self._usb = module, is_missing, usb
        self._gate = threading.Lock()
        self._holders = 0
        self._camera: Camera = module

    @contextlib.contextmanager
    def hold(self, on_lost: Callable[[], None]) -> Iterator[None]:
        held = contextlib.ExitStack()
        with self._gate:
            held.enter_context(self._camera.hold(on_lost) if self._holders else self._choose(on_lost))
            self._holders += 1
        try:
            yield
        finally:
            try:
                held.close()
            finally:
                with self._gate:
                    self._holders -= 1

    def _choose(self, on_lost: Callable[[], None]) -> contextlib.ExitStack:
        """Hold the first camera that there is. A module that is there and fails is not passed over."""
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(self._module.hold(on_lost))
                self._camera = self._module
            except Retry as fault:
                if not self._is_missing(fault):
                    raise
                if (usb := self._usb()) is None:
                    raise Retry(f"{fault.reason}; {NONE_FOUND}", fault.after_s) from None
                self._camera = usb
                held.enter_context(usb.hold(on_lost))
            return held.pop_all()

    def attach(self, path: Path, at: datetime) -> Recording:
        return self._camera.attach(path, at)

    @property
    def burned_in(self) -> str:
        return self._camera.burned_in

    def snapshot(self, path: Path) -> None:
        self._camera.snapshot(path)

    def health(self) -> CameraHealth:
        return self._camera.health()
