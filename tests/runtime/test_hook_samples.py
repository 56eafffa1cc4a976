"""The sample hooks, run as EZREC runs them: by `Hooks`, in their folder, with a job on standard input."""

from __future__ import annotations

import logging
import os
import shutil
import stat
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ezrec.domain.job import Job, JobOutcome, Kind, Result
from ezrec.domain.names import safe_id
from ezrec.runtime.hooks import Hooks

SAMPLES = Path(__file__).parents[2] / "hooks" / "samples"
NOW = datetime(2026, 6, 1, 18, 0, tzinfo=UTC)
VIDEO = "processed_raw_b1_20260601_180000.mp4"
JOB = Job(
    safe_id("b1"),
    Kind.BOOKING,
    NOW,
    outcome=JobOutcome.PUBLISHED,
    result=Result(VIDEO, 12.5, 1000, ("raw_b1_20260601_180000.mp4:900",)),
)


def announce(home: Path, directory: str, job: Job, caplog: pytest.LogCaptureFixture) -> None:
    """Install the samples in `home`, tell them of one job, and wait for their end."""
    if not (home / "hooks").exists():
        shutil.copytree(SAMPLES, home / "hooks")
    caplog.set_level(logging.INFO)
    hooks = Hooks(home / "hooks", 60, logging.getLogger("ezrec.test"))
    assert hooks.present(directory), "the sample is not executable"
    hooks.announce(directory, "upload", home / "spool" / "processed" / job.id, job)
    hooks.finish(100)
    assert not caplog.records, caplog.text  # a failing hook is a warning, a talking one is a line


def write_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file into which a `logger` of our own writes its arguments, a line each."""
    written = tmp_path / "syslog"
    write_program(tmp_path / "bin" / "logger", f"#!/bin/sh\nprintf '%s\\n' \"$@\" >> '{written}'\n")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return written


def test_every_published_video_gets_a_line_in_the_index(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    announce(tmp_path, "done", JOB, caplog)
    announce(tmp_path, "done", replace(JOB, id=safe_id("b2")), caplog)
    lines = (tmp_path / "published.tsv").read_text().splitlines()
    assert [line.split("\t")[1:] for line in lines] == [["b1", VIDEO], ["b2", VIDEO]]
    assert all(datetime.fromisoformat(line.split("\t")[0]).tzinfo for line in lines)


@pytest.mark.parametrize(
    "job",
    [
        replace(JOB, outcome=JobOutcome.MISSED),
        replace(JOB, outcome=JobOutcome.CANCELLED, result=None),
        replace(JOB, kind=Kind.LOGS, result=None),
    ],
    ids=["missed", "cancelled", "logs"],
)
def test_a_job_that_ended_without_a_video_leaves_no_line(
    job: Job, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    announce(tmp_path, "done", job, caplog)
    assert not (tmp_path / "published.tsv").exists()


def test_a_failed_job_is_logged_with_reason_and_remedy(
    tmp_path: Path, told: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = replace(JOB, outcome=None, reason='the intro "a\\b" does not play', remedy="upload another one")
    announce(tmp_path, "failed", job, caplog)
    assert told.read_text().splitlines() == [
        "-t", "ezrec", "-p", "user.err", "--",
        'job b1: the intro "a\\b" does not play; what to do: upload another one',
    ]  # fmt: skip


def test_a_reason_that_looks_like_shell_is_only_text(
    tmp_path: Path, told: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reason = f"$(touch {tmp_path}/ran) `touch {tmp_path}/ran` %s -n"
    announce(tmp_path, "failed", replace(JOB, reason=reason), caplog)
    assert reason in told.read_text()
    assert not (tmp_path / "ran").exists()


def test_a_failed_job_without_a_remedy_names_the_command_that_tells_more(
    tmp_path: Path, told: Path, caplog: pytest.LogCaptureFixture
) -> None:
    announce(tmp_path, "failed", JOB, caplog)
    assert "no reason is recorded; what to do: ezrec spool show b1" in told.read_text()


def test_the_mail_goes_out_where_an_address_is_given(
    tmp_path: Path, told: Path, caplog: pytest.LogCaptureFixture
) -> None:
    letter = tmp_path / "letter"
    write_program(tmp_path / "bin" / "mail", f"#!/bin/sh\n{{ printf '%s\\n' \"$@\"; cat; }} > '{letter}'\n")
    shutil.copytree(SAMPLES, tmp_path / "hooks")
    sample = tmp_path / "hooks" / "failed" / "20-mail-or-log.sh"
    sample.write_text(sample.read_text().replace('mail_to=""', 'mail_to="club@example.org"'))
    announce(tmp_path, "failed", replace(JOB, reason="no room", remedy="make room"), caplog)
    assert letter.read_text().splitlines() == [
        "-s", "EZREC: job b1 needs you", "club@example.org", "job b1: no room; what to do: make room",
    ]  # fmt: skip
    assert not told.exists()


def test_an_alert_goes_to_the_system_log_where_no_mail_is_set(
    tmp_path: Path, told: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(SAMPLES, tmp_path / "hooks")
    caplog.set_level(logging.INFO)
    hooks = Hooks(tmp_path / "hooks", 60, logging.getLogger("ezrec.test"))
    said = '{\n "state": "raised",\n "message": "job \\"b1\\" waits",\n "remedy": "ezrec doctor"\n}\n'
    hooks.alert("failed_jobs", "raised", said.encode())
    hooks.finish(100)
    assert not caplog.records, caplog.text
    assert 'failed_jobs raised: job "b1" waits; what to do: ezrec doctor' in told.read_text()
