"""What goes wrong in the field, on the real software camera: each fault costs a gap that is named, no more.

The camera is FFmpeg, and its faults are real: it is stopped, killed, falls silent or slow. The disks are real
where root may mount one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from ezrec.camera import ffmpeg_sources
from ezrec.camera.ffmpeg_sources import Faults
from ezrec.camera.take_writer import Disk
from ezrec.domain.health import CameraState, Health, decode
from ezrec.domain.job import OPEN, JobOutcome
from ezrec.domain.outcomes import Closed, Done
from ezrec.domain.stages import State
from ezrec.media.mp4.boxes import check_whole
from tests.support import media
from tests.support.court import LIMIT_S, LONG_S, Court
from tests.support.recording import are_in_a_row, frame_numbers, our_cameras
from tests.support.rendering import program

Begin = Callable[..., Court]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    courts: list[Court] = []

    def make(for_s: float, home: Path = tmp_path, **options: object) -> Court:
        courts.append(Court(home, for_s, **options))  # type: ignore[arg-type]
        return courts[-1]

    yield make
    for court in courts:
        court.close()


def test_a_camera_that_falls_silent_is_replaced_by_a_fresh_one_within_seconds(begin: Begin) -> None:
    court = begin(LONG_S)
    court.wait_for(court.is_writing)
    (silent,) = our_cameras()
    os.kill(silent, signal.SIGSTOP)
    court.wait_for(lambda: court.is_writing(2))
    assert silent not in our_cameras()
    assert court.health().restarts == 1
    assert court.whistled() == Done()
    one, two = court.job.takes
    assert one.ended_by == "no frames for 3 s"
    assert court.job.recording is JobOutcome.PARTIAL
    (gap,) = [gap for gap in court.job.gaps if gap.start == one.ended]
    assert gap.end == two.started
    assert all(are_in_a_row(numbers) for numbers in court.footage())


def test_an_encoder_that_lives_while_its_packets_cease_is_replaced_too(begin: Begin) -> None:
    court = begin(LONG_S, faults=Faults(stall_after_s=2.5))
    court.wait_for(lambda: len(court.job.takes) >= 2)
    assert court.whistled() == Done()
    assert {take.ended_by for take in court.job.takes[:-1]} == {"no frames for 3 s"}
    assert court.health().restarts >= 1
    assert all(are_in_a_row(numbers) for numbers in court.footage())


def test_a_camera_that_dies_again_and_again_is_asked_for_again_and_again(begin: Begin) -> None:
    court = begin(LONG_S, faults=Faults(die_after_s=1.5))

    def asks_again(health: Health) -> bool:
        tells_why = "the camera ended by itself" in health.last_error
        is_idle = health.camera_state is CameraState.RESTARTING and health.recording == ()
        return health.expected_to_record and is_idle and tells_why

    court.wait_for(lambda: asks_again(court.health()))
    court.wait_for(lambda: len(court.job.takes) >= 2)
    assert court.whistled() == Done()
    assert court.job.recording is JobOutcome.PARTIAL
    assert all(numbers == list(range(len(numbers))) for numbers in court.footage())


def test_a_slow_camera_is_recorded_and_called_slow(begin: Begin) -> None:
    court = begin(LONG_S, faults=Faults(slow_after_s=1.0))
    court.wait_for(lambda: court.health().last_error.startswith("slow: "))
    fps = court.health().fps
    assert fps is not None
    assert fps < 15
    assert court.whistled() == Done()
    assert len(court.job.takes) == 1
    assert court.health().restarts == 0


def test_a_camera_that_is_plugged_in_late_records_the_rest(begin: Begin, tmp_path: Path) -> None:
    ffmpeg_sources._font()  # asked once, of the real FFmpeg
    plugged, folder, before = tmp_path / "plugged", tmp_path / "bin", os.environ["PATH"]
    folder.mkdir()
    real = subprocess.run(["which", "ffmpeg"], capture_output=True, text=True, check=True).stdout.strip()
    script = f"[ -e {plugged} ] && exec {real} \"$@\"; echo '[error] No such device' >&2; exit 1"
    Path(program(folder, script)).rename(folder / "ffmpeg")
    os.environ["PATH"] = f"{folder}:{before}"
    try:
        court = begin(LONG_S)
        court.wait_for(lambda: "No such device" in court.health().last_error)
        assert court.health().camera_state is CameraState.RESTARTING
        assert court.health().expected_to_record
        assert court.liveness.is_well(), "the ladder is at work: nothing is gained by another process"
        plugged.touch()
        court.wait_for(court.is_writing)
        assert court.whistled() == Done()
    finally:
        os.environ["PATH"] = before
    (take,) = court.job.takes
    assert court.job.recording is JobOutcome.PARTIAL
    (gap,) = [gap for gap in court.job.gaps if gap.end == take.started]
    assert gap.start == court.job.booking.start  # type: ignore[union-attr]


def test_the_ladder_of_tries_grows_and_ends_with_the_window(
    begin: Begin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ffmpeg_sources._font()
    folder, before = tmp_path / "bin", os.environ["PATH"]
    folder.mkdir()
    Path(program(folder, "exit 1")).rename(folder / "ffmpeg")
    os.environ["PATH"] = f"{folder}:{before}"

    def pauses() -> list[str]:
        return [line.rpartition("again in ")[2] for line in caplog.messages if "again in" in line]

    try:
        court = begin(LONG_S)
        court.wait_for(lambda: pauses()[-1:] == ["10 s"])
        outcome = court.whistled()
    finally:
        os.environ["PATH"] = before
    assert isinstance(outcome, Closed)
    assert outcome.outcome is JobOutcome.MISSED
    assert pauses() == ["1 s", "2 s", "5 s", "10 s"]
    end = court.job.booking.end  # type: ignore[union-attr]
    assert court.clock.now() < end + timedelta(seconds=8), "the last pause ends with the window"


# ---- the disk


class LazyDisk(Disk):
    """Takes nothing while its gate is shut."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()

    def write(self, fd: int, data: memoryview) -> int:
        self.gate.wait(LIMIT_S)
        return super().write(fd, data)


