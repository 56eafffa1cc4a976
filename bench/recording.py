"""Processor time of the record stage, against FFmpeg writing the same software camera straight to a file."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.jobs import environment, home, new_spool
from bench.processor import spent_s
from bench.result import Result, median, times
from ezrec.adapters.ffmpeg_sources import SoftwareSource
from ezrec.domain.booking import Booking
from ezrec.domain.job import Job, Kind
from ezrec.domain.names import safe_id
from ezrec.domain.stages import State
from ezrec.spool import Spool

_GOAL = 1.15
_LEADS_S = (1, 2, 4, 8, 16)  # a machine that is slow to start misses a short booking: then a later one
_WIDTH, _HEIGHT, _FPS, _BITRATE = 1280, 720, 30, 4_000_000


def measure(size: float = 1.0) -> Result:
    short, rounds = times(4, size), times(2, size)
    long = short + times(20, size)
    with home() as root:
        spool = new_spool(root)
        ours, bare = [], []
        for number in range(rounds):
            for kept, seconds in ((0, short), (1, long)):
                ours.append(_ours(root, spool, 2 * number + kept, seconds))
                bare.append(_bare(root / f"{number}-{kept}.mp4", seconds))
    pace = median(ours[1::2]) - median(ours[::2])  # what starts and ends once, falls out
    floor = median(bare[1::2]) - median(bare[::2])
    seconds = long - short
    once = median(ours[::2]) - median(bare[::2])
    return Result(
        f"recording {_WIDTH}×{_HEIGHT} at {_FPS} fps, software camera",
        f"{100 * pace / seconds:.1f} % of a core",
        f"FFmpeg alone into a file: {100 * floor / seconds:.1f} %",
        pace / floor,
        f"≤ {_GOAL:g} ×",
        pace <= _GOAL * floor,
        f"The difference between bookings of {long} s and of {short} s, {rounds} of each in turn with the "
        "floor: camera, memory of the last seconds, the take with its fsyncs. What a booking costs once "
        f"beyond that (Python, imports, arming, closing) is {once:.1f} s of a core.",
    )


def _ours(root: Path, spool: Spool, number: int, seconds: int) -> float:
    for lead_s in _LEADS_S:
        spent = _recorded(root, spool, f"b{number}-{lead_s}", seconds, lead_s)
        if spent is not None:
            return spent
    raise RuntimeError("nothing was recorded")


def _recorded(root: Path, spool: Spool, name: str, seconds: int, lead_s: int) -> float | None:
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
    spent = spent_s(argv, environ, seconds + 60)
    return spent if (spool.directory(State.RAW) / entry.id).is_dir() else None


def _bare(path: Path, seconds: int) -> float:
    source = SoftwareSource(_WIDTH, _HEIGHT, _FPS, _BITRATE)
    argv = [*source.argv()[:-1], "-t", str(seconds), str(path)]
    return spent_s(argv, {"PATH": os.environ["PATH"]}, seconds + 60)
