"""What accompanies a video; and that a video does not depend on it."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ezrec.domain.ports import ARTEFACTS, RenderOptions, RenderPlan
from ezrec.media.render.renderer import FfmpegTranscoder
from ezrec.settings import load
from tests.support import media, videos
from tests.support.rendering import deaf, processes_naming, program
from tests.support.wait import eventually


def rendered(folder: Path, *, audio: bool, wanted: tuple[str, ...] = ARTEFACTS) -> dict[str, Any]:
    take = media.make_take(folder / "t.mp4", seconds=12, audio=audio, filters=videos.NOISE)
    options = RenderOptions(artefacts=wanted)
    plan = RenderPlan([take], folder / "out.mp4", folder / "l.log", options=options)
    FfmpegTranscoder(bitrate=800_000, preset="ultrafast").render(plan, deaf, deaf)
    return dict(json.loads((folder / "processing.json").read_bytes())["artefacts"])


def still(path: Path) -> media.Picture:
    said = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", path, "-f", "image2pipe", "-c:v", "ppm", "-"],
        check=True, capture_output=True, timeout=60,
    ).stdout  # fmt: skip
    _, size, _, data = said.split(b"\n", 3)
    width, height = size.split()
    return media.Picture(int(width), int(height), data)


def test_a_poster_a_preview_a_storyboard_and_the_loudness_accompany_a_video(tmp_path: Path) -> None:
    report, folder = rendered(tmp_path, audio=True), tmp_path / "artefacts"
    assert report.pop("loudness") == pytest.approx(-21, abs=4)
    assert report == {"poster": "poster.jpg", "preview": "preview.mp4", "storyboard": "storyboard.jpg"}
    assert still(folder / "poster.jpg").colour(160, 90) == "blue"
    assert (still(folder / "storyboard.jpg").width, still(folder / "storyboard.jpg").height) == (800, 450)
    assert 9.5 <= FfmpegTranscoder(bitrate=1).probe(folder / "preview.mp4").duration_s <= 11.5
    cues = re.findall(
        r"(\S+) --> (\S+)\nstoryboard.jpg#xywh=(\d+),(\d+),160,90", (folder / "storyboard.vtt").read_text()
    )
    assert len(cues) == 25
    assert (cues[0][0], *cues[0][2:]) == ("00:00:00.000", "0", "0")
    assert cues[-1][1].startswith("00:00:12.0")
    assert cues[-1][2:] == ("640", "360")
    assert json.loads((folder / "loudness.json").read_bytes())["integrated_lufs"] < -10
    assert sorted(path.name for path in folder.iterdir()) == [
        "loudness.json", "poster.jpg", "preview.mp4", "storyboard.jpg", "storyboard.vtt",
    ]  # fmt: skip


def test_a_video_without_sound_has_no_loudness(tmp_path: Path) -> None:
    assert rendered(tmp_path, audio=False, wanted=("loudness",)) == {"loudness": "none: no sound"}


def test_an_artefact_that_cannot_be_made_costs_no_video(tmp_path: Path) -> None:
    (tmp_path / "artefacts").mkdir()
    (tmp_path / "artefacts" / "poster.jpg").mkdir()
    report = rendered(tmp_path, audio=False, wanted=("poster", "preview"))
    assert report["poster"].startswith("none: ")
    assert report["preview"] == "preview.mp4"
    assert (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", ("poster", "preview", "loudness")),
        ("none", ()),
        ("poster,preview", ("poster", "preview")),
        ("storyboard, loudness", ("storyboard", "loudness")),
    ],
)
def test_the_setting_names_what_is_wanted(text: str, wanted: tuple[str, ...], tmp_path: Path) -> None:
    assert load({"EZREC_HOME": str(tmp_path), "EZREC_ARTEFACTS": text}).artefacts == wanted


def test_a_stop_while_they_are_made_costs_no_video(tmp_path: Path) -> None:
    """The stop comes when the video has its name already: then the work counts as done."""
    output = tmp_path / "out.mp4"
    stand_in = program(tmp_path, f'[ -e {output} ] && touch {tmp_path}/now && sleep 61.417; exec ffmpeg "$@"')
    plan = RenderPlan(
        takes=[media.make_take(tmp_path / "t.mp4")],
        output=output,
        log=tmp_path / "log",
        options=RenderOptions(artefacts=("poster",)),
    )
    stops: list[Callable[[], None]] = []

    def stop_then() -> None:
        eventually((tmp_path / "now").exists, 60)
        stops[0]()

    waiting = threading.Thread(target=stop_then)
    waiting.start()
    FfmpegTranscoder(bitrate=1, ffmpeg=stand_in).render(plan, deaf, stops.append)
    waiting.join(60)
    assert output.exists()
    assert json.loads((tmp_path / "processing.json").read_bytes())["rung"] == "copy"
    assert not (tmp_path / "artefacts" / "poster.jpg").exists()
    assert eventually(lambda: not processes_naming("61.417"))
