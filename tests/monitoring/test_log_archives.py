"""The log collector: everything once, nothing secret, bounded, and never in the way of a recording."""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from ezrec import settings
from ezrec.domain import redaction
from ezrec.domain.errors import Retry
from ezrec.domain.job import Kind
from ezrec.domain.outcomes import Closed, Done, RetryLater
from ezrec.domain.snapshot import Snapshot, Uploads
from ezrec.domain.stages import STAGES, State, settle
from ezrec.domain.status_file import StatusFile, encode
from ezrec.monitoring import log_archive
from ezrec.monitoring.log_archive import MOST_BYTES, Pending, Sent, pack, stamp_after
from ezrec.monitoring.log_upload import ASKED, LogCollector, pack_requested
from ezrec.settings.definitions import SECRETS
from ezrec.spool.intake import Intake
from ezrec.spool.spool import Entry
from ezrec.system import log_setup
from ezrec.system.journald import UNITS, is_closed
from ezrec.system.task import Task
from tests.monitoring.fake_journal import FakeJournal
from tests.support.boxes import LOG, CourtBox, a_box
from tests.support.jobs import laid
from tests.support.stagework import full_disk


@pytest.fixture
def box(tmp_path: Path) -> CourtBox:
    return a_box(tmp_path / "home")


@pytest.fixture(autouse=True)
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeJournal:
    made = FakeJournal(tmp_path)
    monkeypatch.setenv("PATH", f"{made.bin}:/usr/bin:/bin")
    return made


def write(box: CourtBox, name: str, text: str) -> Path:
    path = box.settings.logs / name
    with path.open("a") as file:
        file.write(text)
    return path


def archived(box: CourtBox) -> dict[str, str] | None:
    """What a fresh collector sends: the contents of its archive, which leaves the spool afterwards."""
    box.pass_time(900)
    LogCollector(box.spool, box.clock, box.settings, LOG)()
    entries = [entry for entry in box.spool.entries(State.PROCESSED) if entry.job.kind is Kind.LOGS]
    if not entries:
        return None
    (entry,) = entries
    found = contents(entry)
    box.spool.leave(entry, entry.job)
    return found


def contents(entry: Entry) -> dict[str, str]:
    (path,) = entry.path.glob("*_logs.zip")
    with zipfile.ZipFile(path) as packed:
        return {name: packed.read(name).decode() for name in packed.namelist()}


# ---- what is sent


def test_all_logs_and_the_journal_go_into_one_archive_named_by_its_time(
    box: CourtBox, journal: FakeJournal
) -> None:
    write(box, "recorder.log", "recorded\n")
    write(box, "video_worker.log", "made\n")
    write(box, "notes.txt", "private\n")
    journal.say("ezrec", "started")
    LogCollector(box.spool, box.clock, box.settings, LOG)()
    (entry,) = box.spool.entries(State.PROCESSED)
    assert [path.name for path in entry.path.glob("*.zip")] == ["20260601_120000_logs.zip"]
    assert contents(entry) == {
        "recorder.log": "recorded\n",
        "video_worker.log": "made\n",
        "journal_ezrec.log": "started\n",
    }
    assert list(box.settings.logs.glob("*.zip")) == []
    assert list(box.spool.root.glob(".*zip*")) == []


def test_nothing_is_sent_twice_and_nothing_is_left_out(box: CourtBox, journal: FakeJournal) -> None:
    write(box, "recorder.log", "one\n")
    journal.say("ezrec", "j1")
    assert archived(box) == {"recorder.log": "one\n", "journal_ezrec.log": "j1\n"}
    assert archived(box) is None
    write(box, "recorder.log", "two\n")
    journal.say("ezrec", "j2", "j3")
    assert archived(box) == {"recorder.log": "two\n", "journal_ezrec.log": "j2\nj3\n"}


def test_a_rotation_between_two_archives_loses_nothing(box: CourtBox) -> None:
    log = write(box, "recorder.log", "1\n2\n")
    archived(box)
    write(box, "recorder.log", "3\n")
    log.rename(log.with_name("recorder.log.1"))
    write(box, "recorder.log", "4\n")
    (box.settings.logs / "recorder.log.1").rename(box.settings.logs / "recorder.log.2")
    log.rename(log.with_name("recorder.log.1"))
    write(box, "recorder.log", "5\n")
    assert archived(box) == {"recorder.log": "3\n4\n5\n"}
    assert archived(box) is None


