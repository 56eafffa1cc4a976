"""What a person may do to a job: on the real file system, and against somebody who is faster."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path

import pytest

from ezrec.domain.errors import Busy, NoSuchJob, Refused, Retry
from ezrec.domain.job import JobOutcome
from ezrec.domain.stages import State
from ezrec.spool import actions
from ezrec.spool.imports import import_video
from ezrec.spool.lookup import find, resolve
from ezrec.spool.spool import Entry, Gone, Spool
from ezrec.spool.wait import wait
from tests.support.jobs import HOUR, NOW, booking, laid, result_of, take_of, where

LEAD_S = 35.0
Hold = Callable[[str, str], None]


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    spool = Spool(tmp_path / "spool")
    spool.prepare()
    return spool


# ---- finding


def test_a_job_is_found_by_the_beginning_of_its_id(spool: Spool) -> None:
    laid(spool, State.RAW, "abc123")
    laid(spool, State.FAILED, "abd456")
    assert resolve(spool, "abc").id == "abc123"
    assert resolve(spool, "abd456").id == "abd456"


def test_an_exact_id_wins_over_longer_ones_that_begin_with_it(spool: Spool) -> None:
    laid(spool, State.RAW, "match-2")
    laid(spool, State.FAILED, "match")
    assert resolve(spool, "match").id == "match"


def test_an_ambiguous_beginning_names_the_candidates(spool: Spool) -> None:
    for n in range(12):
        laid(spool, State.RAW, f"abc{n:02}")
    with pytest.raises(NoSuchJob, match=r"fits 12 jobs: abc00, abc01, .* and 4 more"):
        resolve(spool, "abc")


@pytest.mark.parametrize("prefix", ["", "zzz", "../raw", "/etc", ".", "..", ".locks", "a\n", "\x1b[2J"])
def test_what_names_no_job_finds_none(spool: Spool, prefix: str) -> None:
    laid(spool, State.RAW, "abc")
    with pytest.raises(NoSuchJob) as told:
        resolve(spool, prefix)
    assert str(told.value).isprintable()


def test_history_and_trash_are_found_only_where_they_are_asked_for(spool: Spool) -> None:
    entry = laid(spool, State.PROCESSED, "published")
    spool.leave(entry, entry.job)
    actions.remove(spool, laid(spool, State.RAW, "thrown"), NOW, with_footage=True)
    assert find(spool, "pub").place == "done"
    assert find(spool, "thr").place == "trash"
    for gone in ("pub", "thr"):
        with pytest.raises(NoSuchJob):
            resolve(spool, gone)


def test_a_loose_file_is_no_job(spool: Spool) -> None:
    (spool.root / "raw" / "match.mp4").write_bytes(b"x")
    with pytest.raises(NoSuchJob, match="loose file"):
        resolve(spool, "match")


# ---- retry

RETRIES = [
    # state, stage named, fields, where it goes
    (State.FAILED, None, {}, "raw"),
    (State.FAILED, None, {"return_to": "processed", "result": result_of("j")}, "processed"),
    (State.FAILED, None, {"return_to": "incoming"}, "incoming"),
    (State.FAILED, None, {"return_to": None}, "raw"),
    (State.FAILED, None, {"return_to": None, "result": result_of("j")}, "processed"),
    (State.FAILED, None, {"return_to": "nonsense", "takes": ()}, "incoming"),
    (State.DEFERRED, None, {"return_to": "raw", "due": NOW + HOUR}, "raw"),
    (State.DEFERRED, "process", {"return_to": "processed", "held": "why"}, "raw"),
    (State.PROCESSED, "process", {}, "raw"),
    (State.FAILED, "record", {}, "incoming"),
    (State.FAILED, "upload", {"result": result_of("j")}, "processed"),
]


@pytest.mark.parametrize(("state", "stage", "fields", "target"), RETRIES)
def test_retry_gives_the_job_back_to_its_stage(
    spool: Spool, state: State, stage: str | None, fields: dict[str, object], target: str
) -> None:
    entry = laid(spool, state, "j", **fields)
    assert actions.retry(spool, entry, NOW, LEAD_S, stage).state == target
    assert where(spool, "j") == target


def test_retry_sets_every_count_to_zero_and_takes_the_reason_away(spool: Spool) -> None:
    entry = laid(spool, State.FAILED, "j", attempts={"process": 3}, recoveries=2, power_cuts=9)
    spool.move(entry, State.FAILED)
    assert (entry.path / "reason.txt").exists()
    entry = actions.retry(spool, entry, NOW, LEAD_S)
    job = spool.read(State.RAW, "j").job
    assert (job.attempts, job.recoveries, job.power_cuts, job.due) == ({}, 0, 0, None)
    assert (job.held, job.reason, job.remedy, job.return_to) == ("", "", "", "raw")
    assert not (entry.path / "reason.txt").exists()
    assert job.takes == (take_of("j"),)


def test_a_video_that_is_asked_for_anew_is_made_anew_from_the_same_things(spool: Spool) -> None:
    """It may lack an intro that could not be used just then: nothing else tells it from a good one."""
    made = replace(result_of("j"), made_from=("take", "intro"), notes=("published without the intro",))
    job = actions.retry(spool, laid(spool, State.PROCESSED, "j", result=made), NOW, LEAD_S, "process").job
    assert job.result is not None
    assert job.result.made_from == ()
    job = actions.retry(spool, laid(spool, State.FAILED, "k", result=made), NOW, LEAD_S, "upload").job
    assert job.result == made


def test_a_video_whose_footage_is_gone_cannot_be_made_again_and_that_is_said(spool: Spool) -> None:
    entry = laid(spool, State.PROCESSED, "published")
    spool.leave(entry, replace(entry.job, outcome=JobOutcome.PUBLISHED))
    with pytest.raises(NoSuchJob, match=r"left the spool \(published\): its footage is not kept"):
        resolve(spool, "publ")


def test_a_retried_booking_is_due_at_its_start_and_not_at_once(spool: Spool) -> None:
    start = NOW + 5 * HOUR
    entry = laid(spool, State.FAILED, "j", return_to="incoming", booking=booking("j", start), takes=())
    job = actions.retry(spool, entry, NOW, LEAD_S).job
    assert job.due == start - timedelta(seconds=LEAD_S)


REFUSED_RETRIES = [
    (State.RAW, None, {}, "for its turn"),
    (State.RECORDING, None, {}, "worker is dead"),
    (State.PROCESSING, "process", {}, "worker is dead"),
    (State.FAILED, "upload", {}, "no finished video"),
    (State.FAILED, "process", {"takes": ()}, "no footage"),
    (State.FAILED, "record", {"booking": None}, "no booking"),
]


@pytest.mark.parametrize(("state", "stage", "fields", "said"), REFUSED_RETRIES)
def test_retry_refuses_what_would_only_fail_again(
    spool: Spool, state: State, stage: str | None, fields: dict[str, object], said: str
) -> None:
    entry = laid(spool, state, "j", **fields)
    with pytest.raises(Refused, match=said):
        actions.retry(spool, entry, NOW, LEAD_S, stage)
    assert where(spool, "j") == state


# ---- in hand


def _holding(root: Path, stage: str, label: str, ready: object, over: object) -> None:
    with Spool(root).lock(stage).held(10, label):
        ready.set()  # type: ignore[attr-defined]
        over.wait(60)  # type: ignore[attr-defined]


@pytest.fixture
def held_by_another(spool: Spool) -> Iterator[Hold]:
    """A function that starts a process which holds a stage's lock."""
    context = multiprocessing.get_context("spawn")
    over = context.Event()
    started = []

    def hold(stage: str, label: str) -> None:
        ready = context.Event()
        process = context.Process(target=_holding, args=(spool.root, stage, label, ready, over))
        process.start()
        started.append(process)
        assert ready.wait(60)

    yield hold
    over.set()
    for process in started:
        process.join(60)


