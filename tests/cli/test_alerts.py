"""`ezrec alerts`: what is wrong is listed, and what a person has seen stays away."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ezrec.cli.main import NO_SUCH_JOB, OK, REFUSED, USAGE, run
from ezrec.domain.job import JobOutcome
from ezrec.domain.stages import State
from tests.support.boxes import CourtBox, a_box
from tests.support.jobs import laid


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CourtBox:
    """Two bookings were missed, and one of them was recorded in part before its job was lost."""
    monkeypatch.setenv("EZREC_HOME", str(tmp_path))
    monkeypatch.setenv("EZREC_ASSUME_CLOCK", "yes")
    made = a_box(tmp_path)
    for name in ("b1", "b2"):
        over(made, name, outcome=JobOutcome.MISSED, reason="no camera")
    over(made, "b3", outcome=JobOutcome.PUBLISHED, recording=JobOutcome.PARTIAL, coverage_pct=41.9)
    return made


def over(box: CourtBox, job_id: str, **changes: Any) -> None:
    entry = laid(box.spool, State.PROCESSED, job_id)
    box.spool.leave(entry, replace(entry.job, **changes).arrived("done", box.now))


def listed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert run(["alerts", "--json"]) == OK
    found = json.loads(capsys.readouterr().out)
    assert all(alert["can_be_cleared"] is bool(alert["job"]) for alert in found)
    return sorted(alert["id"] for alert in found if alert["can_be_cleared"])


def test_each_incident_is_listed_with_its_id_and_what_to_type(
    box: CourtBox, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["alerts"]) == OK
    text = capsys.readouterr().out
    assert text.index("no_recorder  (critical") < text.index("missed-b1  (warning")
    assert "booking b3 was recorded in part: 41.9 % of it is there" in text
    assert "→ why: ezrec explain b3; once you know: ezrec alerts clear partial-b3" in text


@pytest.mark.parametrize(
    ("typed", "left"),
    [
        (["missed-b1"], ["missed-b2", "partial-b3"]),
        (["b1", "b3"], ["missed-b2"]),
        (["part"], ["missed-b1", "missed-b2"]),
        (["--all"], []),
    ],
)
def test_what_is_put_away_stays_away(
    box: CourtBox, capsys: pytest.CaptureFixture[str], typed: list[str], left: list[str]
) -> None:
    assert listed(capsys) == ["missed-b1", "missed-b2", "partial-b3"]
    assert run(["alerts", "clear", *typed]) == OK
    assert "is put away" in capsys.readouterr().out
    assert listed(capsys) == left


@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [
        (["missed"], NO_SUCH_JOB, "2 alerts begin with 'missed'"),
        (["nothing"], NO_SUCH_JOB, "no alert 'nothing' is to be put away"),
        (["no_recorder"], REFUSED, "ends by itself once it is cured"),
        ([], USAGE, "or --all"),
        (["b1", "--all"], USAGE, "or --all"),
    ],
)
def test_a_word_that_names_none_puts_nothing_away(
    box: CourtBox, capsys: pytest.CaptureFixture[str], typed: list[str], code: int, said: str
) -> None:
    assert run(["alerts", "clear", *typed]) == code
    assert said in capsys.readouterr().err
    assert len(listed(capsys)) == 3


def test_of_two_words_the_right_one_counts(box: CourtBox, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["alerts", "clear", "missed-b1", "nothing"]) == NO_SUCH_JOB
    capsys.readouterr()
    assert listed(capsys) == ["missed-b2", "partial-b3"]


def test_what_root_puts_away_is_as_open_to_the_services_as_the_state(box: CourtBox) -> None:
    box.settings.state.mkdir()
    box.settings.state.chmod(0o2770)
    assert run(["alerts", "clear", "--all"]) == OK
    assert os.stat(box.settings.state / "put_away").st_mode & 0o7777 == 0o2770
