"""The transcoder on real FFmpeg: any intro, any number of takes, and what comes out of them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ezrec.domain.errors import Retry
from ezrec.media.ffmpeg.inputs import INTRO
from ezrec.media.ffmpeg.probe import inspect
from ezrec.media.render.renderer import FfmpegTranscoder, ffmpeg_version, known_version, software_missing
from tests.support import media
from tests.support.rendering import deaf, plan_for, program

FRAME = 1 / 30


@pytest.fixture
def transcoder() -> FfmpegTranscoder:
    return FfmpegTranscoder(bitrate=800_000, preset="ultrafast")


INTROS: dict[str, Callable[[Path], Path]] = {
    "25 fps": lambda d: media.make_intro(d / "i.mp4", fps=25),
    "29.97 fps": lambda d: media.make_intro(d / "i.mp4", fps="30000/1001"),
    "50 fps": lambda d: media.make_intro(d / "i.mp4", fps=50),
    "60 fps": lambda d: media.make_intro(d / "i.mp4", fps=60),
    "portrait": lambda d: media.make_intro(d / "i.mp4", size=(360, 640)),
    "4K": lambda d: media.make_intro(d / "i.mp4", size=(3840, 2160), seconds=0.6),
    "HEVC in mov": lambda d: media.make_intro(d / "i.mov", codec="libx265"),
    "rotated": lambda d: media.make_intro(d / "i.mp4", quarter_turns=1),
    "upside down": lambda d: media.make_intro(d / "i.mp4", quarter_turns=2),
    "mono 44.1 kHz": lambda d: media.make_intro(d / "i.mp4", channels=1, sound_rate=44100),
    "silent": lambda d: media.make_intro(d / "i.mp4", audio=False),
    "variable rate": lambda d: media.make_intro(
        d / "i.mp4", fps=60, filters="select='lt(n\\,20)+not(mod(n\\,7))'"
    ),
    "half a second": lambda d: media.make_intro(d / "i.mp4", seconds=0.5),
    "square": lambda d: media.make_intro(d / "i.mp4", size=(201, 201), pixels="yuv444p"),
    "wide pixels": lambda d: media.make_intro(d / "i.mp4", size=(320, 360), filters="setsar=2"),
    "matroska": lambda d: media.make_intro(d / "i.mkv", fps=24),
    "webm": lambda d: media.make_intro(d / "i.webm", codec="libvpx"),
}
SHOWN_WITH_PILLARS = ("portrait", "rotated", "square")


@pytest.mark.parametrize("make", list(INTROS))
def test_any_intro_comes_first_in_full_and_the_recording_follows_with_the_logo(
    make: str, tmp_path: Path, transcoder: FfmpegTranscoder
) -> None:
    intro = INTROS[make](tmp_path)
    take, logo = media.make_take(tmp_path / "take.mp4"), media.make_logo(tmp_path / "logo.png")
    transcoder.check_asset("intro", intro)
    transcoder.check_asset("logo", logo)
    lead = inspect(INTRO, intro, ffprobe="ffprobe", nice=0).info.duration_s

    info = transcoder.render(plan_for(tmp_path, take, intro=intro, logo=logo), deaf, deaf)

    output = tmp_path / "out.mp4"
    assert abs(info.duration_s - (lead + 2)) <= FRAME + 0.1
    assert media.frames(output) == info.frames == round(lead * 30) + 60
    assert (info.width, info.height, info.fps) == (320, 180, 30)
    check_order(output, lead, pillars=make in SHOWN_WITH_PILLARS)
    check_sound(output, expected=make != "silent")


def check_order(output: Path, lead: float, *, pillars: bool) -> None:
    for at in (0.0, lead - 0.1):
        picture = media.picture_at(output, at)
        assert picture.colour(160, 90) == "red"
        assert picture.colour(-15, -15) == ("black" if pillars else "red")
        assert picture.colour(5, 90) == ("black" if pillars else "red")
    for at in (lead + 0.05, lead + 1.9):
        picture = media.picture_at(output, at)
        assert picture.colour(160, 90) == picture.colour(5, 5) == "blue"
        assert picture.colour(-12, -12) == picture.colour(-72, -40) == "lime"
        assert picture.colour(-5, -5) == picture.colour(-78, -20) == picture.colour(-40, -46) == "blue"


def check_sound(output: Path, *, expected: bool) -> None:
    found = media.streams(output)
    assert ("audio" in found) is expected
    if expected:
        sound = found["audio"]
        assert (sound["codec_name"], sound["sample_rate"], sound["channels"]) == ("aac", "48000", 2)
        assert abs(float(sound["duration"]) - float(found["video"]["duration"])) <= 0.05


def test_takes_follow_each_other_in_order_with_silence_where_one_has_no_sound(
    tmp_path: Path, transcoder: FfmpegTranscoder
) -> None:
    first = media.make_take(tmp_path / "1.mp4", colour="blue")
    second = media.make_take(tmp_path / "2.mp4", colour="magenta", seconds=1, audio=True)
    third = media.make_take(tmp_path / "3.mp4", colour="yellow", seconds=1, fps=25, size=(640, 480))
    logo = media.make_logo(tmp_path / "logo.png")
    info = transcoder.render(plan_for(tmp_path, first, second, third, logo=logo), deaf, deaf)
    output = tmp_path / "out.mp4"
    lengths = [transcoder.probe(take).duration_s for take in (first, second, third)]
    assert abs(info.duration_s - sum(lengths)) <= FRAME + 0.1
    shown = [media.picture_at(output, at).colour(160, 90) for at in (0, 1.9, 2.1, 2.9, 3.1, 3.9)]
    assert shown == ["blue", "blue", "magenta", "magenta", "yellow", "yellow"]
    assert media.picture_at(output, 3.5).colour(-12, -12) == "lime"
    check_sound(output, expected=True)
    assert [loud(output, at) for at in (0.5, 2.3, 3.5)] == [False, True, False]


def loud(path: Path, at: float) -> bool:
    argv = ["ffmpeg", "-hide_banner", "-nostdin", "-ss", str(at), "-t", "0.3", "-i", f"file:{path}", "-vn"]
    argv += ["-af", "volumedetect", "-f", "null", "-"]
    said = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60)
    volume = re.search(r"max_volume: (-?[\d.]+) dB", said.stderr)
    assert volume
    return float(volume.group(1)) > -40


def test_the_same_take_twice_is_two_parts(tmp_path: Path, transcoder: FfmpegTranscoder) -> None:
    take, logo = media.make_take(tmp_path / "t.mp4", audio=True), media.make_logo(tmp_path / "l.png")
    info = transcoder.render(plan_for(tmp_path, take, take, logo=logo), deaf, deaf)
    assert abs(info.duration_s - 2 * transcoder.probe(take).duration_s) <= FRAME + 0.1


def test_one_take_without_branding_is_copied_and_not_encoded(
    tmp_path: Path, transcoder: FfmpegTranscoder
) -> None:
    take = media.make_take(tmp_path / "take.mp4", audio=True)
    info = transcoder.render(plan_for(tmp_path, take), deaf, deaf)
    assert info.frames == 60
    assert "libx264" not in (tmp_path / "ffmpeg.log").read_text()
    assert (tmp_path / "out.mp4").read_bytes().index(b"moov") < 100  # in front: one request shows the video
    check_sound(tmp_path / "out.mp4", expected=True)


def test_one_take_that_no_browser_plays_is_encoded_even_without_branding(
    tmp_path: Path, transcoder: FfmpegTranscoder
) -> None:
    take = media.make_intro(tmp_path / "hevc.mp4", codec="libx265", size=(320, 180))
    assert transcoder.render(plan_for(tmp_path, take), deaf, deaf).video_codec == "h264"


def test_frames_that_the_camera_dropped_leave_the_time_as_it_was(
    tmp_path: Path, transcoder: FfmpegTranscoder
) -> None:
    take = media.make_take(tmp_path / "take.mp4", seconds=4, filters="select='not(between(n\\,40\\,69))'")
    info = transcoder.probe(take)
    assert (info.duration_s, info.fps, info.frames) == (4.0, 30.0, 90)
    made = transcoder.render(plan_for(tmp_path, take, logo=media.make_logo(tmp_path / "l.png")), deaf, deaf)
    assert (made.duration_s, made.frames) == (4.0, 120)
    copied = transcoder.render(plan_for(tmp_path, take, name="copy.mp4"), deaf, deaf)
    assert (copied.duration_s, copied.frames) == (4.0, 90)


def test_an_odd_size_becomes_even_and_an_odd_rate_whole(tmp_path: Path, transcoder: FfmpegTranscoder) -> None:
    take = media.make_take(tmp_path / "take.mp4", size=(321, 181), fps=17.3, pixels="yuv444p")
    info = transcoder.render(plan_for(tmp_path, take, logo=media.make_logo(tmp_path / "l.png")), deaf, deaf)
    assert (info.width, info.height) == (320, 180)
    assert info.fps == 17


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
def test_a_logo_larger_than_a_quarter_is_scaled_down_in_its_shape(
    ending: str, tmp_path: Path, transcoder: FfmpegTranscoder
) -> None:
    logo = media.make_logo(tmp_path / f"logo.{ending}", size=(400, 300))  # to 60 x 45
    transcoder.check_asset("logo", logo)
    transcoder.render(plan_for(tmp_path, media.make_take(tmp_path / "t.mp4"), logo=logo), deaf, deaf)
    picture = media.picture_at(tmp_path / "out.mp4", 1)
    assert picture.colour(-13, -13) == picture.colour(-66, -52) == "lime"
    assert picture.colour(-76, -30) == picture.colour(-30, -60) == picture.colour(-5, -5) == "blue"


def test_a_logo_lets_the_recording_shine_through_where_it_is_transparent(
    tmp_path: Path, transcoder: FfmpegTranscoder
) -> None:
    logo = media.make_logo(tmp_path / "logo.png", alpha=0.0)
    transcoder.render(plan_for(tmp_path, media.make_take(tmp_path / "t.mp4"), logo=logo), deaf, deaf)
    assert media.picture_at(tmp_path / "out.mp4", 1).colour(-20, -20) == "blue"


def test_sound_stays_with_the_picture_where_the_two_begin_apart(
    tmp_path: Path, transcoder: FfmpegTranscoder
) -> None:
    whole, take = media.make_take(tmp_path / "w.mp4", audio=True), tmp_path / "late.mp4"
    shift = [
        "-itsoffset",
        "0.5",
        "-i",
        str(whole),
        "-i",
        str(whole),
        "-map",
        "0:v",
        "-map",
        "1:a",
        "-c",
        "copy",
    ]
    subprocess.run(["ffmpeg", "-v", "error", *shift, str(take)], check=True, timeout=60)
    logo = media.make_logo(tmp_path / "l.png")
    info = transcoder.render(plan_for(tmp_path, take, logo=logo), deaf, deaf)
    assert info.duration_s == pytest.approx(2.0, abs=FRAME + 0.1)
    assert media.picture_at(tmp_path / "out.mp4", 0).colour(9, 9) == "blue"
    assert [loud(tmp_path / "out.mp4", at) for at in (0.1, 1.0, 1.65)] == [True, True, False]


def test_progress_rises_to_one_and_the_file_has_appeared_by_then(
    tmp_path: Path, transcoder: FfmpegTranscoder
) -> None:
    heard: list[tuple[float, bool]] = []
    plan = plan_for(tmp_path, media.make_take(tmp_path / "t.mp4"), logo=media.make_logo(tmp_path / "l.png"))
    transcoder.render(plan, lambda part: heard.append((part, plan.output.exists())), deaf)
    parts = [part for part, _ in heard]
    assert parts == sorted(parts)
    assert heard[-1] == (1.0, True)
    assert not any(there for part, there in heard[:-1])


def test_what_is_missing_of_the_software_is_named() -> None:
    assert re.match(r"n?\d+\.\d+", ffmpeg_version() or "")
    assert software_missing() == []
    assert ffmpeg_version("no-such-ffmpeg") is None
    assert software_missing(ffmpeg="no-such-ffmpeg") == [
        "ffmpeg",
        "libx264 (in ffmpeg)",
        "drawtext filter (in ffmpeg)",
    ]


def test_the_version_is_asked_again_only_when_the_program_is_another(tmp_path: Path) -> None:
    asked, memory = tmp_path / "asked", tmp_path / "state" / "version"

    def install(version: str) -> str:
        return program(tmp_path, f"echo x >> {asked}; echo ffmpeg version {version} of today")

    stand_in = install("7.1")
    assert [known_version(memory, stand_in) for _ in range(3)] == ["7.1"] * 3
    assert asked.read_text() == "x\n"
    stand_in = install("7.1.1-upgraded")
    assert [known_version(memory, stand_in) for _ in range(3)] == ["7.1.1-upgraded"] * 3
    assert asked.read_text() == "x\nx\n"
    memory.write_bytes(b"\xff")
    assert known_version(memory, stand_in) == "7.1.1-upgraded"
    assert known_version(memory, "no-such-ffmpeg") is None


def test_a_missing_program_is_said_with_its_cure(tmp_path: Path) -> None:
    plan = plan_for(tmp_path, media.make_take(tmp_path / "take.mp4"))
    with pytest.raises(Retry, match="apt install ffmpeg"):
        FfmpegTranscoder(bitrate=800_000, ffmpeg="no-such-ffmpeg").render(plan, deaf, deaf)