def test_frames_that_a_slow_disk_could_not_take_are_counted_and_their_hole_is_named(begin: Begin) -> None:
    disk = LazyDisk()
    court = begin(LONG_S, disk=disk, queue_bytes=100_000)
    court.wait_for(court.is_writing)
    disk.gate.clear()
    court.wait_for(lambda: court.health().dropped > 60)
    disk.gate.set()
    before = court.health().bytes_written
    court.wait_for(lambda: court.health().bytes_written > before + 100_000)
    assert court.whistled() == Done()
    (take,) = court.job.takes
    (hole,) = take.holes
    (numbers,) = court.footage()
    missing = sorted(set(range(numbers[0], numbers[-1] + 1)) - set(numbers))
    assert take.dropped == len(missing) > 60
    assert hole.length_s == pytest.approx(len(missing) / 30, abs=0.1)
    assert hole in court.job.gaps
    assert court.job.recording is JobOutcome.PARTIAL
    assert court.health().dropped == take.dropped


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(argv, capture_output=True, timeout=20).returncode:
        pytest.skip("mounting needs root")
    yield place
    subprocess.run(["umount", "-l", place], check=True, timeout=20)


def test_a_full_disk_ends_the_take_cleanly_and_recording_goes_on_when_there_is_room(
    small_disk: Path, tmp_path: Path, begin: Begin
) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 2_800_000)
    court = begin(LONG_S, home=small_disk)
    court.show()

    def says_so(health: Health) -> bool:
        """On a full disk the take's end is told first, then that its record cannot be written."""
        return "disk full" in health.last_error or "No space left" in health.last_error

    def is_without() -> bool:
        health = court.health()
        return says_so(health) and health.expected_to_record and health.recording == ()

    court.wait_for(is_without)
    assert court.camera.health().running, "a camera is not let go for its disk's sake"
    assert court.liveness.is_well()
    file = small_disk / "health.json"
    court.wait_for(lambda: says_so(decode(file.read_bytes())))
    assert os.statvfs(small_disk).f_bavail < 16, "it said so although there was no room left"
    first = next(take for take in court.job.takes if take.ended_by == "disk full")
    path = court.entry.path / first.file
    check_whole(path)
    assert path.stat().st_size == first.size
    assert are_in_a_row(frame_numbers(path))
    ballast.unlink()
    roomy = court.clock.now()
    court.wait_for(lambda: court.job.takes[-1].ended_by == OPEN and court.is_writing(len(court.job.takes)))
    assert court.health().last_error != ""
    assert court.whistled() == Done()
    *full, last = court.job.takes
    assert full[0] == first
    assert {take.ended_by for take in full} == {"disk full"}
    # The ladder's longest pause; what the camera still had in memory makes it less.
    assert last.started - max(full[-1].ended, roomy) < timedelta(seconds=16)
    assert court.job.recording is JobOutcome.PARTIAL or not court.job.gaps
    assert court.health().restarts == 0
    assert all(are_in_a_row(numbers) for numbers in court.footage())
    assert court.spool.read(State.RECORDING, "match").job.takes == court.job.takes, (
        "written when there was room"
    )
    assert media.frames(court.entry.path / last.file) > 30