VERBS: dict[str, Callable[[Spool, Entry], Entry]] = {
    "retry": lambda spool, entry: actions.retry(spool, entry, NOW, LEAD_S, "process"),
    "hold": lambda spool, entry: actions.hold(spool, entry, NOW),
    "remove": lambda spool, entry: actions.remove(spool, entry, NOW, with_footage=True),
}


def test_nothing_is_done_to_a_job_in_hand_and_the_holder_is_named(
    spool: Spool, held_by_another: Hold
) -> None:
    held_by_another("process", "process")
    held_by_another("upload", "upload")
    for state, job_id, fields in (
        (State.PROCESSING, "branded", {}),
        (State.PROCESSED, "uploading", {"boot_id": "b"}),
    ):
        entry = laid(spool, state, job_id, **fields)
        for verb in VERBS.values():
            with pytest.raises(Refused, match=r"in the hands of .*pid \d+"):
                verb(spool, entry)
        assert where(spool, job_id) == state


def test_a_job_that_waits_beside_the_one_being_uploaded_can_be_held(
    spool: Spool, held_by_another: Hold
) -> None:
    held_by_another("upload", "upload other-job")
    assert actions.hold(spool, laid(spool, State.PROCESSED, "j"), NOW).state is State.DEFERRED
    with pytest.raises(Refused):
        actions.hold(spool, laid(spool, State.PROCESSED, "other-job"), NOW)


