"""The worker over a real spool: where outcomes lead, what survives, that it neither spins nor hangs."""

from __future__ import annotations

import errno
import itertools
import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from ezrec.domain.errors import Busy, Reject, Retry
from ezrec.domain.job import JobOutcome, Kind
from ezrec.domain.outcomes import Closed, Done
from ezrec.domain.stages import State
from ezrec.spool.spool import Entry, Gone, Spool
from ezrec.system.task import Task
from tests.fakes.clock import StandingClock
from tests.support.stagework import CREATED, a_drain, a_spool, full_disk, put, read, where
from tests.support.wait import LIMIT_S, eventually

OTHER_BOOT = "another-boot"


def raising(fault: Exception):  # type: ignore[no-untyped-def]
    def handler(entry: Entry, task: Task) -> Done | Closed:
        raise fault

    return handler


def closing(entry: Entry, task: Task) -> Closed:
    return Closed(JobOutcome.MISSED, "nobody came")


def finishing(entry: Entry, task: Task) -> Done:
    return Done()


ENDS = {
    "record done": ("record", finishing, "raw"),
    "record closed": ("record", closing, "done"),
    "record later": ("record", raising(Retry("no camera", 30)), "incoming"),
    "record no": ("record", raising(Reject("bad", "mend it")), "failed"),
    "record bug": ("record", raising(KeyError("x")), "incoming"),
    "process done": ("process", finishing, "processed"),
    "process closed": ("process", closing, "done"),
    "process later": ("process", raising(Retry("no FFmpeg", 30)), "deferred"),
    "process no": ("process", raising(Reject("bad", "mend it")), "failed"),
    "process bug": ("process", raising(KeyError("x")), "deferred"),
    "upload done": ("upload", finishing, "done"),
    "upload later": ("upload", raising(Retry("no network", 30)), "deferred"),
    "upload no": ("upload", raising(Reject("bad", "mend it")), "failed"),
    "upload bug": ("upload", raising(KeyError("x")), "deferred"),
}


@pytest.mark.parametrize("wide", [False, True], ids=["one at a time", "wide"])
@pytest.mark.parametrize(("stage", "handler", "ends_in"), ENDS.values(), ids=ENDS.keys())
def test_every_outcome_ends_in_its_directory(tmp_path, stage, handler, ends_in, wide) -> None:  # type: ignore[no-untyped-def]
    spool = a_spool(tmp_path)
    drain = a_drain(stage, spool, handler, wide=wide)
    put(spool, drain.stage.takes_from, "a")
    drain.run()
    assert where(spool) == {"a": ends_in}
    assert read(spool, "a").boot_id == "", "nobody has it in hand"


