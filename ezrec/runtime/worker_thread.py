"""`WorkerThread`: one thread that does one thing again and again, whatever goes wrong with it."""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Callable

from ezrec.domain.errors import Busy, Reject, Retry, is_starved
from ezrec.system.task import WakeUp

_WORST_PAUSE_S = 60.0
_LONGEST_NAMED_S = 900.0
_MOST_BUGS = 10  # in a row, which takes six minutes: then a fresh process may do better
_LATE_S = 10.0  # so much a thread may oversleep on a loaded machine


class WorkerThread(threading.Thread):
    """A thread that does one thing again and again: when woken, when it is time, and at the start.

    `turn` returns in how many seconds it wants to be called again, or None for "when something happens".
    Whatever it raises is logged, and the thread goes on after a growing pause: errors never end a service.
    `Retry` and `Reject` are logged in one line: a network that is away needs no traceback. A thread that
    fails ten times in a row, or for want of descriptors, is `worn`: a fresh process may do better.
    """

    def __init__(
        self,
        name: str,
        turn: Callable[[], float | None],
        wake_up: WakeUp,
        longest_s: float,
        log: logging.Logger,
    ) -> None:
        super().__init__(name=name)
        self._turn = turn
        self._wake_up = wake_up
        self._longest_s = longest_s
        self._log = log
        self._stopping = threading.Event()
        self._failures = self._bugs = 0
        self.worn = ""  # why it fails again and again
        self.is_starved = False
        self.began: float | None = None  # monotonic, while a turn is under way
        self._wakes = math.inf  # monotonic, while it sleeps

    def run(self) -> None:
        while not self._stopping.is_set():
            pause_s = self._pause_s()
            if self._stopping.is_set():
                return  # a worker waits for the same flag: its turn may have used up the wake-up of `stop`
            self._wakes = time.monotonic() + pause_s
            self._wake_up.wait(pause_s)
            self._wakes = math.inf

    @property
    def is_turning(self) -> bool:
        """False for a thread that is gone, or did not wake when it should have."""
        return self.is_alive() and time.monotonic() < self._wakes + _LATE_S

    def _pause_s(self) -> float:
        """Take a turn; how long to sleep afterwards."""
        self.began = time.monotonic()
        try:
            wanted_s = self._turn()
        except Busy as fault:
            self._log.info("%s waits: %s", self.name, fault)
            return self._longest_s
        except (Retry, Reject) as fault:
            named_s = getattr(fault, "after_s", None) or 0.0  # the other side may know better than we do
            pause_s = max(self._growing_pause_s(), min(named_s, _LONGEST_NAMED_S))
            self._log.warning("%s: %s; again in %.0f s", self.name, fault, pause_s)
            return pause_s
        except Exception as fault:  # noqa: BLE001 - a turn may fail as it likes; the thread must not end
            pause_s = self._growing_pause_s()
            self._bugs += 1
            self.is_starved = is_starved(fault)
            if self.is_starved or self._bugs >= _MOST_BUGS:
                self.worn = f"{self.name} fails again and again ({type(fault).__name__}: {fault})"
            self._log.exception("%s failed; again in %.0f s", self.name, pause_s)
            return pause_s
        finally:
            self.began = None
        self._failures = self._bugs = 0
        self.worn, self.is_starved = "", False
        return self._longest_s if wanted_s is None else max(0.0, min(wanted_s, self._longest_s))

    def _growing_pause_s(self) -> float:
        self._failures += 1
        return min(_WORST_PAUSE_S, 2.0 ** min(self._failures, 10)) * random.uniform(0.5, 1)

    def stop(self) -> None:
        self._stopping.set()
        self._wake_up.set()
