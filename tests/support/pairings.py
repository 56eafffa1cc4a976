"""Intros and recordings of every kind that a video may be made of, and what holds for each such video."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ezrec.domain.ports import RenderOptions, RenderPlan
from ezrec.media.mp4.repair import repair
from ezrec.media.render.renderer import FfmpegTranscoder
from tests.support import media, videos
from tests.support.campaigns import large_campaigns
from tests.support.rendering import deaf

Make = Callable[[Path], Path]

INTROS: dict[str, Make] = {
    "720p25": lambda d: media.make_intro(d / "i.mp4", size=(1280, 720), fps=25),
    "29.97": lambda d: media.make_intro(d / "i.mp4", fps="30000/1001"),
    "4K60 HEVC mov": lambda d: media.make_intro(
        d / "i.mov", size=(3840, 2160), fps=60, seconds=0.3, codec="libx265"
    ),
    "portrait": lambda d: media.make_intro(d / "i.mp4", size=(360, 640)),
    "rotated": lambda d: media.make_intro(d / "i.mp4", quarter_turns=1),
    "no sound": lambda d: media.make_intro(d / "i.mp4", audio=False),
    "mono 44.1 kHz": lambda d: media.make_intro(d / "i.mp4", channels=1, sound_rate=44100),
    "half a second": lambda d: media.make_intro(d / "i.mp4", seconds=0.5),
}


def three_takes(folder: Path) -> list[Path]:
    """The second one was cut off by the power, and mended as the recorder does at its next start."""
    takes = [
        videos.software_take(folder / f"{n}.mp4", colour=c) for n, c in enumerate(("blue", "lime", "yellow"))
    ]
    data = takes[1].read_bytes()
    takes[1].write_bytes(data[: len(data) * 3 // 4])
    assert repair(takes[1]).seconds
    return takes


RECORDINGS: dict[str, Callable[[Path], list[Path]]] = {
    "software": lambda d: [videos.software_take(d / "t.mp4")],
    "software with sound": lambda d: [videos.software_take(d / "t.mp4", audio=True)],
    "in-band": lambda d: [videos.in_band_take(d / "t.mp4")],
    "in-band with sound": lambda d: [videos.in_band_take(d / "t.mp4", audio=True)],
    "three takes": three_takes,
    "PyAV": lambda d: [videos.pyav_take(d / "t.mp4")],
    "PyAV in fragments": lambda d: [videos.pyav_take(d / "t.mp4", fragmented=True)],
    "OpenH264": lambda d: [videos.openh264_take(d / "t.mp4")],
    "25 fps": lambda d: [videos.software_take(d / "t.mp4", fps=25)],
    "plain": lambda d: [media.make_take(d / "t.mp4", fragmented=False, audio=True, filters=videos.NOISE)],
}

NEEDS = {
    "PyAV": videos.needs_pyav,
    "PyAV in fragments": videos.needs_pyav,
    "OpenH264": videos.needs_openh264,
}


def recordings(*chosen: str) -> list[Any]:
    wanted = RECORDINGS if large_campaigns() else chosen
    return [pytest.param(recording, marks=NEEDS.get(recording, ())) for recording in wanted]


def rendered(
    transcoder: FfmpegTranscoder,
    folder: Path,
    takes: list[Path],
    intro: Path | None = None,
    cache: Path | None = None,
    **more: Any,
) -> tuple[Path, dict[str, Any]]:
    output = folder / "out.mp4"
    transcoder.render(
        RenderPlan(takes, output, folder / "ffmpeg.log", intro, options=RenderOptions(cache=cache), **more),
        deaf,
        deaf,
    )
    return output, json.loads((folder / "processing.json").read_bytes())


def check_times(made: list[videos.Packet], named: list[float]) -> None:
    steps = [(after.at - before.at, before.at) for before, after in pairwise(made)]
    assert min(step for step, _ in steps) > 0
    assert all(step <= 0.06 or any(abs(at - gap) < 0.002 for gap in named) for step, at in steps)


def check_sound(output: Path, *, expected: bool) -> None:
    found = media.streams(output)
    assert ("audio" in found) is expected
    if not expected:
        return
    heard = videos.packets(output, "a")
    steps = [after.at - before.at for before, after in pairwise(heard)]
    assert min(steps) > 0
    assert max(steps) < 0.06
    assert abs(heard[-1].at + heard[-1].lasts - float(found["video"]["duration"])) <= 0.04
