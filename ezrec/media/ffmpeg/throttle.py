"""How processing behaves during a recording: as always, at low priority, or paused until it is over."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

RESTS = "rests while something is recorded"
_KEPT_S, _TICK_S = 1.0, 0.1


def never() -> bool:
    return False


@dataclass(slots=True)
class Throttle:
    """`mode`: may video be processed while something is recorded? `yes`, `nice` (at low priority), `no`.

    The answer of `is_recording` is used for a second. `on_pause` is called with the reason when a pause
    begins, and with an empty string when it ends.
    """

    mode: str = "nice"
    is_recording: Callable[[], bool] = never
    on_pause: Callable[[str], None] = lambda why: None
    _asked: float = field(default=-1e9)
    _answer: bool = False

    @property
    def is_gentle(self) -> bool:
        return self.mode != "yes"

    def step_back(self, nice: int) -> None:
        """Lower the priority of the calling thread, for work that it does itself, such as copying.

        Only if the thread was made for one job: its priority cannot be raised again.
        """
        thread = threading.current_thread()
        if not self.is_gentle or not nice or thread is threading.main_thread() or thread.native_id is None:
            return
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            os.setpriority(os.PRIO_PROCESS, thread.native_id, nice)  # on Linux: of this thread only
            if ionice := shutil.which("ionice"):
                argv = [ionice, "-c", "2", "-n", "7", "-p", str(thread.native_id)]
                subprocess.run(argv, check=False, capture_output=True, timeout=5)

    def should_pause(self) -> bool:
        if self.mode != "no":
            return False
        now = time.monotonic()
        if now - self._asked >= _KEPT_S:
            self._asked, self._answer = now, self.is_recording()
        return self._answer

    def pause(self, check: Callable[[], None]) -> float:
        """Wait until nothing is recorded; returns the seconds waited. `check` may raise to end the wait."""
        if not self.should_pause():
            return 0.0
        began = time.monotonic()
        self.on_pause(RESTS)
        while self.should_pause():
            check()
            time.sleep(_TICK_S)
        self.on_pause("")
        return time.monotonic() - began
