"""`ezrec spool …` as a person at the machine meets it, with no daemon running."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ezrec.cli import job_view
from ezrec.cli.formatting import length, printable, size, span, window
from ezrec.cli.job_list import Row, rows
from ezrec.cli.job_table import draw, footer
from ezrec.cli.main import run
from ezrec.cli.next_step import next_step
from ezrec.domain.job import Fault, JobOutcome, Kind
from ezrec.domain.stages import State
from ezrec.spool.lookup import IN_SPOOL, all_ids, find
from ezrec.spool.spool import Spool
from tests.support.jobs import HOUR, NOW, booking, ezrec, laid, where

UUIDS = ("3f2a91c4-0000-4000-8000-000000000001", "3f2a91c4-0000-4000-8000-000000000002")


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Spool:
    for name in ("EZREC_SPOOL", "SUPABASE_URL", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EZREC_HOME", str(tmp_path))
    spool = Spool(tmp_path / "spool")
    spool.prepare()
    return spool


def listed(spool: Spool, width: int | None = None, places: tuple[str, ...] = IN_SPOOL) -> list[str]:
    return draw(rows(spool, places, NOW), all_ids(spool), NOW, UTC, width)


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert run(arguments) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


# ---- ls


def test_ls_tells_id_state_window_size_age_tries_and_what_comes_next(spool: Spool) -> None:
    laid(spool, State.INCOMING, "soon", booking=booking("soon", NOW + timedelta(minutes=17)))
    laid(spool, State.PROCESSING, "now", attempts={"process": 2}).report(part=0.5)
    lines = listed(spool)
    assert lines[0].split() == ["ID", "STATE", "BOOKING", "SIZE", "AGE", "TRY", "NEXT"]
    assert " ".join(lines[1].split()) == "soon incoming Sat 21 Nov 18:17–19:17 – 60 min – starts in 17 min"
    assert " ".join(lines[2].split()) == ("now processing Sat 21 Nov 16:00–17:00 5 B 60 min 2 50 %")


@pytest.mark.parametrize(
    ("note", "told"),
    [
        ({"part": 0.5, "eta_s": 90, "speed": 2.44}, "50 %, 2.4× real time, 90 s left"),
        ({"part": 0.5, "eta_s": 4, "speed": 97.6}, "50 %, 98× real time, 4 s left"),
        ({"part": 1.0, "eta_s": 0, "speed": 3.0}, "100 %, 3.0× real time"),
        ({"part": 0.5, "eta_s": "soon", "speed": -1}, "50 %"),
        ({"part": 0.01, "eta_s": None, "speed": None}, "1 %"),
        ({"part": "half"}, "processing"),
    ],
)
def test_a_job_at_work_tells_how_far_it_is_how_fast_and_how_long_yet(
    note: dict[str, Any], told: str, spool: Spool
) -> None:
    laid(spool, State.PROCESSING, "now").report(**note)
    assert listed(spool)[1].endswith(f" {told}")
    page = job_view.draw(find(spool, "now"), NOW, UTC, None)
    assert f"  Next       {told}" in page


def test_a_job_that_rests_says_so_and_why_and_promises_no_time(spool: Spool) -> None:
    why = "rests while something is recorded"
    laid(spool, State.PROCESSING, "now").report(part=0.5, eta_s=90, speed=2.44, rests=why)
    lines = listed(spool)
    assert lines[1].endswith(" 50 %, rests")
    assert [line.strip() for line in lines[2:]] == [why, "→ set by EZREC_PROCESS_WHILE_RECORDING"]
    page = job_view.draw(find(spool, "now"), NOW, UTC, None)
    assert "  Next       50 %, rests" in page
    assert f"  Why        {why}" in page


WAITING = [
    (State.FAILED, {"reason": "no picture", "remedy": "copy it again"}, ["no picture", "→ copy it again"]),
    (State.FAILED, {"reason": "odd", "remedy": ""}, ["odd", "→ ezrec spool retry j"]),
    (
        State.DEFERRED,
        {"reason": "no network", "return_to": "processed", "due": NOW + timedelta(seconds=40)},
        ["no network", "→ sooner: ezrec spool retry j"],
    ),
    (
        State.DEFERRED,
        {"held": "ask the club", "return_to": "raw"},
        ["ask the club", "→ ezrec spool release j"],
    ),
]


@pytest.mark.parametrize(("state", "fields", "remarks"), WAITING)
def test_ls_tells_why_a_job_waits_and_the_command_that_cures_it(
    spool: Spool, state: State, fields: dict[str, Any], remarks: list[str]
) -> None:
    laid(spool, state, "j", **fields)
    assert [line.strip() for line in listed(spool)[2:]] == remarks


def test_ls_lists_in_the_order_in_which_jobs_pass_and_what_needs_a_person_last(spool: Spool) -> None:
    for state in reversed(IN_SPOOL):
        laid(spool, State(state), f"in-{state}", due=NOW)
    assert [row.place for row in rows(spool, IN_SPOOL, NOW)] == list(IN_SPOOL)


def test_loose_files_are_shown_as_such_and_broken_entries_with_the_reason(spool: Spool) -> None:
    (spool.root / "raw" / "match.mp4").write_bytes(b"x" * 2000)
    (spool.root / "failed" / "torn").mkdir()
    (spool.root / "failed" / "torn" / "job.json").write_text('{"id":')
    text = "\n".join(listed(spool))
    assert "(loose)" in text
    assert "'match.mp4' lies loose in raw/" in text
    assert "run-stage process --once" in text
    assert "(broken)" in text
    assert "'torn': job.json cannot be read" in text


HOSTILE: list[str | bytes] = [
    "x" * 250 + ".mp4",
    "a\nb.mp4",
    "\x1b[2J\x1b[31m.mp4",
    "-rf",
    "\u202egpj.mp4",
    "б" * 60,
    b"\xff\xfe.mp4",
]


@pytest.mark.parametrize("width", [80, 140, None])
def test_hostile_names_neither_move_the_cursor_nor_break_the_lines(spool: Spool, width: int | None) -> None:
    for name in HOSTILE:
        (spool.root / "raw" / os.fsdecode(name)).write_bytes(b"x")
    laid(spool, State.FAILED, "j", reason="\x1b[2Jgone\nforged line", remedy="\a")
    laid(spool, State.DEFERRED, "k", held="\r\x1b]0;title", return_to="raw")
    lines = listed(spool, width)
    assert all(line.isprintable() for line in lines)
    assert sum("(loose)" in line for line in lines) == len(HOSTILE)
    if width is not None:
        assert max(map(len, lines)) <= width
    assert any("\\x1b[2J" in line for line in lines)


def test_ls_fits_80_columns_with_ids_as_short_as_they_can_be(spool: Spool) -> None:
    for n, state in enumerate((State.RAW, State.FAILED)):
        laid(spool, state, UUIDS[n], reason="a long story " * 12, remedy=f"ezrec spool retry {UUIDS[n]}")
    laid(spool, State.PROCESSED, "a" * 36, boot_id="b").report(part=0.3)
    lines = listed(spool, 80)
    assert max(map(len, lines)) <= 80
    assert [line for line in lines if line in UUIDS] == list(UUIDS)  # they differ in the last place only
    assert any(line.startswith("aaaaaaaa ") for line in lines)
    assert any(line.startswith("a" * 36) for line in listed(spool, 140))


def test_a_shortened_id_names_exactly_one_job(spool: Spool) -> None:
    names = ["0123456789abcdef-x", "0123456789abcdeg-x", "fedcba9876543210-x"]
    for name in names:
        laid(spool, State.RAW, name)
    shown = [line.split()[0] for line in listed(spool, 80)[1:]]
    assert shown == ["0123456789abcdef", "0123456789abcdeg", "fedcba98"]


def test_the_footer_counts_and_folds_between_facts(spool: Spool) -> None:
    laid(spool, State.FAILED, "j")
    found = rows(spool, IN_SPOOL, NOW)
    facts = [("disk: 18 h free", True), ("clock: NOT synchronised", False), ("backend local: ok", True)]
    assert footer(found, facts, 50, colour=False) == [
        "",
        "1 job: 1 failed · 1 needs you",
        "disk: 18 h free · clock: NOT synchronised",
        "backend local: ok",
    ]


def test_ls_tells_of_the_machine_with_no_daemon_running(tmp_path: Path) -> None:
    found = ezrec(tmp_path, "spool", "ls", EZREC_ASSUME_CLOCK="yes")
    assert found.returncode == 0, found.stderr
    assert "The spool is empty" in found.stdout
    for fact in ("h of recording", "clock: synchronised", "backend local"):
        assert fact in found.stdout
    assert "\x1b" not in found.stdout


def test_columns_is_honoured_and_a_pipe_gets_80(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.prepare()
    for job_id in ("a" * 36, "b" * 36):
        laid(spool, State.FAILED, job_id, reason="a long story " * 20)
    narrow = ezrec(tmp_path, "spool", "ls", COLUMNS="60").stdout.splitlines()
    piped = ezrec(tmp_path, "spool", "ls").stdout.splitlines()
    assert not any("a" * 36 in line for line in narrow if "failed" in line)
    table = narrow[: narrow.index("")]
    assert max(len(line) for line in table if line.startswith(" ") and "→" not in line) <= 60
    assert max(map(len, table)) < 80, "the columns take what they need"
    assert 60 < max(map(len, piped)) <= 80
    assert any(line.startswith("a" * 8 + "  ") for line in piped), "the beginning of an id is enough"


def test_log_archives_stand_apart_from_the_matches(spool: Spool) -> None:
    laid(spool, State.PROCESSED, "logs-1", kind=Kind.LOGS, booking=None, takes=())
    laid(spool, State.PROCESSED, "match")
    heading, match, blank, apart, archive = listed(spool)
    assert heading.startswith("ID")
    assert match.startswith("match")
    assert (blank, apart) == ("", "Archives of this box's logs:")
    assert archive.startswith("logs-1")


def test_ls_filters_by_state_failure_and_time(spool: Spool, capsys: pytest.CaptureFixture[str]) -> None:
    laid(spool, State.RAW, "queued")
    laid(spool, State.FAILED, "failed")
    now = datetime.now(UTC)
    fresh = laid(spool, State.DEFERRED, "fresh", return_to="raw", due=now)
    fresh.update(arrivals=fresh.job.arrived("deferred", now).arrivals)
    over = laid(spool, State.PROCESSED, "over")
    spool.leave(over, replace(over.job.arrived("done", now), outcome=JobOutcome.PUBLISHED))

    def ids(*arguments: str) -> set[str]:
        return {row["id"] for row in answer(capsys, "spool", "ls", *arguments, "--json")}

    assert ids() == {"queued", "failed", "fresh"}
    assert ids("raw", "failed") == {"queued", "failed"}
    assert ids("--failed") == {"failed"}
    assert ids("done") == {"over"}
    assert ids("--since", "1h") >= {"fresh", "over"}


def test_ls_speaks_json(spool: Spool, capsys: pytest.CaptureFixture[str]) -> None:
    laid(spool, State.FAILED, "j", attempts={"record": 1, "process": 3})
    (spool.root / "raw" / os.fsdecode(b"\xff\n.mp4")).write_bytes(b"abc")
    loose, job = answer(capsys, "spool", "ls", "--json")
    assert (loose["id"], loose["kind"], loose["state"], loose["size"]) == (None, "loose", "raw", 3)
    assert (job["id"], job["state"], job["kind"], job["tries"]) == ("j", "failed", "booking", 3)
    assert job["booking"]["start"] == "2026-11-21T16:00:00Z"
    assert (job["why"], job["cure"], job["needs_you"]) == ("no picture", "copy it again", True)
    assert set(job) == set(loose)


# ---- show


def test_show_tells_the_life_of_a_job(spool: Spool, capsys: pytest.CaptureFixture[str]) -> None:
    fault = Fault(NOW, "process", "reject", "no picture", "copy it again")
    entry = laid(spool, State.FAILED, "j", errors=(fault,), coverage_pct=99.5, recording=JobOutcome.PARTIAL)
    entry.update(gaps=(replace(booking("j").window, end=booking("j").start + timedelta(seconds=6)),))
    assert run(["spool", "show", "j"]) == 0
    text = capsys.readouterr().out
    for part in (
        "99.5 %",
        "6.0 s without a picture",
        "process (reject): no picture → copy it again",
        "1:00:00.0",
        "raw_j_20261121_160000.mp4",
        "waits for a person",
        "job.json",
    ):
        assert part in text


def test_show_names_the_longest_gaps_and_counts_the_others(
    spool: Spool, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = laid(spool, State.RAW, "j", coverage_pct=75.0, recording=JobOutcome.PARTIAL)
    gap = replace(booking("j").window, end=booking("j").start + timedelta(seconds=6))
    entry.update(gaps=(gap,), gap_count=5_600, missing_s=2700.0)
    assert run(["spool", "show", "j"]) == 0
    text = capsys.readouterr().out
    assert "6.0 s without a picture" in text
    assert "and 5599 shorter ones: 2700.0 s are missing in all" in text


def test_show_finds_history_and_trash_and_speaks_json(
    spool: Spool, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = laid(spool, State.PROCESSED, "over")
    spool.leave(entry, replace(entry.job, outcome=JobOutcome.PUBLISHED))
    found = answer(capsys, "spool", "show", "ov", "--json")
    assert (found["state"], found["outcome"], found["files"], found["path"]) == (
        "done",
        "published",
        [],
        None,
    )
    laid(spool, State.RAW, "j")
    assert run(["spool", "rm", "--with-footage", "j"]) == 0
    capsys.readouterr()
    found = answer(capsys, "spool", "show", "j", "--json")
    assert (found["state"], found["cure"]) == ("trash", "ezrec spool restore j")
    assert {file["name"] for file in found["files"]} >= {"job.json"}


def test_show_escapes_what_others_wrote(spool: Spool, capsys: pytest.CaptureFixture[str]) -> None:
    entry = laid(spool, State.FAILED, "j", reason="\x1b[2J", errors=(Fault(NOW, "p", "k", "\a\n", ""),))
    (entry.path / "\x1b[31m.log").touch()
    assert run(["spool", "show", "j"]) == 0
    assert all(line.isprintable() for line in capsys.readouterr().out.splitlines())


# ---- the actions, from the shell's side


def test_a_job_goes_through_every_verb(
    spool: Spool, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "m.mp4").write_bytes(b"v")
    steps = [
        (("put", str(tmp_path / "m.mp4"), "--booking", "b1"), "raw", "b1 → raw/"),
        (("hold", "b1"), "deferred", "b1 → deferred/"),
        (("release", "b"), "raw", "b1 → raw/"),
        (("rm", "--with-footage", "b1"), ".trash", "b1 → trash/"),
        (("restore", "b1"), "raw", "b1 → raw/"),
    ]
    for arguments, place, said in steps:
        assert run(["spool", *arguments]) == 0
        assert capsys.readouterr().out.strip() == said
        assert where(spool, "b1") == place
    os.rename(spool.root / "raw" / "b1", spool.root / "failed" / "b1")
    assert run(["spool", "retry", "b1"]) == 0
    assert where(spool, "b1") == "raw"


@pytest.mark.parametrize(
    ("name", "job_id"),
    [
        ("raw_b7_20260601_180000.mp4", r"b7"),
        ("GX010042.mp4", r"GX010042"),
        ("our match!.mp4", r"clip-\d{8}-\d{6}"),
    ],
)
def test_put_finds_an_id_where_none_is_named(
    spool: Spool, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, job_id: str
) -> None:
    (tmp_path / name).write_bytes(b"v")
    assert run(["spool", "put", str(tmp_path / name)]) == 0
    assert re.fullmatch(rf"{job_id} → raw/", capsys.readouterr().out.strip())


def test_one_job_that_cannot_be_had_does_not_keep_the_others_waiting(
    spool: Spool, capsys: pytest.CaptureFixture[str]
) -> None:
    laid(spool, State.FAILED, "a1")
    laid(spool, State.RAW, "b1")
    laid(spool, State.FAILED, "c1")
    assert run(["spool", "retry", "a1", "nobody", "b1", "c1"]) == 2
    told = capsys.readouterr()
    assert told.out.split() == ["a1", "→", "raw/", "c1", "→", "raw/"]
    assert len(told.err.splitlines()) == 2


def test_footage_is_refused_with_the_flag_named(spool: Spool, capsys: pytest.CaptureFixture[str]) -> None:
    laid(spool, State.RAW, "j")
    assert run(["spool", "rm", "j"]) == 3
    assert "ezrec spool rm --with-footage j" in capsys.readouterr().err


@pytest.mark.parametrize("file", ["-", "missing.mp4"])
def test_put_says_clearly_what_it_cannot_read(
    spool: Spool, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    assert run(["spool", "put", file, "--booking", "b1"]) == 1
    assert {"-": "pipe", "missing.mp4": "no file missing.mp4"}[file] in capsys.readouterr().err


def test_wait_ends_when_another_process_fails_the_job(tmp_path: Path, spool: Spool) -> None:
    entry = laid(spool, State.FAILED, "j")
    found = ezrec(tmp_path, "spool", "wait", entry.id, "--timeout", "60s")
    assert (found.returncode, found.stderr) == (3, "ezrec: job j failed: no picture – copy it again\n")


# ---- how values are written


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (-5, "0 s"), (99, "99 s"), (120, "2 min"), (5_999, "1 h 40"), (7_500, "2 h 05"),
     (86_400, "24 h"), (200_000, "2 d"), (900_000, "10 d")],
)  # fmt: skip
def test_a_length_of_time_is_short(seconds: float, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (99_600, "100 kB"), (4_500_000_000, "4.5 GB"),
     (999_950, "1.0 MB"), (10**16, "10000 TB")],
)  # fmt: skip
def test_a_size_has_three_digits(count: int, text: str) -> None:
    assert size(count) == text


def test_other_ways_of_writing_values() -> None:
    assert length(3605.25) == "1:00:05.2"
    assert printable("a\nb\x1b\u202e é") == "a\\nb\\x1b\\u202e é"
    assert window(NOW, NOW + HOUR, UTC, NOW + timedelta(days=60)) == "Sat 21 Nov 2026 18:00–19:00"


@pytest.mark.parametrize("place", IN_SPOOL)
def test_every_place_has_an_outlook_for_a_job_with_nothing_known(spool: Spool, place: str) -> None:
    job = laid(spool, State(place), "j", booking=None, takes=(), return_to=None, reason="", remedy="").job
    step = next_step(job, place, NOW)
    assert step.text
    assert Row(place, "j", step, job).as_json(NOW)["state"] == place
