"""The observer of directories into which work comes: it hears arrivals, and nothing else.

watchdog's own listens for everything. To pair the two halves of a move it holds each parting back for half a
second, and everything that comes after it with it: the job that arrived just after another was taken in hand
waited 460 ms instead of 6. Partings, openings and reads bring no news, so the kernel is not asked for them.
"""

from __future__ import annotations

from watchdog.observers.inotify import InotifyEmitter, InotifyObserver
from watchdog.observers.inotify_c import InotifyConstants, Mask

_ARRIVALS = Mask(
    InotifyConstants.IN_CREATE
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_DELETE_SELF  # watchdog ends its emitter by it
    | InotifyConstants.IN_ONLYDIR
)


class _Arrivals(InotifyEmitter):
    def get_event_mask_from_filter(self) -> Mask:
        return _ARRIVALS


class ArrivalObserver(InotifyObserver):
    """A rename into a directory is told as a creation, wherever from. Raises OSError without inotify."""

    def __init__(self, timeout: float) -> None:
        super().__init__(timeout=timeout)
        self._emitter_class = _Arrivals
