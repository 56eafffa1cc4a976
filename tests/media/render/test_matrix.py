"""Every strategy that encodes, over all intros and recordings: whole, in order, decodable, the logo in place.

The copy rung has its own in `test_copy_rung.py`, since there is more to be said of it.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ezrec.domain.branding import read_logo_show
from ezrec.domain.ports import RenderOptions, RenderPlan
from ezrec.media.ffmpeg.inputs import INTRO
from ezrec.media.ffmpeg.probe import inspect
from ezrec.media.render.renderer import FfmpegTranscoder
from tests.support import media, videos
from tests.support.campaigns import large_campaigns
from tests.support.pairings import INTROS, NEEDS, RECORDINGS, check_sound, check_times
from tests.support.rendering import deaf

# Every recording and every intro stands beside one of the three at least.
CHOSEN = [
    ("smart", "29.97", "25 fps"),
    ("smart", "no sound", "in-band with sound"),
    ("parts", "720p25", "PyAV"),
    ("parts", "mono 44.1 kHz", "three takes"),
    ("parts", "half a second", "in-band with sound"),
    ("parts", "29.97", "25 fps"),
    ("parts", "rotated", "OpenH264"),
    ("encode", "portrait", "three takes"),
    ("encode", "no sound", "plain"),
    ("encode", "29.97", "PyAV in fragments"),
    ("encode", "4K60 HEVC mov", "in-band"),
    ("encode", "rotated", "software with sound"),
]
RUNGS = ("smart", "parts", "encode")
SIZE = (320, 180)


def wanted() -> list[Any]:
    """With EZREC_TEST_MATRIX=full every intro before every recording by every strategy: some minutes."""
    every = [(rung, intro, recording) for rung in RUNGS for intro in INTROS for recording in RECORDINGS]
    chosen = every if large_campaigns() else CHOSEN
    return [pytest.param(*one, marks=NEEDS.get(one[2], ())) for one in chosen]


def rendered(rung: str, folder: Path, takes: list[Path], intro: Path) -> tuple[Path, dict[str, Any]]:
    output = folder / "out.mp4"
    plan = RenderPlan(
        takes=takes, output=output, log=folder / "ffmpeg.log", intro=intro,
        logo=media.make_logo(folder / "l.png"), parts=folder / "parts" if rung == "parts" else None,
        options=RenderOptions(logo_show=read_logo_show("first:1s" if rung == "smart" else "always")),
    )  # fmt: skip
    FfmpegTranscoder(bitrate=800_000, preset="ultrafast").render(plan, deaf, deaf)
    return output, json.loads((folder / "processing.json").read_bytes())


@pytest.mark.parametrize(("rung", "intro", "recording"), wanted())
def test_a_video_that_was_encoded_is_complete_in_order_and_decodable(
    rung: str, intro: str, recording: str, tmp_path: Path
) -> None:
    takes, lead = RECORDINGS[recording](tmp_path), INTROS[intro](tmp_path)
    output, report = rendered(rung, tmp_path, takes, lead)
    assert report["rung"] == rung, report["why"]
    sources, made, shown = (
        [videos.packets(take) for take in takes],
        videos.packets(output),
        videos.pictures(output),
    )
    assert report["checks"]["frames"] == len(shown) == len(made)
    video = inspect(INTRO, lead, ffprobe="ffprobe", nice=0)
    rate = 25 if recording == "25 fps" else 30
    first = round(video.info.duration_s * rate)
    in_order = sorted(made, key=lambda packet: packet.at)
    check_times(in_order, [gap["at_s"] for gap in report["gaps"]])
    assert in_order[0].at == pytest.approx(0, abs=0.001)
    if rung == "encode":
        assert report["gaps"] == []
        lengths = [packets[-1].at + packets[-1].lasts - packets[0].at for packets in sources]
        assert len(made) == first + sum(round(length * rate) for length in lengths)
    else:
        check_each_frame_has_its_own_time(in_order[first:], sources)
        assert videos.pictures(videos.without_sets_in_band(output)) == shown
    check_sound(output, expected=intro != "no sound" or "sound" in recording or recording == "plain")
    check_logo(output, in_order[first].at, in_order[-1].at, at_the_end=rung != "smart")
    if videos.has_openh264():
        assert videos.openh264_pictures(output, SIZE) == shown


def check_each_frame_has_its_own_time(made: list[videos.Packet], sources: list[list[videos.Packet]]) -> None:
    """Take by take the frames of the video stand as far apart as in the recording."""
    assert len(made) == sum(len(packets) for packets in sources)
    at = 0
    for packets in sources:
        ours = made[at : at + len(packets)]
        steps = [after.at - before.at for before, after in pairwise(ours)]
        assert steps == pytest.approx([after.at - before.at for before, after in pairwise(packets)], abs=2e-4)
        at += len(packets)


def check_logo(video: Path, begins: float, ends: float, *, at_the_end: bool) -> None:
    assert not shows_logo(video, max(0.0, begins - 0.1)), "over the intro"
    assert shows_logo(video, begins + 0.01)
    assert shows_logo(video, ends - 0.05) is at_the_end


def shows_logo(video: Path, at: float) -> bool:
    """A test picture has a place or two of the logo's colour: so a patch of it is looked at."""
    picture = media.picture_at(video, at)
    return all(picture.colour(x, y) == "lime" for x in (-12, -24, -36) for y in (-12, -22))
