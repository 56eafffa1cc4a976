"""What a handler is given beside its entry: the request to end, and a flag that wakes it to look again.

`Tasks` are all that one worker has in hand.

No time is read here but the monotonic clock, for limits.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection

from ezrec.domain.errors import Stopped


class WakeUp:
    """A flag that wakes one waiting thread. Set several times before the thread looks, it wakes it once."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        self._event.set()

    def wait(self, limit_s: float | None) -> bool:
        """Wait until it is set, at most `limit_s` seconds, and clear it. True if it was set."""
        was_set = self._event.wait(limit_s)
        self._event.clear()
        return was_set


class Task:
    """One job's work in one process."""

    def __init__(self) -> None:
        self.wake_up = WakeUp()
        self._stop = threading.Event()
        self._listeners: list[Callable[[], None]] = []
        self._guard = threading.Lock()

    @property
    def is_stopping(self) -> bool:
        return self._stop.is_set()

    def stop(self) -> None:
        """Ask the work to end early. May be called from any thread, any number of times."""
        self._stop.set()
        self.wake_up.set()
        with self._guard:
            listeners, self._listeners = self._listeners, []
        for call in listeners:
            with contextlib.suppress(Exception):
                call()

    def on_stop(self, call: Callable[[], None]) -> None:
        """Call `call` when the work is asked to end; at once, if it was already."""
        with self._guard:
            self._listeners.append(call)
        if self.is_stopping:
            self.stop()

    def check(self) -> None:
        """Raise `Stopped` if the work was asked to end."""
        if self.is_stopping:
            raise Stopped("asked to stop")

    def wait(self, limit_s: float) -> None:
        """Wait until somebody wakes the task or the work is asked to end, at most `limit_s` seconds."""
        if not self.is_stopping:
            self.wake_up.wait(max(0.0, limit_s))


class Tasks:
    """The tasks in hand, by the id of their job. Safe in any thread, but not in a signal handler."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task] = {}
        self._guard = threading.Lock()

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._tasks

    def __len__(self) -> int:
        return len(self._tasks)

    def begin(self, job_id: str) -> Task:
        with self._guard:
            return self._tasks.setdefault(job_id, Task())

    def end(self, job_id: str) -> None:
        with self._guard:
            del self._tasks[job_id]

    def wake(self, only: Collection[str] | None = None) -> None:
        """Let these look again, or all."""
        with self._guard:
            for job_id, task in self._tasks.items():
                if only is None or job_id in only:
                    task.wake_up.set()

    def stop(self) -> None:
        """Ask all to end. What they call then may take its time, and begin or end others."""
        with self._guard:
            tasks = list(self._tasks.values())
        for task in tasks:
            task.stop()


class CancelToken:
    """What `on_stop` is given. A bare flag, so that a signal handler may set it at any moment.

    The waiting thread looks at it every tenth of a second and does the killing itself: it alone
    knows whether the process id still belongs to the child.
    """

    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True

    def check(self) -> None:
        if self.cancelled:
            raise Stopped("asked to stop")
