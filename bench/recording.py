"""Processor and memory of the record stage, against FFmpeg writing the same software camera to a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.idle import rss_mb
from bench.jobs import environment, home, new_spool
from bench.processor import spent
from bench.result import Result, median, times
from ezrec.camera.ffmpeg_sources import SoftwareSource
from ezrec.domain.booking import Booking
from ezrec.domain.job import Job, Kind
from ezrec.domain.names import safe_id
from ezrec.domain.stages import State
from ezrec.spool.spool import Spool

Spent = tuple[float, float]  # seconds of a core, the most MB in memory
_GOAL = 1.15
_LEADS_S = (1, 2, 4, 8, 16)  # a machine that is slow to start misses a short booking: then a later one
_WIDTH, _HEIGHT, _FPS, _BITRATE = 1280, 720, 30, 4_000_000


def measure(size: float = 1.0) -> Result:
    short, rounds = times(4, size), times(2, size)
    long = short + times(20, size)
    with home() as root:
        spool = new_spool(root)
        ours: list[Spent] = []
        bare: list[Spent] = []
        for number in range(rounds):
            for kept, seconds in ((0, short), (1, long)):
                ours.append(_ours(root, spool, 2 * number + kept, seconds))
                bare.append(_bare(root / f"{number}-{kept}.mp4", seconds))
    # What starts and ends once, falls out.
    pace, floor = (_processor(found[1::2]) - _processor(found[::2]) for found in (ours, bare))
    seconds = long - short
    once = _processor(ours[::2]) - _processor(bare[::2])
    held, alone = (median([one[1] for one in found]) for found in (ours, bare))
    return Result(
        f"recording {_WIDTH}×{_HEIGHT} at {_FPS} fps, software camera",
        f"{100 * pace / seconds:.1f} % of a core, {held:.0f} MB",
        f"FFmpeg alone into a file: {100 * floor / seconds:.1f} %, {alone:.0f} MB",
        pace / floor,
        f"≤ {_GOAL:g} ×",
        pace <= _GOAL * floor,
        f"The difference between bookings of {long} s and of {short} s, {rounds} of each in turn with the "
        "floor: camera, memory of the last seconds, the take with its fsyncs. What a booking costs once "
        f"beyond that (Python, imports, arming, closing) is {once:.1f} s of a core. Ratio and goal are of "
        "the processor time. Memory is resident, each process counted whole: "
        f"{held / alone:.2f} × the floor's, for a Python and its FFmpeg.",
    )


def _processor(found: Sequence[Spent]) -> float:
    return median([one[0] for one in found])


def _ours(root: Path, spool: Spool, number: int, seconds: int) -> Spent:
    for lead_s in _LEADS_S:
        found = _recorded(root, spool, f"b{number}-{lead_s}", seconds, lead_s)
        if found is not None:
            return found
    raise RuntimeError("nothing was recorded")


def _recorded(root: Path, spool: Spool, name: str, seconds: int, lead_s: int) -> Spent | None:
    start = datetime.now(UTC) + timedelta(seconds=lead_s)
    booking = Booking(safe_id(name), start, start + timedelta(seconds=seconds))
    entry = spool.create(State.INCOMING, Job(booking.id, Kind.BOOKING, start, booking))
    environ = environment(
        root,
        os.environ["PATH"],
        RESOLUTION=f"{_WIDTH}x{_HEIGHT}",
        RECORDING_FPS=str(_FPS),
        RECORDING_BITRATE=str(_BITRATE),
        EZREC_PRE_ROLL="0",
        EZREC_POST_ROLL="0",
        EZREC_ARM=str(lead_s),
    )
    argv = [sys.executable, "-m", "ezrec", "run-stage", "record", "--once"]
    found = spent(argv, environ, seconds + 60, rss_mb)
    return found if (spool.directory(State.RAW) / entry.id).is_dir() else None


def _bare(path: Path, seconds: int) -> Spent:
    source = SoftwareSource(_WIDTH, _HEIGHT, _FPS, _BITRATE)
    argv = [*source.argv()[:-1], "-t", str(seconds), str(path)]
    return spent(argv, {"PATH": os.environ["PATH"]}, seconds + 60, rss_mb)
