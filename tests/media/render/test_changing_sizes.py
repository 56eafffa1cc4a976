"""Recordings whose picture changes in size, in a take or between two: one size, and the logo on all of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ezrec.domain.ports import RenderPlan
from ezrec.media.render.renderer import FfmpegTranscoder
from tests.support import media
from tests.support.rendering import deaf, plan_for

LARGE, SMALL, TALL = (320, 180), (160, 90), (96, 160)


def stream(folder: Path, size: tuple[int, int], colour: str) -> bytes:
    """Two seconds as a camera sends them: parameter sets before each key frame."""
    source = f"color={colour}:s={size[0]}x{size[1]}:r=25:d=2"
    argv = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-c:v", "libx264", "-preset", "ultrafast"]
    argv += ["-bf", "0", "-g", "25", "-x264-params", "repeat-headers=1", "-pix_fmt", "yuv420p", "-f", "h264"]
    return subprocess.run([*argv, "-"], check=True, capture_output=True, timeout=60).stdout


def changing_take(path: Path, *pieces: tuple[tuple[int, int], str]) -> Path:
    raw = path.with_suffix(".h264")
    raw.write_bytes(b"".join(stream(path.parent, size, colour) for size, colour in pieces))
    argv = ["ffmpeg", "-v", "error", "-framerate", "25", "-f", "h264", "-i", str(raw), "-c", "copy"]
    subprocess.run([*argv, *media.FRAGMENTED, str(path)], check=True, timeout=60)
    return path


def two_takes(folder: Path) -> list[Path]:
    return [
        media.make_take(folder / "1.mp4", fps=25, size=LARGE, colour="blue"),
        media.make_take(folder / "2.mp4", fps=25, size=SMALL, colour="yellow"),
    ]


RECORDINGS: dict[str, Callable[[Path], list[Path]]] = {
    "within a take": lambda d: [changing_take(d / "1.mp4", (LARGE, "blue"), (SMALL, "yellow"))],
    "within a take, to another shape": lambda d: [
        changing_take(d / "1.mp4", (LARGE, "blue"), (TALL, "yellow"))
    ],
    "between takes": two_takes,
}


def counted(folder: Path) -> tuple[FfmpegTranscoder, Path]:
    """Each whole encode of a video leaves a line in the file."""
    runs, stand_in = folder / "runs", folder / "counting-ffmpeg"
    stand_in.write_text(
        f'#!/bin/sh\ncase "$*" in *libx264*out.mp4.part*) echo >> {runs};; esac\nexec ffmpeg "$@"\n'
    )
    stand_in.chmod(0o755)
    return FfmpegTranscoder(bitrate=800_000, preset="ultrafast", ffmpeg=str(stand_in)), runs


@pytest.mark.parametrize("looks", ["bare", "intro", "logo", "intro and logo"])
@pytest.mark.parametrize("recording", list(RECORDINGS))
def test_the_video_has_one_size_and_the_logo_on_all_of_it(recording: str, looks: str, tmp_path: Path) -> None:
    transcoder, runs = counted(tmp_path)
    plan = plan_for(
        tmp_path, *RECORDINGS[recording](tmp_path),
        intro=media.make_intro(tmp_path / "i.mp4", audio=False) if "intro" in looks else None,
        logo=media.make_logo(tmp_path / "l.png") if "logo" in looks else None,
    )  # fmt: skip
    info = transcoder.render(replace(plan, parts=tmp_path / "parts"), deaf, deaf)
    begin = 1 if "intro" in looks else 0
    assert (info.width, info.height) == LARGE
    assert info.duration_s == pytest.approx(4 + begin, abs=0.05)
    for at, colour in ((0.5, "blue"), (1.9, "blue"), (2.1, "yellow"), (3.9, "yellow")):
        shown = media.picture_at(plan.output, begin + at)
        assert (shown.width, shown.height, shown.colour(160, 90)) == (*LARGE, colour)
        if "logo" in looks:
            assert shown.colour(-14, -14) == "lime", f"at {at} s"
    if "shape" in recording:
        assert media.picture_at(plan.output, begin + 3).colour(40, 90) == "black"
    assert media.frames(plan.output) == 100 + 25 * begin
    assert len(runs.read_text()) <= 1 if runs.exists() else True, "it is not encoded twice"


def test_a_change_within_a_take_is_told(tmp_path: Path) -> None:
    plan: RenderPlan = plan_for(tmp_path, *RECORDINGS["within a take"](tmp_path))
    FfmpegTranscoder(bitrate=800_000, preset="ultrafast").render(plan, deaf, deaf)
    report = json.loads((tmp_path / "processing.json").read_bytes())
    assert report["rung"] == "encode"
    assert "remux: 1.mp4: its picture changes in size" in report["why"]
