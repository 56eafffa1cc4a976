"""What a process does again and again by the clock: the command is `ezrec pulse`."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ezrec.system.task import WakeUp

JITTER = 0.1  # of the interval: devices that were started together do not ask the cloud together


class PeriodicWork(Protocol):
    """What a periodic task does. Whoever has nothing to stop or to finish inherits from here."""

    def __call__(self) -> float | None:
        """Do it once. Returns in how many seconds to be called again; None: after the usual interval."""

    def stay(self) -> None:
        """Told once, before the first call, that this process will call again and again."""
        return

    def stop(self) -> None:
        """Ask a call that is under way to end early. Called from another thread."""
        return

    def finish(self, limit_s: float) -> None:
        """Wait at most `limit_s` seconds for what a call has left running: the process is about to end."""
        return


@dataclass(frozen=True, slots=True)
class PeriodicTask:
    """Work done every `interval_s` seconds (give or take a tenth), at the start, and when woken.

    An arrival in one of the directories `watched` wakes it. `pauses_offline`: it sleeps longer and longer
    while the cloud is away, and is woken when that is back.
    """

    name: str
    interval_s: float
    work: PeriodicWork
    log: logging.Logger
    watched: Sequence[Path] = ()
    pauses_offline: bool = False
    wake_up: WakeUp = field(default_factory=WakeUp)

    def turn(self) -> float:
        wanted_s = self.work()
        return self.interval_s * random.uniform(1 - JITTER, 1 + JITTER) if wanted_s is None else wanted_s


@dataclass(frozen=True, slots=True)
class AtLowestPriority(PeriodicWork):
    """Runs `work` with the least CPU priority. For a thread that does nothing else: the priority stays."""

    work: PeriodicWork

    def __call__(self) -> float | None:
        with contextlib.suppress(PermissionError):  # a sandboxed unit may not, and has Nice= in place of it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)  # of the thread alone, on Linux
        return self.work()

    def stay(self) -> None:
        self.work.stay()

    def stop(self) -> None:
        self.work.stop()

    def finish(self, limit_s: float) -> None:
        self.work.finish(limit_s)
