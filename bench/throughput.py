"""Jobs a second through all stages with nothing to do, against the bare writes that durability demands.

The floor for each job: in record and process the claim (one rename, both directories synced), a record before
the work and one after it (each: a new file, synced, renamed, its directory synced), and the move on (one
rename, both directories synced). Upload works in place: a record before, the history's after, the move out of
sight, and the deletion.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from bench.jobs import home, job, new_spool, stage
from bench.result import Result, median, times
from ezrec.domain.job import encode
from ezrec.domain.stages import State
from ezrec.spool.spool import Spool

_GOAL = 0.5
_ROUNDS, _JOBS = 31, 8
_MOVES = (("incoming", "recording", "raw"), ("raw", "processing", "processed"))


def measure(size: float = 1.0) -> Result:
    rounds, count = times(_ROUNDS, size), times(_JOBS, size, 2)
    with home() as root:
        spool = new_spool(root)
        bare = root / "bare"
        for name in ("incoming", "recording", "raw", "processing", "processed", "done", "gone"):
            (bare / name).mkdir(parents=True)
        pairs = [
            (count / _ours(spool, range(n * count, (n + 1) * count)), count / _floor(bare, count))
            for n in range(rounds)
        ]
    ours, floor = median([pair[0] for pair in pairs]), median([pair[1] for pair in pairs])
    ratio = median([pair[0] / pair[1] for pair in pairs])
    return Result(
        "jobs through all stages, with nothing to do in any",
        f"{ours:.0f} a second",
        f"the renames and fsyncs alone: {floor:.0f} a second",
        ratio,
        f"≥ {_GOAL:g} ×",
        ratio >= _GOAL,
        f"{rounds} rounds of {count} jobs, in turn with the floor; one stage after the other. The ratio is "
        "the median of the rounds' own.",
    )


def _ours(spool: Spool, numbers: range) -> float:
    for number in numbers:
        spool.create(State.INCOMING, job(number))
    workers = [stage(name, spool) for name in ("record", "process", "upload")]
    began = time.monotonic()
    for worker in workers:
        worker.run()
    spent = time.monotonic() - began
    left = [name for state in State if state is not State.DONE for name in spool.names(state)]
    if left:
        raise RuntimeError(f"{len(left)} jobs did not come through")
    return spent


def _floor(bare: Path, count: int) -> float:
    record = encode(job(0))
    names = [f"job-{number:05}" for number in range(count)]
    for name in names:
        (bare / "incoming" / name).mkdir()
        _write(bare / "incoming" / name / "job.json", record)
    began = time.monotonic()
    for source, work, target in _MOVES:
        for name in names:
            _rename(bare / source / name, bare / work / name)
            _write(bare / work / name / "job.json", record)
            _write(bare / work / name / "job.json", record)
            _rename(bare / work / name, bare / target / name)
    for name in names:
        _write(bare / "processed" / name / "job.json", record)
        _write(bare / "done" / f"{name}.json", record)
        _rename(bare / "processed" / name, bare / "gone" / name)
        shutil.rmtree(bare / "gone" / name)
    return time.monotonic() - began


def _write(path: Path, data: bytes) -> None:
    temporary = f"{path}.new"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o660)
    try:
        os.write(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary, path)
    _sync(path.parent)


def _rename(source: Path, target: Path) -> None:
    os.rename(source, target)
    _sync(target.parent)
    _sync(source.parent)


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
