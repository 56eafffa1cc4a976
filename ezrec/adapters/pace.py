"""How processing makes way for a recording: not at all, by low priority, or by resting until it is over.

The recorder comes first. Whether it records is asked of whoever knows; the answer is kept for a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

MODES = ("yes", "nice", "no")
_KEPT_S = 1.0


def never() -> bool:
    return False


@dataclass(slots=True)
class Pace:
    """`mode`: may video be processed while something is recorded? `yes`, `nice` (at low priority), `no`."""

    mode: str = "nice"
    is_recording: Callable[[], bool] = never
    _asked: float = field(default=-1e9)
    _answer: bool = False

    @property
    def is_gentle(self) -> bool:
        return self.mode != "yes"

    def should_rest(self) -> bool:
        if self.mode != "no":
            return False
        now = time.monotonic()
        if now - self._asked >= _KEPT_S:
            self._asked, self._answer = now, self.is_recording()
        return self._answer

    def rest(self, check: Callable[[], None], tick_s: float = 0.1) -> float:
        """Wait until nothing is recorded; returns how long that was. `check` may raise to end the wait."""
        began = time.monotonic()
        while self.should_rest():
            check()
            time.sleep(tick_s)
        return time.monotonic() - began
