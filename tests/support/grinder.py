"""A process that drains every stage with quick handlers which touch real files, to be killed again and again.

`python -m tests.support.grinder drain HOME N`: drain one stage until N jobs are through it.
`python -m tests.support.grinder kills HOME SEED N`: feed jobs, kill N workers, let one finish.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import random
import select
import signal
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ezrec.domain.errors import Retry
from ezrec.domain.job import JobOutcome, Result, Take
from ezrec.domain.names import published_name, raw_name
from ezrec.domain.outcomes import Done
from ezrec.domain.stages import State
from ezrec.runtime.worker import Worker
from ezrec.spool.spool import Entry, Spool
from ezrec.system.clock import SystemClock
from ezrec.system.task import Task
from tests.support.spooling import finish_off
from tests.support.stagework import a_drain, a_spool

_LIMIT_S = 60.0


def append_once(path: Path, line: str) -> None:
    """Add a line unless it is there, as a row with a unique key."""
    with open(path, "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        if line not in file.read().splitlines():
            file.write(line + "\n")
            file.flush()


listeners: list[int] = []  # pipes that hear of every job that is begun


def begin() -> None:
    for pipe in listeners:
        os.write(pipe, b".")


def record(entry: Entry, task: Task) -> Done:
    begin()
    if not entry.job.takes:
        started = datetime.now(UTC)
        name = raw_name(entry.id, started)
        (entry.path / f"{name}.part").write_bytes(b"pictures of " + entry.id.encode())
        (entry.path / f"{name}.part").rename(entry.path / name)
        entry.update(takes=(Take(name, started, 1.0, 1),), recording=JobOutcome.RECORDED)
    return Done()


def process(entry: Entry, task: Task) -> Done:
    begin()
    if int(entry.job.created.microsecond) % 4 == 0 and entry.job.attempts["process"] < 2:
        raise Retry("not at the first try", 0.01)
    take = entry.job.takes[0]
    name = published_name(take.file)
    data = (entry.path / take.file).read_bytes()
    (entry.path / f"{name}.part").write_bytes(b"finished " + data)
    (entry.path / f"{name}.part").rename(entry.path / name)
    entry.update(result=Result(name, 1.0, len(data), (take.file,)))
    return Done()


def upload(entry: Entry, task: Task) -> Done:
    begin()
    if entry.job.created.microsecond % 5 == 0 and entry.job.attempts["upload"] < 2:
        raise Retry("not at the first try", 0.01)
    result = entry.job.result
    assert result is not None
    data = (entry.path / result.file).read_bytes()
    assert data.startswith(b"finished ")
    append_once(entry.path.parents[2] / "published", f"{result.file} {data.decode()}")
    return Done()


def stages(spool: Spool) -> list[Worker]:
    clock = SystemClock()
    return [
        a_drain("record", spool, record, wide=True, clock=clock),
        a_drain("process", spool, process, clock=clock),
        a_drain("upload", spool, upload, clock=clock),
        a_drain("retry", spool, clock=clock, intake=None),
    ]


def work(home: Path, until_empty: bool) -> None:
    """What a process does from its start on: finish off what a crash left, then drain and drain."""
    spool = a_spool(home)
    finish_off(spool)
    drains = stages(spool)
    ends = time.monotonic() + _LIMIT_S
    while time.monotonic() < ends:
        waits = [drain.run() for drain in drains]
        is_empty = not any(spool.names(state) for state in State if state not in (State.FAILED, State.DONE))
        if until_empty and is_empty and spool.is_tidy():
            return
        if not is_empty:
            time.sleep(min([0.005, *(wait for wait in waits if wait)]))
        else:
            time.sleep(0.001)
    raise TimeoutError("the spool does not become empty")


class Feeder:
    """Drops videos and bookings, sometimes slowly; remembers what it promised."""

    def __init__(self, spool: Spool, chance: random.Random) -> None:
        self._spool, self._chance = spool, chance
        self.fed: list[str] = []

    def feed(self) -> None:
        job_id = f"j{len(self.fed)}"
        if self._chance.random() < 0.5:
            self._drop(State.RAW, f"{job_id}.mp4", b"pictures of " + job_id.encode())
        else:
            now = datetime.now(UTC)
            row = {"id": job_id, "start_time": now, "end_time": now + timedelta(hours=1)}
            self._drop(State.INCOMING, f"{job_id}.json", json.dumps(row, default=datetime.isoformat).encode())
        self.fed.append(job_id)

    def _drop(self, state: State, name: str, data: bytes) -> None:
        directory = self._spool.directory(state)
        if self._chance.random() < 0.5:  # as `mv` does it
            (directory / f".{name}").write_bytes(data)
            (directory / f".{name}").rename(directory / name)
            return
        with open(directory / name, "wb", buffering=0) as file:  # as `cp` does it
            file.write(data[:5])
            time.sleep(0.001)
            file.write(data[5:])


def kills(home: Path, seed: int, wanted: int) -> None:
    chance = random.Random(seed)
    spool = a_spool(home)
    feeder = Feeder(spool, chance)
    for _ in range(wanted):
        feeder.feed()
        child, begun = start_worker(home)
        # Moments after it has begun so many jobs; or early, while it clears up after the last kill.
        for _ in range(chance.choice((0, 0, 1, 1, 2, 4))):
            if select.select([begun], [], [], 0.5)[0]:
                os.read(begun, 1)
        time.sleep(chance.uniform(0, 0.015))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "the worker ended by itself"
        os.close(begun)
    (home / "fed").write_text("\n".join(feeder.fed))
    work(home, until_empty=True)
    released = release(spool)
    work(home, until_empty=True)
    print(json.dumps({"killed": wanted, "fed": len(feeder.fed), "released": released}))


def start_worker(home: Path) -> tuple[int, int]:
    """A process that works until it is killed, and a pipe that brings a byte for each job it begins."""
    begun, tell = os.pipe()
    child = os.fork()
    if child:
        os.close(tell)
        return child, begun
    os.close(begun)
    listeners.append(tell)
    work(home, until_empty=False)
    os._exit(1)


def release(spool: Spool) -> int:
    """Do what a person does with jobs that had the bad luck to be in hand at four kills: send them back."""
    victims = [entry for entry in spool.entries(State.FAILED) if entry.job.errors[-1].kind == "died"]
    for entry in victims:
        state = State(entry.job.return_to or "")
        spool.move(entry, state, replace(entry.job, recoveries=0, reason="", remedy="", return_to=None))
    return len(victims)


def drain_some(home: Path, wanted: int) -> None:
    spool = a_spool(home)

    def handle(entry: Entry, task: Task) -> Done:
        with open(home / "handled", "a") as file:
            file.write(f"{entry.id}\n")
        return Done()

    drain = a_drain("process", spool, handle, clock=SystemClock(), intake=None)
    ends = time.monotonic() + _LIMIT_S
    while len(spool.names(State.PROCESSED)) < wanted:
        drain.run()
        if time.monotonic() > ends:
            raise TimeoutError("the jobs do not come")
        time.sleep(0.001)


if __name__ == "__main__":
    logging.disable()
    match sys.argv[1:]:
        case ["drain", home, number]:
            drain_some(Path(home), int(number))
        case ["kills", home, seed, number]:
            kills(Path(home), int(seed), int(number))
        case _:
            sys.exit(__doc__)
