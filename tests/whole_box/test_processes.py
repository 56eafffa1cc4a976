"""The processes of `ezrec run`: which of them dies with which, and what goes on meanwhile."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ezrec.domain.health import FILE
from ezrec.domain.job import JobOutcome
from ezrec.domain.stages import State
from tests.support import media
from tests.support.campaigns import times
from tests.support.daemon import LIMIT_S, Box, children
from tests.support.wait import eventually

DEATHS = times(6, 14)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    box = Box(tmp_path / "home")
    yield box
    box.close()


def ours(box: Box) -> set[int]:
    """Every process that runs in the box's home, whoever its parent is now."""
    mark, found = f"EZREC_HOME={box.home}\0".encode(), set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in path.read_bytes() and path.with_name("cmdline").read_bytes():
                found.add(int(path.parent.name))
        except OSError:
            continue
    return found


def is_there(pid: int) -> bool:
    """False for a process that has ended, also where nobody has collected it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def both(box: Box, daemon: subprocess.Popen[bytes]) -> tuple[int, int]:
    """The recorder and the worker, once they have begun."""
    box.wait_for(
        lambda: None not in (box.recorder(daemon), box.worker(daemon)), "the two processes do not begin"
    )
    recorder, worker = box.recorder(daemon), box.worker(daemon)
    assert recorder is not None
    assert worker is not None
    return recorder, worker


# ---- who dies with whom


def test_deaths_of_the_supervisor_leave_no_process_and_the_next_start_records(box: Box) -> None:
    booking = box.book(1, 3600)
    for n in range(DEATHS):
        before = box.long_takes(booking)
        daemon = box.run()
        if n % 2:  # while they begin, at another moment each time
            _wait_for_children(box, daemon)
            time.sleep(0.1 * n)
        else:
            _wait_for_take(box, booking, before + 1)
        os.kill(daemon.pid, signal.SIGKILL)
        daemon.wait(LIMIT_S)
        box.wait_for(lambda: not ours(box), "somebody is left")
    before = box.long_takes(booking)
    box.run()
    _wait_for_take(box, booking, before + 1)


def _wait_for_children(box: Box, daemon: subprocess.Popen[bytes]) -> None:
    box.wait_for(lambda: bool(children(daemon.pid)), "it starts nobody")


def _wait_for_take(box: Box, booking: str, number: int) -> None:
    """A start that was killed at once may have left a take of a moment, which counts for none."""
    box.wait_for(lambda: box.long_takes(booking) >= number, f"{number} takes of a second are not recorded")


def test_the_ffmpeg_of_a_recorder_dies_with_it(box: Box) -> None:
    booking = box.book(1, 3600)
    daemon = box.run()
    box.wait_for(lambda: box.is_writing(booking), "nothing is recorded")
    recorder, _ = both(box, daemon)
    cameras = children(recorder)
    assert cameras
    os.kill(daemon.pid, signal.SIGKILL)
    daemon.wait(LIMIT_S)
    assert eventually(lambda: not any(map(is_there, [recorder, *cameras])), LIMIT_S)


def test_a_command_that_is_late_does_not_run_when_its_starter_is_gone(tmp_path: Path) -> None:
    """The kernel was told to kill it with its starter when that one had died already."""
    ran, waits = tmp_path / "ran", tmp_path / "waits"
    script = (
        "import os, sys, time\n"
        "from ezrec.system.child_process import with_parent_death_signal\n"
        "words = with_parent_death_signal()\n"
        "assert words\n"
        "if os.fork() == 0:\n"
        f"    while not os.path.exists({str(waits)!r}): time.sleep(0.01)\n"
        f"    os.execv(words[0], [*words, 'touch', {str(ran)!r}])\n"
        "os._exit(0)\n"
    )
    started = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert started.wait(LIMIT_S) == 0
    waits.touch()
    assert started.communicate(timeout=LIMIT_S)[0] == b""  # the late one has it open until it ends
    assert not ran.exists()


def test_a_start_says_who_holds_its_stage(box: Box) -> None:
    booking = box.book(1, 3600)
    box.once("pulse", "sync")
    first = box.run("--only", "record")
    box.wait_for(lambda: box.is_writing(booking), "nothing is recorded")
    box.run()
    said = f"the record stage is held by pid {first.pid} record: it begins here when that process ends"
    box.wait_for(lambda: said in box.talk(), "the second does not say it")


# ---- what goes on


def test_a_worker_that_is_killed_costs_its_job_a_death_and_the_recording_no_frame(
    box: Box, tmp_path: Path
) -> None:
    """As the kernel does it where memory is short."""
    box.store.set_branding(None, media.make_logo(tmp_path / "logo.png"))
    daemon = box.run()
    box.wait_for(lambda: (box.settings.state / FILE).exists(), "the recorder does not begin")
    booking = box.book(8, 3600)
    box.wait_for(lambda: box.is_writing(booking), "nothing is recorded")
    recorder, worker = both(box, daemon)
    clip = media.make_take(tmp_path / "clip.mp4", seconds=30)
    shutil.copyfile(clip, box.spool.root / "raw" / "clip.mp4")
    box.wait_for(lambda: _is_begun(box, "clip"), "the clip is not taken in hand")
    os.kill(worker, signal.SIGKILL)
    box.wait_for(lambda: box.worker(daemon) not in (None, worker), "the worker is not started again")
    assert box.recorder(daemon) == recorder
    box.wait_for(lambda: "its process worker died" in box.talk(), "nobody finds the job of the dead worker")
    time.sleep(1)
    box.whistle(booking)
    job = box.published(booking)
    (take,) = job.takes
    assert take.dropped == 0
    assert job.gaps == ()
    assert job.recording is JobOutcome.RECORDED
    assert media.frames(box.video(booking)[1]) == pytest.approx(take.duration_s * 30, abs=1)
    assert [fault.kind for fault in box.published("clip").errors] == ["died"]
    assert "the worker ended with -9; again in 0 s" in box.talk()


def test_a_worker_without_descriptors_makes_room_for_a_fresh_one_and_the_recording_goes_on(box: Box) -> None:
    daemon = box.run()
    booking = box.book(1, 3600)
    box.wait_for(lambda: box.is_writing(booking), "nothing is recorded")
    recorder, worker = both(box, daemon)
    box.wait_for(lambda: " begins: " in box.talk(), "the worker does not begin")
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (3, 3))  # as if it had used up all the others
    box.wait_for(lambda: box.worker(daemon) not in (None, worker), "it lives on, and can do nothing")
    box.wait_for(lambda: box.talk().count(" begins: ") == 2, "no fresh one begins")
    assert "the worker ended with 75; again in 0 s" in box.talk()
    box.whistle(booking)
    job = box.published(booking)
    assert len(job.takes) == 1
    assert job.takes[0].dropped == 0
    assert box.recorder(daemon) == recorder


def _is_begun(box: Box, job_id: str) -> bool:
    entry = box.find(job_id)
    return entry is not None and entry.state is State.PROCESSING and bool(entry.job.boot_id)


def test_the_kernel_is_to_take_the_worker_first_and_the_recorder_last(box: Box) -> None:
    daemon = box.run()
    recorder, worker = both(box, daemon)
    score = {pid: Path(f"/proc/{pid}/oom_score_adj") for pid in (daemon.pid, recorder, worker)}
    box.wait_for(lambda: int(score[worker].read_text()) == 500, "the worker is not to go first")
    least = -500 if _may_go_last() else 0
    assert int(score[recorder].read_text()) <= least
    assert int(score[daemon.pid].read_text()) <= least


def _may_go_last() -> bool:
    """Only root, and not in every container, may ask for less than it has."""
    asked = "from pathlib import Path; Path('/proc/self/oom_score_adj').write_text('-500')"
    return subprocess.run([sys.executable, "-c", asked], capture_output=True, check=False).returncode == 0


def test_a_worker_cannot_take_all_memory(box: Box) -> None:
    asked = (
        "from ezrec.system import child_process as guard\n"
        "most = guard.bound_memory()\n"
        "try: bytearray(most)\n"
        "except MemoryError: print('refused')\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, timeout=LIMIT_S, check=True
    )
    assert said.stdout == "refused\n"
    daemon = box.run()
    _, worker = both(box, daemon)
    limits = Path(f"/proc/{worker}/limits")
    box.wait_for(lambda: "Max data size             unlimited" not in limits.read_text(), "it has no limit")


def test_an_end_in_order_leaves_no_process_and_says_who_asked(box: Box) -> None:
    daemon = box.run()
    both(box, daemon)
    box.wait_for(lambda: box.talk().count(" begins") == 2, "the two do not begin")
    assert box.end(daemon) == 0
    assert not ours(box)
    assert "ezrec ends: SIGTERM" in box.log("ezrec")
