"""What an upload costs: this uploader beside curl, storage3 and tuspy, in one run, taking turns.

    python -m bench.upload [--megabytes N] [--rounds N] [--write]

Needs what the tests of the cloud side need (tests/supabase_server/README.md), curl, and for its row tuspy.
All send the same file to the same server on loopback. The floor is curl sending it in one request; curl in
the pieces of 6 MiB that hosted projects ask for is told beside it, for what is sent in those.
Then ezrec and curl in pieces once more, over a line of 20 Mbit/s and 80 ms.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from bench import machine
from bench.result import median
from bench.upload_senders import SENDERS, Run, Target, cut, send
from tests.faults.chaos import ChaosProxy, Link
from tests.supabase_server.fixture import Project, started

FLOOR, PIECES_FLOOR = "curl, one PATCH", "curl, 6 MiB"
LINE = Link(20e6 / 8, 0.04)
_LINE_MEGABYTES = 50
_HOW = """\
{megabytes} MB on loopback to the test project (the TUS server that Supabase's storage runs), {rounds} rounds
taking turns, medians. CPU is the sender's own; the speed of the server bounds all of them. Of the senders in
Python the start and the imports are left out. `one PATCH` is `curl -T` of everything to the same resumable
upload, `6 MiB` are the pieces that hosted projects ask for, and `ezrec` is as it comes: to a server of one's
own its pieces grow while they are taken, up to 20 s of the line or 384 MiB. `one object` is `curl -T` to the
object API, which cannot go on after a cut; the test project checksums it while it comes, and a resumable
upload once it is whole (the real service does the latter to both)."""
_GOALS = (
    "CPU at most 1.5 × `curl -T`, one PATCH",
    "at least 0.8 of its speed",
    "memory grows by at most 10 MB",
    "at least 90 % of the line",
)
RESULTS = Path(__file__).with_name("results") / "upload.md"


@click.command()
@click.option("--megabytes", default=1000, show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--write", is_flag=True, help="Write bench/results/upload.md.")
def bench(megabytes: int, rounds: int, write: bool) -> None:
    with tempfile.TemporaryDirectory() as folder, started() as project:
        loopback = list(_measured(project, _video(Path(folder) / "video.mp4", megabytes), rounds))
        line = list(_over_a_line(project, _video(Path(folder) / "short.mp4", _LINE_MEGABYTES)))
    page = "\n".join(_page(megabytes, rounds, loopback, line))
    click.echo(page)
    if write:
        RESULTS.write_text(page)


def _video(path: Path, megabytes: int) -> Path:
    with path.open("wb") as file:
        for _ in range(megabytes):
            file.write(os.urandom(1_000_000))
    cut(path)
    return path


def _measured(project: Project, source: Path, rounds: int) -> Iterator[tuple[str, list[Run]]]:
    target = Target(project.url, project.service_key)
    names = [name for name in SENDERS if name != "tuspy" or importlib.util.find_spec("tusclient")]
    runs: dict[str, list[Run]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names[:: -1 if number % 2 else 1]:  # who comes after whom must not decide
            runs[name].append(send(name, target, source))
            click.echo(f"{name:18} {runs[name][-1]}", err=True)
    yield from runs.items()


def _over_a_line(project: Project, source: Path) -> Iterator[tuple[str, float]]:
    """The part of the line's rate that each reaches."""
    _, front = project.local()
    for name in ("ezrec", "ezrec, 6 MiB", PIECES_FLOOR):
        with ChaosProxy(front.port, [LINE] * 1000) as proxy:
            run = send(name, Target(proxy.url, project.service_key), source)
        yield name, source.stat().st_size / run.seconds / LINE.bytes_s


def _page(
    megabytes: int, rounds: int, loopback: list[tuple[str, list[Run]]], line: list[tuple[str, float]]
) -> Iterator[str]:
    by_name = dict(loopback)

    def middle(name: str) -> tuple[float, float]:
        runs = by_name[name]
        return median([run.seconds for run in runs]), median([run.cpu_s for run in runs])

    (floor_s, floor_cpu), (pieces_s, _) = middle(FLOOR), middle(PIECES_FLOOR)
    yield from ("# What an upload costs", "", "Written by `python -m bench.upload --write`.", "")
    yield from machine.facts()
    yield ""
    yield _HOW.format(megabytes=megabytes, rounds=rounds)
    yield from (
        "",
        "| sender | seconds (range) | MB/s | speed to one PATCH | to curl, 6 MiB "
        "| CPU s | CPU to one PATCH | memory |",
        "|---|---|---|---|---|---|---|---|",
    )
    for name, runs in loopback:
        seconds, cpu_s = middle(name)
        spread = f"{min(run.seconds for run in runs):.1f}–{max(run.seconds for run in runs):.1f}"
        grown = "–" if name.startswith("curl") else f"+{max(run.grown_mb for run in runs):.1f} MB"
        yield (
            f"| {name} | {seconds:.1f} ({spread}) | {megabytes / seconds:.0f} | {floor_s / seconds:.2f} "
            f"| {pieces_s / seconds:.2f} | {cpu_s:.2f} | {cpu_s / floor_cpu:.2f} | {grown} |"
        )
    reached = dict(line)
    yield ""
    yield f"{_LINE_MEGABYTES} MB over a line of 20 Mbit/s and 80 ms there and back (a metering proxy): "
    yield ", ".join(f"{name} {part * 100:.0f} % of the line" for name, part in line) + "."
    yield from ("", "| goal | ezrec | met | ezrec, 6 MiB | met |", "|---|---|---|---|---|")
    found = []
    for name in ("ezrec", "ezrec, 6 MiB"):
        seconds, cpu_s = middle(name)
        grown_mb = max(run.grown_mb for run in by_name[name])
        cpu, speed, part = cpu_s / floor_cpu, floor_s / seconds, reached[name]
        found.append(
            (
                f"{cpu:.2f} | {_met(cpu <= 1.5)}",
                f"{speed:.2f} | {_met(speed >= 0.8)}",
                f"{grown_mb:.1f} MB | {_met(grown_mb <= 10)}",
                f"{part * 100:.0f} % | {_met(part >= 0.9)}",
            )
        )
    for goal, ours, hosted in zip(_GOALS, *found, strict=True):
        yield f"| {goal} | {ours} | {hosted} |"
    yield ""
    yield f"What hosted projects ask for costs {pieces_s / floor_s:.1f} times the time with curl itself: with"
    yield "each piece the server looks up who asks and what is allowed, and the line waits. Beside curl in"
    yield f"the same pieces ezrec has {pieces_s / middle('ezrec, 6 MiB')[0]:.2f} of the speed."
    yield ""


def _met(is_met: bool) -> str:
    return "yes" if is_met else "**no**"


if __name__ == "__main__":
    bench()
