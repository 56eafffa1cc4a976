"""How soon the command line answers, against the library that it cannot do without."""

from __future__ import annotations

import os
import sys

from bench.jobs import environment, home
from bench.processor import spent_s
from bench.result import Result, median, times

_GOAL = 2.0
_OURS = "from ezrec.cli.main import main; main()"  # what the installed script does


def measure(size: float = 1.0) -> Result:
    rounds = times(31, size)
    with home() as root:
        environ = environment(root, os.environ["PATH"])
        pairs = [
            (
                spent_s([sys.executable, "-c", _OURS, "--help"], environ),
                spent_s([sys.executable, "-c", "import click"], environ),
            )
            for _ in range(rounds)
        ]
    ours, floor = median([pair[0] for pair in pairs]), median([pair[1] for pair in pairs])
    return Result(
        "`ezrec --help`",
        f"{ours * 1e3:.0f} ms of a core",
        f'`python -c "import click"`: {floor * 1e3:.0f} ms',
        ours / floor,
        f"≤ {_GOAL:g} ×",
        ours <= _GOAL * floor,
        f"Processor time of whole processes, {rounds} times in turn.",
    )
