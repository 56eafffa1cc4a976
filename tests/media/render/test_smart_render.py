"""The logo for a part of the time: what shows it is encoded, all else is the recording's own frames."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ezrec.domain.branding import ALWAYS, LogoShow, read_logo_show
from ezrec.domain.ports import RenderOptions, RenderPlan
from ezrec.media.mp4 import copyable
from ezrec.media.render.logo_plan import LogoSegment, shown_in
from ezrec.media.render.renderer import FfmpegTranscoder
from tests.support import media, videos
from tests.support.pairings import RECORDINGS, recordings
from tests.support.rendering import deaf
from tests.support.videos import needs_openh264
from tests.support.wait import eventually


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("always", [(0, 700)]),
        ("first:10s", [(0, 10)]),
        ("first:2m", [(0, 120)]),
        ("every:5m/10s", [(0, 10), (300, 310), (600, 610)]),
        ("every:5.5m/20s", [(0, 20), (330, 350), (660, 680)]),
        ("every:345s/10s", [(0, 10), (345, 355), (690, 700)]),
    ],
)
def test_the_setting_says_when_the_logo_is_seen(text: str, spans: list[tuple[float, float]]) -> None:
    assert list(read_logo_show(text).spans(700)) == spans
    assert read_logo_show(str(read_logo_show(text))) == read_logo_show(text)


@pytest.mark.parametrize(
    "text", ["", "never", "first:0s", "first:10", "every:5m", "every:10s/10s", "first:99h\n"]
)
def test_a_setting_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        read_logo_show(text)


def long_take(
    path: Path, colour: str = "blue", *, audio: bool = False, size: tuple[int, int] = (320, 180)
) -> Path:
    return media.make_take(path, seconds=6, colour=colour, audio=audio, size=size, filters=videos.NOISE)


def rendered(folder: Path, takes: list[Path], show: str, **more: Any) -> tuple[Path, dict[str, Any]]:
    output = folder / "out.mp4"
    plan = RenderPlan(
        takes=takes, output=output, log=folder / "l.log", logo=media.make_logo(folder / "l.png"),
        options=RenderOptions(logo_show=read_logo_show(show)), **more,
    )  # fmt: skip
    FfmpegTranscoder(bitrate=2_000_000, preset="ultrafast").render(plan, deaf, deaf)
    return output, json.loads((folder / "processing.json").read_bytes())


def logo_at(video: Path, at: float) -> bool:
    return media.picture_at(video, at).colour(-12, -12) == "lime"


@pytest.mark.parametrize("audio", [False, True])
def test_only_the_groups_of_pictures_with_the_logo_are_encoded(audio: bool, tmp_path: Path) -> None:
    take = long_take(tmp_path / "t.mp4", audio=audio)
    output, report = rendered(tmp_path, [take], "every:3s/1.5s", intro=media.make_intro(tmp_path / "i.mp4"))
    assert report["rung"] == "smart", report["why"]
    old, new = videos.packets(take), videos.packets(output)[30:]
    kept = [n for n, (a, b) in enumerate(zip(old, new, strict=True)) if a.digest == b.digest]
    assert kept == [*range(60, 90), *range(150, 180)]
    assert [one.at - new[0].at for one in new] == pytest.approx([one.at - old[0].at for one in old], abs=1e-5)
    shown = videos.pictures(output)
    originals = videos.pictures(take)
    assert [shown[30 + n] for n in kept] == [originals[n] for n in kept]
    assert videos.pictures(videos.without_sets_in_band(output)) == shown
    times = {1.1: True, 2.4: True, 2.6: False, 3.9: False, 4.1: True, 5.4: True, 5.6: False, 6.9: False}
    assert {at: logo_at(output, at) for at in times} == times
    assert {media.picture_at(output, at).colour(9, 9) for at in times} == {"blue"}


@pytest.mark.parametrize("recording", recordings("PyAV", "OpenH264", "three takes", "in-band with sound"))
def test_what_shows_no_logo_is_the_recordings_own_frame_by_frame(recording: str, tmp_path: Path) -> None:
    takes = RECORDINGS[recording](tmp_path)
    lead = media.make_intro(tmp_path / "i.mp4", seconds=0.5)
    output, report = rendered(tmp_path, takes, "first:1s", intro=lead)
    assert report["rung"] == "smart", report["why"]
    copied = [picture for take in takes for picture in videos.pictures(take)]
    shown = videos.pictures(output)
    first = len(shown) - len(copied)
    differ = [number for number, picture in enumerate(copied) if shown[first + number] != picture]
    assert differ == list(range(len(differ)))
    assert 25 <= len(differ) <= 45  # up to the next group of pictures
    assert videos.pictures(videos.without_sets_in_band(output)) == shown
    steps = [after.at - before.at for before, after in pairwise(videos.packets(output))]
    assert min(steps) > 0
    assert logo_at(output, first / 30 + 0.1)


def test_the_logo_is_counted_over_all_takes_together(tmp_path: Path) -> None:
    takes = [long_take(tmp_path / f"{c}.mp4", c) for c in ("blue", "yellow", "magenta")]
    output, report = rendered(tmp_path, takes, "every:8s/2s")
    assert report["rung"] == "smart", report["why"]
    times = {0.5: True, 2.5: False, 7.5: False, 8.5: True, 9.9: True, 10.1: False, 15.9: False, 16.1: True}
    assert {at: logo_at(output, at) for at in times} == times
    assert [media.picture_at(output, at).colour(9, 9) for at in (5.9, 6.1, 11.9, 12.1)] == [
        "blue", "yellow", "yellow", "magenta",
    ]  # fmt: skip


@needs_openh264
def test_openh264_shows_every_frame_as_ffmpeg_does(tmp_path: Path) -> None:
    output, report = rendered(
        tmp_path, [long_take(tmp_path / "t.mp4")], "first:2s", intro=media.make_intro(tmp_path / "i.mp4")
    )
    assert report["rung"] == "smart"
    assert videos.openh264_pictures(output) == videos.pictures(output)


def test_brightness_in_its_full_range_stays_as_it_was(tmp_path: Path) -> None:
    take = media.make_take(
        tmp_path / "t.mp4", seconds=4, colour="white", pixels="yuvj420p", filters="lutyuv=y=200"
    )
    assert copyable.read(take).sps.full_range
    output, report = rendered(tmp_path, [take], "first:1s")
    assert report["rung"] == "smart", report["why"]
    with_logo, without = media.picture_at(output, 0.5), media.picture_at(output, 3.5)
    assert with_logo.colour(-12, -12) == "lime"
    assert max(abs(a - b) for a, b in zip(with_logo.data[:300], without.data[:300], strict=True)) <= 3


def test_a_logo_for_most_of_the_time_is_encoded_in_one_pass_and_shows_then(tmp_path: Path) -> None:
    output, report = rendered(tmp_path, [long_take(tmp_path / "t.mp4")], "every:3s/2.5s")
    assert report["rung"] == "encode"
    assert any("the logo is wanted in 180 of 180 frames" in why for why in report["why"])
    times = {0.1: True, 2.4: True, 2.6: False, 2.9: False, 3.1: True, 5.6: False}
    assert {at: logo_at(output, at) for at in times} == times


def test_nothing_made_on_the_way_is_left(tmp_path: Path) -> None:
    take = long_take(tmp_path / "t.mp4")
    rendered(tmp_path, [take], "first:1s", intro=media.make_intro(tmp_path / "i.mp4"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "i.mp4", "l.log", "l.png", "out.mp4", "processing.json", "t.mp4",
    ]  # fmt: skip


def test_a_group_of_pictures_is_never_cut(tmp_path: Path) -> None:
    material = copyable.read(long_take(tmp_path / "t.mp4"))
    assert material.idrs == (0, 30, 60, 90, 120, 150)
    assert shown_in(material, [(0, 1)]) == [LogoSegment(0, 30, 0, 30)]
    assert shown_in(material, [(0.5, 1.5)]) == [LogoSegment(0, 60, 15, 45)]
    assert shown_in(material, [(5.5, 99)]) == [LogoSegment(150, 180, 15, 30)]
    assert shown_in(material, [(6, 7)]) == []


def test_always_has_no_end() -> None:
    assert LogoShow() == ALWAYS
    assert math.isinf(ALWAYS.shown_s)


WORKER = """
import sys
from pathlib import Path
from ezrec.media.render.renderer import FfmpegTranscoder
from ezrec.domain.branding import read_logo_show
from ezrec.domain.ports import RenderOptions, RenderPlan
folder = Path(sys.argv[1])
FfmpegTranscoder(bitrate=2_000_000, preset="ultrafast").render(
    RenderPlan(
        takes=[folder / "t.mp4"], output=folder / "out.mp4", log=folder / "l.log", logo=folder / "l.png",
        options=RenderOptions(logo_show=read_logo_show("every:3s/1s")), parts=folder / "parts",
    ),
    lambda done: None,
    lambda stop: None,
)
"""


def test_a_kill_in_the_middle_costs_the_stretch_that_was_being_encoded_and_no_more(tmp_path: Path) -> None:
    media.make_take(tmp_path / "t.mp4", seconds=15, filters=videos.NOISE)
    media.make_logo(tmp_path / "l.png")
    kept = tmp_path / "parts"
    worker = subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path)])
    try:
        assert eventually(lambda: len(list(kept.glob("[!.]*.mp4"))) >= 2 or worker.poll() is not None, 60)
    finally:
        worker.kill()
        worker.wait(20)
    there = len(list(kept.glob("[!.]*.mp4")))
    assert 2 <= there <= 5
    spoilt = sorted(kept.glob("[!.]*.mp4"))[0]
    spoilt.write_bytes(spoilt.read_bytes()[:-500])  # what is there is believed only after a look

    output, report = rendered(tmp_path, [tmp_path / "t.mp4"], "every:3s/1s", parts=kept)
    assert report["rung"] == "smart"
    assert (report["checks"]["parts_found"], report["checks"]["parts_made"]) == (there - 1, 5 - there + 1)
    assert len(videos.pictures(output)) == 450
    assert [logo_at(output, at) for at in (0.5, 1.5, 6.5, 8.0, 12.5)] == [True, False, True, False, True]

    _, other = rendered(tmp_path, [tmp_path / "t.mp4"], "every:3s/1.5s", parts=kept)
    assert other["checks"]["parts_found"] == 0  # what was wished for has changed
