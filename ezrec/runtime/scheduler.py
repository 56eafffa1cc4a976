"""Who calls drain: file events, the start, due times, a rescan, a stepped clock. And pulses, by the clock.

Events carry no facts: each only wakes a stage, and the stage looks for itself. watchdog loses
events when its queue overflows, for directories swapped or removed, and where it may not read, all without
a word: the rescan is the truth, the events are the speed.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import random
import select
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)

from ezrec.domain.errors import Busy, Reject, Retry, is_starved
from ezrec.runtime.file_events import ArrivalObserver
from ezrec.runtime.liveness import Liveness
from ezrec.runtime.worker import Worker
from ezrec.system.task import WakeUp

# Reading a file makes events too, and so would our own look at it: only these bring news.
_NEWS = (FileCreatedEvent, DirCreatedEvent, FileClosedEvent, FileMovedEvent, DirMovedEvent)
_WORST_PAUSE_S = 60.0
_LONGEST_NAMED_S = 900.0
_END_LIMIT_S = 5.0
_HOOKS_LIMIT_S = 3.0  # at the end, for the hooks of what was done last
_JITTER = 0.1
_AWAY_S = 5.0  # between two looks for a spool that is away
_MOST_BUGS = 10  # in a row, which takes a lane six minutes: then a fresh process may do better
_LATE_S = 10.0  # so much a lane may oversleep on a loaded machine


class Unwatchable(Exception):
    """The directories cannot be watched any more; a fresh process may do better."""


class _Ring(FileSystemEventHandler):
    """Rings, and does nothing else: an exception in a handler would end the observer for good."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring

    def on_any_event(self, event: FileSystemEvent) -> None:
        if isinstance(event, _NEWS):
            self._ring()


class DirectoryWatcher:
    """Calls functions when something appears in directories. Not recursive.

    `check()` belongs into a slow round: it finds what watchdog does not tell, and re-arms. While `root`, the
    spool, is away as a whole, it waits for that.
    """

    def __init__(
        self, wake_ups: Mapping[Path, Callable[[], None]], log: logging.Logger, root: Path | None = None
    ) -> None:
        self._wake_ups, self._root = dict(wake_ups), root
        self._log = log
        self._observer: Any = None
        self._misses = False
        # Open all the while: the number of a directory that is gone could be given to its successor at once.
        self._armed: dict[Path, int] = {}

    def arm(self) -> None:
        """Begin to watch. Raises `Unwatchable`."""
        try:
            for path in self._wake_ups:
                self._armed[path] = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            self._observer = ArrivalObserver(_WORST_PAUSE_S)
            for path, ring in self._wake_ups.items():
                self._observer.schedule(_Ring(ring), str(path), recursive=False)
            self._observer.start()
        except OSError as fault:
            self.disarm()
            raise Unwatchable(f"the spool cannot be watched: {fault}") from None

    def check(self) -> bool:
        """True when all is well; else watch anew, ring every wake_up and return False. Raises `Unwatchable`."""
        if self._is_well():
            return True
        self.disarm()
        if self._is_away():  # a disk unplugged, a spool renamed: a fresh process would find no more
            if not self._misses:
                self._log.error("the spool is away: waiting for it to come back")
            self._misses = True
            return False
        self._misses = False
        self._log.warning("the watch on the spool was lost: watching anew")
        self.arm()
        for ring in self._wake_ups.values():
            ring()
        return False

    def _is_away(self) -> bool:
        return self._root is not None and not os.path.isdir(self._root)

    def _is_well(self) -> bool:
        observer = self._observer
        if observer is None or not observer.is_alive():
            return False
        reader = getattr(observer, "_inotify_fd", None)  # watchdog 7.1 reads in a thread of its own
        if reader is not None and not reader.is_alive():
            return False
        emitters = list(observer.emitters)
        if len(emitters) != len(self._wake_ups) or not all(emitter.is_alive() for emitter in emitters):
            return False
        try:
            return all(os.path.samestat(os.stat(path), os.fstat(fd)) for path, fd in self._armed.items())
        except OSError:
            return False

    def disarm(self) -> None:
        observer, self._observer = self._observer, None
        if observer is not None:
            observer.stop()  # also one that died or never began: it has threads and handles of its own
            if observer.is_alive():
                observer.join(_END_LIMIT_S)
        while self._armed:
            os.close(self._armed.popitem()[1])


