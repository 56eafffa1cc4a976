"""A video made in one pass is looked at before it gets its name: every frame counted, every join decoded."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from ezrec.media.ffmpeg.runner import FfmpegFailed, Log
from ezrec.media.ffmpeg.tools import Tools, VerificationError
from ezrec.media.mp4 import keyframes
from ezrec.media.render.verify_output import ExpectedVideo, OutputVerifier
from ezrec.system.task import CancelToken
from tests.support import videos

TOOLS = Tools("ffmpeg", "ffprobe", 0, 800_000, "ultrafast", 60.0)
PROMISED = ExpectedVideo(2.0, 60, False, Fraction(30), joins=(20, 40))


@pytest.fixture
def checker(tmp_path: Path) -> OutputVerifier:
    return OutputVerifier(TOOLS, videos.b_frame_take(tmp_path / "video.mp4"), CancelToken(), Log())


def test_a_sound_video_passes(checker: OutputVerifier) -> None:
    info = checker.check_decoding(PROMISED)
    assert (info.frames, info.duration_s) == (60, 2.0)
    assert checker.check_decoding(replace(PROMISED, joins=tuple(range(1, 60)))).frames == 60


@pytest.mark.parametrize("place", [20, 40])
def test_a_damaged_join_is_refused(place: int, checker: OutputVerifier) -> None:
    track = keyframes.read(checker.output).keys(0).track
    with checker.output.open("r+b") as file:
        for number in range(place - 2, place + 3):
            file.seek(track.offsets[number] + track.sizes[number] // 2)
            file.write(b"\xff" * (track.sizes[number] // 2))
    with pytest.raises((VerificationError, FfmpegFailed)):
        checker.check_decoding(PROMISED)


@pytest.mark.parametrize(
    "wrong",
    [{"frames": 61}, {"seconds": 2.2}, {"sound": True}],
)
def test_a_video_that_is_not_what_was_promised_is_refused(
    wrong: dict[str, float], checker: OutputVerifier
) -> None:
    with pytest.raises(VerificationError):
        checker.check_decoding(replace(PROMISED, **wrong))  # type: ignore[arg-type]
