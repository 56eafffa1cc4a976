"""Processor time of a logo that is drawn at capture, against the same camera without one."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

from bench.jobs import home
from bench.processor import spent_s
from bench.result import Result, median, times
from ezrec.camera.ffmpeg_sources import SoftwareSource
from ezrec.camera.overlay.overlay import CaptureOverlays
from ezrec.domain.branding import Assets, LogoLayout

_GOAL = 1.15
_WIDTH, _HEIGHT, _FPS, _BITRATE = 1280, 720, 30, 4_000_000
_LOGO = "200x80"


def measure(size: float = 1.0) -> Result:
    seconds, rounds = times(20, size), times(5, size)
    with home() as root:
        bare = SoftwareSource(_WIDTH, _HEIGHT, _FPS, _BITRATE)
        drawing = _with_logo(root, bare)
        found, floors = [], []
        for _ in range(rounds):
            found.append(_spent_s(drawing, root / "logo.mp4", seconds))
            floors.append(_spent_s(bare, root / "bare.mp4", seconds))
    logo, floor = median(found), median(floors)
    cost_ms = 1000 * (logo - floor) / (seconds * _FPS)
    return Result(
        f"a logo of {_LOGO} drawn at capture, {_WIDTH}×{_HEIGHT}, software camera",
        f"{1000 * logo / (seconds * _FPS):.2f} ms of a core a frame",
        f"the same camera without: {1000 * floor / (seconds * _FPS):.2f} ms",
        logo / floor,
        f"≤ {_GOAL:g} ×",
        logo <= _GOAL * floor,
        f"Processor time of FFmpeg for {seconds} s of picture, as fast as it can, {rounds} times in turn: "
        f"the logo costs {cost_ms:.2f} ms a frame. The camera module's own stamp is measured by "
        "`make test-picamera2`: some hundredths of a millisecond a frame of 1080p.",
    )


def _with_logo(root: Path, bare: SoftwareSource) -> SoftwareSource:
    logo, said = root / "logo.png", list[str]()
    picture = ("-f", "lavfi", "-i", f"color=white@0.7:s={_LOGO}:r=1:d=1,format=rgba", "-frames:v", "1")
    argv = ["ffmpeg", "-v", "error", "-nostdin", "-y", *picture, str(logo)]
    subprocess.run(argv, check=True, timeout=60)
    assets = Assets(is_known=True, logo=logo)
    frame = (_WIDTH, _HEIGHT)
    ready = CaptureOverlays(lambda: assets, frame, LogoLayout(), root / "capture", said.append, 60)()
    if ready is None:
        raise RuntimeError(said[0])
    return replace(bare, logo=ready)


def _spent_s(source: SoftwareSource, path: Path, seconds: int) -> float:
    argv = [word for word in source.argv() if word != "-re"]
    path.unlink(missing_ok=True)
    return spent_s([*argv[:-1], "-t", str(seconds), str(path)], {"PATH": os.environ["PATH"]}, 300)
