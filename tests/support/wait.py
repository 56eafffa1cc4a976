"""The one way in which tests wait for what other threads and processes do."""

from __future__ import annotations

import time
from collections.abc import Callable

LIMIT_S = 30.0  # for what takes milliseconds on a machine that has nothing else to do


def eventually(is_so: Callable[[], object], within_s: float = LIMIT_S) -> bool:
    """Whether something becomes true in time."""
    ends = time.monotonic() + within_s
    while not is_so():
        if time.monotonic() > ends:
            return False
        time.sleep(0.01)
    return True
