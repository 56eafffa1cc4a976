"""Pictures for who asks while the recorder has the camera."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ezrec.domain.errors import Retry
from ezrec.monitoring.lives import recorder_lives
from ezrec.recording.snapshot_requests import DIRECTORY, SnapshotRequests, ask
from ezrec.system.clock import SystemClock
from tests.fakes.camera import FakeCamera
from tests.support import media
from tests.support.daemon import Box
from tests.support.wait import LIMIT_S, eventually

LOG = logging.getLogger("test.snapshots")


class Recorder:
    """Answers as the recorder's process does; its watch is a look every few milliseconds."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.directory, self.camera = directory, FakeCamera(SystemClock())
        self.requests = SnapshotRequests(directory, self.camera, LOG)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            if any(self.directory.iterdir()):
                self.requests.wake()

    def close(self) -> None:
        self._over.set()
        self._thread.join()


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(tmp_path / DIRECTORY)
    yield recorder
    recorder.close()


def test_a_camera_that_sleeps_is_started_for_the_picture_and_let_go(
    recorder: Recorder, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(ask(recorder.directory, ".png", LIMIT_S))
    assert media.streams(tmp_path / "a.png")["video"]["codec_name"] == "png"
    assert eventually(lambda: recorder.camera.stops == recorder.camera.starts == 1, LIMIT_S)
    assert not list(recorder.directory.iterdir())


def test_a_camera_that_runs_is_shared_and_goes_on(recorder: Recorder) -> None:
    with recorder.camera.hold(lambda: None):
        assert ask(recorder.directory, ".jpg", LIMIT_S).startswith(b"\xff\xd8")
        assert (recorder.camera.starts, recorder.camera.stops) == (1, 0)


def test_why_there_is_no_picture_is_told(recorder: Recorder) -> None:
    recorder.camera.absent = "unplugged"
    with pytest.raises(Retry, match="unplugged"):
        ask(recorder.directory, ".jpg", LIMIT_S)


def test_a_recorder_that_does_not_answer_is_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(Retry, match="gave no picture within 0 s"):
        ask(tmp_path, ".jpg", 0.2)
    assert not list(tmp_path.iterdir())


def test_odd_names_and_old_requests_start_no_camera(tmp_path: Path) -> None:
    camera = FakeCamera(SystemClock())
    for name in ("..%2fa.jpg.request", "a.jpg.request", f"{'0' * 16}.sh.request"):
        (tmp_path / name).touch()
    old = tmp_path / f"{'0' * 16}.jpg.request"
    left = tmp_path / f"{'1' * 16}.jpg"
    for path in (old, left):
        path.touch()
        os.utime(path, (time.time() - 3600,) * 2)
    SnapshotRequests(tmp_path, camera, LOG).wake()
    assert eventually(lambda: not list(tmp_path.iterdir()), LIMIT_S)
    assert camera.starts == 0


def test_a_person_gets_a_picture_while_ezrec_runs(tmp_path: Path) -> None:
    box = Box(tmp_path / "home")
    try:
        daemon = box.run("--only", "record")
        box.wait_for(
            lambda: recorder_lives(box.settings, SystemClock()) is True, "the recorder does not begin"
        )
        assert daemon.poll() is None
        said = box.once("camera", "snapshot", str(tmp_path / "a.jpg")).stdout
        assert "taken now, by the recorder" in said
        assert (tmp_path / "a.jpg").read_bytes().startswith(b"\xff\xd8")
    finally:
        box.close()
