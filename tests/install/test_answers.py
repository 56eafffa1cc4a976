"""Where an installation's answers come from, judged by the real program."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ezrec.domain.errors import Refused
from ezrec.install import answers

PROGRAM = Path(sys.executable).with_name("ezrec")


def test_the_file_and_the_environment_may_set_everything_and_the_file_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "answers"
    file.write_text("CAMERA_ID=court-1\nSYSTEM_STATUS_INTERVAL=1\n")
    around = {
        "CAMERA_ID": "court-2", "EZREC_PRE_ROLL": "3", "TIMEZONE": "Europe/Madrid",
        "SUPABASE_ANON_KEY": "k", "EZREC_HOME": "/srv", "NO_SETTING": "1",
    }  # fmt: skip
    for name, value in around.items():
        monkeypatch.setenv(name, value)
    found = answers._given(file, PROGRAM)
    assert found == {
        "CAMERA_ID": "court-1", "SYSTEM_STATUS_INTERVAL": "1", "EZREC_PRE_ROLL": "3",
        "TIMEZONE": "Europe/Madrid", "SUPABASE_KEY": "k",
    }  # fmt: skip


def test_a_slip_in_a_name_is_refused_with_the_name_that_was_meant(tmp_path: Path) -> None:
    file = tmp_path / "answers"
    file.write_text("EZREC_PREROLL=3\n")
    with pytest.raises(Refused, match="no setting EZREC_PREROLL") as refused:
        answers._given(file, PROGRAM)
    assert refused.value.remedy == "is EZREC_PRE_ROLL meant?"


def test_a_wrong_value_is_refused_before_anything_is_written() -> None:
    with pytest.raises(Refused, match="RECORDING_FPS is 'many'") as refused:
        answers._refuse_wrong_form(PROGRAM, {"RECORDING_FPS": "many"})
    assert "nothing was written" in refused.value.remedy


def test_unattended_a_doubt_is_a_warning_and_what_the_cloud_calls_wrong_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    answers._refuse_wrong(PROGRAM, {"EZREC_CAMERA": "software"}, {"EZREC_CAMERA"})
    silent = {"SUPABASE_URL": "http://127.0.0.1:9"}
    answers._refuse_wrong(PROGRAM, silent, {"SUPABASE_URL"})
    said = capsys.readouterr().out
    assert "warning   EZREC_CAMERA: that is the test picture" in said
    assert "warning   SUPABASE_URL: asking http://127.0.0.1:9" in said
    with pytest.raises(Refused, match="no key of Supabase"):
        answers._refuse_wrong(PROGRAM, silent | {"SUPABASE_KEY": "hunter2"}, {"SUPABASE_KEY"})
