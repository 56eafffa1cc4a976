"""The software camera, frame by frame: turnovers, kills and faults, proven by the numbers in its picture."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ezrec.camera import ffmpeg_sources
from ezrec.camera.ffmpeg_camera import CameraLimits, FfmpegCamera
from ezrec.camera.ffmpeg_sources import Faults, SoftwareSource
from ezrec.domain.errors import Retry
from ezrec.media.mp4.boxes import check_whole
from ezrec.media.mp4.repair import repair
from tests.support import media
from tests.support.recording import (
    Call,
    SteppingClock,
    are_in_a_row,
    command_of,
    frame_numbers,
    is_alive,
    our_cameras,
)
from tests.support.rendering import program
from tests.support.wait import eventually

ROOT = Path(__file__).parents[2]
LIMIT_S = 40.0
FPS = 30


def source(faults: Faults | None = None) -> SoftwareSource:
    return SoftwareSource(320, 180, FPS, 400_000, faults or Faults())


def camera_with(faults: Faults | None = None, limits: CameraLimits | None = None) -> FfmpegCamera:
    return FfmpegCamera(source(faults), SteppingClock(), limits)


@contextlib.contextmanager
def stand_in(tmp_path: Path, script: str) -> Iterator[None]:
    """A program of our own under FFmpeg's name, first in the path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    Path(program(folder, script)).rename(folder / "ffmpeg")
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{folder}:{before}"
    try:
        yield
    finally:
        os.environ["PATH"] = before


def now() -> datetime:
    return datetime.now(UTC)


def long_ago() -> datetime:
    """Before the camera began: a take from then on has every frame, however late it is asked for."""
    return now() - seconds(60)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def test_turnovers_over_one_running_camera_miss_no_frame(tmp_path: Path) -> None:
    camera = camera_with()
    everything, parts = tmp_path / "everything.mp4", []
    with camera.hold(Call()):
        whole = camera.attach(everything, now())
        edge = now()
        for n in range(9):
            path = tmp_path / f"part{n}.mp4"
            recording = camera.attach(path, edge)
            edge += seconds(0.25)
            recording.finish(edge, LIMIT_S)
            parts.append(path)
        whole.finish(edge, LIMIT_S)
        assert camera.health().dropped == 0
    numbers = [frame_numbers(path) for path in parts]
    assert all(are_in_a_row(found) for found in numbers)
    for earlier, later in itertools.pairwise(numbers):
        assert later[0] <= earlier[-1] + 1
    assert are_in_a_row(frame_numbers(everything))
    assert {n for found in numbers for n in found} >= set(range(numbers[0][0], numbers[-1][-1] + 1))


def test_overlapping_takes_show_the_same_frames_at_the_same_instants(tmp_path: Path) -> None:
    camera = camera_with()
    paths = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    with camera.hold(Call()):
        began = now()
        first = camera.attach(paths[0], began)
        time.sleep(0.7)
        second = camera.attach(paths[1], began + seconds(0.7))
        one = first.finish(began + seconds(1.2), LIMIT_S)
        two = second.finish(began + seconds(2.2), LIMIT_S)
    numbers = [frame_numbers(path) for path in paths]
    assert all(are_in_a_row(found) for found in numbers)
    shift = (two.started - one.started).total_seconds()
    assert numbers[1][0] - numbers[0][0] == pytest.approx(shift * FPS, abs=3)
    assert len(numbers[0]) == pytest.approx(one.duration_s * FPS)


def test_a_take_that_is_asked_for_late_begins_with_frames_from_memory(tmp_path: Path) -> None:
    camera = camera_with()
    with camera.hold(Call()):
        asked = now()
        time.sleep(2.5)
        take = camera.attach(tmp_path / "t.mp4", asked + seconds(0.2)).finish(now(), LIMIT_S)
    assert take.started <= asked + seconds(0.2)
    assert take.duration_s > 2.3
    assert are_in_a_row(frame_numbers(tmp_path / "t.mp4"))


RECORD = """
import sys, threading
from pathlib import Path
from ezrec.camera.ffmpeg_camera import FfmpegCamera
from ezrec.camera.ffmpeg_sources import SoftwareSource
from tests.support.recording import SteppingClock, our_cameras
clock = SteppingClock()
camera = FfmpegCamera(SoftwareSource(320, 180, 30, 400_000), clock)
with camera.hold(lambda: None):
    recording = camera.attach(Path(sys.argv[1]), clock.now())
    other = camera.attach(Path(sys.argv[2]), clock.now()).finish(clock.now(), 10)
    print(other.started.timestamp(), our_cameras()[0], flush=True)
    threading.Event().wait(60)
"""


@pytest.mark.parametrize("after_s", [0.55, 1.3])
def test_a_killed_recorder_leaves_a_readable_take_at_most_half_a_second_short(
    tmp_path: Path, after_s: float
) -> None:
    path, other = tmp_path / "take.mp4", tmp_path / "other.mp4"
    # In front of whatever else the machine does: what a starved camera has not made, no kill can lose.
    argv = ["nice", "-n", "-10", sys.executable, "-c", RECORD, str(path), str(other)]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        other_started, camera_pid = child.stdout.readline().split()
        time.sleep(after_s)
        child.send_signal(signal.SIGKILL)
        killed = time.time()
        child.wait(10)
    assert eventually(lambda: not is_alive(int(camera_pid)) or "ffmpeg" not in command_of(int(camera_pid)))
    repair(path)
    check_whole(path)
    numbers = frame_numbers(path)
    assert are_in_a_row(numbers)
    # The finished take says which frame was taken when; so the last frame's own time is known exactly.
    frames_since = numbers[-1] + 1 - frame_numbers(other)[0]
    assert killed - (float(other_started) + frames_since / FPS) <= 0.5


