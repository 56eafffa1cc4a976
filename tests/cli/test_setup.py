"""What the installer asks of the program, and the last screen that it prints."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ezrec.cli.main import COMMANDS, Context, run
from ezrec.cli.setup import _facts
from ezrec.diagnostics.first_look import FirstLook
from ezrec.domain.snapshot import Upcoming
from ezrec.settings.definitions import TABLE


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    monkeypatch.setenv("EZREC_HOME", str(tmp_path))
    monkeypatch.setenv("LOCAL_TIMEZONE", "UTC")
    monkeypatch.delenv("SUPABASE_URL", raising=False)
    return Context()


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_it_is_asked_by_the_installer_and_not_shown_to_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert "setup" not in COMMANDS
    assert run(["setup", "names"]) == 0
    assert {item.metadata["name"] for item in TABLE} <= {*capsys.readouterr().out.split()}


def test_a_judgement_is_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_TIMEZONE", "Madrid")
    assert run(["setup", "check", "LOCAL_TIMEZONE"]) == 0
    assert "must be a time zone" in json.loads(capsys.readouterr().out)["fault"]
    assert run(["setup", "check"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 1


def test_the_last_screen_says_what_is_wrong_first_then_camera_picture_and_next_booking(
    context: Context,
) -> None:
    start = datetime(datetime.now(UTC).year, 6, 1, 18, 0, tzinfo=UTC)
    coming = Upcoming("final-1", start, start + timedelta(minutes=90))
    well = FirstLook((), "imx708 (auto)", Path("/p/camera.jpg"), coming, bookings_known=True)
    runs, camera, picture, booking = _facts(context, well)
    assert (runs, camera) == ("EZREC runs.", "Camera:       imx708 (auto)")
    assert picture.endswith("/p/camera.jpg")
    assert booking.endswith("1 Jun 18:00–19:30 (final-1)")
    ill = FirstLook(("no recorder runs → sudo ezrec doctor",), "auto", None, None, bookings_known=True)
    alarm, camera, booking = _facts(context, ill)
    assert alarm == "ALARM: no recorder runs → sudo ezrec doctor"
    assert "ezrec local book" in booking


def test_what_a_member_of_the_group_makes_the_services_may_change(
    context: Context, tmp_path: Path, umask: None
) -> None:
    tmp_path.chmod(0o2770)
    assert context.settings.home == tmp_path
    (tmp_path / "tables.db").touch()
    assert (tmp_path / "tables.db").stat().st_mode & 0o777 == 0o660