def test_a_job_whose_uploader_died_can_be_moved(spool: Spool) -> None:
    entry = laid(spool, State.PROCESSED, "j", boot_id="b")
    assert actions.hold(spool, entry, NOW).job.boot_id == ""


def test_a_job_whose_worker_died_is_left_to_the_stage_that_gives_it_back(spool: Spool) -> None:
    entry = laid(spool, State.PROCESSING, "j")
    with pytest.raises(Refused) as told:
        actions.remove(spool, entry, NOW, with_footage=True)
    assert "run-stage process --once" in told.value.remedy


# ---- hold and release


@pytest.mark.parametrize("state", [State.INCOMING, State.RAW, State.PROCESSED])
def test_a_held_job_waits_and_goes_on_where_it_was(spool: Spool, state: State) -> None:
    entry = actions.hold(spool, laid(spool, state, "j", due=NOW), NOW, "ask the club")
    assert where(spool, "j") == "deferred"
    assert (entry.job.held, entry.job.due, entry.job.return_to) == ("ask the club", None, state)
    assert not entry.job.is_due(NOW + 1000 * HOUR)
    entry = actions.release(spool, resolve(spool, "j"), NOW, LEAD_S)
    assert where(spool, "j") == state
    assert (entry.job.held, entry.job.return_to) == ("", state)


def test_a_deferred_job_can_be_held_and_returns_where_it_would_have(spool: Spool) -> None:
    entry = laid(spool, State.DEFERRED, "j", return_to="raw", due=NOW)
    assert actions.hold(spool, entry, NOW).job.due is None
    assert actions.release(spool, resolve(spool, "j"), NOW, LEAD_S).state is State.RAW


def test_a_booking_that_starts_in_a_moment_can_be_held(spool: Spool) -> None:
    soon = booking("j", NOW + timedelta(seconds=2))
    actions.hold(spool, laid(spool, State.INCOMING, "j", booking=soon, due=NOW), NOW)
    entry = actions.release(spool, resolve(spool, "j"), NOW, LEAD_S)
    assert entry.job.is_due(NOW)


def test_holding_a_deferred_job_waits_for_the_retry_stage_to_finish_its_round(
    spool: Spool, held_by_another: Hold
) -> None:
    entry = laid(spool, State.DEFERRED, "j", return_to="raw", due=NOW)
    outcome: list[object] = []
    with spool.lock("retry").held(10, "retry"):
        thread = threading.Thread(target=lambda: outcome.append(_told(spool, entry.id)))
        thread.start()
        spool.move(spool.read(State.DEFERRED, "j"), State.RAW)
    thread.join(60)
    assert outcome == ["busy"]
    assert where(spool, "j") == "raw"


def _told(spool: Spool, job_id: str) -> str:
    try:
        actions.hold(spool, spool.read(State.DEFERRED, job_id), NOW)
    except (Busy, Gone):
        return "busy"
    return "held"


def test_what_waits_for_a_person_already_is_not_held_and_what_is_not_held_is_not_released(
    spool: Spool,
) -> None:
    with pytest.raises(Refused, match="already"):
        actions.hold(spool, laid(spool, State.FAILED, "a"), NOW)
    with pytest.raises(Refused, match="not held"):
        actions.release(spool, laid(spool, State.DEFERRED, "b", return_to="raw"), NOW, LEAD_S)


# ---- the trash


@pytest.mark.parametrize("state", [State.INCOMING, State.RAW, State.PROCESSED, State.DEFERRED, State.FAILED])
def test_what_is_removed_can_be_brought_back(spool: Spool, state: State) -> None:
    fields = {"return_to": "raw", "reason": "r", "due": NOW}
    before = laid(spool, state, "j", **fields)
    files = sorted(os.listdir(before.path))
    actions.remove(spool, before, NOW, with_footage=True)
    assert where(spool, "j") == ".trash"
    assert find(spool, "j").job.outcome is JobOutcome.REMOVED
    entry = actions.restore(spool, "j", NOW)
    assert entry.state is state
    assert (entry.job.outcome, entry.job.return_to, entry.job.due) == (None, "raw", NOW)
    assert [name for name in sorted(os.listdir(entry.path)) if name != "reason.txt"] == files


