"""File events: something has arrived in a directory, so somebody is woken.

Events carry no facts: whoever is woken looks for itself. watchdog loses events without a word: when its queue
overflows, when a directory is swapped or removed, and where it may not read. The regular rescan is the truth,
the events are the speed.

watchdog's own observer listens for everything. To pair the two halves of a move it holds back each departure
for half a second, and everything that comes after it: a job that arrived just after another was claimed
waited 460 ms instead of 6. Departures, openings and reads bring no news, so the kernel is not asked for them.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from watchdog.observers.inotify import InotifyEmitter, InotifyObserver
from watchdog.observers.inotify_c import InotifyConstants, Mask

# Reading a file makes events too, and so would our own look at it: only these bring news.
_NEWS = (FileCreatedEvent, DirCreatedEvent, FileClosedEvent, FileMovedEvent, DirMovedEvent)
_POLL_S = 60.0
_END_LIMIT_S = 5.0
_ARRIVALS = Mask(
    InotifyConstants.IN_CREATE
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_DELETE_SELF  # watchdog ends its emitter by it
    | InotifyConstants.IN_ONLYDIR
)


class _ArrivalEmitter(InotifyEmitter):
    def get_event_mask_from_filter(self) -> Mask:
        return _ARRIVALS


class ArrivalObserver(InotifyObserver):
    """Reports a rename into a directory as a creation, wherever from. Raises OSError without inotify."""

    def __init__(self, timeout: float) -> None:
        super().__init__(timeout=timeout)
        self._emitter_class = _ArrivalEmitter


def combined(wakes: Iterable[tuple[Path, Callable[[], None]]]) -> dict[Path, Callable[[], None]]:
    """One function for each directory, which calls all that are given for it.

    A directory that the kernel would refuse to watch is left out: the regular rescan looks there.
    """
    found: defaultdict[Path, list[Callable[[], None]]] = defaultdict(list)
    for directory, wake in wakes:
        with contextlib.suppress(OSError):
            directory.mkdir(parents=True, exist_ok=True)
        if os.access(directory, os.R_OK | os.X_OK):
            found[directory].append(wake)
    return {directory: functools.partial(_call_all, calls) for directory, calls in found.items()}


def _call_all(calls: Sequence[Callable[[], None]]) -> None:
    for call in calls:
        call()


class Unwatchable(Exception):
    """The directories cannot be watched any more; a fresh process may do better."""


class _WakeHandler(FileSystemEventHandler):
    """Wakes, and does nothing else: an exception in a handler would end the observer for good."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def on_any_event(self, event: FileSystemEvent) -> None:
        if isinstance(event, _NEWS):
            self._wake()


class DirectoryWatcher:
    """Calls the function of a directory when something appears in it. Not recursive.

    Call `check()` regularly: it notices a watch that was lost without a word, and watches anew. While `root`,
    the spool, is away as a whole, it waits for that.
    """

    def __init__(
        self, watched: Mapping[Path, Callable[[], None]], log: logging.Logger, root: Path | None = None
    ) -> None:
        self._watched, self._root = dict(watched), root
        self._log = log
        self._observer: Any = None
        self._misses = False
        # Open all the while: the number of a directory that is gone could be given to its successor at once.
        self._armed: dict[Path, int] = {}

    def arm(self) -> None:
        """Begin to watch. Raises `Unwatchable`."""
        try:
            for path in self._watched:
                self._armed[path] = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            self._observer = ArrivalObserver(_POLL_S)
            for path, wake in self._watched.items():
                self._observer.schedule(_WakeHandler(wake), str(path), recursive=False)
            self._observer.start()
        except OSError as fault:
            self.disarm()
            raise Unwatchable(f"the spool cannot be watched: {fault}") from None

    def check(self) -> bool:
        """True when all is well; else watch anew, wake everybody and return False. Raises `Unwatchable`."""
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
        for wake in self._watched.values():
            wake()
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
        if len(emitters) != len(self._watched) or not all(emitter.is_alive() for emitter in emitters):
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
