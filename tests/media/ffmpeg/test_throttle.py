"""Processing makes way for a recording, and goes on where it stood."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from ezrec.domain.errors import Stopped
from ezrec.domain.ports import RenderPlan
from ezrec.media.ffmpeg.runner import Limits, run
from ezrec.media.ffmpeg.throttle import RESTS, Throttle
from ezrec.media.render.renderer import FfmpegTranscoder
from ezrec.system.locks import Lock
from ezrec.system.task import CancelToken
from tests.support import media, videos
from tests.support.rendering import deaf, processes_naming, program
from tests.support.wait import eventually

# Whether something is recorded is asked once a second: so FFmpeg has to take some.
_AS_LONG_AS_IT_LASTS = """
for word; do
    shift
    [ "$word" = -i ] && [ -z "$paced" ] && { set -- "$@" -re; paced=yes; }
    set -- "$@" "$word"
done
exec ffmpeg "$@"
"""


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
    worker = threading.Thread(
        target=run, args=(["sleep", "3.7531"], Limits(wall_s=6, idle_s=6)),
        kwargs={"nice": 5, "on_output": deaf, "throttle": Throttle("no", recording.is_set)},
    )  # fmt: skip
    worker.start()
    assert eventually(lambda: state_of("3.7531") != "", 10)
    recording.set()
    assert eventually(lambda: state_of("3.7531") == "T", 10)
    time.sleep(6)
    assert worker.is_alive()
    recording.clear()
    worker.join(20)
    assert not worker.is_alive()


def test_a_stop_reaches_a_child_at_rest() -> None:
    switch, faults, recording = CancelToken(), list[BaseException](), threading.Event()

    def work() -> None:
        pace = Throttle("no", recording.is_set)
        try:
            run(["sleep", "61.7"], Limits(60), nice=5, on_output=deaf, token=switch, throttle=pace)
        except Stopped as fault:
            faults.append(fault)

    worker = threading.Thread(target=work)
    worker.start()
    assert eventually(lambda: state_of("61.7") != "", 10)
    recording.set()
    assert eventually(lambda: state_of("61.7") == "T", 10)
    switch.cancel()
    worker.join(10)
    assert faults
    assert processes_naming("61.7") == []


@pytest.mark.parametrize(("mode", "asked"), [("yes", False), ("nice", False), ("no", True)])
def test_only_no_asks_whether_something_is_recorded(mode: str, asked: bool, tmp_path: Path) -> None:
    questions = []
    take = videos.software_take(tmp_path / "t.mp4")
    plan = RenderPlan(takes=[take], output=tmp_path / "out.mp4", log=tmp_path / "l.log")

    def is_recording() -> bool:
        questions.append(1)
        return False

    FfmpegTranscoder(bitrate=800_000, while_recording=mode, is_recording=is_recording).render(
        plan, deaf, deaf
    )
    assert bool(questions) is asked


def test_nothing_is_started_while_something_is_recorded() -> None:
    recording, heard = threading.Event(), list[bytes]()
    recording.set()
    worker = threading.Thread(
        target=run, args=(["echo", "begun"], Limits(wall_s=30)),
        kwargs={"nice": 5, "on_output": heard.append, "throttle": Throttle("no", recording.is_set)},
    )  # fmt: skip
    worker.start()
    time.sleep(0.5)
    assert worker.is_alive()
    assert not heard
    recording.clear()
    worker.join(20)
    assert heard == [b"begun\n"]


@pytest.mark.parametrize("logo", [False, True])
def test_a_video_in_the_making_rests_during_a_recording_and_is_whole_in_the_end(
    logo: bool, tmp_path: Path
) -> None:
    """By copying, which we do ourselves, and by encoding, which FFmpeg does, in the middle of it."""
    recording = threading.Event()
    if not logo:
        recording.set()
    take = media.make_take(tmp_path / "t.mp4", seconds=6, filters=videos.NOISE)
    picture = media.make_logo(tmp_path / "l.png") if logo else None
    plan = RenderPlan(takes=[take], output=tmp_path / "out.mp4", log=tmp_path / "l.log", logo=picture)
    told, rests = list[float](), list[str]()

    def progress(part: float) -> None:
        told.append(part)
        if logo and len(told) == 1:
            recording.set()

    transcoder = FfmpegTranscoder(
        bitrate=800_000, preset="ultrafast", ffmpeg=program(tmp_path, _AS_LONG_AS_IT_LASTS),
        while_recording="no", is_recording=recording.is_set,
    )  # fmt: skip
    worker = threading.Thread(target=transcoder.render, args=(plan, progress, deaf, rests.append))
    worker.start()
    assert eventually(recording.is_set, 60)
    assert eventually(lambda: rests == [RESTS], 20)
    time.sleep(2)
    assert worker.is_alive()
    assert not plan.output.exists()
    recording.clear()
    worker.join(90)
    assert media.frames(plan.output) == 180
    assert rests == [RESTS, ""]


def test_a_child_is_the_first_that_the_kernel_takes_when_memory_runs_out() -> None:
    heard = list[bytes]()
    run(["sh", "-c", "sleep 0.3; cat /proc/self/oom_score_adj"], Limits(30), nice=5, on_output=heard.append)
    assert int(heard[0]) == 800


def test_a_child_gets_no_more_memory_than_a_video_can_need() -> None:
    wait = "until grep -q 'Max data size  *[0-9]' /proc/$$/limits; do sleep 0.05; done"
    heard = list[bytes]()
    run(
        ["sh", "-c", f"{wait}; grep 'Max data size' /proc/$$/limits"],
        Limits(30),
        nice=5,
        on_output=heard.append,
    )
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < int(heard[0].split()[3]) <= min(3 << 30, machine)


@pytest.mark.parametrize(("mode", "niceness"), [("nice", 7), ("no", 7), ("yes", 0)])
def test_the_thread_that_copies_steps_back_and_no_other(mode: str, niceness: int) -> None:
    before, found = os.getpriority(os.PRIO_PROCESS, 0), list[int]()

    def work() -> None:
        Throttle(mode).step_back(7)
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    worker = threading.Thread(target=work)
    worker.start()
    worker.join(20)
    Throttle(mode).step_back(7)  # the main thread serves others too
    assert found == [max(before, niceness)]
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_a_lock_tells_that_it_is_held_without_being_touched(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "record.lock")
    assert not Lock(lock.path).is_held()
    with lock.held(0):
        assert Lock(lock.path).is_held()
    assert not Lock(lock.path).is_held()