def test_a_job_moved_by_hand_is_brought_back_where_it_was_last(spool: Spool) -> None:
    entry = laid(spool, State.FAILED, "j")
    os.rename(entry.path, spool.root / "raw" / "j")
    actions.remove(spool, resolve(spool, "j"), NOW, with_footage=True)
    assert actions.restore(spool, "j", NOW).state is State.RAW


@pytest.mark.parametrize("state", [State.RAW, State.PROCESSED, State.DEFERRED, State.FAILED])
def test_footage_that_was_never_uploaded_is_not_removed_without_the_flag(spool: Spool, state: State) -> None:
    with pytest.raises(Refused) as told:
        actions.remove(spool, laid(spool, state, "j"), NOW)
    assert "--with-footage" in told.value.remedy
    assert where(spool, "j") == state


@pytest.mark.parametrize(
    ("content", "is_footage"),
    [(b"#EXTM3U\n", False), (b"", False), (b"\0\0\0\x18ftypisom\0\0", True)],
)
def test_a_refused_file_counts_as_footage_when_it_begins_like_a_video(
    spool: Spool, content: bytes, is_footage: bool
) -> None:
    entry = laid(spool, State.FAILED, "j", takes=(), booking=None)
    (entry.path / take_of("j").file).unlink()
    (entry.path / "rejected").write_bytes(content)
    assert bool(actions.footage_of(entry)) is is_footage


@pytest.mark.parametrize(("name", "is_footage"), [("day/match.MOV", True), ("notes.txt", False)])
def test_a_refused_directory_with_a_video_in_it_counts_as_footage(
    spool: Spool, name: str, is_footage: bool
) -> None:
    entry = laid(spool, State.FAILED, "j", takes=(), booking=None)
    (entry.path / take_of("j").file).unlink()
    (entry.path / "rejected" / name).parent.mkdir(parents=True)
    (entry.path / "rejected" / name).write_bytes(b"x")
    assert actions.footage_of(entry) == ([f"rejected/{name}"] if is_footage else [])
    if is_footage:
        with pytest.raises(Refused, match=r"match\.MOV"):
            actions.remove(spool, entry, NOW)
        assert where(spool, "j") == State.FAILED


def test_a_refused_thing_that_is_no_file_is_not_opened(spool: Spool) -> None:
    entry = laid(spool, State.FAILED, "j", takes=())
    (entry.path / take_of("j").file).unlink()
    os.mkfifo(entry.path / "rejected")
    actions.remove(spool, entry, NOW)
    assert where(spool, "j") == ".trash"


def test_a_second_job_of_the_same_id_does_not_overwrite_the_one_in_the_trash(spool: Spool) -> None:
    actions.remove(spool, laid(spool, State.RAW, "j"), NOW, with_footage=True)
    with pytest.raises(Refused, match="trash holds"):
        actions.remove(spool, laid(spool, State.RAW, "j"), NOW, with_footage=True)


# ---- races


def _racer(root: Path, name: str, start: object, wins: object) -> None:
    """Claims, or removes, every job it can; what it won it writes down."""
    spool = Spool(root)
    won = []
    start.wait(60)  # type: ignore[attr-defined]
    for n in range(60):
        try:
            entry = spool.read(State.RAW, f"j{n}")
            if name == "claim":
                spool.claim(entry, State.PROCESSING)
            elif name == "remove":
                actions.remove(spool, entry, NOW, with_footage=True)
            else:
                actions.hold(spool, entry, NOW)
            won.append(n)
        except (Gone, Busy):
            continue
    wins.put((name, won))  # type: ignore[attr-defined]


def test_of_a_stage_and_two_people_exactly_one_gets_each_job(spool: Spool) -> None:
    for n in range(60):
        laid(spool, State.RAW, f"j{n}")
    context = multiprocessing.get_context("spawn")
    start, wins = context.Barrier(3), context.Queue()
    names = {"claim": "processing", "remove": ".trash", "hold": "deferred"}
    racers = [context.Process(target=_racer, args=(spool.root, name, start, wins)) for name in names]
    for racer in racers:
        racer.start()
    won = dict(wins.get(timeout=90) for _ in racers)
    for racer in racers:
        racer.join(60)
    assert sorted(n for jobs in won.values() for n in jobs) == list(range(60))
    for name, jobs in won.items():
        assert {where(spool, f"j{n}") for n in jobs} <= {names[name]}


