"""What the recorder shows for itself: counts that grow, silence that is told, a hung camera that is left."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ezrec.camera.live_stream import StreamRecording
from ezrec.domain.errors import Retry
from ezrec.domain.health import Activity, CameraState, Health, Patience, decode
from ezrec.runtime.liveness import Liveness
from tests.fakes.camera import FPS, FakeCamera
from tests.support.recording import SteppingClock
from tests.support.wait import eventually

LIMIT_S = 20.0
LOG = logging.getLogger("test.liveness")


class Desk:
    """A recorder's liveness over a false camera; what a session would do, the test does."""

    def __init__(self, path: Path) -> None:
        self.clock = SteppingClock()
        self.camera = FakeCamera(self.clock)
        self.path, self.left = path / "health.json", threading.Event()
        self.liveness = Liveness(
            self.camera, "rtsp://me:secret@court/1", self.clock, self.path, LOG, self._leave,
            Patience(late_s=0.5, flow_s=0.7, growth_s=1.0),
        )  # fmt: skip
        self.heartbeats = self.liveness.heartbeats
        self.why = ""

    def _leave(self, why: str) -> None:
        self.why = why
        self.left.set()
        threading.Event().wait(LIMIT_S)  # as a process that has ended says no more

    def health(self) -> Health:
        return decode(self.path.read_bytes())

    def attach(self, path: Path) -> StreamRecording:
        self.heartbeats.expect("b1", "writing", LIMIT_S, Activity.WRITES)
        return self.camera.attach(path, self.clock.now())


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    made.liveness.start()
    yield made
    made.liveness.stop()


def test_an_idle_recorder_says_once_that_it_is_off_duty_and_lets_the_card_rest(desk: Desk) -> None:
    assert eventually(desk.path.exists)
    before = desk.path.stat()
    health = desk.health()
    assert health.camera_state is CameraState.OFF
    assert not health.expected_to_record
    assert health.alarm == ""
    assert health.camera == "rtsp://court/1"
    time.sleep(2)
    assert desk.path.stat().st_ino == before.st_ino
    assert desk.liveness.is_well()


def test_a_look_at_an_empty_queue_is_no_news(desk: Desk) -> None:
    assert eventually(desk.path.exists)
    desk.liveness.stage_heartbeat(1000.0)
    before = desk.path.stat().st_ino
    for _ in range(5):
        desk.liveness.stage_heartbeat(None)
        time.sleep(0.05)
        desk.liveness.stage_heartbeat(1000.0)
        time.sleep(0.05)
    assert desk.path.stat().st_ino == before
    desk.liveness.stage_heartbeat(None)
    assert eventually(lambda: desk.liveness.heartbeats.is_elsewhere)
    desk.path.unlink()
    desk.liveness.stage_heartbeat(1000.0)
    assert eventually(desk.path.exists), "what another recorder said meanwhile does not stand"


def test_a_change_is_told_at_once(desk: Desk) -> None:
    assert eventually(desk.path.exists)
    desk.heartbeats.expect("b1", "the start of the camera", LIMIT_S, Activity.LACKS)
    assert eventually(lambda: desk.health().expected_to_record, 5)
    assert desk.health().camera_state is CameraState.ARMING
    desk.heartbeats.done("b1")
    assert eventually(lambda: not desk.health().expected_to_record, 5)


def test_a_recording_is_told_by_what_grows(desk: Desk, tmp_path: Path) -> None:
    with desk.camera.hold(lambda: None):
        recording = desk.attach(tmp_path / "t.mp4")
        assert eventually(lambda: desk.health().bytes_written > 0, LIMIT_S)
        first = desk.health()
        assert eventually(lambda: desk.health().bytes_a_minute is not None, LIMIT_S)
        second = desk.health()
        assert second.recording == ("b1",)
        assert second.expected_to_record
        assert second.camera_state is CameraState.RUNNING
        assert second.frames_in > first.frames_in
        assert second.packets_out > first.packets_out
        assert second.bytes_written > first.bytes_written
        assert second.fps == pytest.approx(FPS, abs=1)
        assert second.bytes_a_minute is not None
        assert 1000 < second.bytes_a_minute < 100_000_000
        age_s = second.frame_age_s(second.at)
        assert age_s is not None
        assert age_s < 2
        assert desk.liveness.is_well()
        desk.heartbeats.expect("b1", "the end of the take", LIMIT_S, Activity.CLOSES)
        size = recording.finish(desk.clock.now(), LIMIT_S).size
    desk.heartbeats.done("b1")
    health = desk.liveness.look()
    assert health.bytes_written == size
    assert health.bytes_a_minute is None
    assert health.recording == ()


