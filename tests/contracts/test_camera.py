"""What the port `Camera` promises, kept by the FFmpeg camera and by the fake."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from ezrec.camera.ffmpeg_camera import FfmpegCamera
from ezrec.camera.ffmpeg_sources import SoftwareSource, V4l2Source
from ezrec.camera.shared_camera import SharedCamera
from ezrec.domain.errors import Retry
from ezrec.domain.ports import Camera
from ezrec.media.mp4.boxes import check_whole
from tests.fakes.camera import FakeCamera
from tests.support import media
from tests.support.recording import Call, SteppingClock, our_cameras
from tests.support.wait import eventually

LIMIT_S = 20.0


@dataclass
class Rig:
    """A camera, and what a test does to it from outside."""

    camera: Camera
    clock: SteppingClock
    break_off: Callable[[], None]
    absent: Camera
    fps: int
    key_every_s: float = 1.3
    rounding_s: float = 0.01  # how far a take's length may lie from its frames'; times of a sensor waver


def _kill_the_child() -> None:
    (pid,) = our_cameras()
    os.kill(pid, signal.SIGKILL)


@pytest.fixture(params=["fake", "software"])
def rig(request: pytest.FixtureRequest) -> Rig:
    clock = SteppingClock()
    camera: SharedCamera
    if request.param == "fake":
        fake, absent = FakeCamera(clock), FakeCamera(clock)
        absent.absent = "no such device"
        return Rig(fake, clock, fake.die, absent, 15)
    camera = FfmpegCamera(SoftwareSource(320, 180, 30, 400_000), clock)
    gone = FfmpegCamera(V4l2Source(Path("/dev/video-that-is-not-there"), 320, 180, 30, 400_000), clock)
    return Rig(camera, clock, _kill_the_child, gone, 30)


@contextlib.contextmanager
def held(rig: Rig) -> Iterator[Call]:
    lost = Call()
    with rig.camera.hold(lost):
        yield lost


def lasting(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


def test_a_camera_that_nobody_holds_sleeps_and_gives_no_take(rig: Rig, tmp_path: Path) -> None:
    assert not rig.camera.health().running
    with pytest.raises(Retry, match="not running"):
        rig.camera.attach(tmp_path / "t.mp4", rig.clock.now())
    assert not (tmp_path / "t.mp4").exists()
    with held(rig):
        health = rig.camera.health()
        assert health.running
        assert health.frames > 0
        assert health.frame_age_s is not None
        assert health.fault == ""
    assert not rig.camera.health().running


def test_a_take_begins_within_a_key_frame_before_and_ends_within_a_fragment_behind(
    rig: Rig, tmp_path: Path
) -> None:
    path = tmp_path / "take.mp4"
    with held(rig):
        time.sleep(1.2)  # so that a key frame lies before `at`
        at = rig.clock.now()
        recording = rig.camera.attach(path, at)
        until = at + lasting(1.0)
        take = recording.finish(until, LIMIT_S)
    assert take.file == path.name
    assert at - lasting(rig.key_every_s) <= take.started <= at
    assert until <= take.ended <= until + lasting(0.5)
    assert take.ended_by == ""
    assert take.size == path.stat().st_size
    check_whole(path)
    assert media.count_samples(path, 1) == media.frames(path)
    assert media.frames(path) / rig.fps == pytest.approx(take.duration_s, abs=rig.rounding_s)
    assert float(media.streams(path)["video"]["start_time"]) == 0


def test_overlapping_takes_are_each_whole(rig: Rig, tmp_path: Path) -> None:
    first, second = tmp_path / "first.mp4", tmp_path / "second.mp4"
    with held(rig), held(rig):
        began = rig.clock.now()
        one = rig.camera.attach(first, began)
        time.sleep(0.6)
        two = rig.camera.attach(second, rig.clock.now())
        takes = [one.finish(began + lasting(1.0), LIMIT_S), two.finish(began + lasting(1.6), LIMIT_S)]
    for path, take in zip((first, second), takes, strict=True):
        check_whole(path)
        assert media.frames(path) / rig.fps == pytest.approx(take.duration_s, abs=rig.rounding_s)
    assert takes[0].ended < takes[1].ended


def test_the_camera_runs_until_the_last_one_leaves(rig: Rig) -> None:
    with held(rig) as second:
        with held(rig) as first:
            pass
        assert rig.camera.health().running
        frames = rig.camera.health().frames
        assert eventually(lambda: rig.camera.health().frames > frames)
    assert not rig.camera.health().running
    assert (first.count, second.count) == (0, 0)


def test_a_file_that_exists_is_never_overwritten(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "take.mp4"
    path.write_bytes(b"somebody's footage")
    with held(rig), pytest.raises(Retry, match=r"take\.mp4 exists already"):
        rig.camera.attach(path, rig.clock.now())
    assert path.read_bytes() == b"somebody's footage"


def test_a_stream_that_breaks_off_is_told_to_all_and_keeps_what_was_recorded(
    rig: Rig, tmp_path: Path
) -> None:
    paths = [tmp_path / "first.mp4", tmp_path / "second.mp4"]
    with held(rig) as first, held(rig) as second:
        recordings = [rig.camera.attach(path, rig.clock.now()) for path in paths]
        time.sleep(0.5)
        rig.break_off()
        for recording in recordings:
            assert recording.lost.wait(LIMIT_S)
        assert first.happened.wait(LIMIT_S)
        assert second.happened.wait(LIMIT_S)
        takes = [recording.finish(rig.clock.now() + lasting(60), LIMIT_S) for recording in recordings]
        with pytest.raises(Retry, match="ended by itself"):
            rig.camera.attach(tmp_path / "third.mp4", rig.clock.now())
        health = rig.camera.health()
        assert not health.running
        assert "ended by itself" in health.fault
    assert (first.count, second.count) == (1, 1)
    for path, take in zip(paths, takes, strict=True):
        assert "ended by itself" in take.ended_by
        check_whole(path)
        assert media.frames(path) / rig.fps == pytest.approx(take.duration_s, abs=rig.rounding_s)


def test_the_next_hold_after_a_loss_starts_afresh_even_while_the_old_holders_stay(
    rig: Rig, tmp_path: Path
) -> None:
    with held(rig) as old:
        rig.break_off()
        assert old.happened.wait(LIMIT_S)
        with held(rig) as new:
            take = rig.camera.attach(tmp_path / "t.mp4", rig.clock.now()).finish(rig.clock.now(), LIMIT_S)
            assert take.duration_s > 0
            assert new.count == 0
    assert old.count == 1
    assert not rig.camera.health().running


def test_finish_keeps_its_limit_when_the_end_is_far_away(rig: Rig, tmp_path: Path) -> None:
    with held(rig):
        recording = rig.camera.attach(tmp_path / "t.mp4", rig.clock.now())
        began = time.monotonic()
        take = recording.finish(rig.clock.now() + lasting(3600), limit_s=1.0)
        assert time.monotonic() - began < LIMIT_S
    assert take.duration_s > 0
    check_whole(tmp_path / "t.mp4")


@pytest.mark.parametrize("step", [lasting(7200), -lasting(86400)])
def test_a_step_of_the_clock_during_a_take_harms_nothing(rig: Rig, tmp_path: Path, step: timedelta) -> None:
    path = tmp_path / "t.mp4"
    with held(rig):
        at = rig.clock.now()
        recording = rig.camera.attach(path, at)
        time.sleep(0.4)
        rig.clock.step = step
        take = recording.finish(rig.clock.now() + lasting(0.4), LIMIT_S)
    assert abs(take.started - at) < lasting(1.5)
    assert 0.8 <= take.duration_s < 10
    assert media.frames(path) / rig.fps == pytest.approx(take.duration_s, abs=rig.rounding_s)


def test_the_file_is_readable_while_it_grows(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "t.mp4"
    with held(rig):
        recording = rig.camera.attach(path, rig.clock.now())
        assert eventually(lambda: path.stat().st_size > 1000, LIMIT_S)
        before = path.stat().st_size
        assert eventually(lambda: path.stat().st_size > before, LIMIT_S)
        (tmp_path / "copy.mp4").write_bytes(path.read_bytes())
        recording.finish(rig.clock.now(), LIMIT_S)
    assert media.frames(tmp_path / "copy.mp4") > 0


def test_a_snapshot_is_a_picture_of_the_running_camera_and_none_of_a_sleeping_one(
    rig: Rig, tmp_path: Path
) -> None:
    picture = tmp_path / "now.png"
    with pytest.raises(Retry, match="not running"):
        rig.camera.snapshot(picture)
    with held(rig):
        rig.camera.snapshot(picture)
        rig.camera.snapshot(picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [picture]


def test_an_absent_camera_is_a_fault_that_may_pass(rig: Rig) -> None:
    with pytest.raises(Retry, match=r"(?i)no such"), rig.absent.hold(Call()):
        pytest.fail("there is no camera to hold")
    assert "o such" in rig.absent.health().fault