class WorkerThread(threading.Thread):
    """A thread that does one thing again and again: when woken, when it is time, and at the start.

    `turn` returns in how many seconds it wants to be called again, or None for "when something happens".
    Whatever it raises is logged, and the lane goes on after a growing pause: errors never end a service.
    `Retry` and `Reject` are said in one line: a network that is away is nothing to trace. A lane that fails
    on and on, or for want of descriptors, is `worn`: perhaps it is its process that is.
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
        self.worn = ""  # what it fails for, on and on
        self.is_starved = False
        self.began: float | None = None  # monotonic, while a turn is under way
        self._wakes = math.inf  # monotonic, while it sleeps

    def run(self) -> None:
        while not self._stopping.is_set():
            pause_s = self._pause_s()
            if self._stopping.is_set():
                return  # a drain hears the same wake_up: its turn may have used up the ring of `stop`
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
        except Exception as fault:  # noqa: BLE001 - a turn may fail as it likes; the lane must not end
            pause_s = self._growing_pause_s()
            self._bugs += 1
            self.is_starved = is_starved(fault)
            if self.is_starved or self._bugs >= _MOST_BUGS:
                self.worn = f"{self.name} fails on and on ({type(fault).__name__}: {fault})"
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


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class PeriodicTask:
    """Something done every `interval_s` seconds (with a tenth of jitter), and when woken.

    A beat may say by itself in how many seconds it is to be called again.
    """

    name: str
    interval_s: float
    beat: Callable[[], float | None]
    wake_up: WakeUp = field(default_factory=WakeUp)
    halt: Callable[[], None] = _nothing  # asks a beat that takes long to end
    log: logging.Logger | None = None  # where its failures are told; default: with those of the process

    def turn(self) -> float:
        wanted_s = self.beat()
        return self.interval_s * random.uniform(1 - _JITTER, 1 + _JITTER) if wanted_s is None else wanted_s


class Services:
    """All that one process runs: drains and pulses, each in a lane, and the watch that wakes them.

    A byte in `end_fd` ends it all, as `stop` does. `vitals` where the recorder is among them: then being
    alive is a matter of evidence.
    """

    def __init__(
        self,
        drains: Sequence[Worker],
        pulses: Sequence[PeriodicTask],
        watched: Mapping[Path, Callable[[], None]],
        rescan_s: float,
        log: logging.Logger,
        vitals: Liveness | None = None,
    ) -> None:
        self._drains, self._pulses = drains, pulses
        self._vitals = vitals
        self._rescan_s = rescan_s
        self._log = log
        self._watcher = DirectoryWatcher(watched, log, drains[0].spool.root if drains else None)
        self._lanes = [
            WorkerThread(drain.stage.name, drain.run, drain.wake_up, rescan_s, drain.log) for drain in drains
        ]
        self._lanes += [
            WorkerThread(
                pulse.name, pulse.turn, pulse.wake_up, pulse.interval_s * (1 + _JITTER), pulse.log or log
            )
            for pulse in pulses
        ]
        # A pipe and no Event: a signal handler may write to it at any moment without a deadlock.
        self._ended, self.end_fd = os.pipe()
        os.set_blocking(self.end_fd, False)

    def run(self, ready: Callable[[], None], alive: Callable[[], None], alive_s: float) -> None:
        """Run until `stop`. The watch is armed before the first look, so that nothing falls between.

        `ready` is called once, `alive` every `alive_s` seconds while all lanes turn and the recorder has
        something to show for itself. Raises `Unwatchable`, and `Retry` when a fresh process may do better.
        """
        self._watcher.arm()
        try:
            for lane in self._lanes:
                lane.start()
            if self._vitals:
                self._vitals.start()
            ready()
            round_s = min(self._rescan_s, alive_s)
            pause_s = round_s
            while not select.select([self._ended], [], [], pause_s)[0]:
                pause_s = round_s if self._is_watching() else min(round_s, _AWAY_S)
                if worn := self._worn():
                    self._log.critical("%s: this process ends, and a fresh one goes on", worn)
                    raise Retry(worn)
                if self._is_well():
                    alive()
        finally:
            self._end()

    def _is_watching(self) -> bool:
        """A recorder in the middle of a match is not ended for want of events: it looks by itself."""
        try:
            return self._watcher.check()
        except Unwatchable as fault:
            if not self._holds_a_recording():
                raise
            self._log.error("%s; it is tried again, and a recording goes on", fault)
            self.nudge()
            return False

    def _worn(self) -> str:
        """Why this process should end for a fresh one, when nothing is lost by that."""
        starved = next((lane.worn for lane in self._lanes if lane.is_starved), "") or self._starved()
        if starved:
            return "" if self._holds_a_recording() else starved
        worn = next((lane.worn for lane in self._lanes if lane.worn), "")
        return "" if any(drain.is_busy for drain in self._drains) else worn

    def _starved(self) -> str:
        """A lane that lacks descriptors may say so to nobody: it takes its work for impossible."""
        try:
            os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as fault:
            return f"no file can be opened ({fault.strerror})" if is_starved(fault) else ""
        return ""

    def _holds_a_recording(self) -> bool:
        return any(drain.wide and drain.is_busy for drain in self._drains)

    def _is_well(self) -> bool:
        turning = all(lane.is_turning for lane in self._lanes)
        return turning and (self._vitals is None or self._vitals.is_well())

    @property
    def is_recorder(self) -> bool:
        return self._vitals is not None

    def nudge(self) -> None:
        """Let every stage look again; after the clock was stepped, say."""
        for drain in self._drains:
            drain.nudge()

    def stop(self) -> None:
        """Ask everything to end. Safe in a signal handler."""
        with contextlib.suppress(BlockingIOError):  # it has been rung often enough
            os.write(self.end_fd, b"!")

    def _end(self) -> None:
        for lane in self._lanes:
            lane.stop()
        for drain in self._drains:
            drain.stop()
        for pulse in self._pulses:
            pulse.halt()
        for lane in self._lanes:
            if lane.ident is not None:
                lane.join()
        ends = time.monotonic() + _HOOKS_LIMIT_S
        for drain in self._drains:
            drain.hooks.finish(max(0.0, ends - time.monotonic()))
        if self._vitals:
            self._vitals.stop()
        self._watcher.disarm()
