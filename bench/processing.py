"""What a finished video costs, rung by rung, beside `cp`, a bare remux and the ways it is made elsewhere.

    python -m bench.processing [--full] [--seconds N] [--rounds N] [--ways W,,W,,…] [--grow M,M,…]
                               [--folder DIR] [--out FILE]

All ways take turns in one run on the same files, so that what else the machine does falls on each alike; the
median of the rounds counts. Measures CPU (of all children), wall time, bytes written and the largest RSS.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.machine import facts
from ezrec.adapters.ffmpeg import FfmpegTranscoder
from ezrec.domain.branding import read_logo_show
from ezrec.ports import RenderPlan

_BITRATE = 9_000_000
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


def rung(folder: Path, seconds: int, *, logo: bool, show: str = "always", parts: bool = False) -> None:
    """`parts`: encoded part by part, and nothing was encoded while it was recorded."""
    shutil.rmtree(folder / "parts", ignore_errors=True)
    plan = RenderPlan(
        takes=[folder / f"take{seconds}.mp4"], output=folder / "out.mp4", log=folder / "out.log",
        intro=folder / "intro.mp4", logo=folder / "logo.png" if logo else None,
        cache=folder / "cache", logo_show=read_logo_show(show), parts=folder / "parts" if parts else None,
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
    """The copy rung's result is on the disk when it is done; a remux alone leaves that to others."""
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
    "copy rung": lambda folder, seconds: rung(folder, seconds, logo=False),
    "smart, 10 s of logo": lambda folder, seconds: rung(folder, seconds, logo=True, show="first:10s"),
    "parts, nothing ahead": lambda folder, seconds: rung(folder, seconds, logo=True, parts=True),
    "full encode": lambda folder, seconds: rung(folder, seconds, logo=True),
    "one pass, veryfast": naive,
    "two passes, veryfast": two_passes,
}
CHEAP = ("cp", "bare remux", "remux, made durable", "copy rung")
_LOGO_SECONDS = 10


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


def compared(folder: Path, seconds: int, rounds: int, ways: tuple[str, ...]) -> list[str]:
    prepared(folder, seconds)
    WAYS["copy rung"](folder, seconds)  # the intro is made when it changes, not with each video
    results: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way in ways:
            results[way].append(measured(way, folder, seconds))
    middle = {
        way: {name: statistics.median(one[name] for one in found) for name in found[0]}
        for way, found in results.items()
    }
    remux = middle["bare remux"]["cpu_s"]
    lines = [f"### {seconds} s of 1080p30 at 9 Mbit/s, intro of 10 s, {rounds} rounds", ""]
    lines += [
        "| way | CPU s | × bare remux | wall s | written ÷ output | RSS MB |",
        "|---|---|---|---|---|---|",
    ]
    for way, found in middle.items():
        ratio, bytes_ratio = found["cpu_s"] / remux, found["written"] / found["size"]
        lines.append(
            f"| {way} | {found['cpu_s']:.2f} | {ratio:.2f} | {found['wall_s']:.2f} | {bytes_ratio:.3f}"
            f" | {found['rss_mb']:.0f} |"
        )
    smart, copied = middle.get("smart, 10 s of logo"), middle.get("copy rung")
    if smart and copied:
        each = (smart["cpu_s"] - copied["cpu_s"]) / _LOGO_SECONDS
        lines += ["", f"A second of logo costs {each:.2f} s of CPU beyond the copy."]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--ways", default=",,".join(WAYS), help="which, with two commas between them")
    parser.add_argument("--grow", default="", help="lengths in minutes of which the cheap ways are compared")
    parser.add_argument("--full", action="store_true", help="growth from 1 to 60 minutes, all ways at 5")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(one(given.one, given.folder, given.seconds)))
        return
    if given.full:
        given.seconds, given.grow = 300, "1,5,60"
    with tempfile.TemporaryDirectory(prefix="ezrec-bench-") as made:
        folder = given.folder or Path(made)
        tell(facts(), given.out)
        for minutes in (int(text) for text in given.grow.split(",") if text):
            tell(compared(folder, minutes * 60, max(3, given.rounds), CHEAP), given.out)
        tell(compared(folder, given.seconds, given.rounds, tuple(given.ways.split(",,"))), given.out)


def tell(lines: list[str], out: Path | None) -> None:
    """What was measured is kept when the rest is ended: the whole takes an hour on a small machine."""
    print("\n".join([*lines, ""]), flush=True)
    if out:
        with out.open("a") as file:
            file.write("\n".join([*lines, ""]) + "\n")


if __name__ == "__main__":
    main()