def test_a_stalled_camera_is_noticed_told_and_killed(tmp_path: Path) -> None:
    camera = camera_with(Faults(stall_after_s=1.5), CameraLimits(silence_s=2.0))
    lost = Call()
    with camera.hold(lost):
        (pid,) = our_cameras()
        recording = camera.attach(tmp_path / "t.mp4", long_ago())
        assert recording.lost.wait(LIMIT_S)
        assert lost.happened.wait(LIMIT_S)
        assert camera.health().fault == "no frames for 2 s"
        take = recording.finish(now() + seconds(60), LIMIT_S)
        assert eventually(lambda: not our_cameras())
        assert eventually(lambda: not is_alive(pid))
    assert take.ended_by == "no frames for 2 s"
    assert 1.2 < take.duration_s < 1.6
    assert are_in_a_row(frame_numbers(tmp_path / "t.mp4"))
    assert lost.count == 1


def test_a_camera_that_dies_keeps_every_frame_up_to_its_death(tmp_path: Path) -> None:
    camera = camera_with(Faults(die_after_s=3.0))
    with camera.hold(Call()):
        recording = camera.attach(tmp_path / "t.mp4", long_ago())
        assert recording.lost.wait(LIMIT_S)
        take = recording.finish(now(), LIMIT_S)
    assert take.ended_by.startswith("the camera ended by itself (exit 0)")
    assert frame_numbers(tmp_path / "t.mp4") == list(range(90))


def test_a_camera_that_falls_to_five_frames_a_second_is_called_slow_and_still_recorded(
    tmp_path: Path,
) -> None:
    camera = camera_with(Faults(slow_after_s=0.5))
    with camera.hold(Call()):
        recording = camera.attach(tmp_path / "t.mp4", now())
        assert eventually(lambda: camera.health().fault.startswith("slow: "), LIMIT_S)
        assert not recording.lost.is_set()
        take = recording.finish(now() + seconds(0.5), LIMIT_S)
    numbers = frame_numbers(tmp_path / "t.mp4")
    assert numbers[-3:] == [numbers[-1] - 12, numbers[-1] - 6, numbers[-1]]
    assert take.duration_s == pytest.approx((numbers[-1] - numbers[0] + 6) / FPS, abs=0.21)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo '[error] Device or resource busy' >&2; exit 1", r"\(exit 1\): Device or resource busy"),
        ("kill -SEGV $$", r"\(SIGSEGV\): it said nothing"),
        ("exec sleep 30", "no frames for 0.5 s"),
        ("echo 'this is no video at all'; exec sleep 30", "no fragmented MP4"),
        ("exec head -c 100000000 /dev/zero", "no fragmented MP4"),
    ],
)
def test_a_camera_that_cannot_begin_says_why_and_leaves_no_child(
    tmp_path: Path, script: str, reason: str
) -> None:
    ffmpeg_sources._font()  # asked once, of the real FFmpeg
    camera = camera_with(limits=CameraLimits(start_s=0.5) if "0.5" in reason else None)
    with stand_in(tmp_path, script), pytest.raises(Retry, match=reason), camera.hold(Call()):
        pytest.fail("there is no camera to hold")
    assert our_cameras() == []
    if "0.5" in reason:  # on a busy machine no real camera begins within that
        return
    with camera.hold(Call()):
        assert camera.health().fault == ""


def test_without_ffmpeg_the_camera_says_how_to_get_it(tmp_path: Path) -> None:
    ffmpeg_sources._font()
    camera = camera_with()
    before = os.environ["PATH"]
    os.environ["PATH"] = str(tmp_path)
    try:
        with pytest.raises(Retry, match="apt install ffmpeg"), camera.hold(Call()):
            pytest.fail("there is no camera to hold")
    finally:
        os.environ["PATH"] = before


def test_a_child_that_ignores_the_request_to_end_is_killed(tmp_path: Path) -> None:
    ffmpeg_sources._font()
    camera = camera_with(limits=CameraLimits(term_s=0.3))
    real = media.make_take(tmp_path / "real.mp4", seconds=1)
    with stand_in(tmp_path, f"trap '' TERM; cat {real}; while :; do sleep 0.1; done"), camera.hold(Call()):
        (pid,) = our_cameras()
    assert not is_alive(pid)


def test_the_child_sees_nothing_of_our_environment() -> None:
    os.environ["SUPABASE_KEY"] = "a secret"
    try:
        with camera_with().hold(Call()):
            (pid,) = our_cameras()
            environment = Path(f"/proc/{pid}/environ").read_bytes()
    finally:
        del os.environ["SUPABASE_KEY"]
    assert b"secret" not in environment
    assert b"LC_ALL=C" in environment


def test_a_snapshot_is_a_picture_of_the_running_camera(tmp_path: Path) -> None:
    camera = camera_with()
    picture = tmp_path / "now.png"
    with pytest.raises(Retry, match="not running"):
        camera.snapshot(picture)
    with camera.hold(Call()):
        camera.snapshot(picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert media.streams(picture)["video"]["width"] == 320
    assert list(tmp_path.iterdir()) == [picture]
