"""What telling the status costs: processor time of a run, and bytes written a day while nothing happens.

`python -m bench.status [--minutes 10] [--home DIR] [--write]`. Where `--home` is the root of a file system of
its own, the sectors that reach its device are counted too: they hold what the journal of the file system
adds, which no process is charged for.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import msgspec

from bench import machine
from bench.idle import _end, _processor_s, _tree
from bench.jobs import environment, home
from bench.result import median

RESULTS = Path(__file__).parent / "results" / "status.md"
_EVERY_S = 15.0
_RUNS = 40  # ten minutes of them
_GOAL_PERCENT, _GOAL_MB = 0.3, 50.0
_SETTLED_S = 20.0


class Cost(msgspec.Struct):
    """Processor seconds of one thing: the median and the most of many times."""

    what: str
    median_s: float
    most_s: float

    def row(self) -> str:
        percent = 100 * self.median_s / _EVERY_S
        median_ms, most_ms = self.median_s * 1e3, self.most_s * 1e3
        return f"| {self.what} | {median_ms:.1f} ms | {most_ms:.1f} ms | {percent:.3f} % |"


def runs(jobs: int) -> list[Cost]:
    """A run at rest, one that writes its files, and the floor: psutil's gauges alone. In turn."""
    from bench.jobs import job
    from ezrec import settings
    from ezrec.app import common, periodic
    from ezrec.domain.stages import State
    from ezrec.monitoring.status import StatusReporter

    with home() as root:
        wishes = settings.load(dict(environment(root, os.environ["PATH"])))
        spool = common.spool(wishes)
        for number in range(jobs):
            spool.create(State.RAW, job(number))
        made = periodic.periodic_task("status", wishes).work
        assert isinstance(made, StatusReporter)
        gauges = common.gauges(wishes)
        found: dict[str, list[float]] = {}

        def writing() -> None:
            made._written = made._sent = None
            made()
            made._sender.finish(60)

        def resting() -> None:
            made._sent = None
            made()
            made._sender.finish(60)

        ways: dict[str, Callable[[], object]] = {
            "psutil's gauges alone (floor)": gauges.read,
            "a run that writes no file, heartbeat into the local backend": resting,
            "a run that writes status.json and ezrec.prom, heartbeat too": writing,
        }
        for way in ways.values():
            way()  # what is imported or asked once
        for _ in range(_RUNS):
            for name, way in ways.items():
                began = _spent()
                way()
                found.setdefault(name, []).append(_spent() - began)
    return [Cost(name, median(spans), max(spans)) for name, spans in found.items()]


def _spent() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


class Written(msgspec.Struct):
    """Bytes a day, projected: charged to processes, and (None without a device of its own) to the device."""

    what: str
    processes: float
    device: float | None
    percent: float = 0.0  # of a core, while it was watched

    def row(self) -> str:
        device = "–" if self.device is None else f"{self.device / 1e6:.1f} MB"
        return f"| {self.what} | {self.percent:.3f} % | {self.processes / 1e6:.1f} MB | {device} |"


def written(what: str, root: Path, minutes: float, only: str) -> Written:
    """`ezrec run` at rest in `root`."""
    quiet = subprocess.DEVNULL
    child = subprocess.Popen(
        [sys.executable, "-m", "ezrec", "run", *(["--only", only] if only else [])],
        env=dict(environment(root, os.environ["PATH"])), stdin=quiet, stdout=quiet, stderr=quiet,
    )  # fmt: skip
    try:
        time.sleep(_SETTLED_S)
        os.sync()
        before, device, began = _charged(child.pid), _sectors(root), time.monotonic()
        worked = _processor_s(child.pid)
        time.sleep(minutes * 60)
        percent = 100 * (_processor_s(child.pid) - worked) / (time.monotonic() - began)
        os.sync()
        days = (time.monotonic() - began) / 86400
        told = _sectors(root)
        processes = (_charged(child.pid) - before) / days
    finally:
        _end(child)
    reached = None if told is None or device is None else (told - device) * 512 / days
    return Written(what, processes, reached, percent)


def _charged(pid: int) -> int:
    total = 0
    for one in _tree(pid):
        told = dict(line.split(": ") for line in Path(f"/proc/{one}/io").read_text().splitlines())
        total += int(told["write_bytes"]) - int(told["cancelled_write_bytes"])
    return total


def _sectors(root: Path) -> int | None:
    if not os.path.ismount(root):
        return None
    number = os.stat(root).st_dev
    stat = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/stat")
    return int(stat.read_text().split()[6]) if stat.exists() else None


@click.command()
@click.option("--minutes", type=float, default=10.0, show_default=True, help="How long to watch it rest.")
@click.option("--home", "place", type=click.Path(path_type=Path), help="EZREC_HOME; default: a fresh folder.")
@click.option("--jobs", type=int, default=20, show_default=True, help="Jobs that lie in the spool.")
@click.option("--write", is_flag=True, help=f"Keep the page in {RESULTS.name}.")
def main(minutes: float, place: Path | None, jobs: int, write: bool) -> None:
    """Measure what the heartbeat and its files cost."""
    costs = runs(jobs)
    watched = {
        "`ezrec run`, all threads, local backend": "",
        "the thread `status` alone, local backend": "status",
    }
    amounts = []
    for what, only in watched.items():
        if place is not None:
            amounts.append(written(what, place, minutes, only))
        else:
            with home() as root:
                amounts.append(written(what, root, minutes, only))
    text = page(costs, amounts, minutes, jobs)
    click.echo(text)
    if write:
        RESULTS.write_text(text)


def page(costs: list[Cost], amounts: list[Written], minutes: float, jobs: int) -> str:
    worst = max(cost.median_s for cost in costs) / _EVERY_S * 100
    met = "met" if worst <= _GOAL_PERCENT else "MISSED"
    most = max(amount.device or amount.processes for amount in amounts) / 1e6
    kept = "met" if most <= _GOAL_MB else "MISSED"
    thread = amounts[-1].percent
    spared = "met" if thread <= _GOAL_PERCENT else "MISSED"
    return "\n".join(
        [
            "# What telling the status costs",
            "",
            "Made by `python -m bench.status --write`.",
            "",
            *machine.facts(),
            "",
            f"## Processor time of a run ({_RUNS} of each in turn, {jobs} jobs in the spool)",
            "",
            "| what | median | most | of a core, one each 15 s |",
            "|---|---|---|---|",
            *(cost.row() for cost in costs),
            "",
            f"Goal: ≤ {_GOAL_PERCENT:g} % of a core at one run each 15 s: **{met}** ({worst:.3f} %).",
            "",
            f"## Processor, and bytes written a day, while nothing happens (watched for {minutes:g} minutes)",
            "",
            "| what | of a core | charged to processes | reached the device |",
            "|---|---|---|---|",
            *(amount.row() for amount in amounts),
            "",
            f"Goals: ≤ {_GOAL_PERCENT:g} % of a core for the thread `status`: **{spared}** ({thread:.3f} %);",
            f"≤ {_GOAL_MB:g} MB a day: **{kept}** ({most:.1f} MB).",
            "",
        ]
    )


if __name__ == "__main__":
    main()
