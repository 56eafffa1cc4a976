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
_WIDTH, _HEIGHT, _FPS, _BITRATE = 1280, 720, 30, 4_000_000


def measure(size: float = 1.0) -> Result:
    seconds, rounds = times(20, size, 2), times(3, size)
    with home() as root:
        spool = new_spool(root)
        pairs = [
            (_ours(root, spool, number, seconds), _bare(root / f"{number}.mp4", seconds))
            for number in range(rounds)
        ]
    ours, floor = median([pair[0] for pair in pairs]), median([pair[1] for pair in pairs])
    ratio = median([pair[0] / pair[1] for pair in pairs])
    return Result(
        f"recording {_WIDTH}×{_HEIGHT} at {_FPS} fps, software camera",
        f"{100 * ours / seconds:.1f} % of a core",
        f"FFmpeg alone into a file: {100 * floor / seconds:.1f} %",
        ratio,
        f"≤ {_GOAL:g} ×",
        ratio <= _GOAL,
        f"{rounds} bookings of {seconds} s in turn with the floor. The whole of the processes is counted: "
        "start, imports, camera, the take's fsyncs, its closing, and the moves of the job.",
    )


def _ours(root: Path, spool: Spool, number: int, seconds: int) -> float:
    start = datetime.now(UTC) + timedelta(seconds=1)
    booking = Booking(safe_id(f"b{number}"), start, start + timedelta(seconds=seconds))
    entry = spool.create(State.INCOMING, Job(booking.id, Kind.BOOKING, start, booking))
    environ = environment(
        root,
        os.environ["PATH"],
        RESOLUTION=f"{_WIDTH}x{_HEIGHT}",
        RECORDING_FPS=str(_FPS),
        RECORDING_BITRATE=str(_BITRATE),
        EZREC_PRE_ROLL="0",
        EZREC_POST_ROLL="0",
        EZREC_ARM="1",
    )
    argv = [sys.executable, "-m", "ezrec", "run-stage", "record", "--once"]
    spent = spent_s(argv, environ, seconds + 60)
    if not (spool.directory(State.RAW) / entry.id).is_dir():
        raise RuntimeError("nothing was recorded")
    return spent


def _bare(path: Path, seconds: int) -> float:
    source = SoftwareSource(_WIDTH, _HEIGHT, _FPS, _BITRATE)
    argv = [*source.argv()[:-1], "-t", str(seconds), str(path)]
    return spent_s(argv, {"PATH": os.environ["PATH"]}, seconds + 60)
