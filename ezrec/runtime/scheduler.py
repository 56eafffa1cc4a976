"""`Services`: all that one process runs, each worker and each periodic task in a thread of its own.

A thread takes a turn at the start, at a file event, when something falls due, at the regular rescan, and
after the clock was stepped.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ezrec.domain.errors import Retry, is_starved
from ezrec.runtime.file_events import DirectoryWatcher, Unwatchable
from ezrec.runtime.liveness import Liveness
from ezrec.runtime.periodic import JITTER, PeriodicTask
from ezrec.runtime.worker import Worker
from ezrec.runtime.worker_thread import WorkerThread
from ezrec.system import sd_notify

_HOOKS_LIMIT_S = 3.0  # at the end, for the hooks of what was done last
_ALIVE_S = 3600.0  # from one report to the next, where no watchdog asks for more
_RECORDER_ALIVE_S = 2.0  # a camera that hangs costs a match …
_WORKER_ALIVE_S = 10.0  # … an upload can wait
_AWAY_S = 5.0  # between two looks for a spool that is away


class Services:
    """Workers and periodic tasks, each in a thread, and the watch on directories that wakes them.

    A byte written to `end_fd` ends it all, as `stop` does. With `liveness` this is the recorder: then whether
    it is alive is judged by evidence.
    """

    def __init__(
        self,
        workers: Sequence[Worker],
        tasks: Sequence[PeriodicTask],
        watched: Mapping[Path, Callable[[], None]],
        rescan_s: float,
        log: logging.Logger,
        liveness: Liveness | None = None,
    ) -> None:
        self._workers, self._tasks = workers, tasks
        self._liveness = liveness
        self._rescan_s = rescan_s
        self._log = log
        self._watcher = DirectoryWatcher(watched, log, workers[0].spool.root if workers else None)
        self._threads = [
            WorkerThread(worker.stage.name, worker.run, worker.wake_up, rescan_s, worker.log)
            for worker in workers
        ] + [
            WorkerThread(task.name, task.turn, task.wake_up, task.interval_s * (1 + JITTER), task.log)
            for task in tasks
        ]
        # A pipe and no Event: a signal handler may write to it at any moment without a deadlock.
        self._ended, self.end_fd = os.pipe()
        os.set_blocking(self.end_fd, False)

    def serve(self, *, kept: bool = False) -> None:
        """Run to the end, and report to whoever supervises this process: systemd, or (`kept`) the first
        process of `ezrec run`.
        """
        say = sd_notify.notify_supervisor if kept else sd_notify.notify
        kept_s = _RECORDER_ALIVE_S if self._liveness else _WORKER_ALIVE_S
        alive_s = kept_s if kept else sd_notify.watchdog_s() or _ALIVE_S
        try:
            self.run(ready=lambda: say("READY=1"), alive=lambda: say("WATCHDOG=1"), alive_s=alive_s)
        finally:
            say("STOPPING=1")

    def run(self, ready: Callable[[], None], alive: Callable[[], None], alive_s: float) -> None:
        """Run until `stop`. The watch is armed before the first look, so that nothing falls between.

        `ready` is called once, `alive` every `alive_s` seconds while all threads turn and the recorder has
        something to show for itself. Raises `Unwatchable`, and `Retry` when a fresh process may do better.
        """
        self._watcher.arm()
        try:
            for thread in self._threads:
                thread.start()
            if self._liveness:
                self._liveness.start()
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
        starved = next((thread.worn for thread in self._threads if thread.is_starved), "") or self._starved()
        if starved:
            return "" if self._holds_a_recording() else starved
        worn = next((thread.worn for thread in self._threads if thread.worn), "")
        return "" if any(worker.is_busy for worker in self._workers) else worn

    def _starved(self) -> str:
        """A thread that lacks descriptors may say so to nobody: it takes its work for impossible."""
        try:
            os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as fault:
            return f"no file can be opened ({fault.strerror})" if is_starved(fault) else ""
        return ""

    def _holds_a_recording(self) -> bool:
        return any(worker.wide and worker.is_busy for worker in self._workers)

    def _is_well(self) -> bool:
        turning = all(thread.is_turning for thread in self._threads)
        return turning and (self._liveness is None or self._liveness.is_well())

    def nudge(self) -> None:
        """Let every stage look again; after the clock was stepped, say."""
        for worker in self._workers:
            worker.nudge()

    def stop(self) -> None:
        """Ask everything to end. Safe in a signal handler."""
        with contextlib.suppress(BlockingIOError):  # the pipe is full of requests to end
            os.write(self.end_fd, b"!")

    def _end(self) -> None:
        for thread in self._threads:
            thread.stop()
        for worker in self._workers:
            worker.stop()
        for task in self._tasks:
            task.work.stop()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        ends = time.monotonic() + _HOOKS_LIMIT_S
        for worker in self._workers:
            worker.hooks.finish(max(0.0, ends - time.monotonic()))
        if self._liveness:
            self._liveness.stop()
        self._watcher.disarm()