def test_counts_go_on_over_the_lives_of_the_camera(desk: Desk) -> None:
    with desk.camera.hold(lambda: None):
        frames = desk.liveness.look().frames_in
        desk.camera.die()
    with desk.camera.hold(lambda: None):
        health = desk.liveness.look()
        assert health.frames_in > frames
        assert health.restarts == 1
    with desk.camera.hold(lambda: None):
        again = desk.liveness.look()
        assert again.frames_in > health.frames_in
        assert again.restarts == 1, "a camera that was let go and is needed again did not break off"


def test_a_writer_that_stands_still_ends_the_signs_of_life(desk: Desk) -> None:
    with desk.camera.hold(lambda: None):
        desk.heartbeats.expect("b1", "writing", LIMIT_S, Activity.WRITES)
        assert eventually(lambda: not desk.liveness.is_well(), LIMIT_S)
        assert "no bytes are written" in desk.liveness.look().alarm
        desk.heartbeats.expect("b1", "a pause", LIMIT_S, Activity.LACKS)
        assert desk.liveness.is_well(), "the ladder is at work"


def test_frames_that_cease_unnoticed_end_the_signs_of_life(desk: Desk, tmp_path: Path) -> None:
    with desk.camera.hold(lambda: None):
        recording = desk.attach(tmp_path / "t.mp4")
        assert desk.liveness.is_well()
        desk.camera.freeze()
        assert eventually(lambda: not desk.liveness.is_well(), LIMIT_S)
        assert "no frames come" in desk.liveness.look().alarm
        assert not recording.lost.is_set()


def test_a_missed_deadline_ends_the_signs_of_life(desk: Desk) -> None:
    desk.heartbeats.expect("b1", "the beginning of a take", 0.2, Activity.LACKS)
    assert desk.liveness.is_well()
    assert eventually(lambda: not desk.liveness.is_well(), LIMIT_S)
    assert eventually(lambda: "b1: the beginning of a take" in desk.health().alarm, LIMIT_S)
    desk.heartbeats.done("b1")
    assert desk.liveness.is_well()


def test_a_lock_that_is_never_given_back_stops_the_signs_of_life_too(desk: Desk) -> None:
    answered = threading.Event()

    def ask() -> None:
        desk.liveness.is_well()
        answered.set()

    with desk.camera.hold(lambda: None):
        stream = desk.camera.stream
        assert stream is not None
        with stream.changed:
            asking = threading.Thread(target=ask)
            asking.start()
            assert not answered.wait(1)
        assert answered.wait(LIMIT_S)
        asking.join()


def test_a_recorder_that_waits_for_anothers_stage_lets_that_one_speak(desk: Desk) -> None:
    assert eventually(desk.path.exists)
    desk.heartbeats.set_elsewhere(True)
    desk.path.write_text("the other's")
    desk.heartbeats.expect("b1", "a wait", LIMIT_S, Activity.WAITS)
    time.sleep(1.5)
    assert desk.path.read_text() == "the other's"
    desk.heartbeats.set_elsewhere(False)
    assert eventually(lambda: desk.path.read_text() != "the other's")


def test_a_full_disk_does_not_keep_the_evidence_from_being_judged(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "there is no such folder")
    desk.liveness.start()
    time.sleep(0.3)
    assert desk.liveness.is_well()
    desk.liveness.stop()


def test_a_camera_that_does_not_stop_is_left_when_the_takes_are_closed_and_never_touched_again(
    desk: Desk, tmp_path: Path
) -> None:
    with desk.camera.hold(lambda: None):
        recording = desk.attach(tmp_path / "t.mp4")
        time.sleep(0.5)
        desk.camera.stuck = "the device does not answer"
        desk.camera.stall()
        assert recording.lost.wait(LIMIT_S)
        assert not desk.left.is_set()
        desk.heartbeats.expect("b1", "the end of a take", LIMIT_S, Activity.CLOSES)
        take = recording.finish(desk.clock.now(), LIMIT_S)
    assert desk.camera.hung == "the device does not answer"
    desk.heartbeats.expect("b1", "a pause", LIMIT_S, Activity.LACKS)
    assert desk.left.wait(LIMIT_S)
    assert desk.why == "the device does not answer"
    assert desk.health().camera_state is CameraState.HUNG
    assert desk.health().last_error == "the device does not answer"
    assert take.size == (tmp_path / "t.mp4").stat().st_size
    stops = desk.camera.stops
    with pytest.raises(Retry, match="does not answer"), desk.camera.hold(lambda: None):
        pytest.fail("a hung camera is held")
    assert (desk.camera.stops, desk.camera.starts) == (stops, 1)
