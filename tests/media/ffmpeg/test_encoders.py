"""The choice of an encoder: it has to prove itself, and what is wrong with it is told and remembered."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ezrec.domain.encoders import AUTO, HARDWARE, SOFTWARE, candidates
from ezrec.domain.ports import RenderPlan
from ezrec.media.ffmpeg import encoders
from ezrec.media.ffmpeg.encoders import Choice, Encoders
from ezrec.media.ffmpeg.runner import Log
from ezrec.media.render.renderer import FfmpegTranscoder
from tests.support import media, videos
from tests.support.rendering import deaf, program

NAME = "h264_v4l2m2m"


def has_device() -> bool:
    return any(Path("/dev").glob("video1[0-9]"))


def test_x264_passes_the_test_that_an_encoder_in_hardware_has_to_pass() -> None:
    assert encoders.try_encoder("ffmpeg", SOFTWARE, Log()) == ""


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("h264_nonsense", "this FFmpeg has no such encoder"),
        ("mpeg4", "Error while opening encoder|Nothing was written"),  # FFmpeg 5.1, 7.1
    ],
)
def test_what_makes_no_plain_h264_fails_it(name: str, fault: str) -> None:
    assert re.search(fault, encoders.try_encoder("ffmpeg", name, Log()))


@pytest.mark.skipif(has_device(), reason="this machine has an encoder in hardware, or may have one")
def test_an_encoder_without_a_device_fails_it() -> None:
    assert encoders.try_encoder("ffmpeg", NAME, Log())


def stand_in(folder: Path, instead: str) -> str:
    """FFmpeg, in which x264 goes by the name of an encoder in hardware; `instead` may spoil what it does."""
    script = f"""
    n=$#
    while [ $n -gt 0 ]; do
        word=$1; shift
        [ "$word" = {NAME} ] && word=libx264 && mine=yes
        [ "$word" = veryfast ] && word=ultrafast
        set -- "$@" "$word"; n=$((n - 1))
    done
    {instead}
    exec ffmpeg "$@"
    """
    return program(folder, script)


@pytest.mark.parametrize(
    ("instead", "fault"),
    [
        ("", ""),
        ('[ "$mine" ] && exit 1', "it said nothing"),
        ('[ "$mine" ] && { echo "[error] Could not find a valid device" >&2; exit 1; }', "a valid device"),
        ('[ "$mine" ] && exec ffmpeg -v error -f lavfi -i testsrc2=s=1280x720:r=30:d=1 -bf 0 '
         '-f mp4 -y "$OUT"', "30 frames came of 60"),
        ('[ "$mine" ] && exec ffmpeg -v error -f lavfi -i testsrc=s=1280x720:r=30:d=2 -bf 0 -pix_fmt yuv420p '
         '-preset ultrafast -f mp4 -y "$OUT"', "its picture is not what went in"),
        ('[ "$mine" ] && exec ffmpeg -v error -f lavfi -i testsrc2=s=640x360:r=30:d=2 -bf 0 -pix_fmt yuv420p '
         '-preset ultrafast -f mp4 -y "$OUT"', "it made 640x360 of 1280x720"),
        ('[ "$mine" ] && exec ffmpeg -v error -f lavfi -i testsrc2=s=1280x720:r=30:d=2 -bf 2 '
         '-pix_fmt yuv420p -preset ultrafast -f mp4 -y "$OUT"', "B-frames"),
        ('[ "$mine" ] && exec ffmpeg -v error -f lavfi -i testsrc2=s=1280x720:r=30:d=2 -c:v mpeg4 '
         '-f mp4 -y "$OUT"', "a track of another codec"),
        ('[ "$mine" ] && exec ffmpeg -v error -f lavfi -i testsrc2=s=1280x720:r=30:d=2 -pix_fmt yuv444p '
         '-preset ultrafast -f mp4 -y "$OUT"', "4:2:0"),
    ],
)  # fmt: skip
def test_the_test_finds_what_is_wrong_with_an_encoder(instead: str, fault: str, tmp_path: Path) -> None:
    last = "for word; do last=$kept; kept=$word; done; OUT=${last#file:}\n"  # the very last word is -y
    said = encoders.try_encoder(stand_in(tmp_path, last + instead), NAME, Log())
    assert fault in said
    assert bool(said) == bool(fault)


def test_auto_tries_the_hardware_and_a_name_tries_that_alone() -> None:
    assert candidates(AUTO) == HARDWARE
    assert candidates(SOFTWARE) == ()
    assert candidates(NAME) == (NAME,)


def counting(folder: Path, code: int) -> tuple[str, Path]:
    """FFmpeg that counts how often the hardware is tried, and its tally."""
    tally = folder / "tally"
    tally.touch()
    return stand_in(folder, f'[ "$mine" ] && {{ echo >> {tally}; [ {code} = 0 ] || exit {code}; }}'), tally


@pytest.mark.parametrize("code", [0, 1])
def test_a_verdict_is_remembered_until_ffmpeg_changes(code: int, tmp_path: Path) -> None:
    ffmpeg, tally = counting(tmp_path, code)
    memory = tmp_path / "state" / "encoders.json"
    assert Encoders(ffmpeg, AUTO, memory).known() is None
    choices = [Encoders(ffmpeg, AUTO, memory).choose() for _ in range(3)]
    assert {choice.name for choice in choices} == {SOFTWARE if code else NAME}
    assert tally.read_text().count("\n") == 1
    assert Encoders(ffmpeg, AUTO, memory).known() == choices[0]
    found = json.loads(memory.read_bytes())
    found[NAME]["key"] = found[NAME]["key"].replace("ffmpeg version", "ffmpeg version 1")
    memory.write_text(json.dumps(found))
    Encoders(ffmpeg, AUTO, memory).choose()
    assert tally.read_text().count("\n") == 2


@pytest.mark.parametrize("spoilt", [b"", b"[]", b"\xff\xfe", b'{"h264_v4l2m2m": 7}'])
def test_a_memory_that_is_spoilt_is_no_memory(spoilt: bytes, tmp_path: Path) -> None:
    ffmpeg, tally = counting(tmp_path, 1)
    memory = tmp_path / "encoders.json"
    memory.write_bytes(spoilt)
    assert Encoders(ffmpeg, AUTO, memory).choose().name == SOFTWARE
    assert tally.read_text().count("\n") == 1


def test_while_something_is_recorded_the_device_is_left_to_the_camera(tmp_path: Path) -> None:
    ffmpeg, tally = counting(tmp_path, 0)
    choice = Encoders(ffmpeg, AUTO, None, lambda: True).choose()
    assert choice == Choice(SOFTWARE, f"{NAME} is not tried while something is recorded")
    assert tally.read_text() == ""


def test_a_wish_for_x264_tries_nothing(tmp_path: Path) -> None:
    ffmpeg, tally = counting(tmp_path, 0)
    assert Encoders(ffmpeg, SOFTWARE).choose() == Choice(SOFTWARE)
    assert tally.read_text() == ""


def video(folder: Path, ffmpeg: str, *, in_parts: bool) -> tuple[RenderPlan, dict[str, Any]]:
    plan = RenderPlan(
        takes=[media.make_take(folder / "t.mp4", filters=videos.NOISE)], output=folder / "out.mp4",
        log=folder / "log", logo=media.make_logo(folder / "l.png"), intro=media.make_intro(folder / "i.mp4"),
        parts=folder / "parts" if in_parts else None,
    )  # fmt: skip
    made = FfmpegTranscoder(bitrate=800_000, preset="ultrafast", ffmpeg=ffmpeg, encoder=AUTO)
    made.render(plan, deaf, deaf)
    report = dict(json.loads((folder / "processing.json").read_bytes()))
    assert report["rung"] == ("parts" if in_parts else "encode")
    assert media.picture_at(plan.output, 2).colour(-12, -12) == "lime"
    return plan, report


@pytest.mark.parametrize("in_parts", [False, True])
def test_an_encoder_that_passes_makes_the_video(in_parts: bool, tmp_path: Path) -> None:
    plan, report = video(tmp_path, stand_in(tmp_path, ""), in_parts=in_parts)
    assert report["encoder"] == NAME
    assert len(videos.pictures(plan.output)) == 90
    if in_parts:
        assert videos.pictures(videos.without_sets_in_band(plan.output)) == videos.pictures(plan.output)


@pytest.mark.parametrize("in_parts", [False, True])
def test_one_that_passes_and_then_fails_gives_way_to_x264(in_parts: bool, tmp_path: Path) -> None:
    ffmpeg = stand_in(tmp_path, '[ "$mine" ] && case "$*" in *l.png*) exit 1;; esac')
    plan, report = video(tmp_path, ffmpeg, in_parts=in_parts)
    assert report["encoder"] == SOFTWARE
    assert media.frames(plan.output) == 90


def test_one_that_does_not_pass_is_named_in_the_report(tmp_path: Path) -> None:
    _, report = video(tmp_path, stand_in(tmp_path, '[ "$mine" ] && exit 1'), in_parts=True)
    assert report["encoder"] == SOFTWARE
    assert f"hardware: {NAME}: it said nothing" in report["why"]


def test_ffmpeg_here_lists_what_the_tests_above_ask_for() -> None:
    said = subprocess.run(["ffmpeg", "-v", "error", "-encoders"], capture_output=True, text=True, check=True)
    assert all(f" {name} " in said.stdout for name in ("mpeg4", NAME))
