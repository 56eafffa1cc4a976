"""Joined videos in decoders and players of other makers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ezrec.domain.branding import read_logo_show
from ezrec.domain.ports import RenderOptions, RenderPlan
from ezrec.media.render.renderer import FfmpegTranscoder
from tests.media.render import browser
from tests.support import media, videos
from tests.support.rendering import deaf
from tests.support.videos import needs_openh264

needs_chromium = pytest.mark.skipif(not browser.CHROMIUM, reason="Chromium is not installed")


def rendered(folder: Path, takes: list[Path], rung: str = "copy", **more: Any) -> Path:
    output = folder / "out.mp4"
    intro = media.make_intro(folder / "i.mp4", filters=videos.NOISE)
    FfmpegTranscoder(bitrate=800_000, preset="veryfast").render(
        RenderPlan(takes=takes, output=output, log=folder / "l.log", intro=intro, **more), deaf, deaf
    )
    assert f'"rung": "{rung}"' in (folder / "processing.json").read_text()
    return output


@needs_openh264
@pytest.mark.parametrize(
    "make", ["software", "in-band", "openh264", pytest.param("PyAV", marks=videos.needs_pyav)]
)
def test_openh264_shows_every_frame_as_ffmpeg_does(make: str, tmp_path: Path) -> None:
    build = {
        "software": videos.software_take,
        "in-band": videos.in_band_take,
        "openh264": videos.openh264_take,
        "PyAV": videos.pyav_take,
    }
    take = build[make](tmp_path / "t.mp4")
    output = rendered(tmp_path, [take])
    shown = videos.pictures(output)
    assert len(shown) == 90
    assert shown[30:] == videos.pictures(take)
    assert videos.openh264_pictures(output) == shown
    assert videos.pictures(videos.without_sets_in_band(output)) == shown


@needs_chromium
@pytest.mark.parametrize("audio", [False, True])
def test_chromium_plays_across_each_join_and_seeks_before_at_and_after_it(
    audio: bool, tmp_path: Path
) -> None:
    takes = [videos.software_take(tmp_path / f"{c}.mp4", colour=c, audio=audio) for c in ("blue", "yellow")]
    lengths = [videos.packets(take) for take in takes]
    joins = [1.0, 1.0 + lengths[0][-1].at + lengths[0][-1].lasts]
    wanted = {0.0: "red", 0.9: "red", 1.001: "blue", 2.5: "blue", joins[1] + 0.002: "yellow", 4.5: "yellow"}
    report = browser.watched(rendered(tmp_path, takes), tmp_path, joins, list(wanted))
    assert report["errors"] == []
    assert report["corrupted"] == 0
    assert all(at > join + 0.3 for at, join in zip(report["played"], joins, strict=True))
    shown = {float(at): nearest(colour) for at, colour in report["shown"].items()}
    assert shown == wanted
    assert report["duration"] == pytest.approx(5.0, abs=0.1)


@needs_chromium
def test_chromium_plays_into_and_out_of_what_the_smart_render_encoded(tmp_path: Path) -> None:
    take = media.make_take(tmp_path / "t.mp4", seconds=6, filters=videos.NOISE, audio=True)
    logo, show = media.make_logo(tmp_path / "l.png"), read_logo_show("every:3s/1s")
    video = rendered(tmp_path, [take], "smart", logo=logo, options=RenderOptions(logo_show=show))
    joins = [1.0, 2.0, 4.0, 5.0]  # the intro's end, and where the logo goes, comes and goes
    report = browser.watched(video, tmp_path, joins, [0.5, 1.001, 2.001, 4.001, 5.001])
    assert report["errors"] == []
    assert report["corrupted"] == 0
    assert all(at > join + 0.3 for at, join in zip(report["played"], joins, strict=True))
    shown = [nearest(colour) for _, colour in sorted(report["shown"].items(), key=lambda one: float(one[0]))]
    assert shown == ["red", "blue", "blue", "blue", "blue"]


@needs_chromium
@pytest.mark.parametrize("rung", ["parts", "encode"])
def test_chromium_plays_what_shows_the_logo_all_the_time_across_each_join(rung: str, tmp_path: Path) -> None:
    """Two takes, the first of two parts: joins behind the intro, between the parts, between the takes."""
    long = media.make_take(tmp_path / "a.mp4", seconds=32, colour="blue", audio=True)
    takes = [long, media.make_take(tmp_path / "b.mp4", seconds=2, colour="yellow", audio=True)]
    folder = tmp_path / "parts" if rung == "parts" else None
    video = rendered(tmp_path, takes, rung, logo=media.make_logo(tmp_path / "l.png"), parts=folder)
    first = videos.packets(long)
    joins = [1.0, 31.0, 1.0 + first[-1].at + first[-1].lasts]
    soon = 0.002 if rung == "parts" else 1 / 30  # one is exact, the other begins with the next frame
    wanted = {0.9: "red", 1.001: "blue", 1.5: "blue", 30.9: "blue", 31.001: "blue", 31.5: "blue",
              joins[2] - 0.1: "blue", joins[2] + soon: "yellow", joins[2] + 1.5: "yellow"}  # fmt: skip
    report = browser.watched(video, tmp_path, joins, list(wanted))
    assert (report["errors"], report["corrupted"]) == ([], 0)
    assert all(at > join + 0.3 for at, join in zip(report["played"], joins, strict=True))
    assert {float(at): nearest(colour) for at, colour in report["shown"].items()} == wanted
    assert report["duration"] == pytest.approx(35.0, abs=0.1)


def nearest(colour: list[int]) -> str:
    return media.Picture(1, 1, bytes(colour)).colour(0, 0)


@needs_chromium
def test_chromium_would_tell_of_a_header_without_the_cameras_parameter_sets(tmp_path: Path) -> None:
    output = rendered(tmp_path, [videos.software_take(tmp_path / "t.mp4")])
    data = bytearray(output.read_bytes())
    sps = data.index(b"\x67\x42", data.index(b"avcC"))
    data[sps + 4 : sps + 7] = bytes(byte ^ 0x55 for byte in data[sps + 4 : sps + 7])
    output.write_bytes(data)
    # A busy machine plays on for a while before it decodes what it is to show: hence a second time.
    assert browser.watched(output, tmp_path, [1.0, 2.5], [1.5])["errors"]
