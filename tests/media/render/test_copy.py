"""The strategy `copy`: what it joins is identical, complete, in order and decodable, in every pairing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ezrec.domain.errors import Reject, Stopped
from ezrec.domain.ports import RenderOptions, RenderPlan
from ezrec.media.ffmpeg.inputs import INTRO
from ezrec.media.ffmpeg.probe import inspect
from ezrec.media.mp4.repair import repair
from ezrec.media.render.renderer import FfmpegTranscoder
from tests.support import media, videos
from tests.support.campaigns import large_campaigns
from tests.support.pairings import (
    INTROS,
    NEEDS,
    RECORDINGS,
    check_sound,
    check_times,
    rendered,
)

# Every intro and every recording stands in at least one pair, every kind of sound beside every other.
CHOSEN = [
    ("720p25", "software"),
    ("720p25", "in-band with sound"),
    ("29.97", "25 fps"),
    ("29.97", "software with sound"),
    ("4K60 HEVC mov", "in-band"),
    ("portrait", "plain"),
    ("rotated", "three takes"),
    ("no sound", "software"),
    ("no sound", "software with sound"),
    ("mono 44.1 kHz", "in-band with sound"),
    ("mono 44.1 kHz", "software"),
    ("half a second", "three takes"),
    ("half a second", "plain"),
    ("720p25", "PyAV"),
    ("portrait", "PyAV in fragments"),
    ("mono 44.1 kHz", "OpenH264"),
]


def pairs() -> list[Any]:
    """With EZREC_TEST_MATRIX=full every intro before every recording, which takes some minutes."""
    every = [(intro, recording) for intro in INTROS for recording in RECORDINGS]
    wanted = every if large_campaigns() else CHOSEN
    return [pytest.param(intro, recording, marks=NEEDS.get(recording, ())) for intro, recording in wanted]


@pytest.fixture
def transcoder() -> FfmpegTranscoder:
    return FfmpegTranscoder(bitrate=800_000, preset="ultrafast")


@pytest.mark.parametrize(("intro", "recording"), pairs())
def test_a_joined_video_is_identical_complete_and_in_order(
    intro: str, recording: str, tmp_path: Path, transcoder: FfmpegTranscoder
) -> None:
    takes, lead = RECORDINGS[recording](tmp_path), INTROS[intro](tmp_path)
    output, report = rendered(transcoder, tmp_path, takes, lead, cache=tmp_path / "cache")

    assert (report["rung"], report["intro"]) == ("copy", "made")
    copied = [packet for take in takes for packet in videos.packets(take)]
    made = videos.packets(output)
    first = len(made) - len(copied)
    video = inspect(INTRO, lead, ffprobe="ffprobe", nice=0)
    assert first == round(video.info.duration_s * transcoder.probe(takes[0]).fps)
    assert [packet.digest for packet in made[first:]] == [packet.digest for packet in copied]
    check_times(made, [gap["at_s"] for gap in report["gaps"]])

    shown = videos.pictures(output)
    assert shown[first:] == [picture for take in takes for picture in videos.pictures(take)]
    assert videos.pictures(videos.without_sets_in_band(output)) == shown
    assert report["checks"]["frames"] == len(shown) == len(made)
    assert output.read_bytes().index(b"moov") < 100
    check_sound(output, expected=intro != "no sound" or "sound" in recording or recording == "plain")


def test_an_intro_is_made_once_for_all_videos_of_a_camera(
    tmp_path: Path, transcoder: FfmpegTranscoder
) -> None:
    take, lead, cache = (
        videos.software_take(tmp_path / "t.mp4"),
        media.make_intro(tmp_path / "i.mp4"),
        tmp_path / "c",
    )
    videos_made = [rendered(transcoder, tmp_path, [take], lead, cache=cache) for _ in range(2)]
    assert [report["intro"] for _, report in videos_made] == ["made", "cached"]
    moved = lead.rename(tmp_path / "another name.mp4")
    assert rendered(transcoder, tmp_path, [take], moved, cache=cache)[1]["intro"] == "cached"
    other = videos.software_take(tmp_path / "t25.mp4", fps=25)
    assert rendered(transcoder, tmp_path, [other], moved, cache=cache)[1]["intro"] == "made"


def test_an_intro_prepared_beforehand_costs_the_video_nothing(
    tmp_path: Path, transcoder: FfmpegTranscoder
) -> None:
    take, lead = videos.software_take(tmp_path / "t.mp4", audio=True), media.make_intro(tmp_path / "i.mp4")
    assert transcoder.prepare(take, lead, tmp_path / "cache")
    assert rendered(transcoder, tmp_path, [take], lead, cache=tmp_path / "cache")[1]["intro"] == "cached"


@pytest.mark.parametrize("spoil", [b"", b"not a video", None])
def test_a_spoilt_intro_in_the_cache_is_made_again(
    spoil: bytes | None, tmp_path: Path, transcoder: FfmpegTranscoder
) -> None:
    take, lead, cache = (
        videos.software_take(tmp_path / "t.mp4"),
        media.make_intro(tmp_path / "i.mp4"),
        tmp_path / "c",
    )
    before = videos.pictures(rendered(transcoder, tmp_path, [take], lead, cache=cache)[0])
    for kept in cache.glob("*.made"):
        kept.write_bytes(kept.read_bytes()[:-9000] if spoil is None else spoil)
    output, report = rendered(transcoder, tmp_path, [take], lead, cache=cache)
    assert report["intro"] == "made"
    assert videos.pictures(output) == before


def b_frames(folder: Path) -> list[Path]:
    return [videos.b_frame_take(folder / "b.mp4")]


def two_cameras(folder: Path) -> list[Path]:
    """Parameter sets of one number and different content."""
    return [videos.software_take(folder / "1.mp4"), videos.in_band_take(folder / "2.mp4")]


def hevc(folder: Path) -> list[Path]:
    return [media.make_intro(folder / "h.mp4", codec="libx265", size=(320, 180))]


def two_sounds(folder: Path) -> list[Path]:
    return [
        media.make_take(folder / "1.mp4", audio=True),
        videos.software_take(folder / "0.mp4"),
        Path(shutil.copy(videos.in_band_take(folder / "x.mp4", audio=True), folder / "2.mp4")),
    ]


UNFIT = {
    "B-frames": (b_frames, "b.mp4: B-frames"),
    "two cameras": (two_cameras, "the parameter sets differ under one id"),
    "another codec": (hevc, "h.mp4: not in a form that every browser plays"),
    "two kinds of sound": (two_sounds, "differ"),
}


@pytest.mark.parametrize("make", list(UNFIT))
def test_what_cannot_be_joined_rightly_is_encoded_and_the_report_says_why(
    make: str, tmp_path: Path, transcoder: FfmpegTranscoder
) -> None:
    build, reason = UNFIT[make]
    takes = build(tmp_path)
    output, report = rendered(transcoder, tmp_path, takes, media.make_intro(tmp_path / "i.mp4"))
    assert report["rung"] == "encode"
    assert any(reason in why for why in report["why"]), report["why"]
    assert len(videos.pictures(output)) == report["checks"]["frames"]


def test_one_take_with_b_frames_and_no_branding_is_still_not_encoded(
    tmp_path: Path, transcoder: FfmpegTranscoder
) -> None:
    (take,) = b_frames(tmp_path)
    output, report = rendered(transcoder, tmp_path, [take])
    assert report["rung"] == "remux"
    assert videos.pictures(output) == videos.pictures(take)


def test_a_logo_wanted_everywhere_is_encoded_and_one_burned_in_is_copied(
    tmp_path: Path, transcoder: FfmpegTranscoder
) -> None:
    take, logo = videos.software_take(tmp_path / "t.mp4"), media.make_logo(tmp_path / "l.png")
    assert rendered(transcoder, tmp_path, [take], logo=logo)[1]["rung"] == "encode"
    _, report = rendered(transcoder, tmp_path, [take], logo=logo, burned_in=[take])
    assert (report["rung"], report["why"]) == ("copy", ["the logo is in the picture already"])


def test_a_gap_of_the_camera_is_named_and_a_torn_take_left_to_its_owner(
    tmp_path: Path, transcoder: FfmpegTranscoder
) -> None:
    take = media.make_take(tmp_path / "t.mp4", seconds=4, filters="select='not(between(n\\,40\\,69))'")
    data = take.read_bytes()
    take.write_bytes(data[:-100])
    with pytest.raises(Reject, match="cut short"):
        rendered(transcoder, tmp_path, [take])
    assert take.read_bytes() == data[:-100]
    assert repair(take).seconds
    output, report = rendered(transcoder, tmp_path, [take])
    assert report["gaps"] == [
        {"at_s": pytest.approx(1.3, abs=0.01), "lasts_s": pytest.approx(1.03, abs=0.01)}
    ]
    assert videos.pictures(output) == videos.pictures(take)
    assert [one.at for one in videos.packets(output)] == [one.at for one in videos.packets(take)]


def test_a_slow_cameras_own_pace_is_no_gap(tmp_path: Path, transcoder: FfmpegTranscoder) -> None:
    slow = media.make_take(
        tmp_path / "t.mp4", fps=12, seconds=3, filters="select='not(between(n\\,20\\,25))'"
    )
    _, report = rendered(transcoder, tmp_path, [slow])
    [gap] = report["gaps"]
    assert gap["lasts_s"] == pytest.approx(7 / 12, abs=0.01)


def test_a_copy_that_is_stopped_leaves_nothing(tmp_path: Path, transcoder: FfmpegTranscoder) -> None:
    take = videos.software_take(tmp_path / "t.mp4")
    plan = RenderPlan(
        takes=[take],
        output=tmp_path / "out.mp4",
        log=tmp_path / "l.log",
        options=RenderOptions(cache=tmp_path / "c"),
        intro=media.make_intro(tmp_path / "i.mp4"),
    )
    stops: list[Callable[[], None]] = []

    def stop(done: float) -> None:
        stops[0]()

    with pytest.raises(Stopped):
        transcoder.render(plan, stop, stops.append)
    assert not list(tmp_path.glob("out.mp4*"))
    assert not list((tmp_path / "c").glob("*.new"))