def test_the_reason_and_the_remedy_lie_beside_what_failed(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    put(spool, State.RAW, "a")
    a_drain("process", spool, raising(Reject("it is no video", "drop another"))).run()
    text = (spool.directory(State.FAILED) / "a" / "reason.txt").read_text()
    assert "it is no video" in text
    assert "drop another" in text


def test_the_attempt_is_counted_before_the_work(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    seen = []

    def look(entry: Entry, task: Task) -> Done:
        on_disk = spool.read(State.PROCESSING, "a").job
        seen.append((on_disk.attempts, on_disk.boot_id))
        return Done()

    put(spool, State.RAW, "a", attempts={"process": 1})
    a_drain("process", spool, look).run()
    assert seen == [({"process": 2}, "boot-1")]


def test_a_kind_that_the_stage_does_not_know_goes_to_a_person(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    put(spool, State.RAW, "a", kind=Kind.LOGS)
    drain = a_drain("process", spool)
    drain.handlers = {Kind.CLIP: finishing}
    drain.run()
    assert where(spool) == {"a": "failed"}


# ---- dead owners

DEAD = {
    "claimed, not begun": ("", "raw", 0, 0),
    "killed": ("boot-1", "raw", 1, 0),
    "power cut": (OTHER_BOOT, "raw", 0, 1),
}


@pytest.mark.parametrize(("boot", "ends_in", "recoveries", "cuts"), DEAD.values(), ids=DEAD.keys())
def test_what_a_dead_owner_had_in_hand_comes_back(tmp_path, boot, ends_in, recoveries, cuts) -> None:  # type: ignore[no-untyped-def]
    spool = a_spool(tmp_path)
    put(spool, State.PROCESSING, "a", boot_id=boot, attempts={"process": 1})
    seen = []

    def look(entry: Entry, task: Task) -> Done:
        seen.append((entry.job.recoveries, entry.job.power_cuts))
        return Done()

    a_drain("process", spool, look).run()
    assert seen == [(recoveries, cuts)]
    assert where(spool) == {"a": "processed"}


def test_an_upload_is_done_in_place_and_only_its_mark_tells_that_it_was_in_hand(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    put(spool, State.PROCESSED, "begun", boot_id=OTHER_BOOT)
    put(spool, State.PROCESSED, "waits")
    seen = {}

    def look(entry: Entry, task: Task) -> Done:
        seen[entry.id] = (entry.state, entry.job.boot_id, entry.job.power_cuts)
        return Done()

    a_drain("upload", spool, look).run()
    assert seen == {"begun": ("processed", "boot-1", 1), "waits": ("processed", "boot-1", 0)}
    assert where(spool) == {"begun": "done", "waits": "done"}


def test_a_job_that_kills_its_worker_again_and_again_ends_with_a_person(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    clock = StandingClock()
    put(spool, State.PROCESSING, "a", boot_id="boot-1")
    for _ in range(10):
        entry = spool.find("a")
        assert entry is not None
        if entry.state is State.FAILED:
            break
        spool.move(entry, State.PROCESSING, entry.job.with_attempt("process", "boot-1"))
        drain = a_drain("process", spool, clock=clock)
        with drain.spool.lock("process").held(0):
            drain._recover()
    assert where(spool) == {"a": "failed"}
    assert "died" in read(spool, "a").reason


def test_a_record_that_was_settled_but_not_moved_goes_on(tmp_path: Path) -> None:
    """A kill between the new record and the rename: the backoff stands in it, and nobody waits for it."""
    spool = a_spool(tmp_path)
    clock = StandingClock()
    put(spool, State.PROCESSING, "a", due=clock.now() + timedelta(hours=1), return_to="raw")
    assert a_drain("process", spool, clock=clock).run() is None
    assert where(spool) == {"a": "processed"}


def test_a_deferred_job_killed_between_record_and_rename_still_knows_where_it_returns_to(
    tmp_path: Path,
) -> None:
    spool = a_spool(tmp_path)
    put(spool, State.DEFERRED, "a", return_to="raw", due=CREATED)
    raw = spool.directory(State.RAW)
    raw.rmdir()  # the rename fails, after the record was written
    drain = a_drain("retry", spool)
    drain.run()
    raw.mkdir()
    a_drain("retry", spool).run()
    assert where(spool) == {"a": "raw"}


# ---- until nothing is due


def test_when_a_drain_returns_its_queue_is_empty(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    for number in range(20):
        put(spool, State.RAW, f"j{number}", due=CREATED + timedelta(days=number))
    assert a_drain("process", spool).run() is None
    assert spool.names(State.RAW) == []


@pytest.mark.parametrize("wide", [False, True], ids=["one at a time", "wide"])
def test_what_arrives_during_the_work_is_done_too(tmp_path: Path, wide: bool) -> None:
    spool = a_spool(tmp_path)
    late = iter(["b", "c", "d"])

    def bring_more(entry: Entry, task: Task) -> Done:
        for job_id in late:
            put(spool, State.RAW, job_id)
            break
        return Done()

    put(spool, State.RAW, "a")
    a_drain("process", spool, bring_more, wide=wide).run()
    assert where(spool) == dict.fromkeys("abcd", "processed")


def test_loose_files_are_adopted_and_worked(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    (spool.directory(State.RAW) / "match.mp4").write_bytes(b"pictures")
    (spool.directory(State.RAW) / "notes.txt").write_bytes(b"no video")
    a_drain("process", spool).run()
    assert where(spool)["match"] == "processed"
    assert sorted(where(spool).values()) == ["failed", "processed"]


def test_the_oldest_goes_first(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    order: list[str] = []

    def note(entry: Entry, task: Task) -> Done:
        order.append(entry.id)
        return Done()

    for job_id, age in {"young": 1, "old": 30, "middle": 10}.items():
        put(spool, State.RAW, job_id, created=CREATED - timedelta(days=age))
    a_drain("process", spool, note).run()
    assert order == ["old", "middle", "young"]


def test_held_jobs_stay_where_they_are(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    put(spool, State.RAW, "a", held="wait for the lawyer")
    put(spool, State.DEFERRED, "b", held="wait", return_to="raw")
    assert a_drain("process", spool).run() is None
    assert a_drain("retry", spool).run() is None
    assert where(spool) == {"a": "raw", "b": "deferred"}


def test_a_deferred_job_returns_when_it_is_due_and_not_before(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    clock = StandingClock()
    put(spool, State.DEFERRED, "a", return_to="processed", due=clock.now() + timedelta(seconds=40))
    drain = a_drain("retry", spool, clock=clock)
    assert drain.run() == pytest.approx(40)
    assert where(spool) == {"a": "deferred"}
    clock.pass_time(40)
    assert drain.run() is None
    assert where(spool) == {"a": "processed"}


def test_a_booking_waits_for_its_time(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    clock = StandingClock()
    put(spool, State.INCOMING, "a", due=clock.now() + timedelta(hours=2))
    put(spool, State.INCOMING, "b", due=clock.now() + timedelta(hours=1))
    drain = a_drain("record", spool, clock=clock, wide=True)
    assert drain.run() == pytest.approx(3600)
    clock.pass_time(3600)
    assert drain.run() == pytest.approx(3600)
    assert where(spool) == {"a": "incoming", "b": "raw"}


# ---- a bug in one job


@pytest.mark.parametrize("wide", [False, True], ids=["one at a time", "wide"])
def test_a_bug_in_one_job_does_not_keep_the_others(tmp_path: Path, wide: bool) -> None:
    spool = a_spool(tmp_path)

    def fragile(entry: Entry, task: Task) -> Done:
        if entry.id == "bad":
            raise ZeroDivisionError("nobody foresaw this")
        return Done()

    for job_id in ("a", "bad", "z"):
        put(spool, State.RAW, job_id)
    a_drain("process", spool, fragile, wide=wide).run()
    assert where(spool) == {"a": "processed", "bad": "deferred", "z": "processed"}
    (fault,) = read(spool, "bad").errors
    assert (fault.kind, fault.message) == ("crash", "ZeroDivisionError: nobody foresaw this")


def test_a_bug_in_adoption_does_not_keep_the_jobs_from_their_work(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    (spool.directory(State.RAW) / "match.mp4").write_bytes(b"pictures")
    put(spool, State.RAW, "a")
    drain = a_drain("process", spool)
    assert drain.intake is not None

    def unforeseen(_: str) -> None:
        raise ZeroDivisionError

    drain.intake.known_booking = unforeseen
    rest = drain.run()
    assert rest is not None
    assert rest <= 5
    assert where(spool) == {"a": "processed", "match.mp4": "raw"}


# ---- stuck


@pytest.mark.parametrize("stage", ["process", "upload", "retry"])
def test_a_full_disk_while_claiming_neither_spins_nor_loses(tmp_path: Path, stage: str) -> None:
    spool = a_spool(tmp_path)
    clock = StandingClock()
    drain = a_drain(stage, spool, clock=clock)
    put(spool, drain.stage.takes_from, "a", return_to="raw")
    with full_disk():
        for _ in range(3):
            rest = drain.run()
            assert rest is not None, "it is to be looked at again"
            assert 0 < rest <= 5
    assert where(spool) == {"a": drain.stage.takes_from}
    clock.pass_time(5)
    drain.run()
    assert where(spool)["a"] not in (drain.stage.takes_from, "failed")


def test_a_job_that_cannot_be_claimed_does_not_wake_its_own_watcher(tmp_path: Path) -> None:
    """Claimed and put back is a rename into the watched directory: once in a while, not at every wake-up."""
    spool = a_spool(tmp_path)
    drain = a_drain("process", spool)
    put(spool, State.RAW, "a")
    with full_disk():
        drain.run()
        before = spool.directory(State.RAW).stat().st_mtime_ns
        for _ in range(20):
            drain.run()
        assert spool.directory(State.RAW).stat().st_mtime_ns == before


def test_a_disk_that_fills_during_the_work_loses_nothing(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    clock = StandingClock()
    tries = []

    with ExitStack() as disk:

        def fill_disk(entry: Entry, task: Task) -> Done:
            tries.append(entry.id)
            if len(tries) == 1:
                disk.enter_context(full_disk())
            return Done()

        drain = a_drain("process", spool, fill_disk, clock=clock)
        put(spool, State.RAW, "a")
        rest = drain.run()
        assert rest is not None
        assert rest <= 5
        assert not drain.wake_up.wait(0), "it must not wake itself"
        assert drain.run() is not None
        assert tries == ["a"], "not again before some seconds have passed"
    clock.pass_time(5)
    drain.run()
    clock.pass_time(5)
    drain.run()
    assert where(spool) == {"a": "processed"}


def test_a_wide_stage_moves_on_what_a_full_disk_kept_while_another_job_is_still_in_hand(
    tmp_path: Path,
) -> None:
    spool = a_spool(tmp_path)
    long_over = threading.Event()
    disk = ExitStack()

    def work(entry: Entry, task: Task) -> Done:
        if entry.id == "long":
            assert long_over.wait(LIMIT_S)
        else:
            disk.enter_context(full_disk())
        return Done()

    put(spool, State.RAW, "long")
    put(spool, State.RAW, "short")
    drain = a_drain("process", spool, work, wide=True)
    running = threading.Thread(target=drain.run)
    with disk:
        running.start()
        assert eventually(lambda: where(spool) == {"long": "processing", "short": "processing"})
        time.sleep(0.2)
    assert eventually(lambda: where(spool)["short"] == "processed")
    assert where(spool)["long"] == "processing"
    long_over.set()
    running.join(LIMIT_S)
    assert where(spool) == {"long": "processed", "short": "processed"}


NAME_TAKEN = {
    "works in": ("process", "raw", "processing", {}),
    "success": ("process", "raw", "processed", {}),
    "the way back": ("retry", "deferred", "raw", {"return_to": "raw"}),
}


@pytest.mark.parametrize(
    ("stage", "lies_in", "taken_in", "known"), NAME_TAKEN.values(), ids=NAME_TAKEN.keys()
)
def test_a_name_taken_twice_goes_on_under_another_and_does_not_spin(  # type: ignore[no-untyped-def]
    tmp_path, stage, lies_in, taken_in, known
) -> None:
    spool = a_spool(tmp_path)
    clock = StandingClock()
    put(spool, State(lies_in), "a", **known)
    twin = spool.directory(State(taken_in)) / "a"
    twin.mkdir()
    (twin / "job.json").write_bytes((spool.directory(State(lies_in)) / "a" / "job.json").read_bytes())
    for _ in range(5):
        a_drain(stage, spool, clock=clock).run()
        clock.pass_time(5)
    assert sorted(where(spool)) == ["a", "a-2"], "both are still there"


# ---- several at once


def test_a_wide_stage_has_all_in_hand_that_are_due(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    together = threading.Barrier(5)

    def meet(entry: Entry, task: Task) -> Done:
        together.wait(LIMIT_S)
        return Done()

    for number in range(5):
        put(spool, State.INCOMING, f"j{number}")
    a_drain("record", spool, meet, wide=True).run()
    assert set(where(spool).values()) == {"raw"}


def test_a_wide_stage_takes_what_comes_while_others_are_in_hand(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    together = threading.Barrier(2)

    def meet(entry: Entry, task: Task) -> Done:
        together.wait(LIMIT_S)
        return Done()

    drain = a_drain("record", spool, meet, wide=True)
    put(spool, State.INCOMING, "first")
    running = threading.Thread(target=drain.run)
    running.start()
    assert eventually(lambda: where(spool) == {"first": "recording"})
    put(spool, State.INCOMING, "second")
    drain.nudge()
    running.join(LIMIT_S)
    assert where(spool) == {"first": "raw", "second": "raw"}


def test_an_amendment_wakes_its_own_job(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    heard: list[str] = []
    over = threading.Event()

    def listen(entry: Entry, task: Task) -> Done:
        while not over.is_set():
            if task.wake_up.wait(0.05):
                changed = entry.take_amendment()
                heard.append(f"{entry.id} {changed.end.hour if changed else 'unchanged'}")
        return Done()

    drain = a_drain("record", spool, listen, wide=True)
    directory = spool.directory(State.INCOMING)

    def drop(job_id: str, end: str) -> None:
        hidden = directory / f".{job_id}"
        hidden.write_text(
            f'{{"id": "{job_id}", "start_time": "2026-06-01T10:00:00Z", "end_time": "2026-06-01T{end}:00Z"}}'
        )
        hidden.rename(directory / f"{job_id}.json")

    drop("a", "15:00")
    drop("b", "15:00")
    running = threading.Thread(target=drain.run)
    running.start()
    assert eventually(lambda: where(spool) == {"a": "recording", "b": "recording"})
    drop("b", "16:00")
    drain.wake_up.set()
    assert eventually(lambda: heard)
    over.set()
    running.join(LIMIT_S)
    assert heard == ["b 16"]


# ---- stopping


@pytest.mark.parametrize(("stage", "wide"), [("process", False), ("record", True), ("upload", False)])
def test_stop_lays_down_what_is_in_hand(tmp_path: Path, stage: str, wide: bool) -> None:
    spool = a_spool(tmp_path)
    begun = threading.Semaphore(0)

    def patient(entry: Entry, task: Task) -> Done:
        begun.release()
        while True:
            task.check()
            task.wait(LIMIT_S)

    drain = a_drain(stage, spool, patient, wide=wide)
    for job_id in ("a", "b"):
        put(spool, drain.stage.takes_from, job_id)
    running = threading.Thread(target=drain.run)
    running.start()
    for _ in range(2 if wide else 1):
        assert begun.acquire(timeout=LIMIT_S)
    drain.stop()
    running.join(LIMIT_S)
    assert not running.is_alive()
    assert where(spool) == dict.fromkeys("ab", str(drain.stage.takes_from))
    for job_id in ("a", "b"):
        job = read(spool, job_id)
        assert (job.attempts.get(stage, 0), job.boot_id, job.errors) == (0, "", ())


def test_a_busy_stage_says_who_holds_it(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    with (
        spool.lock("process").held(0, "process of a test"),
        pytest.raises(Busy, match=f"pid {os.getpid()} process of a test"),
    ):
        a_drain("process", spool, wait_s=0).run()


def test_stop_ends_an_endless_wait_for_the_lock(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    drain = a_drain("process", spool)
    ends: list[BaseException] = []

    def wait_for_it() -> None:
        try:
            drain.run()
        except Busy as fault:
            ends.append(fault)

    with spool.lock("process").held(0):
        running = threading.Thread(target=wait_for_it)
        running.start()
        time.sleep(0.3)
        assert running.is_alive()
        drain.stop()
        running.join(LIMIT_S)
    assert ends


# ---- hooks


def test_hooks_hear_of_every_arrival(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    heard = tmp_path / "heard"
    for directory in ("raw", "processing", "processed", "done"):
        hook = tmp_path / "hooks" / directory / "note"
        hook.parent.mkdir(parents=True)
        hook.write_text(f'#!/bin/sh\necho "$EZREC_EVENT $EZREC_STAGE $EZREC_JOB" >> {heard}\n')
        hook.chmod(0o755)
    (spool.directory(State.RAW) / "match.mp4").write_bytes(b"pictures")
    for stage in ("process", "upload"):
        drain = a_drain(stage, spool)
        drain.run()
        drain.hooks.finish(LIMIT_S)
    assert heard.read_text().splitlines() == [
        "raw adopt match",
        "processing process match",
        "processed process match",
        "processed upload match",
        "done upload match",
    ]


# ---- two processes


def test_two_drainers_at_once_handle_each_job_once(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    jobs = [f"j{number}" for number in range(200)]
    argv = [sys.executable, "-m", "tests.support.grinder", "drain", str(tmp_path), str(len(jobs))]
    drainers = [subprocess.Popen(argv) for _ in range(2)]
    try:
        for job_id in jobs:
            put(spool, State.RAW, job_id)
        for drainer in drainers:
            assert drainer.wait(60) == 0
    finally:
        for drainer in drainers:
            drainer.kill()
            drainer.wait()
    handled = (tmp_path / "handled").read_text().split()
    assert sorted(handled) == sorted(jobs)
    assert where(spool) == dict.fromkeys(jobs, "processed")


def test_of_two_claims_the_first_rename_wins(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    jobs = [put(spool, State.RAW, f"j{number}").id for number in range(200)]
    start = threading.Barrier(4)
    won: list[str] = []
    lost: list[str] = []

    def claim_all() -> None:
        entries = spool.entries(State.RAW)
        start.wait(LIMIT_S)
        for entry in entries:
            try:
                won.append(spool.claim(entry, State.PROCESSING).id)
            except Gone:
                lost.append(entry.id)

    claimers = [threading.Thread(target=claim_all) for _ in range(4)]
    for claimer in claimers:
        claimer.start()
    for claimer in claimers:
        claimer.join(LIMIT_S)
    assert sorted(won) == sorted(jobs)
    assert len(lost) == 3 * len(jobs)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_handler_that_meets_a_full_disk_is_not_to_blame(tmp_path: Path, number: int) -> None:
    def full(entry: Entry, task: Task) -> Done:
        raise OSError(number, os.strerror(number), str(entry.path / "out.mp4"))

    spool = a_spool(tmp_path)
    put(spool, State.RAW, "a")
    a_drain("process", spool, full).run()
    job = read(spool, "a")
    assert where(spool) == {"a": "deferred"}
    assert job.attempts["process"] == 0
    assert job.recoveries == 0
    assert "disk full: process met it at" in job.reason


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_a_handler_without_descriptors_is_not_to_blame(tmp_path: Path, number: int) -> None:
    def starved(entry: Entry, task: Task) -> Done:
        raise OSError(number, os.strerror(number), str(entry.path / "out.mp4"))

    spool = a_spool(tmp_path)
    put(spool, State.RAW, "a")
    a_drain("process", spool, starved).run()
    job = read(spool, "a")
    assert where(spool) == {"a": "deferred"}
    assert (job.attempts["process"], job.recoveries) == (0, 0)
    assert "process has no descriptor left" in job.reason


def test_another_fault_of_the_system_in_a_handler_is_a_bug_as_ever(tmp_path: Path) -> None:
    def broken(entry: Entry, task: Task) -> Done:
        raise OSError(errno.EBADF, "bad file descriptor")

    spool = a_spool(tmp_path)
    put(spool, State.RAW, "a")
    a_drain("process", spool, broken).run()
    assert read(spool, "a").recoveries == 1


def test_a_job_that_ends_while_the_spool_is_away_is_moved_on_when_it_is_back(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    put(spool, State.INCOMING, "b1")
    away = tmp_path / "away"
    back = threading.Timer(0.5, lambda: away.rename(spool.root))

    def leave(entry: Entry, _: Task) -> Done:
        spool.root.rename(away)
        back.start()
        return Done()

    a_drain("record", spool, leave, wide=True).run()
    back.join()
    assert spool.names(State.RAW) == ["b1"]
    assert not away.exists()


# ---- a burst


class SlowClock(StandingClock):
    """Each look at it takes a fifth of a second, as a memory card does for each booking that is adopted."""

    def monotonic(self) -> float:
        self.pass_time(0.2)
        return super().monotonic()


def drop_bookings(spool: Spool, number: int) -> None:
    for n in range(number):
        row = f'{{"id": "j{n}", "start_time": "2027-06-01T10:00:00Z", "end_time": "2027-06-01T11:00:00Z"}}'
        (spool.directory(State.INCOMING) / f"j{n}.json").write_text(row)


def loose(spool: Spool) -> int:
    return sum(name.endswith(".json") for name in spool.names(State.INCOMING))


def test_what_is_due_goes_before_a_burst_of_bookings(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    left: list[int] = []

    def note(entry: Entry, task: Task) -> Done:
        left.append(loose(spool))
        return Done()

    put(spool, State.INCOMING, "due", due=CREATED)
    drop_bookings(spool, 60)
    a_drain("record", spool, note, clock=SlowClock()).run()
    assert left == [60]
    assert loose(spool) == 0


def test_a_booking_that_comes_in_a_burst_and_begins_next_does_not_wait_for_the_others(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    left: list[int] = []

    def note(entry: Entry, task: Task) -> Done:
        left.append(loose(spool))
        return Done()

    drop_bookings(spool, 60)
    row = '{"id": "now", "start_time": "2026-06-01T12:00:00Z", "end_time": "2026-06-01T13:00:00Z"}'
    (spool.directory(State.INCOMING) / "zz.json").write_text(row)
    a_drain("record", spool, note, clock=SlowClock()).run()
    assert len(left) == 1
    assert left[0] > 40, "it waited for the others"


def test_a_burst_is_adopted_with_signs_of_life(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    drop_bookings(spool, 60)
    seen: list[int] = []
    drain = a_drain("record", spool, clock=SlowClock(), heartbeat=lambda _: seen.append(loose(spool)))
    drain.run()
    steps = [before - after for before, after in itertools.pairwise(seen)]
    assert sum(steps) == 60
    assert max(steps) < 10


def test_what_is_due_goes_before_the_rest_of_what_a_dead_recorder_left(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    left: list[int] = []

    def note(entry: Entry, task: Task) -> Done:
        left.append(len(spool.names(State.RECORDING)))
        return Done()

    for n in range(40):
        put(spool, State.RECORDING, f"j{n}", boot_id="boot-1", due=CREATED + timedelta(days=400))
        (spool.directory(State.RECORDING) / f"stray{n}.mp4").write_bytes(b"x")
    put(spool, State.INCOMING, "due", due=CREATED)
    a_drain("record", spool, note, clock=SlowClock()).run()
    assert left[0] > 60


def test_a_long_queue_is_not_read_anew_for_every_job(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    clock = StandingClock()

    def work(entry: Entry, task: Task) -> Done:
        clock.pass_time(60)
        return Done()

    for n in range(150):
        put(spool, State.RAW, f"j{n}")
    before = reads()
    a_drain("process", spool, work, clock=clock).run()
    assert len(spool.names(State.PROCESSED)) == 150
    assert reads() - before < 150 * 20, "of 11,000 where each job is looked for in all the others"


def reads() -> int:
    """How often this process has asked the kernel to read."""
    return int(Path("/proc/self/io").read_text().split("syscr:")[1].split()[0])


def test_a_record_that_changes_in_a_long_queue_is_seen(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    clock = StandingClock()

    def hold_the_others(entry: Entry, task: Task) -> Done:
        clock.pass_time(60)
        for other in spool.entries(State.RAW):
            other.update(held="wait")
        return Done()

    for job_id in "abc":
        put(spool, State.RAW, job_id)
    a_drain("process", spool, hold_the_others, clock=clock).run()
    assert where(spool) == {"a": "processed", "b": "raw", "c": "raw"}
