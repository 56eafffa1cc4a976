"""`ezrec spool ls` over many entries, against reading their records and doing nothing with them."""

from __future__ import annotations

import os
import sys

from bench.jobs import environment, home, job, new_spool
from bench.processor import spent_s
from bench.result import Result, median, times
from ezrec.domain.job import encode
from ezrec.domain.stages import State

_GOAL_S = 0.5
_READ = """
import os, sys
for state in os.scandir(sys.argv[1]):
    if not state.name.startswith("."):
        for entry in os.listdir(state.path):
            with open(f"{state.path}/{entry}/job.json", "rb") as file:
                file.read()
"""
_STATES = (State.INCOMING, State.RAW, State.PROCESSED, State.DEFERRED)


def measure(size: float = 1.0) -> Result:
    count, rounds = times(10_000, size, 10), times(9, size)
    with home() as root:
        spool = new_spool(root)
        for number in range(count):
            made = job(number)
            path = spool.directory(_STATES[number % len(_STATES)]) / made.id
            path.mkdir()
            (path / "job.json").write_bytes(encode(made))
        environ = environment(root, os.environ["PATH"])
        pairs = [
            (
                spent_s([sys.executable, "-m", "ezrec", "spool", "ls"], environ),
                spent_s([sys.executable, "-c", _READ, str(spool.root)], environ),
            )
            for _ in range(rounds)
        ]
    ours, floor = median([pair[0] for pair in pairs]), median([pair[1] for pair in pairs])
    return Result(
        f"`ezrec spool ls` with {count:,} entries",
        f"{ours:.2f} s of a core",
        f"a Python that opens and reads every job.json: {floor:.2f} s",
        ours / floor,
        f"≤ {_GOAL_S:g} s",
        ours <= _GOAL_S,
        f"Processor time of whole processes, which is the wall time where a core is free; {rounds} times "
        "in turn with the floor; the records are in the page cache.",
    )
