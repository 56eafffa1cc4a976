"""From a rename into raw/ to the start of the handler: observer, services and worker as they run in life."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.inotify import Bare
from bench.jobs import LOG, home, job, new_spool, stage
from bench.result import Result, median, percentile, times
from ezrec.domain.outcomes import Done
from ezrec.domain.stages import State
from ezrec.runtime.scheduler import Services
from ezrec.spool.spool import Entry, Spool
from ezrec.system.task import Task

_LIMIT_S = 30.0
_GOAL_MS = 30.0
_QUIET_S = 0.02  # between two renames, so that each meets a stage that sleeps


def measure(size: float = 1.0) -> Result:
    count = times(200, size, 2)
    with home() as root:
        spool = new_spool(root)
        waiting = [spool.create(State.DEFERRED, job(number)).path for number in range(count)]
        (root / "bare").mkdir()
        (root / "aside").mkdir()
        starts: queue.SimpleQueue[float] = queue.SimpleQueue()
        with _working(spool, starts), _listening(root / "bare") as heard:
            pairs = [
                (
                    _timed(path, spool.directory(State.RAW), starts),
                    _timed(_made(root / "aside" / path.name), root / "bare", heard),
                )
                for path in waiting
            ]
    ours, bare = [pair[0] * 1e3 for pair in pairs], [pair[1] * 1e3 for pair in pairs]
    ratio = median(ours) / median(bare)
    return Result(
        "a rename into `raw/` to the start of the handler",
        f"median {median(ours):.1f} ms, 95 % within {percentile(ours, 0.95):.1f} ms",
        f"bare inotify, read by a thread: {median(bare):.2f} ms",
        ratio,
        f"median ≤ {_GOAL_MS:g} ms",
        median(ours) <= _GOAL_MS,
        f"{count} renames, one at a time, each into a stage that sleeps. In the time lies also what makes "
        "the claim durable: one rename, one record, four fsyncs.",
    )


def _made(path: Path) -> Path:
    path.mkdir()
    return path


def _timed(path: Path, target: Path, starts: queue.SimpleQueue[float]) -> float:
    time.sleep(_QUIET_S)
    began = time.monotonic()
    os.rename(path, target / path.name)
    return starts.get(timeout=_LIMIT_S) - began


@contextmanager
def _working(spool: Spool, starts: queue.SimpleQueue[float]) -> Iterator[None]:
    def note(entry: Entry, task: Task) -> Done:
        starts.put(time.monotonic())
        return Done()

    worker = stage("process", spool, note)
    services = Services([worker], [], {spool.directory(State.RAW): worker.wake_up.set}, 60, LOG)
    ready = threading.Event()
    thread = threading.Thread(target=services.run, args=(ready.set, lambda: None, 60.0))
    thread.start()
    try:
        if not ready.wait(_LIMIT_S):
            raise TimeoutError("the services did not start")
        yield
    finally:
        services.stop()
        thread.join()


@contextmanager
def _listening(directory: Path) -> Iterator[queue.SimpleQueue[float]]:
    heard: queue.SimpleQueue[float] = queue.SimpleQueue()
    ended = threading.Event()

    def listen() -> None:
        while not ended.is_set():
            if bare.wait(0.2):
                heard.put(time.monotonic())

    with Bare(directory) as bare:
        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield heard
        finally:
            ended.set()
            thread.join()