def test_who_is_slower_is_told_to_look_again(spool: Spool) -> None:
    stale = laid(spool, State.RAW, "j")
    spool.claim(resolve(spool, "j"), State.PROCESSING)
    for verb in VERBS.values():
        with pytest.raises(Busy, match="look again"):
            verb(spool, stale)
    assert spool.read(State.PROCESSING, "j").job.outcome is None


# ---- put


def test_a_video_that_is_put_in_becomes_a_job_and_stays_where_it_was(spool: Spool, tmp_path: Path) -> None:
    file = tmp_path / "my match.mp4"
    file.write_bytes(b"v" * 100_000)
    entry = import_video(spool, file, "b1", NOW, UTC)
    assert (entry.id, entry.state, entry.job.takes[0].size) == ("b1", State.RAW, 100_000)
    assert (entry.path / entry.job.takes[0].file).read_bytes() == file.read_bytes()
    assert not list(spool.root.glob(".put-*"))
    assert import_video(spool, file, "b1", NOW, UTC).id == "b1-2"


def test_the_name_or_the_booking_tells_when_the_footage_began(spool: Spool, tmp_path: Path) -> None:
    laid(spool, State.INCOMING, "b1")
    named, plain = tmp_path / "raw_b1_20250102_030405.mp4", tmp_path / "x.mp4"
    for file in (named, plain):
        file.write_bytes(b"v")
    assert import_video(spool, named, "b1", NOW, UTC).job.takes[0].file == named.name
    entry = import_video(spool, plain, "b1", NOW, UTC)
    assert entry.job.takes[0].started == booking("b1").start == entry.job.booking.start  # type: ignore[union-attr]


@pytest.mark.parametrize("bad", ["empty.mp4", "text.txt", "dir.mp4", "fifo.mp4"])
def test_what_a_drop_would_refuse_is_refused_and_nothing_is_left(
    spool: Spool, tmp_path: Path, bad: str
) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.txt").write_text("x")
    (tmp_path / "dir.mp4").mkdir()
    os.mkfifo(tmp_path / "fifo.mp4")
    with pytest.raises(Refused):
        import_video(spool, tmp_path / bad, "b1", NOW, UTC)
    assert spool.names(State.RAW) == []


def test_an_unsafe_booking_id_is_refused(spool: Spool, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"v")
    with pytest.raises(Refused, match="only letters"):
        import_video(spool, tmp_path / "a.mp4", "../b", NOW, UTC)


def test_what_a_killed_put_left_is_removed_by_the_next(spool: Spool, tmp_path: Path) -> None:
    left = spool.root / ".put-0123456789ab"
    left.write_bytes(b"half a match")
    (tmp_path / "a.mp4").write_bytes(b"v")
    import_video(spool, tmp_path / "a.mp4", "b1", NOW, UTC)
    assert not left.exists()


# ---- wait


def test_waiting_ends_when_the_job_is_published(spool: Spool) -> None:
    entry = laid(spool, State.PROCESSED, "j")

    def publish() -> None:
        found = spool.read(State.PROCESSED, "j")
        spool.leave(found, replace(found.job, outcome=JobOutcome.PUBLISHED))

    timer = threading.Timer(0.2, publish)
    timer.start()
    assert wait(spool, entry.id, 60).outcome is JobOutcome.PUBLISHED
    timer.join()


def test_waiting_ends_badly_for_what_fails_or_is_held_or_removed(spool: Spool) -> None:
    laid(spool, State.FAILED, "failed")
    actions.hold(spool, laid(spool, State.RAW, "held"), NOW)
    actions.remove(spool, laid(spool, State.RAW, "thrown"), NOW, with_footage=True)
    missed = laid(spool, State.RECORDING, "missed")
    spool.leave(missed, replace(missed.job, outcome=JobOutcome.MISSED, reason="no power"))
    for job_id, said in (
        ("failed", "no picture"), ("held", "is held"), ("thrown", "trash"), ("missed", "no power"),
    ):  # fmt: skip
        with pytest.raises(Refused, match=said):
            wait(spool, job_id, 60)


def test_waiting_has_a_limit_and_names_no_job_that_is_none(spool: Spool) -> None:
    laid(spool, State.RAW, "j")
    with pytest.raises(Retry, match=r"still in raw/ after 0\.1 s"):
        wait(spool, "j", 0.1)
    with pytest.raises(NoSuchJob):
        wait(spool, "nobody", 0.1)
