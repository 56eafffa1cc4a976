"""What `ezrec run` costs while nothing happens: processor and memory of all its processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from bench.jobs import environment, home
from bench.result import Result, times

_GOAL_PERCENT, _GOAL_MB = 0.2, 60.0
_SETTLED_S = 8.0
_LIMIT_S = 30.0
_TICKS = os.sysconf("SC_CLK_TCK")


def measure(size: float = 1.0) -> Result:
    seconds = times(60, size)
    with home() as root:
        child = _started([sys.executable, "-m", "ezrec", "run"], root)
        bare = [_started([sys.executable, "-c", "import time; time.sleep(900)"], root) for _ in range(2)]
        try:
            time.sleep(max(1.0, _SETTLED_S * min(1.0, size * 4)))
            before, began = _processor_s(child.pid), time.monotonic()
            time.sleep(seconds)
            spent = _processor_s(child.pid) - before
            percent = 100 * spent / (time.monotonic() - began)
            processes = [size for one in _tree(child.pid) if (size := _pss_mb(one))]
            ours = sum(processes)
            floor = sum(_pss_mb(process.pid) for process in bare)
        finally:
            for process in (child, *bare):
                _end(process)
    return Result(
        f"`ezrec run` at rest for {seconds} s, local backend",
        f"{percent:.2f} % of a core, {ours:.0f} MB PSS in {len(processes)} processes",
        f"two Pythons that sleep: {floor:.0f} MB",
        ours / floor,
        f"≤ {_GOAL_PERCENT:g} %, ≤ {_GOAL_MB:g} MB",
        percent <= _GOAL_PERCENT and ours <= _GOAL_MB,
        "Processor time of every process, children that ended included. The ratio is that of the memory: "
        "the floor of the processor time is nothing.",
    )


def _started(argv: list[str], root: Path) -> subprocess.Popen[bytes]:
    quiet = subprocess.DEVNULL
    environ = environment(root, os.environ["PATH"])
    return subprocess.Popen(argv, env=dict(environ), stdin=quiet, stdout=quiet, stderr=quiet)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _tree(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += _tree(int(child))
    return found


def _processor_s(pid: int) -> float:
    """Of a process, its children, and those of them that have ended."""
    total = 0
    for one in _tree(pid):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except FileNotFoundError:
            continue  # ended since it was listed: its parent has its time
        total += sum(map(int, fields[11:15]))
    return total / _TICKS


def rss_mb(pid: int) -> float:
    """Resident memory of a process and all below it, each counted whole; of those that still are there."""
    total = 0.0
    with suppress(OSError):
        for one in _tree(pid):
            with suppress(OSError):
                total += int(Path(f"/proc/{one}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return total / 1e6


def _pss_mb(pid: int) -> float:
    """0 for a process that has ended since it was listed."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    for line in lines:
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError(f"the kernel tells no PSS of process {pid}")
