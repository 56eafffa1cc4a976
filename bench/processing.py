"""What a finished video costs by each strategy, beside `cp`, a bare remux and the ways it is made elsewhere.

    python -m bench.processing [--full [--write]] [--seconds N] [--ways W,,W,,…] [--rounds N] [--heavy N]
                               [--folder DIR]

All ways take turns in one run on the same files, so that what else the machine does falls on each alike; the
median of the rounds counts. Measures CPU (of all children), wall time, bytes written and the largest RSS.
With --full --write it writes bench/results/processing.md, texts and all.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.machine import facts
from bench.processing_page import page
from ezrec.domain.branding import read_logo_show
from ezrec.domain.ports import RenderOptions, RenderPlan
from ezrec.media.render.renderer import FfmpegTranscoder

_BITRATE = 9_000_000
RESULTS = Path(__file__).parent / "results" / "processing.md"
_QUIET = ("ffmpeg", "-v", "error", "-nostdin", "-y")
_X264 = ("-c:v", "libx264", "-preset", "veryfast", "-b:v", str(_BITRATE), "-pix_fmt", "yuv420p")


def run(*argv: object) -> None:
    subprocess.run([str(word) for word in argv], check=True)


def prepared(folder: Path, seconds: int) -> None:
    """A camera's take of the given length, an intro of 10 s, a logo."""
    seed = folder / "seed.mp4"
    if not seed.exists():
        picture = "testsrc2=s=1920x1080:r=30:d=20,noise=alls=18:allf=t"
        rate = ("-b:v", _BITRATE, "-maxrate", _BITRATE, "-bufsize", _BITRATE, "-g", 30)
        run(
            *_QUIET,
            "-f",
            "lavfi",
            "-i",
            picture,
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-bf",
            0,
            *rate,
            seed,
        )
        run(*_QUIET, "-f", "lavfi", "-i", "smptebars=s=1920x1080:r=25:d=10", "-f", "lavfi", "-i", "sine=d=10",
            *_X264, folder / "intro.mp4")  # fmt: skip
        run(*_QUIET, "-f", "lavfi", "-i", "color=lime:s=200x80", "-frames:v", 1, folder / "logo.png")
    take = folder / f"take{seconds}.mp4"
    if not take.exists():
        fragments = ("-movflags", "empty_moov+default_base_moof", "-frag_duration", 200000)
        run(*_QUIET, "-stream_loop", -(-seconds // 20) - 1, "-i", seed, "-t", seconds,
            "-c", "copy", *fragments, take)  # fmt: skip


def strategy(folder: Path, seconds: int, *, logo: bool, show: str = "always", parts: bool = False) -> None:
    """`parts`: encoded part by part, and nothing was encoded while it was recorded."""
    shutil.rmtree(folder / "parts", ignore_errors=True)
    plan = RenderPlan(
        takes=[folder / f"take{seconds}.mp4"], output=folder / "out.mp4", log=folder / "out.log",
        intro=folder / "intro.mp4", logo=folder / "logo.png" if logo else None,
        options=RenderOptions(cache=folder / "cache", logo_show=read_logo_show(show)),
        parts=folder / "parts" if parts else None,
    )  # fmt: skip
    FfmpegTranscoder(bitrate=_BITRATE, nice=0).render(plan, lambda done: None, lambda stop: None)


def naive(folder: Path, seconds: int) -> None:
    graph = "[0:v]fps=30,setsar=1[i];[1:v][2:v]overlay=W-w-10:H-h-10,setsar=1[m];[i][m]concat=n=2:v=1[v]"
    inputs = ("-i", folder / "intro.mp4", "-i", folder / f"take{seconds}.mp4", "-i", folder / "logo.png")
    run(
        *_QUIET,
        *inputs,
        "-filter_complex",
        graph,
        "-map",
        "[v]",
        *_X264,
        "-movflags",
        "+faststart",
        folder / "out.mp4",
    )


def two_passes(folder: Path, seconds: int) -> None:
    """As the older EZREC did: first the logo, then the intro before it."""
    middle = folder / "middle.mp4"
    run(*_QUIET, "-i", folder / f"take{seconds}.mp4", "-i", folder / "logo.png", "-filter_complex",
        "overlay=W-w-10:H-h-10", *_X264, middle)  # fmt: skip
    graph = "[0:v]fps=30,setsar=1[i];[1:v]setsar=1[m];[i][m]concat=n=2:v=1[v]"
    run(*_QUIET, "-i", folder / "intro.mp4", "-i", middle, "-filter_complex", graph, "-map", "[v]", *_X264,
        "-movflags", "+faststart", folder / "out.mp4")  # fmt: skip


def durably(folder: Path, *argv: object) -> None:
    """The copy strategy's result is on the disk when it is done; a remux alone leaves that to others."""
    run(*argv)
    with (folder / "out.mp4").open("rb") as file:
        os.fsync(file.fileno())


WAYS: dict[str, Callable[[Path, int], None]] = {
    "cp": lambda folder, seconds: run("cp", folder / f"take{seconds}.mp4", folder / "out.mp4"),
    "bare remux": lambda folder, seconds: run(
        *_QUIET, "-i", folder / f"take{seconds}.mp4", "-c", "copy", folder / "out.mp4"
    ),
    "remux, made durable": lambda folder, seconds: durably(
        folder, *_QUIET, "-i", folder / f"take{seconds}.mp4", "-c", "copy", folder / "out.mp4"
    ),
    "copy strategy": lambda folder, seconds: strategy(folder, seconds, logo=False),
    "smart, 10 s of logo": lambda folder, seconds: strategy(folder, seconds, logo=True, show="first:10s"),
    "parts, nothing ahead": lambda folder, seconds: strategy(folder, seconds, logo=True, parts=True),
    "full encode": lambda folder, seconds: strategy(folder, seconds, logo=True),
    "one pass, veryfast": naive,
    "two passes, veryfast": two_passes,
}
CHEAP = ("cp", "bare remux", "copy strategy")
HEAVY = ("smart, 10 s of logo", "one pass, veryfast", "two passes, veryfast")
FULL = {60: CHEAP, 300: (*CHEAP, *HEAVY), 1200: CHEAP, 3600: CHEAP}


def measured(way: str, folder: Path, seconds: int) -> dict[str, float]:
    """In a process of its own, from after its start: a worker is started once and not for each video."""
    argv = [
        sys.executable,
        "-m",
        "bench.processing",
        "--one",
        way,
        "--seconds",
        str(seconds),
        "--folder",
        str(folder),
    ]
    (folder / "out.mp4").unlink(missing_ok=True)
    os.sync()
    said = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
    return {name: float(value) for name, value in said.items()}


def one(way: str, folder: Path, seconds: int) -> dict[str, float]:
    began, before, written = time.monotonic(), _cpu(), _written()
    WAYS[way](folder, seconds)
    wall, cpu = time.monotonic() - began, _cpu() - before
    largest = max(
        resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return {
        "cpu_s": cpu, "wall_s": wall, "written": _written() - written,
        "size": (folder / "out.mp4").stat().st_size, "rss_mb": largest / 1024,
    }  # fmt: skip


def _cpu() -> float:
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in uses)


def _written() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


Found = dict[tuple[int, str], list[dict[str, float]]]  # by seconds and way, a measure a round


def in_turns(
    folder: Path, wanted: Mapping[int, Sequence[str]], rounds: int, heavy: int, tell: Callable[[str], None]
) -> Found:
    """Every way at every length once a round; the heavy ones in the first rounds alone."""
    for seconds in wanted:
        prepared(folder, seconds)
        WAYS["copy strategy"](folder, seconds)  # the intro is made when it changes, not with each video
    found: Found = {}
    for number in range(rounds):
        for seconds, ways in wanted.items():
            for way in ways:
                if way in CHEAP or number < heavy:
                    one = measured(way, folder, seconds)
                    found.setdefault((seconds, way), []).append(one)
                    tell(f"round {number + 1}: {seconds} s by {way}: {one['cpu_s']:.2f} s of CPU")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rounds", type=int, help="5 with --full, else 1")
    parser.add_argument("--heavy", type=int, default=2, help="rounds in which what encodes takes part")
    parser.add_argument("--ways", default=",,".join(WAYS), help="which, with two commas between them")
    parser.add_argument("--full", action="store_true", help="growth from 1 to 60 minutes, all ways at 5")
    parser.add_argument("--write", action="store_true", help=f"keep it in {RESULTS.name}; with --full alone")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(one(given.one, given.folder, given.seconds)))
        return
    if given.write and not given.full:
        parser.error("--write wants --full: the figures are read side by side")
    wanted = FULL if given.full else {given.seconds: tuple(given.ways.split(",,"))}
    rounds = given.rounds or (5 if given.full else 1)
    with tempfile.TemporaryDirectory(prefix="ezrec-bench-") as made:
        began, load = time.monotonic(), os.getloadavg()[0]
        found = in_turns(
            given.folder or Path(made), wanted, rounds, given.heavy, lambda text: print(text, flush=True)
        )
        minutes = (time.monotonic() - began) / 60
    text = page(
        found, [*facts(), f"When it began, {load:.1f} threads wanted one. It took {minutes:.0f} minutes."]
    )
    print(text)
    if given.write:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
