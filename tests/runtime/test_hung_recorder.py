"""A recorder that hangs, in processes: it is ended, and a fresh one goes on with the next take."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ezrec.domain.health import FILE, Health, decode
from ezrec.domain.job import Job
from ezrec.domain.stages import State
from ezrec.media.mp4.boxes import check_whole
from ezrec.runtime.liveness import HUNG
from ezrec.runtime.supervised_process import SupervisedProcess
from tests.support.daemon import LIMIT_S, Box
from tests.support.wait import eventually

LOG = logging.getLogger("test.hung")
ROOT = Path(__file__).parents[2]


@contextmanager
def kept(box: Box, *command: str, silence_limit_s: float = LIMIT_S) -> Iterator[SupervisedProcess]:
    """A recorder under the supervisor of `ezrec run`, in the box's home."""
    # In front of whatever else the machine does, as its unit is: how soon it goes on is asserted.
    argv = [
        "nice",
        "-n",
        "-10",
        "env",
        "-C",
        str(ROOT),
        *(f"{name}={value}" for name, value in box.environ.items()),
    ]
    supervisor = SupervisedProcess(
        [*argv, sys.executable, "-m", *command], LOG, lambda: None, LIMIT_S, LIMIT_S, silence_limit_s
    )
    supervisor.start()
    try:
        yield supervisor
    finally:
        supervisor.stop()


def health(box: Box) -> Health:
    return decode((box.settings.state / FILE).read_bytes())


def job(box: Box, booking: str) -> Job:
    entry = box.find(booking)
    assert entry is not None
    return entry.job


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    box = Box(tmp_path / "home", EZREC_PRE_ROLL="0", EZREC_POST_ROLL="0", EZREC_ARM="1")
    yield box
    box.close()


def test_a_recorder_whose_camera_hangs_closes_its_take_and_a_fresh_one_goes_on(
    box: Box, caplog: pytest.LogCaptureFixture
) -> None:
    (box.home / "hang").touch()
    booking = box.book(1, 3600)
    box.once("pulse", "sync")
    with kept(box, "tests.runtime.hung_recorder"):
        box.wait_for(lambda: (box.settings.state / FILE).exists(), "no health.json")
        first = health(box).pid
        box.wait_for(lambda: box.is_writing(booking, 2), "no fresh recorder goes on")
        box.whistle(booking)
        box.once("pulse", "sync")
        box.wait_for(lambda: box.is_there(booking, State.RAW), "the booking is not recorded to its end")
        assert health(box).pid != first
    assert f"the recorder ended with {HUNG}; again in 0 s" in caplog.text
    done = job(box, booking)
    assert done.coverage_pct is not None
    assert done.coverage_pct < 100  # a fresh one is quick: the gap may be too short to be named
    one, two = done.takes
    assert one.ended_by == "no frames for 3 s"
    assert one.duration_s > 1, "what was recorded before it hung is kept"
    entry = box.find(booking)
    assert entry is not None
    for take in (one, two):
        check_whole(entry.path / take.file)
    # What it was silent for does not count here: the false camera breaks off at once.
    assert (two.started - one.ended).total_seconds() < 3 + 1.5, "recording again within three seconds"


def test_a_recorder_that_stands_still_is_killed_and_a_fresh_one_goes_on(box: Box) -> None:
    booking = box.book(1, 3600)
    box.once("pulse", "sync")
    with kept(box, "ezrec", "run", "--only", "record", "--kept", silence_limit_s=6):
        box.wait_for(lambda: box.is_writing(booking), "nothing is recorded")
        time.sleep(0.5)
        os.kill(health(box).pid, signal.SIGSTOP)
        box.wait_for(lambda: box.is_writing(booking, 2), "no fresh recorder goes on")
        first = job(box, booking).takes[0]
        assert first.ended_by == "the recorder died"
        assert first.duration_s >= 1
        assert eventually(lambda: health(box).recording == (booking,), LIMIT_S)
        assert health(box).alarm == ""


def test_a_second_recorder_waits_and_does_not_speak_for_the_first(box: Box) -> None:
    booking = box.book(1, 3600)
    box.once("pulse", "sync")
    first = box.run("--only", "record")
    box.wait_for(lambda: box.is_writing(booking), "nothing is recorded")
    second = box.run("--only", "record")
    box.wait_for(lambda: box.talk().count(" begins to record") == 2, "the second does not begin")
    for _ in range(10):
        assert health(box).pid == first.pid
        time.sleep(0.3)
    assert health(box).recording == (booking,)
    assert box.end(second) == 0
    assert box.end(first) == 0
    assert health(box).pid == first.pid
    assert health(box).recording == ()
