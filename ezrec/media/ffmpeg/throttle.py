"""How processing makes way for a recording: not at all, by low priority, or by resting until it is over.

The recorder comes first. Whether it records is asked of whoever knows; the answer is kept for a second.
"""

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
_KEPT_S = 1.0


def never() -> bool:
    return False


@dataclass(slots=True)
class Throttle:
    """`mode`: may video be processed while something is recorded? `yes`, `nice` (at low priority), `no`."""

    mode: str = "nice"
    is_recording: Callable[[], bool] = never
    on_pause: Callable[[str], None] = lambda why: None
    _asked: float = field(default=-1e9)
    _answer: bool = False

    @property
    def is_gentle(self) -> bool:
        return self.mode != "yes"

    def step_back(self, nice: int) -> None:
        """Give the calling thread the weight of the work that it does itself: copying gigabytes is work too.

        Only of a thread that was made for one job: a weight once given up cannot be taken back.
        """
        thread = threading.current_thread()
        if not self.is_gentle or not nice or thread is threading.main_thread() or thread.native_id is None:
            return
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            os.setpriority(os.PRIO_PROCESS, thread.native_id, nice)  # on Linux, of this thread alone
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

    def pause(self, check: Callable[[], None], tick_s: float = 0.1) -> float:
        """Wait until nothing is recorded; returns how long that was. `check` may raise to end the wait.

        `on_pause` hears why, and an empty word when the work goes on.
        """
        if not self.should_pause():
            return 0.0
        began = time.monotonic()
        self.on_pause(RESTS)
        while self.should_pause():
            check()
            time.sleep(tick_s)
        self.on_pause("")
        return time.monotonic() - began