def test_a_file_that_was_emptied_or_has_got_a_used_inode_is_read_from_its_beginning(box: CourtBox) -> None:
    log = write(box, "recorder.log", "an old line\n")
    archived(box)
    log.write_text("new\n")
    assert archived(box) == {"recorder.log": "new\n"}
    log.write_text("another and longer line than before\n")
    assert archived(box) == {"recorder.log": "another and longer line than before\n"}


def test_half_a_line_waits_for_its_other_half_but_not_for_ever(box: CourtBox) -> None:
    log = write(box, "recorder.log", "whole\nkey eyJhbGciOiJIUzI1")
    assert archived(box) == {"recorder.log": "whole\n"}
    write(box, "recorder.log", "NiJ9.eyJyb2xlIjoic2Vy.c2ln\n")
    assert archived(box) == {"recorder.log": "key ***\n"}
    write(box, "recorder.log", "no end")
    os.utime(log, (1, 1))
    assert archived(box) == {"recorder.log": "no end"}


def test_a_journal_that_forgot_the_cursor_is_read_anew(box: CourtBox, journal: FakeJournal) -> None:
    journal.say("ezrec", "a", "b", "c")
    archived(box)
    journal.forget()
    journal.say("ezrec", "d")
    assert archived(box) == {"journal_ezrec.log": "d\n"}


def test_what_a_unit_said_under_its_former_name_is_sent_once_and_nothing_is_left_out(
    box: CourtBox, journal: FakeJournal, tmp_path: Path
) -> None:
    journal.say("ezrec-recorder", "sent before")
    sent = Sent(cursors={"ezrec-recorder": "c1"})
    journal.say("ezrec-recorder", "stopped")
    journal.say("recorder", "started")
    journal.say("recorder-of-somebody", "not ours")
    reached = pack(tmp_path / "logs.zip", box.settings.logs, sent)
    assert reached is not None
    with zipfile.ZipFile(tmp_path / "logs.zip") as packed:
        said = {name: packed.read(name).decode() for name in packed.namelist()}
    assert said == {"journal_recorder.log": "stopped\nstarted\n"}
    assert pack(tmp_path / "next.zip", box.settings.logs, reached) is None


