"""The spool on a real file system: where is the job now, and is it there once?"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ezrec.domain.booking import Booking
from ezrec.domain.job import BadRecord, Job, JobOutcome, Kind
from ezrec.domain.names import JobId
from ezrec.domain.stages import DIRECTORIES, State
from ezrec.spool.spool import AMENDMENT, JOB, REASON, Entry, Gone, Spool, Taken, forget, history
from tests.spool.syscalls import needs_strace
from tests.support.spooling import (
    FOOTAGE,
    NOW,
    TAKE,
    booking,
    booking_job,
    clip_job,
    finish_off,
    footage_in,
    new_spool,
    put_clip,
    whereabouts,
)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return new_spool(tmp_path / "spool")


# ---- the parent directory is the state


def test_a_job_is_where_its_directory_is_and_its_record_does_not_say(spool: Spool) -> None:
    put_clip(spool)
    os.rename(spool.root / "raw/b1", spool.root / "failed/b1")
    entry = spool.find("b1")
    assert entry is not None
    assert entry.state is State.FAILED
    assert whereabouts(spool) == {"b1": ["failed"]}


def test_a_job_that_a_person_moved_is_tried_afresh(spool: Spool) -> None:
    entry = put_clip(spool, State.FAILED, reason="no picture", remedy="look at it", return_to="raw")
    entry.update(attempts={"process": 3}, recoveries=4, power_cuts=10, held="by a person", due=NOW)
    assert (entry.path / REASON).exists()
    os.rename(entry.path, spool.root / "raw/b1")
    job = spool.read(State.RAW, "b1").job
    assert job.is_due(NOW)
    assert (job.attempts, job.recoveries, job.power_cuts, job.reason, job.return_to) == ({}, 0, 0, "", None)
    assert job.takes, "what is known of the footage stays known"
    entry = spool.claim(spool.read(State.RAW, "b1"), State.PROCESSING)
    spool.move(entry, State.PROCESSED, entry.job.arrived(State.PROCESSED, NOW))
    assert not (spool.root / "processed/b1" / REASON).exists()


def test_a_job_that_the_program_moved_keeps_its_count(spool: Spool) -> None:
    entry = put_clip(spool)
    entry = spool.claim(entry, State.PROCESSING)
    entry.update(attempts={"process": 1}, recoveries=1)
    assert spool.read(State.PROCESSING, "b1").job.attempts == {"process": 1}
    spool.move(entry, State.RAW)  # as after its worker died
    assert spool.read(State.RAW, "b1").job.attempts == {"process": 1}


def test_a_booking_that_a_person_moved_back_waits_for_its_start(spool: Spool) -> None:
    entry = spool.create(State.FAILED, booking_job(reason="no camera"))
    os.rename(entry.path, spool.root / "incoming/b1")
    job = spool.read(State.INCOMING, "b1").job
    assert not job.is_due(NOW)
    assert job.is_due(NOW + timedelta(hours=1))


# ---- creating


def test_an_entry_appears_whole(spool: Spool) -> None:
    entry = put_clip(spool)
    assert sorted(os.listdir(entry.path)) == [JOB, TAKE]
    assert entry.job.arrivals[-1].state == "raw"
    assert spool.read(State.RAW, "b1").job == entry.job
    assert spool.is_tidy()


def test_an_entry_in_failed_has_its_reason_from_the_first_moment(spool: Spool) -> None:
    entry = put_clip(spool, State.FAILED, reason="no picture", remedy="look at it")
    assert (entry.path / REASON).read_text() == "no picture\nwhat to do: look at it\n"


@pytest.mark.parametrize("place", [*map(str, DIRECTORIES), ".trash", ".done"])
def test_an_id_that_is_known_anywhere_is_taken(spool: Spool, place: str) -> None:
    if place == ".done":
        spool.leave(put_clip(spool), replace(clip_job(), outcome=JobOutcome.PUBLISHED))
    elif place == ".trash":
        spool.throw_away(put_clip(spool), clip_job())
    else:
        put_clip(spool, State(place))
    with pytest.raises(Taken):
        spool.create(State.INCOMING, booking_job())
    numbered = spool.create(State.INCOMING, booking_job(), number=True)
    assert numbered.id == "b1-2"
    assert numbered.path.name == "b1-2"
    if place == ".done":
        assert spool.create(State.INCOMING, booking_job(), anew=True).id == "b1"
    else:
        with pytest.raises(Taken):
            spool.create(State.INCOMING, booking_job(), anew=True)
    assert spool.is_tidy()


def test_a_dangling_link_under_an_id_takes_it_too(spool: Spool) -> None:
    (spool.root / "raw/b1").symlink_to("/nowhere")
    with pytest.raises(Taken):
        spool.create(State.INCOMING, booking_job())


def test_media_that_vanished_leave_no_trace(spool: Spool) -> None:
    with pytest.raises(Gone):
        spool.create(State.RAW, clip_job(), (spool.root / "raw/none.mp4", TAKE))
    assert spool.is_tidy()
    assert whereabouts(spool) == {}


def test_media_swapped_for_a_link_at_the_last_moment_go_to_a_person(spool: Spool, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"somebody else's")
    (spool.root / "raw/x.mp4").symlink_to(secret)
    entry = spool.create(State.RAW, clip_job(), (spool.root / "raw/x.mp4", TAKE))
    assert entry.state is State.FAILED
    assert entry.job.takes == ()
    assert "symbolic link" in (entry.path / REASON).read_text()
    assert secret.read_bytes() == b"somebody else's"


def test_media_swapped_for_a_fifo_or_a_second_name_go_to_a_person(spool: Spool, tmp_path: Path) -> None:
    os.mkfifo(spool.root / "raw/x.mp4")
    assert spool.create(State.RAW, clip_job("f"), (spool.root / "raw/x.mp4", TAKE)).state is State.FAILED
    (tmp_path / "mine").write_bytes(FOOTAGE)
    os.link(tmp_path / "mine", spool.root / "raw/y.mp4")
    assert spool.create(State.RAW, clip_job("h"), (spool.root / "raw/y.mp4", TAKE)).state is State.FAILED


def test_media_that_cannot_come_stay_where_they_are(spool: Spool) -> None:
    (spool.root / "raw/x.mp4").write_bytes(FOOTAGE)
    shutil.rmtree(spool.root / "raw/none", ignore_errors=True)
    (spool.root / "deferred").rmdir()
    with pytest.raises(FileNotFoundError):
        spool.create(State.DEFERRED, clip_job(), (spool.root / "raw/x.mp4", TAKE))
    assert (spool.root / "raw/x.mp4").read_bytes() == FOOTAGE
    assert spool.is_tidy()


# ---- the first rename wins


def test_the_loser_of_a_claim_hears_gone(spool: Spool) -> None:
    mine, theirs = put_clip(spool), spool.read(State.RAW, "b1")
    spool.claim(mine, State.PROCESSING)
    with pytest.raises(Gone):
        spool.claim(theirs, State.PROCESSING)
    with pytest.raises(Gone):
        spool.move(theirs, State.FAILED, replace(theirs.job, reason="mine!"))
    with pytest.raises(Gone):
        spool.throw_away(theirs, theirs.job)
    assert whereabouts(spool) == {"b1": ["processing"]}
    assert spool.read(State.PROCESSING, "b1").job.reason == ""


def _claim_all(root: str, start: str, results: str) -> None:
    spool, won = Spool(Path(root)), []
    while not os.path.exists(start):
        pass
    while names := spool.names(State.RAW):
        for name in names:
            try:
                won.append(spool.claim(spool.read(State.RAW, name), State.PROCESSING).id)
            except Gone:
                continue
    Path(results).write_text(json.dumps(won))


def test_two_processes_that_race_for_500_entries_never_win_the_same(spool: Spool, tmp_path: Path) -> None:
    for n in range(500):
        path = spool.root / f"raw/j{n}"
        path.mkdir()
        (path / JOB).write_text(
            json.dumps({"id": f"j{n}", "kind": "clip", "created": "2026-07-01T16:00:00Z"})
        )
    spawn, start = multiprocessing.get_context("spawn"), tmp_path / "start"
    results = [tmp_path / f"won-{n}" for n in range(2)]
    racers = [
        spawn.Process(target=_claim_all, args=(str(spool.root), str(start), str(path))) for path in results
    ]
    for racer in racers:
        racer.start()
    start.touch()
    for racer in racers:
        racer.join(60)
        assert racer.exitcode == 0
    won = [name for path in results for name in json.loads(path.read_text())]
    assert sorted(won) == sorted(f"j{n}" for n in range(500))
    assert len(spool.entries(State.PROCESSING)) == 500
    assert spool.names(State.RAW) == []


def test_two_threads_that_create_the_same_id_make_one_entry(spool: Spool) -> None:
    made: list[str] = []

    def create() -> None:
        for n in range(10):
            try:
                made.append(spool.create(State.INCOMING, booking_job(f"b{n}")).id)
            except Taken:
                continue

    threads = [threading.Thread(target=create) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(made) == [f"b{n}" for n in range(10)]


# ---- moving


def test_a_name_that_is_taken_where_a_job_should_go_does_not_hold_it_up(spool: Spool) -> None:
    put_clip(spool)
    shutil.copytree(spool.root / "raw/b1", spool.root / "processing/b1")  # a person's `cp -r`
    entry = spool.claim(spool.read(State.RAW, "b1"), State.PROCESSING)
    assert entry.id == entry.path.name == "b1-2"
    assert spool.read(State.PROCESSING, "b1-2").job.id == "b1-2"
    assert whereabouts(spool) == {"b1": ["processing"], "b1-2": ["processing"]}
    assert footage_in(spool.root) == {"processing": 2}


def test_a_loose_file_of_the_same_name_does_not_hold_a_job_up(spool: Spool) -> None:
    entry = spool.claim(put_clip(spool), State.PROCESSING)
    (spool.root / "processed/b1").write_text("a person's notes")
    assert spool.move(entry, State.PROCESSED).path == spool.root / "processed/b1-2"
    assert (spool.root / "processed/b1").read_text() == "a person's notes"


def test_a_missing_directory_is_not_taken_for_a_lost_race(spool: Spool) -> None:
    entry = put_clip(spool)
    (spool.root / "processing").rmdir()
    with pytest.raises(FileNotFoundError):
        spool.claim(entry, State.PROCESSING)
    assert whereabouts(spool) == {"b1": ["raw"]}


def test_nothing_moves_to_done(spool: Spool) -> None:
    with pytest.raises(ValueError, match="leave"):
        spool.move(put_clip(spool), State.DONE)


def test_the_reason_lies_beside_a_failed_job_and_goes_when_it_goes(spool: Spool) -> None:
    entry = put_clip(spool)
    entry = spool.move(entry, State.FAILED, replace(entry.job, reason="broken", remedy="mend it"))
    assert (entry.path / REASON).read_text() == "broken\nwhat to do: mend it\n"
    entry = spool.move(entry, State.RAW, replace(entry.job, reason="", remedy=""))
    assert not (entry.path / REASON).exists()


# ---- leaving, the trash


def test_a_job_that_leaves_is_remembered_and_its_footage_is_gone(spool: Spool) -> None:
    entry = put_clip(spool, State.PROCESSED)
    spool.leave(entry, replace(entry.job, outcome=JobOutcome.PUBLISHED))
    assert whereabouts(spool) == {}
    assert footage_in(spool.root).total() == 0
    assert spool.is_tidy()
    done = spool.finished("b1")
    assert done is not None
    assert done.outcome is JobOutcome.PUBLISHED
    assert spool.knows("b1")
    assert [job.id for job in history(spool)] == ["b1"]


def test_a_job_whose_leave_was_cut_short_can_leave_again(spool: Spool) -> None:
    entry = put_clip(spool, State.PROCESSED)
    shutil.copytree(entry.path, spool.root.parent / "copy")
    spool.leave(entry, replace(entry.job, outcome=JobOutcome.PUBLISHED))
    os.rename(spool.root.parent / "copy", spool.root / "processed/b1")  # as if the rename had not come
    finish_off(spool)
    assert whereabouts(spool) == {"b1": ["processed"]}, "only its stage may say that it is over"
    entry = spool.read(State.PROCESSED, "b1")
    assert entry.job.is_due(NOW)
    spool.leave(entry, replace(entry.job, outcome=JobOutcome.PUBLISHED))
    assert whereabouts(spool) == {}


def test_the_trash_gives_back_what_it_took(spool: Spool) -> None:
    entry = put_clip(spool, State.FAILED, reason="x")
    spool.throw_away(entry, replace(entry.job, outcome=JobOutcome.REMOVED))
    assert whereabouts(spool) == {}
    (found,) = spool.discarded()
    assert found.job.outcome is JobOutcome.REMOVED
    spool.move(found, State.RAW, replace(found.job, outcome=None).arrived(State.RAW, NOW))
    assert whereabouts(spool) == {"b1": ["raw"]}
    assert footage_in(spool.root) == {"raw": 1}


def test_the_trash_does_not_take_a_second_job_of_the_same_id(spool: Spool) -> None:
    entry = put_clip(spool)
    shutil.copytree(entry.path, spool.root.parent / "copy")
    spool.throw_away(entry, entry.job)
    os.rename(spool.root.parent / "copy", spool.root / "raw/b1")
    with pytest.raises(Taken):
        spool.throw_away(spool.read(State.RAW, "b1"), entry.job)
    assert whereabouts(spool) == {"b1": ["raw"]}


# ---- history


def _finish(spool: Spool, job_id: str, days_ago: float, **fields: object) -> None:
    entry = spool.create(State.PROCESSED, replace(clip_job(job_id), **fields))  # type: ignore[arg-type]
    arrivals = tuple(replace(arrival, at=NOW - timedelta(days=days_ago)) for arrival in entry.job.arrivals)
    spool.leave(entry, replace(entry.job, arrivals=arrivals))
    stamp = (NOW - timedelta(days=days_ago)).timestamp()
    os.utime(spool.done / f"{job_id}.json", (stamp, stamp))


def test_the_history_is_kept_for_thirty_days(spool: Spool) -> None:
    _finish(spool, "old", 31)
    _finish(spool, "young", 29)
    assert forget(spool, NOW, is_synchronised=True) == ["old"]
    assert [job.id for job in history(spool)] == ["young"]
    assert not spool.knows("old")


def test_nothing_is_forgotten_while_the_clock_cannot_be_trusted(spool: Spool) -> None:
    _finish(spool, "old", 31)
    assert forget(spool, NOW, is_synchronised=False) == []
    assert spool.knows("old")


def test_what_was_finished_under_a_wrong_clock_is_kept_for_its_bookings_sake(spool: Spool) -> None:
    wrong = (NOW - datetime(1970, 1, 1, tzinfo=UTC)).days
    _finish(spool, "b1", wrong, booking=booking("b1", start=NOW - timedelta(days=2)))
    assert forget(spool, NOW, is_synchronised=True) == []


def test_half_written_and_broken_records_grow_old_as_well(spool: Spool) -> None:
    for name in ("broken.json", ".b1.json.7-7.new"):
        (spool.done / name).write_text("{")
        os.utime(spool.done / name, (0, 0))
    assert list(history(spool)) == []
    forget(spool, NOW, is_synchronised=True)
    assert os.listdir(spool.done) == []


def test_the_history_is_told_newest_first_and_from_a_day_on(spool: Spool) -> None:
    for n, days in enumerate((3, 1, 2)):
        _finish(spool, f"j{n}", days)
    assert [job.id for job in history(spool)] == ["j1", "j2", "j0"]
    assert [job.id for job in history(spool, NOW - timedelta(days=1.5))] == ["j1"]


# ---- what a crash left


def test_files_without_a_record_in_new_are_rescued_for_a_person(spool: Spool) -> None:
    (spool.root / ".new/raw.b1.00").mkdir()
    (spool.root / ".new/raw.b1.00" / TAKE).write_bytes(FOOTAGE)
    (spool.root / ".new/stray.mp4").write_bytes(FOOTAGE)
    (spool.root / ".new/raw.b2.00").mkdir()
    finish_off(spool)
    assert spool.is_tidy()
    rescued = spool.entries(State.FAILED)
    assert len(rescued) == 2
    for entry in rescued:
        assert (entry.path / REASON).read_text().startswith("files of a half-built job")
        assert entry.media()
    assert footage_in(spool.root) == {"failed": 2}


def test_half_built_footage_whose_id_was_taken_meanwhile_gets_another(spool: Spool) -> None:
    entry = put_clip(spool)
    shutil.copytree(entry.path, spool.root / ".new/raw.b1.00")
    finish_off(spool)
    assert whereabouts(spool) == {"b1": ["raw"], "b1-2": ["raw"]}


def test_a_link_in_new_is_judged_before_it_is_anybodys_footage(spool: Spool) -> None:
    entry = put_clip(spool)
    os.rename(entry.path, spool.root / ".new/raw.b1.00")
    (spool.root / ".new/raw.b1.00" / TAKE).unlink()
    (spool.root / ".new/raw.b1.00" / TAKE).symlink_to("/etc/passwd")
    finish_off(spool)
    assert whereabouts(spool) == {"b1": ["failed"]}


def test_one_thing_that_cannot_be_finished_does_not_keep_the_others(spool: Spool) -> None:
    put_clip(spool)
    for name in ("incoming.a.00", "raw.b.00"):
        shutil.copytree(spool.root / "raw/b1", spool.root / ".new" / name)
    (spool.root / "incoming").rmdir()
    (spool.root / "incoming").write_text("no directory at all")
    said = finish_off(spool)
    assert any("cannot finish" in line for line in said)
    assert "b1-2" in spool.names(State.RAW)


def test_what_was_half_deleted_is_deleted(spool: Spool) -> None:
    (spool.root / ".gone/b1.00").mkdir()
    (spool.root / ".gone/b1.00" / TAKE).write_bytes(FOOTAGE)
    (spool.root / ".gone/file").write_bytes(FOOTAGE)
    assert not spool.is_tidy()
    finish_off(spool)
    assert spool.is_tidy()


def test_a_start_is_not_ended_by_a_job_that_leaves_at_the_same_time(spool: Spool) -> None:
    """Both delete what lies in `.gone/`, and whoever comes second finds nothing."""
    entries = [put_clip(spool, State.PROCESSED, f"j{n}") for n in range(150)]

    def leave() -> None:
        for entry in entries:
            spool.leave(entry, replace(entry.job, outcome=JobOutcome.PUBLISHED))

    leaving = threading.Thread(target=leave)
    leaving.start()
    while leaving.is_alive():
        finish_off(spool)
    leaving.join()
    finish_off(spool)
    assert spool.is_tidy()
    assert whereabouts(spool) == {}
    assert len(list(history(spool))) == 150


# ---- looking


def test_what_is_no_entry_is_named_and_the_entries_beside_it_are_found(spool: Spool) -> None:
    put_clip(spool)
    raw = spool.root / "raw"
    (raw / "loose.mp4").write_bytes(b"x")
    (raw / "empty").mkdir()
    (raw / "link").symlink_to(raw / "b1")
    shutil.copytree(raw / "b1", raw / "copy")
    for name in ("broken", "fifo", "directory", "linked"):
        (raw / name).mkdir()
    (raw / "broken" / JOB).write_text("{")
    os.mkfifo(raw / "fifo" / JOB)
    (raw / "directory" / JOB).mkdir()
    (raw / "linked" / JOB).symlink_to(raw / "b1" / JOB)
    (raw / ".hidden").mkdir()
    entries, unknown_files = spool.look(State.RAW)
    assert [entry.id for entry in entries] == ["b1"]
    why = {unknown_file.name: unknown_file.why for unknown_file in unknown_files}
    assert sorted(why) == ["broken", "copy", "directory", "empty", "fifo", "link", "linked", "loose.mp4"]
    assert "loose file" in why["loose.mp4"]
    assert "has no job.json" in why["empty"]
    assert "record of job b1" in why["copy"]


def test_looking_leaks_no_descriptor(spool: Spool) -> None:
    (spool.root / "raw/a").mkdir()
    (spool.root / "raw/a" / JOB).mkdir()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        spool.look(State.RAW)
    assert len(os.listdir("/proc/self/fd")) == before


def test_running_out_of_descriptors_makes_no_unknown_file_of_a_sound_job(spool: Spool) -> None:
    put_clip(spool)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open("/dev/null", os.O_RDONLY)
    os.close(lowest)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        with pytest.raises(OSError, match="Too many open files"):
            spool.read(State.RAW, "b1")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("job_id", ["", ".", "..", "../raw/b1", "b1/", "/etc", "b2"])
def test_no_id_reaches_outside_its_directory(spool: Spool, job_id: str) -> None:
    put_clip(spool)
    assert spool.find(job_id) is None


def test_a_record_of_any_size_is_read_within_a_limit(spool: Spool) -> None:
    (spool.root / "raw/b1").mkdir()
    with open(spool.root / "raw/b1" / JOB, "wb") as file:
        file.truncate(10 << 30)
    with pytest.raises(BadRecord):
        spool.read(State.RAW, "b1")


def test_a_job_that_moves_to_and_fro_and_out_is_known_at_every_moment(spool: Spool) -> None:
    entry = put_clip(spool, State.DEFERRED)
    is_over = threading.Event()

    def move() -> None:
        for state in (State.RAW, State.PROCESSING, State.PROCESSED, State.DEFERRED) * 25:
            spool.move(entry, state)
        spool.leave(entry, entry.job)
        is_over.set()

    mover = threading.Thread(target=move)
    mover.start()
    while not is_over.is_set():
        assert spool.knows("b1")
    mover.join()
    assert spool.knows("b1")


def test_a_progress_note_is_for_people_and_never_in_the_way(spool: Spool) -> None:
    entry = put_clip(spool)
    assert entry.progress() == {}
    entry.report(part=0.5)
    assert entry.progress() == {"part": 0.5}
    for junk in (b"", b"[]", b"{", b"[" * 99999):
        (entry.path / "progress.json").write_bytes(junk)
        assert entry.progress() == {}
    os.rename(entry.path, spool.root / "failed/b1")
    entry.report(part=0.6)  # the entry has gone: no fault
    assert Entry(spool.root / "failed/b1", entry.job).media() == [TAKE]
    assert entry.size() == 0
    assert Entry(spool.root / "failed/b1", entry.job).size() > len(FOOTAGE)


# ---- amending


def test_the_newest_amendment_counts_and_is_taken_once(spool: Spool) -> None:
    entry = spool.create(State.RECORDING, booking_job())
    spool.amend(entry, booking(end=NOW + timedelta(hours=3)))
    spool.amend(entry, booking(status="cancelled"))
    taken = entry.take_amendment()
    assert taken is not None
    assert taken.is_cancelled
    assert spool.read(State.RECORDING, "b1").job.booking == taken
    assert entry.take_amendment() is None


def test_an_amendment_that_a_crash_left_half_taken_is_taken_later(spool: Spool) -> None:
    entry = spool.create(State.RECORDING, booking_job())
    spool.amend(entry, booking(status="cancelled"))
    os.rename(entry.path / AMENDMENT, entry.path / f".{AMENDMENT}.taken")
    taken = entry.take_amendment()
    assert taken is not None
    assert taken.is_cancelled
    assert os.listdir(entry.path) == [JOB]


def test_amendments_that_come_while_others_are_taken_are_not_lost(spool: Spool) -> None:
    entry = spool.create(State.RECORDING, booking_job())
    last = booking(end=NOW + timedelta(hours=9))

    def amend() -> None:
        for n in range(50):
            spool.amend(entry, booking(end=NOW + timedelta(hours=2, seconds=n)))
        spool.amend(entry, last)

    sender = threading.Thread(target=amend)
    sender.start()
    newest: Booking | None = None
    while sender.is_alive():
        newest = entry.take_amendment() or newest
    sender.join()
    assert (entry.take_amendment() or newest) == last


def test_an_amendment_for_a_job_that_went_says_so(spool: Spool) -> None:
    entry = spool.create(State.RECORDING, booking_job())
    os.rename(entry.path, spool.root / "raw/b1")
    with pytest.raises(Gone):
        spool.amend(entry, booking(status="cancelled"))


# ---- one file system


def test_a_sound_spool_has_no_foreign_directory(spool: Spool) -> None:
    assert spool.foreign() == []


def test_a_link_or_a_missing_directory_is_foreign(spool: Spool, tmp_path: Path) -> None:
    (spool.root / "raw").rmdir()
    (spool.root / "raw").symlink_to(tmp_path)
    (spool.root / "failed").rmdir()
    assert spool.foreign() == [spool.root / "raw", spool.root / "failed"]


def test_a_directory_on_another_file_system_is_foreign(spool: Spool) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "none", spool.root / "raw"], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("mounting is forbidden here")
    try:
        assert spool.foreign() == [spool.root / "raw"]
        with pytest.raises(OSError, match="cross-device"):
            spool.create(State.RAW, clip_job())
        entry = put_clip(spool, State.DEFERRED, "b2")
        with pytest.raises(OSError, match="cross-device"):
            spool.move(entry, State.RAW)
        assert spool.find("b2") is not None
    finally:
        subprocess.run(["umount", spool.root / "raw"], check=True)


def test_preparing_again_changes_nothing(spool: Spool) -> None:
    put_clip(spool)
    spool.prepare()
    assert whereabouts(spool) == {"b1": ["raw"]}


def test_a_job_without_arrivals_is_taken_as_it_is(spool: Spool) -> None:
    job = Job(JobId("b1"), Kind.CLIP, NOW, attempts={"process": 1})
    assert job.as_found_in("raw") == job


# ---- nobody waits for another's disk


def _slow(spool: Spool, calls: str, does: str, tmp_path: Path) -> subprocess.Popen[bytes]:
    """Another process that does a thing to the spool on a disk that takes 3 s for each of the calls."""
    head = (
        "import sys\nfrom pathlib import Path\nfrom tests.support.spooling import *\n"
        "spool = Spool(Path(sys.argv[1]))\nprint('ready', flush=True)\n"
    )
    argv = ["strace", "-f", "-qq", "-o", str(tmp_path / "trace"), "-e", f"trace={calls}"]
    argv += ["-e", f"inject={calls}:delay_enter=3000000", sys.executable, "-c", head + does, str(spool.root)]
    env = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2], env=env)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    return child


@needs_strace
def test_a_booking_does_not_wait_for_a_big_file_that_is_being_taken_in(spool: Spool, tmp_path: Path) -> None:
    with _slow(spool, "fsync", "put_clip(spool)", tmp_path) as other:
        while not any(spool.root.glob(".new/raw.b1.*/job.json")):
            assert other.poll() is None
            time.sleep(0.01)
        began = time.monotonic()
        spool.create(State.INCOMING, booking_job("b2"))
        assert time.monotonic() - began < 2
        assert spool.finish_building() == [], "the other one is alive"
        assert not spool.is_tidy()
        assert other.wait(60) == 0
    assert whereabouts(spool) == {"b1": ["raw"], "b2": ["incoming"]}


@needs_strace
def test_a_booking_does_not_wait_for_what_is_being_deleted(spool: Spool, tmp_path: Path) -> None:
    for n in range(3):
        (spool.gone / f"b{n}.0").mkdir()
        (spool.gone / f"b{n}.0/x.mp4").write_bytes(FOOTAGE)
    with _slow(spool, "unlinkat", "finish_off(spool)", tmp_path) as other:
        time.sleep(0.5)
        began = time.monotonic()
        spool.create(State.INCOMING, booking_job("b2"))
        assert time.monotonic() - began < 2
        assert not spool.is_tidy()
        assert other.wait(60) == 0
    assert spool.is_tidy()


def test_of_two_that_are_built_at_once_under_one_id_the_second_is_numbered(spool: Spool) -> None:
    found: list[str] = []
    start = threading.Barrier(4)

    def build(n: int) -> None:
        mine = spool.root.parent / f"source{n}.mp4"
        mine.write_bytes(FOOTAGE)
        start.wait(30)
        found.append(spool.create(State.RAW, clip_job(), (mine, TAKE), number=True).id)

    builders = [threading.Thread(target=build, args=(n,)) for n in range(4)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join(30)
    assert sorted(found) == ["b1", "b1-2", "b1-3", "b1-4"]
    assert spool.is_tidy()
