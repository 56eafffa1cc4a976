"""Collecting: what the files of a box say, with a recorder, without one, and after its death."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from ezrec.cli import log_reader
from ezrec.cli.job_list import rows
from ezrec.domain import health as healths
from ezrec.domain import redaction
from ezrec.domain.alerts import judge
from ezrec.domain.health import CameraState
from ezrec.domain.job import OPEN, Arrival, Kind, Take
from ezrec.domain.proof_of_life import SILENT_S, Life, ProcessState
from ezrec.domain.stages import DIRECTORIES, State
from ezrec.domain.status_file import StatusFile, encode
from ezrec.domain.upload_schedule import Wait
from ezrec.monitoring import log_archive as archive
from ezrec.monitoring.collect import look
from ezrec.monitoring.state_files import read_health, read_status_file
from ezrec.runtime.liveness import Liveness
from ezrec.system import host, journald, plain_files
from tests.fakes.camera import FakeCamera
from tests.fakes.clock import StandingClock
from tests.support.boxes import LOG, CourtBox, a_box
from tests.support.jobs import laid
from tests.support.wait import eventually


@pytest.fixture
def box(tmp_path: Path) -> CourtBox:
    return a_box(tmp_path)


def test_an_empty_box_has_no_facts_to_tell_and_no_trouble_telling_them(box: CourtBox) -> None:
    facts = box.collect()
    assert facts.jobs == dict.fromkeys(
        ("incoming", "recording", "raw", "processing", "processed", "deferred", "failed"), 0
    )
    assert (facts.recorder.is_alive, facts.oldest, facts.next_booking, facts.last_error) == (None,) * 3 + (
        "",
    )
    assert facts.clock_synchronised
    assert facts.recording_hours == pytest.approx(16e9 / 75e6 / 60)


# ---- the recorder


def test_a_living_recorder_is_believed(box: CourtBox) -> None:
    box.healthy(recording=("b1",), bytes_a_minute=30_000_000)
    facts = box.collect()
    assert facts.recorder.is_alive
    assert facts.recorder.recording == ("b1",)
    assert facts.recording_bytes_a_minute == 30_000_000


def _ended_process() -> int:
    child = subprocess.Popen(["true"])
    child.wait(60)
    return child.pid


@pytest.mark.parametrize("why", ["silent", "another boot", "no such process"])
def test_the_last_word_of_a_dead_recorder_is_not(box: CourtBox, why: str) -> None:
    box.healthy(
        recording=("b1",),
        last_error="an old trouble",
        at=box.now - timedelta(seconds=SILENT_S + 1) if why == "silent" else box.now,
        boot_id="boot-0" if why == "another boot" else "boot-1",
        pid=_ended_process() if why == "no such process" else os.getpid(),
    )
    facts = box.collect()
    assert facts.recorder.is_alive is False
    assert facts.recorder.recording == ()
    assert facts.last_error == ""


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"at": 1}', b"\xff"])
def test_a_spoilt_health_is_as_good_as_none(box: CourtBox, content: bytes) -> None:
    box.settings.state.mkdir()
    (box.settings.state / "health.json").write_bytes(content)
    assert read_health(box.settings.state) is None
    assert read_status_file(box.settings.state) is None
    assert box.collect().recorder.is_alive is None


def test_without_a_health_an_open_take_counts_while_somebody_holds_the_camera(box: CourtBox) -> None:
    take = Take("raw_b1_20260601_180000.mp4", box.now, 0.0, 0, OPEN)
    laid(box.spool, State.RECORDING, "b1", takes=(take,))
    assert not box.collect().is_recording, "its recorder is dead"
    with box.spool.lock("record").held(5):
        assert box.collect().recorder.recording == ("b1",)


def test_a_last_error_is_the_newest_failed_job_or_the_recorders(box: CourtBox) -> None:
    box.healthy(last_error="no camera")
    assert box.collect().last_error == "no camera"
    for job_id, reason in (("z-old", "older"), ("a-new", "newer")):
        failed = laid(box.spool, State.FAILED, job_id, reason=reason)
        failed.update(arrivals=(Arrival("failed", box.now + timedelta(hours=reason == "newer")),))
    assert box.collect().last_error == "newer"


def frozen(box: CourtBox) -> Iterator[int]:
    child = subprocess.Popen(["sleep", "60"])
    child.send_signal(signal.SIGSTOP)
    assert eventually(lambda: host.process_state(child.pid) is ProcessState.STOPPED)
    try:
        yield child.pid
    finally:
        child.kill()
        child.wait(60)


def test_a_recorder_that_is_stopped_does_not_live_although_its_word_is_fresh(box: CourtBox) -> None:
    for pid in frozen(box):
        box.healthy(pid=pid)
        assert box.collect().recorder.proof is Life.STOPPED
        (alert,) = [one for one in look(box.settings, box.clock)[1] if one.name == "no_recorder"]
        assert alert.is_raised
        assert alert.remedy == f"kill -KILL {pid}; ezrec run"


def test_a_recorder_that_has_ended_unburied_does_not_live(box: CourtBox) -> None:
    child = subprocess.Popen(["true"])
    try:
        assert eventually(lambda: host.process_state(child.pid) is ProcessState.GONE)
        os.kill(child.pid, 0)  # its id is taken still
        box.healthy(pid=child.pid)
        assert box.collect().recorder.proof is Life.ENDED
    finally:
        child.wait(60)


def test_a_recorder_whose_word_cannot_be_written_lives_while_its_take_grows(box: CourtBox) -> None:
    name = "raw_b1_20260601_180000.mp4"
    entry = laid(box.spool, State.RECORDING, "b1", takes=(Take(name, box.now, 0.0, 0, OPEN),))
    (entry.path / name).write_bytes(b"more")
    box.healthy(recording=("b1",), at=box.now - timedelta(seconds=SILENT_S + 1))
    assert box.collect().recorder.recording == ("b1",)
    os.utime(entry.path / name, (1.0, 1.0))
    assert box.collect().recorder.proof is Life.SILENT


def test_a_lost_word_is_no_death_while_the_process_runs_that_works_on_the_stage(box: CourtBox) -> None:
    with box.spool.lock("record").held(5, "record"):
        assert box.collect().recorder.proof is Life.LIVES
    assert box.collect().recorder.proof is Life.NEVER, "who held it last is no recorder"
    label = box.spool.lock("record")
    recorder = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "record"])
    try:
        label.path.write_text(f"pid {recorder.pid} record\n")
        assert box.collect().recorder.proof is Life.LIVES, "it rests, and holds nothing"
        recorder.send_signal(signal.SIGSTOP)
        assert eventually(lambda: host.process_state(recorder.pid) is ProcessState.STOPPED)
        assert box.collect().recorder.proof is Life.NEVER
    finally:
        recorder.kill()
        recorder.wait(60)


def test_a_recorder_at_rest_that_says_nothing_while_a_booking_is_in_play_hangs(box: CourtBox) -> None:
    box.healthy(camera_state=CameraState.OFF, at=box.now - timedelta(seconds=60))
    assert box.collect().recorder.proof is Life.LIVES
    laid(box.spool, State.INCOMING, "b1", booking=box.booking(), created=box.now - timedelta(hours=1))
    assert box.collect().recorder.proof is Life.SILENT


# ---- bookings


@pytest.mark.parametrize("state", [State.INCOMING, State.RECORDING])
def test_a_booking_whose_window_is_now_is_expected(box: CourtBox, state: State) -> None:
    laid(box.spool, state, "b1", booking=box.booking())
    laid(box.spool, State.INCOMING, "b2", booking=box.booking("b2", starts_in_s=7200))
    laid(box.spool, State.INCOMING, "off", booking=replace(box.booking("off"), status="cancelled"))
    laid(box.spool, State.INCOMING, "held", booking=box.booking("held"), held="by a person")
    facts = box.collect()
    assert facts.recorder.expected == ("b1",)
    assert facts.next_booking is not None
    assert facts.next_booking.booking == "b2"


def test_a_booking_that_no_recorder_has_adopted_is_expected_too(box: CourtBox) -> None:
    row = {"id": "b1", "date": "2026-06-01", "start_time": "11:30", "end_time": "13:00"}
    incoming = box.spool.directory(State.INCOMING)
    (incoming / "b1.json").write_text(json.dumps(row))
    (incoming / "bad.json").write_text("{")
    (incoming / "link.json").symlink_to("/etc/passwd")
    os.mkfifo(incoming / "pipe.json")
    assert box.collect().recorder.expected == ("b1",)


def test_a_booking_is_expected_by_the_clock_that_the_recorder_goes_by_whoever_trusts_it(
    box: CourtBox,
) -> None:
    class Unsure(type(box.clock)):  # type: ignore[misc]
        def is_synchronised(self) -> bool:
            return False

    box.clock = Unsure(box.now)
    laid(box.spool, State.INCOMING, "b1", booking=box.booking())
    over = box.booking("over", starts_in_s=-7200)
    laid(box.spool, State.INCOMING, "over", booking=over)
    facts = box.collect()
    assert facts.recorder.expected == ("b1",)
    assert not facts.clock_synchronised
    assert facts.unjudged == 1, "the one that is over waits for a clock"


def test_the_next_booking_that_a_person_holds_is_known(box: CourtBox) -> None:
    for name, starts_in_s in (("far", 9e4), ("near", 3600.0), ("over", -7200.0)):
        booking = box.booking(name, starts_in_s=starts_in_s)
        laid(box.spool, State.INCOMING, name, booking=booking, held="the hall is closed")
    held = box.collect().held
    assert held is not None
    assert (held.booking, held.why) == ("near", "the hall is closed")


# ---- what waits


def test_a_job_deferred_again_and_again_has_waited_since_it_first_came(box: CourtBox) -> None:
    first = box.now - timedelta(hours=5)
    arrivals = [Arrival("processed", first), Arrival("deferred", first + timedelta(hours=1))]
    arrivals += [Arrival("processed", first + timedelta(hours=2)), Arrival("deferred", box.now)]
    job = laid(box.spool, State.PROCESSED, "b1")
    job.path.rename(box.spool.directory(State.DEFERRED) / "b1")
    deferred = box.spool.read(State.DEFERRED, "b1")
    deferred.update(arrivals=tuple(arrivals), return_to="processed")
    facts = box.collect()
    assert facts.oldest is not None
    assert (facts.oldest.job, facts.oldest.state, facts.oldest.since) == ("b1", "deferred", first)
    assert facts.uploads.oldest == facts.oldest
    assert (facts.uploads.jobs, facts.uploads.bytes) == (1, 6)
    deferred.update(waits_for="hours")
    facts = box.collect()
    assert facts.uploads.oldest is None, "its hours are a setting, and nothing that hangs"
    assert (facts.uploads.jobs, facts.uploads.bytes) == (1, 6)


def test_the_rate_of_an_upload_is_measured_from_one_look_to_the_next(box: CourtBox) -> None:
    entry = laid(box.spool, State.PROCESSED, "b1", boot_id="boot-1")
    entry.update(result=replace(entry.job.result, size=1_000_000) if entry.job.result else None)
    entry.report(stage="upload", part=0.1)
    first = box.collect()
    assert (first.uploads.job, first.uploads.sent_bytes) == ("b1", 100_000)
    box.pass_time(10)
    entry.report(stage="upload", part=0.6)
    second = box.collect(first)
    assert second.uploads.bytes_a_second == 50_000
    assert second.uploads.left_s == pytest.approx(8)
    assert second.uploads.moved_at == box.now
    box.pass_time(10)
    third = box.collect(second)
    assert third.uploads.bytes_a_second == 50_000
    assert third.uploads.moved_at == second.uploads.moved_at, "it did not get on"
    box.spool.leave(entry, entry.job)
    fourth = box.collect(third)
    assert fourth.uploads.moved_at == box.now, "one that is gone has got on"
    assert fourth.uploads.left_s == 0


def test_a_progress_note_that_lies_makes_no_figure_out_of_its_bounds(box: CourtBox) -> None:
    entry = laid(box.spool, State.PROCESSED, "b1", boot_id="boot-1")
    for part, sent in ((-3, 0), (7, 6), ("x", 0), (None, 0)):
        entry.report(stage="upload", part=part)
        assert box.collect().uploads.sent_bytes == sent


def test_bytes_to_upload_are_those_of_the_finished_and_all_footage_is_unpublished(box: CourtBox) -> None:
    laid(box.spool, State.RAW, "r1")
    laid(box.spool, State.PROCESSED, "p1")
    archive = laid(box.spool, State.PROCESSED, "logs-1", kind=Kind.LOGS, booking=None, takes=(), result=None)
    (archive.path / "x_logs.zip").write_bytes(b"z" * 100)
    facts = box.collect()
    assert facts.uploads.bytes == 6 + archive.size()
    assert facts.unpublished_bytes == 5 + 5 + 6


# ---- what many jobs cost


def test_of_a_thousand_failed_jobs_the_newest_are_told_and_all_are_counted(box: CourtBox) -> None:
    for number in range(1000):
        entry = laid(box.spool, State.FAILED, f"f{number:03}", reason="no picture " * 100)
        entry.update(arrivals=(Arrival("failed", box.now + timedelta(seconds=number)),))
    facts = box.collect()
    assert [job.job for job in facts.failed] == [f"f{number}" for number in range(980, 1000)]
    assert facts.jobs["failed"] == 1000
    alert = next(one for one in judge(facts, ()).alerts if one.name == "failed_jobs")
    assert "f999 needs a person (and 999 more)" in alert.message
    assert len(encode(StatusFile(facts, (alert,)))) < 20_000


def test_all_jobs_that_wait_for_a_cure_in_the_cloud_are_counted(box: CourtBox) -> None:
    for number in range(30):
        laid(box.spool, State.DEFERRED, f"f{number:02}", reason="413", waits_for=Wait.CURE)
    blocked = box.collect().blocked
    assert blocked is not None
    assert (blocked.jobs, blocked.newest.job) == (30, "f29")


def test_a_look_leaves_no_descriptor_open_whatever_lies_there(box: CourtBox) -> None:
    """A directory that is named as a booking cost one at every survey."""
    strange = box.spool.directory(State.INCOMING)
    (strange / "folder.json").mkdir()
    os.mkfifo(strange / "fifo.json")
    (strange / "link.json").symlink_to("/etc/passwd")
    (strange / "broken").mkdir()
    (strange / "broken" / "job.json").mkdir()
    (box.settings.logs / "camera_control.log").mkdir()
    for state in (State.RAW, State.FAILED):
        (box.spool.directory(state) / "rejected-1").mkdir()
        (box.spool.directory(state) / "rejected-1" / "job.json").mkdir()
    box.settings.state.mkdir(exist_ok=True)
    (box.settings.state / "health.json").mkdir()

    def looks() -> None:
        box.collect()
        rows(box.spool, [str(state) for state in DIRECTORIES], box.now)
        with contextlib.suppress(OSError, ValueError):
            plain_files.opened(strange / "folder.json")
        with contextlib.suppress(OSError):
            log_reader._last_lines(box.settings.logs / "camera_control.log", 5)
        journald._may_read(strange)
        archive._new_parts(box.settings.logs, archive.read_sent(box.settings.state, box.spool))

    looks()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        looks()
    assert len(os.listdir("/proc/self/fd")) == before


# ---- two writers


def status_twice(box: CourtBox) -> tuple[Path, list[Callable[[int], object]]]:
    pulses = [box.status(), box.status()]
    texts = [b"x" * 50_000 + b"\n", b"y" * 20_000 + b"\n"]
    return box.settings.state / "status.json", [
        lambda n, pulse=pulse: pulse._replace("status.json", texts[n % 2])  # type: ignore[misc]
        for pulse in pulses
    ]


def health_twice(box: CourtBox) -> tuple[Path, list[Callable[[int], object]]]:
    health = replace(box.healthy(), last_error="x" * 30_000)
    path = box.settings.state / healths.FILE
    path.write_bytes(healths.encode(health))
    return path, [
        lambda n, liveness=liveness: liveness._write(
            replace(health, last_error=f"{n % 2}" * (30_000 >> n % 2))
        )  # type: ignore[misc]
        for liveness in [liveness_of(path), liveness_of(path)]
    ]


def liveness_of(path: Path) -> Liveness:
    clock = StandingClock()
    return Liveness(FakeCamera(clock), "software", clock, path, LOG, lambda why: None)


@pytest.mark.parametrize("writers", [status_twice, health_twice])
def test_what_two_write_at_once_is_never_read_half(
    box: CourtBox, writers: Callable[[CourtBox], tuple[Path, list[Callable[[int], object]]]]
) -> None:
    """A recorder that is replaced and its successor, `ezrec run` beside a timer: both write."""
    box.settings.state.mkdir(exist_ok=True)
    path, writing = writers(box)
    for write in writing:
        write(0)
    over, faults = threading.Event(), list[BaseException]()

    def write_on(write: Callable[[int], object]) -> None:
        number = 0
        while not over.is_set():
            number += 1
            try:
                write(number)
            except OSError as fault:
                faults.append(fault)

    threads = [threading.Thread(target=write_on, args=(write,)) for write in writing]
    for thread in threads:
        thread.start()
    half = sum(not path.read_bytes().endswith(b"\n") for _ in range(3000))
    over.set()
    for thread in threads:
        thread.join(30)
    assert (half, faults) == (0, [])
    assert [one for one in os.listdir(path.parent) if one.endswith(".new")] == []


def test_a_look_masks_secrets_in_the_snapshot_and_in_its_alerts(box: CourtBox) -> None:
    laid(box.spool, State.FAILED, "b9", reason="the key canary-canary was refused")
    redaction.hide(["canary-canary"])
    try:
        snapshot, alerts = look(box.settings, box.clock)
    finally:
        redaction.forget()
    assert any("was refused" in alert.message for alert in alerts)
    assert "canary" not in repr((snapshot, alerts))
