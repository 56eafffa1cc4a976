"""`python -m bench.recorder [--write]`: what a recorder loses when it dies, and how soon it records again.

The real recorder with the software camera at 320×180. A tap between the two says what had been delivered by
the moment of a death; the numbers in the pictures say what was kept. About five minutes.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from bench import machine
from bench.result import median, percentile
from ezrec.camera.ffmpeg_camera import FfmpegCamera
from ezrec.camera.ffmpeg_sources import SoftwareSource
from ezrec.domain.stages import State
from ezrec.system import durable
from ezrec.system.clock import SystemClock
from tests.support.card import Card, why_no_card
from tests.support.daemon import Box
from tests.support.recording import frame_numbers
from tests.whole_box.attrition import Attrition, Death

RESULTS = Path(__file__).parent / "results" / "recorder.md"
_SIDE_BY_SIDE, _DEATHS, _TURNOVERS = 5, 4, 20
_FEW, _OFTEN = 2, 10  # for starts and amendments, which would be in each other's way
_OLD_S = 11.0  # a recorder that lived so long is started again without a growing pause
_LIMIT_S = 20.0


@dataclass(frozen=True, slots=True)
class Spread:
    """One measure over all its rounds."""

    what: str
    unit: str
    values: Sequence[float]
    goal: float
    how: str

    def row(self) -> str:
        values = self.values
        if not values:
            return (
                f"| {self.what} | – | – | – | ≤ {self.goal:g} {self.unit} | not measured: {why_no_card()} |"
            )
        shown = [f"{value:.2f}" for value in (median(values), percentile(values, 0.9), max(values))]
        met = "yes" if max(values) <= self.goal else "**no**"
        return f"| {self.what}, {self.unit} | {' | '.join(shown)} | ≤ {self.goal:g} {self.unit} | {met} |"


def measure() -> list[Spread]:
    with tempfile.TemporaryDirectory(prefix="ezrec-bench-") as name:
        folder = Path(name)
        kills = _deaths(folder / "kills", 1.3)
        cuts = [] if why_no_card() else _deaths(folder / "cuts", 3.0, Card)
        with ThreadPoolExecutor(_FEW) as pool:
            homes = (folder / f"again{n}" for n in range(_FEW))
            again = list(itertools.chain.from_iterable(pool.map(_kill_to_frame, homes)))
            homes = (folder / f"amended{n}" for n in range(_FEW))
            amended = list(itertools.chain.from_iterable(pool.map(_amendment_to_end, homes)))
        missing = _turnovers(folder)
    return [
        Spread(
            "lost to a kill, of what the camera had delivered", "s", [one.lost_s for one in kills], 0.5,
            "SIGKILL at a random moment of a take; frames in the file against frames in the tap.",
        ),
        Spread(
            "lost to a kill, with what the camera still held", "s", [one.behind_s for one in kills], 0.5,
            "From the instant of the last frame in the file to the kill.",
        ),
        Spread(
            "lost to a power cut, of what the camera had delivered", "s", [one.lost_s for one in cuts], 2.0,
            "ext4 on a loop device, cut off by its shutdown ioctl; frames in the file after the next mount.",
        ),
        Spread(
            "from the start of a recorder to its first frame", "s", [one.from_start_s for one in again], 3.0,
            "The next take of a recorder that was killed; its start is the kernel's word.",
        ),
        Spread(
            "from a kill to the first frame of the next take", "s", [one.from_kill_s for one in again], 3.0,
            "The same under `ezrec run`, which starts a recorder at once that had lived for 10 s, as this "
            "one had. Under systemd RestartSec adds 0.5 s.",
        ),
        Spread(
            "from a cancellation in `incoming/` to a job that has left the recorder", "s", amended, 2.0,
            "Dropped as `ezrec pulse sync` does, while the take is written; its end is synced in that time.",
        ),
        Spread(
            "frames missing at a turnover", "frames", missing, 0,
            "Back-to-back takes over one running camera: the last frame of one, the first of the next.",
        ),
    ]  # fmt: skip


def _deaths(folder: Path, longest_s: float, card: Callable[[Path], Card] | None = None) -> list[Death]:
    folder.mkdir()
    cards: list[Card] = []

    def suffer(n: int) -> list[Death]:
        place = folder / str(n)
        place.mkdir()
        if card:
            cards.append(mine := card(place))
        court = Attrition(place, mine if card else None)
        court.suffer(_DEATHS, longest_s, random.Random())
        return court.deaths

    try:
        with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            return list(itertools.chain.from_iterable(pool.map(suffer, range(_SIDE_BY_SIDE))))
    finally:
        for mine in cards:
            mine.close()


@dataclass(frozen=True, slots=True)
class Again:
    """How soon a frame came: after the kill of the last recorder, and after the start of this one."""

    from_kill_s: float
    from_start_s: float


def _kill_to_frame(home: Path) -> list[Again]:
    box = Box(home)
    try:
        daemon = box.run("--only", "record,retry,sync")
        booking = box.book(1, 3600)
        kills, starts = [], []
        for n in range(_OFTEN):
            box.wait_for(lambda n=n: box.is_writing(booking, n + 1), "nothing is recorded")  # type: ignore[misc]
            time.sleep(_OLD_S)
            recorder = box.recorder(daemon)
            assert recorder is not None
            starts.append(_started(recorder))
            kills.append(datetime.now(UTC))
            os.kill(recorder, signal.SIGKILL)
        box.wait_for(lambda: box.is_writing(booking, _OFTEN + 1), "nothing is recorded")
        recorder = box.recorder(daemon)
        assert recorder is not None
        starts.append(_started(recorder))
        box.whistle(booking)
        box.wait_for(lambda: box.spool.names(State.RAW) == [booking], "the booking does not end")
        takes = box.spool.read(State.RAW, booking).job.takes
        return [
            Again((take.started - kill).total_seconds(), (take.started - start).total_seconds())
            for take, kill, start in zip(takes[1:], kills, starts[1:], strict=True)
        ]
    finally:
        box.close()


def _started(pid: int) -> datetime:
    """When a process began, to a hundredth of a second."""
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return datetime.now(UTC) - timedelta(seconds=age_s)


def _amendment_to_end(home: Path) -> list[float]:
    box = Box(home, EZREC_ON_CANCEL="discard")
    try:
        box.run("--only", "record,sync")
        return [_cancelled(box) for _ in range(_OFTEN)]
    finally:
        box.close()


def _cancelled(box: Box) -> float:
    booking = box.book(1, 3600)
    box.wait_for(lambda: box.is_writing(booking), "nothing is recorded")
    entry = box.find(booking)
    assert entry is not None
    assert entry.job.booking is not None
    times = {"start_time": str(entry.job.booking.start), "end_time": str(entry.job.booking.end)}
    row = {"id": booking, **times, "status": "cancelled"}
    began = time.monotonic()
    durable.write(box.spool.directory(State.INCOMING) / f"{booking}.json", json.dumps(row).encode())
    while entry.path.exists() and time.monotonic() - began < _LIMIT_S:
        time.sleep(0.005)
    return time.monotonic() - began


def _turnovers(folder: Path) -> list[float]:
    clock = SystemClock(assume=True)
    camera = FfmpegCamera(SoftwareSource(320, 180, 30, 400_000), clock)
    numbers = []
    with camera.hold(lambda: None):
        edge = clock.now()
        for n in range(_TURNOVERS + 1):
            path = folder / f"turn{n}.mp4"
            recording = camera.attach(path, edge)
            edge += timedelta(seconds=0.5)
            recording.finish(edge, _LIMIT_S)
            numbers.append(frame_numbers(path))
    return [float(max(0, late[0] - early[-1] - 1)) for early, late in itertools.pairwise(numbers)]


def page(found: Sequence[Spread]) -> str:
    return "\n".join(
        [
            "# What a death of the recorder costs",
            "",
            "Written by `python -m bench.recorder --write`. Goals are for the worst of twenty. What the",
            "record stage costs beside a bare FFmpeg stands in [RESULTS.md](../RESULTS.md).",
            "",
            *machine.facts(),
            "",
            "| measure | median | 90 % | worst | goal | met |",
            "|---|---|---|---|---|---|",
            *(spread.row() for spread in found),
            "",
            "How each was measured:",
            "",
            *(f"- {spread.what}: {spread.how} All values: {_listed(spread.values)}." for spread in found),
            "",
        ]
    )


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in sorted(values))


@click.command()
@click.option("--write", is_flag=True, help="Write bench/results/recorder.md.")
def bench(write: bool) -> None:
    """Measure what a recorder loses when it dies, and how soon it records again."""
    text = page(measure())
    click.echo(text)
    if write:
        RESULTS.write_text(text)


if __name__ == "__main__":
    bench()