@pytest.mark.parametrize("script", ["#!/bin/sh\nexit 1\n", "#!/bin/sh\necho nonsense\n", None])
def test_a_journal_that_is_absent_or_broken_is_no_error(
    box: CourtBox, journal: FakeJournal, script: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.say("ezrec", "unread")
    if script is None:
        (journal.bin / "journalctl").unlink()
        monkeypatch.setenv("PATH", str(journal.bin))
    else:
        journal.does(script)
    write(box, "recorder.log", "one\n")
    assert archived(box) == {"recorder.log": "one\n"}


# ---- hostile


def test_links_fifos_and_folders_are_passed_over(box: CourtBox, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("root:x:0:0\n")
    (box.settings.logs / "link.log").symlink_to(secret)
    os.mkfifo(box.settings.logs / "pipe.log")
    (box.settings.logs / "folder.log").mkdir()
    assert archived(box) is None


def test_no_secret_leaves_in_an_archive(box: CourtBox, journal: FakeJournal) -> None:
    canary = "canary+of/the device"
    try:
        redaction.hide([canary])
        lines = (
            "sb_secret_abcDEF123", "GET /o?token=abc.def&x=1", "Authorization: Bearer s3cr3t-t0ken",
            "rtsp://admin:hunter2@10.0.0.9/stream", f"pass {canary}", "EZREC_DEVICE_PASSWORD=pw12345",
        )  # fmt: skip
        write(box, "recorder.log", "\n".join(("before", *lines, "after\n")))
        journal.say("ezrec", *lines)
        found = archived(box)
    finally:
        redaction.forget()
    assert found is not None
    assert found["recorder.log"].startswith("before\n")
    assert found["recorder.log"].endswith("after\n")
    leaks = ("abcDEF123", "abc.def", "s3cr3t", "hunter2", "canary", "pw12345")
    assert [leak for leak in leaks for text in found.values() if leak in text] == []


def test_no_secret_setting_leaves_in_an_archive_whichever_and_however_it_was_logged(
    box: CourtBox, journal: FakeJournal
) -> None:
    """Every field that is a secret, in every form in which a library may quote it."""
    canaries = {name: f"canary/{number}+{name.lower()} é@x" for number, name in enumerate(SECRETS)}
    canaries["EZREC_WEBHOOK"] = f"https://hooks.test/{canaries['EZREC_WEBHOOK']}"
    wishes = settings.load({"EZREC_HOME": str(box.home), **canaries})
    assert set(wishes.secrets()) >= set(canaries.values())
    shapes = (str, quote, quote_plus, json.dumps, repr)
    lines = [f"{name} said {shape(value)}" for name, value in canaries.items() for shape in shapes]
    try:
        redaction.hide(wishes.secrets())
        for lane in {*log_setup.SERVICES.values()}:
            write(box, f"{lane}.log", "\n".join(lines) + "\n")
        for unit in UNITS:
            journal.say(unit, *lines)
        found = archived(box)
    finally:
        redaction.forget()
    assert found is not None
    assert len(found) == len(set(log_setup.SERVICES.values())) + len(UNITS)
    assert [name for name, text in found.items() if "canary" in text] == []
    assert all(text.count("***") == len(lines) for text in found.values())


def test_a_journal_that_talks_without_end_is_bounded_too(
    box: CourtBox, journal: FakeJournal, tmp_path: Path
) -> None:
    for unit in ("ezrec", "ezrec-sync"):
        journal.say(unit, *(f"line {number:04}" for number in range(500)))
    write(box, "recorder.log", "one\n")
    assert pack(tmp_path / "x.zip", box.settings.logs, Sent(), most_bytes=2000) is not None
    with zipfile.ZipFile(tmp_path / "x.zip") as packed:
        found = {name: packed.read(name).decode() for name in packed.namelist()}
    note = found.pop("NOTE.txt")
    assert sum(map(len, found.values())) <= 2000
    assert found["recorder.log"] == "one\n"
    said = found["journal_ezrec.log"].splitlines()
    assert (said[0], said[-1]) == (f"line {500 - len(said):04}", "line 0499"), "the newest, in whole lines"
    assert "journal_booking_sync.log: the oldest" in note


def test_an_archive_is_bounded_and_says_what_it_left_out(box: CourtBox, tmp_path: Path) -> None:
    old, new = write(box, "old.log", "o" * 900 + "\n"), write(box, "new.log", "n" * 499 + "\n")
    os.utime(old, (1000, 1000))
    os.utime(new, (2000, 2000))
    reached = pack(tmp_path / "x.zip", box.settings.logs, Sent(), most_bytes=1000)
    assert reached is not None
    with zipfile.ZipFile(tmp_path / "x.zip") as packed:
        sizes = {info.filename: info.file_size for info in packed.infolist()}
        note = packed.read("NOTE.txt").decode()
    assert (sizes["new.log"], sizes["old.log"]) == (500, 500)
    assert "old.log: the oldest 401 bytes" in note
    assert pack(tmp_path / "y.zip", box.settings.logs, reached) is None, "what was left out is not due again"
    assert MOST_BYTES < 50e6, "the smallest limit of a hosted bucket"


# ---- crashes


def test_until_the_job_is_in_the_spool_nothing_counts_as_sent(box: CourtBox) -> None:
    write(box, "recorder.log", "one\n")
    building = box.spool.root / ".20260601_110000_logs.zip"
    reached = pack(building, box.settings.logs, Sent())
    assert reached is not None
    log_archive.prepare(box.settings.state, Pending("logs-1", building.name[1:], reached))
    assert archived(box) == {"recorder.log": "one\n"}
    assert not building.exists()


def test_a_job_that_is_in_the_spool_counts_as_sent_whoever_died_then(box: CourtBox) -> None:
    write(box, "recorder.log", "one\n")
    LogCollector(box.spool, box.clock, box.settings, LOG)()
    (entry,) = box.spool.entries(State.PROCESSED)
    sent = log_archive.read_sent(box.settings.state, box.spool)
    (box.settings.state / log_archive.STATE).unlink()
    log_archive.prepare(box.settings.state, Pending(entry.id, "20260601_120000_logs.zip", sent))
    box.spool.leave(entry, entry.job)
    assert archived(box) is None


def test_a_spoilt_memory_sends_again_rather_than_failing(box: CourtBox) -> None:
    write(box, "recorder.log", "one\n")
    archived(box)
    (box.settings.state / log_archive.STATE).write_text("{")
    assert archived(box) == {"recorder.log": "one\n"}


def test_two_archives_of_one_second_do_not_replace_each_other(box: CourtBox) -> None:
    now = box.now
    assert stamp_after("", now) == "20260601_120000"
    assert stamp_after("20260601_120000", now) == "20260601_120001"
    assert stamp_after("20260601_120030", now) == "20260601_120031", "the clock was set back"
    assert stamp_after("20380101_000000", now) == "20260601_120000"
    assert stamp_after("nonsense", now) == "20260601_120000"


def test_a_full_disk_is_told_in_one_line_and_nothing_counts_as_sent(box: CourtBox) -> None:
    write(box, "recorder.log", "one\n")
    collector = LogCollector(box.spool, box.clock, box.settings, LOG)
    with full_disk(), pytest.raises(Retry, match="cannot be packed"):
        collector()
    assert box.spool.names(State.PROCESSED) == []
    assert archived(box) == {"recorder.log": "one\n"}


# ---- when


def test_while_an_archive_waits_no_other_is_packed(box: CourtBox) -> None:
    collector = LogCollector(box.spool, box.clock, box.settings, LOG)
    for name in ("recorder.log", "other.log"):
        write(box, name, "x\n")
        collector()
        box.pass_time(900)
    (waiting,) = box.spool.entries(State.PROCESSED)
    assert list(contents(waiting)) == ["recorder.log"]


def test_an_event_between_two_beats_counts_only_when_a_log_was_rotated_away(box: CourtBox) -> None:
    collector = LogCollector(box.spool, box.clock, box.settings, LOG)
    log = write(box, "recorder.log", "1\n")
    collector()
    (first,) = box.spool.entries(State.PROCESSED)
    box.spool.leave(first, first.job)
    write(box, "recorder.log", "2\n")
    box.pass_time(5)
    collector()
    assert box.spool.names(State.PROCESSED) == []
    log.rename(log.with_name("recorder.log.1"))
    collector()
    (second,) = box.spool.entries(State.PROCESSED)
    assert contents(second) == {"recorder.log": "2\n"}


@pytest.mark.parametrize(
    ("rate", "is_packed"),
    [(None, False), (50_000.0, False), (5e6, True)],
)
def test_while_recording_logs_wait_unless_the_uplink_is_fast(
    tmp_path: Path, rate: float | None, is_packed: bool
) -> None:
    box = a_box(tmp_path / "court")
    box.settings.state.mkdir()
    facts = Snapshot(box.now, uploads=Uploads(bytes_a_second=rate))
    (box.settings.state / "report.new").write_bytes(encode(StatusFile(facts)))
    (box.settings.state / "report.new").rename(box.settings.state / "status.json")
    laid(box.spool, State.RECORDING, "b1")
    write(box, "recorder.log", "x\n")
    assert (archived(box) is not None) == is_packed


# ---- a person asks


def adopt(box: CourtBox) -> list[Entry]:
    """Two looks: an empty file might still be on its way."""
    intake = Intake(box.spool, State.RAW, box.clock, box.settings.zone, LOG)
    first = intake.adopt(box.spool.look(State.RAW)[1])[0]
    box.pass_time(10)
    return first or intake.adopt(box.spool.look(State.RAW)[1])[0]


def handle(box: CourtBox, entry: Entry, wait_s: float = 60, *, closed: bool = False) -> Done | Closed:
    known = {"spool": box.spool, "clock": box.clock, "settings": box.settings, "log": LOG}
    return pack_requested(entry, Task(), **known, wait_s=wait_s, is_closed=lambda: closed)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["logs", "logs.request"])
def test_an_empty_file_in_raw_asks_for_the_logs(box: CourtBox, name: str) -> None:
    (box.spool.directory(State.RAW) / name).touch()
    (entry,) = adopt(box)
    assert (entry.job.kind, entry.state) == (Kind.LOGS, State.RAW)
    assert not (box.spool.directory(State.RAW) / name).exists()
    write(box, "recorder.log", "one\n")
    assert isinstance(handle(box, entry), Done)
    assert contents(entry) == {"recorder.log": "one\n"}
    before = entry.size()
    assert isinstance(handle(box, entry), Done), "run again, it makes nothing anew"
    assert entry.size() == before
    assert archived(box) is None, "nothing is sent twice"


def test_a_request_with_nothing_to_send_ends_by_saying_so(box: CourtBox) -> None:
    (box.spool.directory(State.RAW) / "logs").touch()
    (entry,) = adopt(box)
    answer = handle(box, entry)
    assert isinstance(answer, Closed)
    assert "nothing was written" in answer.reason


def test_a_request_while_a_collector_is_at_work_comes_back(box: CourtBox) -> None:
    (box.spool.directory(State.RAW) / "logs").touch()
    (entry,) = adopt(box)
    with box.spool.lock("logs").held(5), pytest.raises(Retry):
        handle(box, entry, wait_s=0.2)


def asked(box: CourtBox) -> Entry:
    """A request that was taken up by a process which may not read the journal."""
    (box.spool.directory(State.RAW) / "logs").touch()
    (entry,) = adopt(box)
    claimed = box.spool.claim(entry, State.PROCESSING)
    with pytest.raises(Retry) as told:
        handle(box, claimed, closed=True)
    later = RetryLater(told.value.reason, told.value.after_s, told.value.blameless)
    state, job = settle(STAGES["process"], claimed.job, later, box.now, 1.0)
    return box.spool.move(claimed, state, job)


def test_a_request_that_may_not_read_the_journal_is_answered_by_the_pulse_that_may(
    box: CourtBox, journal: FakeJournal
) -> None:
    journal.say("ezrec-sync", "j1")
    assert archived(box) == {"journal_booking_sync.log": "j1\n"}
    write(box, "recorder.log", "one\n")
    journal.say("ezrec-sync", "j2")
    entry = asked(box)
    assert entry.state is State.DEFERRED
    assert (box.settings.state / ASKED).exists(), "nobody is rung"
    LogCollector(box.spool, box.clock, box.settings, LOG)()
    assert not (box.settings.state / ASKED).exists(), "the path unit would start the pulse for ever"
    (back,) = box.spool.entries(State.RAW)
    assert isinstance(handle(box, back, closed=True), Done)
    assert contents(back) == {"recorder.log": "one\n", "journal_booking_sync.log": "j2\n"}
    assert archived(box) is None, "nothing is sent twice"


def test_a_request_that_nobody_answers_is_packed_without_the_journal(
    box: CourtBox, journal: FakeJournal
) -> None:
    journal.say("ezrec-sync", "j1")
    archived(box)
    write(box, "recorder.log", "one\n")
    journal.does("#!/bin/sh\nexit 1\n")
    entry = asked(box)
    assert entry.job.due is not None
    assert (entry.job.due - box.now).total_seconds() <= 60
    assert isinstance(handle(box, entry, closed=True), Done)
    assert contents(entry) == {"recorder.log": "one\n"}


def test_where_nobody_ever_read_a_journal_a_request_waits_for_nobody(box: CourtBox) -> None:
    (box.spool.directory(State.RAW) / "logs").touch()
    (entry,) = adopt(box)
    write(box, "recorder.log", "one\n")
    assert isinstance(handle(box, entry, closed=True), Done)


def test_a_journal_is_closed_to_those_who_may_not_read_it(tmp_path: Path) -> None:
    places = [tmp_path / "run", tmp_path / "var"]
    assert not is_closed(places), "there is none"
    for place in places:
        (place / "machine").mkdir(parents=True)
    assert not is_closed(places)
    (places[1] / "machine" / "system.journal").touch()
    assert not is_closed(places)
    (places[1] / "machine").chmod(0)  # as journald makes it for a journal in memory
    with as_nobody(tmp_path):
        assert is_closed(places)
    (places[1] / "machine").chmod(0o755)
    (places[1] / "machine" / "system.journal").chmod(0)
    with as_nobody(tmp_path):
        assert is_closed(places)


@contextlib.contextmanager
def as_nobody(place: Path) -> Iterator[None]:
    """Root may read what nobody else may. `place` is made passable, and what lies above it."""
    was = os.geteuid()
    if was == 0:
        places = (place, *place.parents)
        modes = [(path, mode) for path in places if not (mode := path.stat().st_mode) & 0o001]
        for path, mode in modes:
            path.chmod(mode | 0o001)
        os.seteuid(65534)
    try:
        yield
    finally:
        if was == 0:
            os.seteuid(was)
            for path, mode in modes:
                path.chmod(mode)


def test_a_link_named_like_a_request_is_rejected_as_any_link(box: CourtBox) -> None:
    (box.spool.directory(State.RAW) / "logs").symlink_to("/etc/passwd")
    (entry,) = adopt(box)
    assert entry.state is State.FAILED


def test_the_names_of_failed_uploads_do_not_matter_to_what_is_remembered(box: CourtBox) -> None:
    write(box, "recorder.log", "one\n")
    LogCollector(box.spool, box.clock, box.settings, LOG)()
    (entry,) = box.spool.entries(State.PROCESSED)
    box.spool.move(entry, State.DEFERRED, replace(entry.job, return_to="processed"))
    box.pass_time(900)
    LogCollector(box.spool, box.clock, box.settings, LOG)()
    assert box.spool.names(State.PROCESSED) == [], "the deferred one is tried again as it is"
