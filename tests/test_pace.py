"""Processing makes way for a recording, and goes on where it stood."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from ezrec.adapters.ffmpeg import FfmpegTranscoder
from ezrec.adapters.ffmpeg_run import Limits, Switch, run
from ezrec.adapters.pace import Pace
from ezrec.domain.errors import Stopped
from ezrec.locks import Lock
from ezrec.ports import RenderPlan
from tests import films
from tests.rendering import deaf, eventually, processes_naming


def state_of(sign: str) -> str:
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            if sign in (status.parent / "cmdline").read_text():
                return next(
                    line.split()[1] for line in status.read_text().splitlines() if line.startswith("State")
                )
        except OSError:
            continue
    return ""


def test_a_child_rests_while_something_is_recorded_and_no_limit_counts_that() -> None:
    recording = threading.Event()
    recording.set()
    worker = threading.Thread(
        target=run, args=(["sleep", "0.7531"], Limits(wall_s=1.5, idle_s=1.5)),
        kwargs={"nice": 5, "hear": deaf, "pace": Pace("no", recording.is_set)},
    )  # fmt: skip
    worker.start()
    assert eventually(lambda: state_of("0.7531") == "T", 10)
    time.sleep(2)
    assert worker.is_alive()
    recording.clear()
    worker.join(20)
    assert not worker.is_alive()


def test_a_stop_reaches_a_child_at_rest() -> None:
    switch, faults = Switch(), list[BaseException]()

    def work() -> None:
        try:
            run(
                ["sleep", "61.7"], Limits(60), nice=5, hear=deaf, switch=switch, pace=Pace("no", lambda: True)
            )
        except Stopped as fault:
            faults.append(fault)

    worker = threading.Thread(target=work)
    worker.start()
    assert eventually(lambda: state_of("61.7") == "T", 10)
    switch.pull()
    worker.join(10)
    assert faults
    assert processes_naming("61.7") == []


@pytest.mark.parametrize(("mode", "asked"), [("yes", False), ("nice", False), ("no", True)])
def test_only_no_asks_whether_something_is_recorded(mode: str, asked: bool, tmp_path: Path) -> None:
    questions = []
    take = films.software_take(tmp_path / "t.mp4")
    plan = RenderPlan(takes=[take], output=tmp_path / "out.mp4", log=tmp_path / "l.log")

    def is_recording() -> bool:
        questions.append(1)
        return False

    FfmpegTranscoder(bitrate=800_000, while_recording=mode, is_recording=is_recording).render(
        plan, deaf, deaf
    )
    assert bool(questions) is asked


def test_a_lock_tells_that_it_is_held_without_being_touched(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "record.lock")
    assert not Lock(lock.path).is_held()
    with lock.held(0):
        assert Lock(lock.path).is_held()
    assert not Lock(lock.path).is_held()
