"""One setting is changed: checked before it is written, and nothing else in the file is touched."""

from __future__ import annotations

import logging
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ezrec.cli import run
from ezrec.diagnostics.doctor import examine
from ezrec.domain import setting_names
from ezrec.domain.errors import ConfigError, Refused
from ezrec.runtime import hooks
from ezrec.settings import change, load, sources
from ezrec.settings.definitions import NAMES
from tests.support.jobs import ezrec

MINE = "# of the club\nCAMERA_ID=court-7  # the far one\nOTHER=kept\n\nTIMEZONE='Europe/Madrid'\n"


@pytest.fixture
def env(tmp_path: Path) -> Path:
    path = tmp_path / ".env"
    path.write_text(MINE)
    path.chmod(0o640)
    return path


def set_one(env: Path, name: str, value: str, **environ: str) -> str:
    """Set it, and return the file's text."""
    change.prepared(name, value, {"EZREC_HOME": str(env.parent), "TZ": "UTC", **environ}).write()
    return env.read_text()


def refused(env: Path, name: str, value: str, **environ: str) -> str:
    with pytest.raises((ConfigError, Refused)) as said:
        set_one(env, name, value, **environ)
    assert env.read_text() == MINE, "it is written all the same"
    return str(said.value)


def test_a_line_is_added_or_replaced_and_all_others_stay_as_they_are(env: Path) -> None:
    assert set_one(env, "RECORDING_FPS", " 25 ") == f"{MINE}RECORDING_FPS=25\n"
    assert set_one(env, "RECORDING_FPS", "50") == f"{MINE}RECORDING_FPS=50\n"
    assert set_one(env, "RECORDING_FPS", "") == MINE
    assert load({"EZREC_HOME": str(env.parent)}).fps == 30


@pytest.mark.parametrize("value", ["court-7", "'court 7'", '"court 7"', "'#'", "it's 'odd'"])
@pytest.mark.parametrize("comment", ["", "  # the far one", ' # it\'s "far"'])
def test_what_a_person_wrote_behind_a_value_stays(env: Path, value: str, comment: str) -> None:
    env.write_text(f"CAMERA_ID={value}{comment}\n")
    assert set_one(env, "CAMERA_ID", "court-8") == f"CAMERA_ID=court-8{comment}\n"
    env.write_text(f"EZREC_DEVICE_PASSWORD={value}{comment}\n")
    set_one(env, "EZREC_DEVICE_PASSWORD", "it's # new\\")
    assert load({"EZREC_HOME": str(env.parent), "TZ": "UTC"}).device_password == "it's # new\\"


def test_the_file_keeps_its_mode_and_its_owner_and_no_other_is_left_beside_it(env: Path) -> None:
    env.chmod(0o600)
    if os.geteuid() == 0:
        os.chown(env, 12, 34)
    before = env.stat()
    set_one(env, "RECORDING_FPS", "25")
    after = env.stat()
    assert (after.st_uid, after.st_gid, stat.S_IMODE(after.st_mode)) == (before.st_uid, before.st_gid, 0o600)
    assert [path.name for path in env.parent.iterdir()] == [".env"]


def test_a_link_stays_a_link(env: Path, tmp_path: Path) -> None:
    real = tmp_path / "elsewhere"
    env.rename(real)
    env.symlink_to(real)
    set_one(env, "RECORDING_FPS", "25")
    assert env.is_symlink()
    assert real.read_text().endswith("RECORDING_FPS=25\n")


def test_where_there_is_no_file_one_is_made_that_others_may_not_read(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        assert set_one(tmp_path / ".env", "USER_ID", "u-1") == "USER_ID=u-1\n"
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o640


def test_an_older_name_is_taken_and_the_newest_is_written(env: Path) -> None:
    text = set_one(env, "SYSTEM_TIMEZONE", "Europe/Lisbon")
    assert ("TIMEZONE='Europe" in text, "LOCAL_TIMEZONE=Europe/Lisbon" in text) == (False, True)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("RECORDING_FPS", "many", "RECORDING_FPS is 'many'"),
        ("RESOLUTION", "big", "must look like 1920x1080"),
        ("EZREC_BACKEND", "supabase", "USER_ID is not set"),
        ("EZREC_CAMERA", "rtsp://me:pa#ss@cam/1", "EZREC_CAMERA is set to something unusable"),
        ("EZREC_PREROLL", "5", "EZREC_PREROLL is no setting: did you mean EZREC_PRE_ROLL?"),
        ("EZREC_RESCAN", "5", "EZREC_RESCAN is no longer a setting"),
        ("EZREC_HOME", "/srv", "says where .env lies"),
        ("USER_ID", "a\nb", "line break"),
    ],
)
def test_what_would_keep_ezrec_from_starting_is_not_written(
    env: Path, name: str, value: str, says: str
) -> None:
    assert says in refused(env, name, value)


def test_a_value_is_checked_although_the_environment_hides_it(env: Path) -> None:
    assert "RECORDING_FPS is 'many'" in refused(env, "RECORDING_FPS", "many", RECORDING_FPS="25")


def test_wrong_settings_can_be_corrected_one_after_the_other(env: Path) -> None:
    env.write_text("RECORDING_FPS=many\nRESOLUTION=big\n")
    assert set_one(env, "RECORDING_FPS", "25") == "RECORDING_FPS=25\nRESOLUTION=big\n"


def test_a_key_that_has_a_file_of_its_own_is_changed_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "KEPT", tmp_path)
    key = tmp_path / "SUPABASE_KEY"
    key.write_text("old\n")
    key.chmod(0o600)
    change.prepared("SUPABASE_KEY", "new", {}).write()
    assert (key.read_text(), stat.S_IMODE(key.stat().st_mode)) == ("new\n", 0o600)


# ---- what is set and is no setting


def test_what_nobody_knows_is_named_with_the_setting_that_was_meant(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "EZREC_PREROLL=10\nEZREC_WHATEVER=1\nEZREC_CAMERA_ID=7\nRESOLUTON=640x480\n"
        "RAW_RECORDINGS_DIR=/x\nPATH=/bin\n"
    )
    assert load({"EZREC_HOME": str(tmp_path), "EZREC_POST_ROL": "9", "LOG_DIR": "/y"}).notes() == [
        "EZREC_CAMERA_ID is no setting: did you mean CAMERA_ID?",
        "EZREC_POST_ROL is no setting: did you mean EZREC_POST_ROLL?",
        "EZREC_PREROLL is no setting: did you mean EZREC_PRE_ROLL?",
        "EZREC_WHATEVER is no setting: ezrec config lists them all",
        "RESOLUTON is no setting: did you mean RESOLUTION?",
    ]


def test_a_hook_that_calls_ezrec_is_told_nothing_of_what_hooks_are_given(tmp_path: Path) -> None:
    given = set(re.findall(r'"(EZREC_\w+)"', Path(hooks.__file__).read_text()))
    assert given
    assert given <= setting_names.HOOKS | set(NAMES)
    environ = dict.fromkeys(setting_names.HOOKS, "x")
    assert load({"EZREC_HOME": str(tmp_path), **environ}).notes() == []


# ---- as it is typed


def test_config_shows_what_differs_and_sets_what_is_typed(tmp_path: Path) -> None:
    env = tmp_path / ".env"
    env.write_text("EZREC_PREROLL=10\nRECORDING_FPS=25\nEZREC_POST_ROLL=5\n")
    typed = subprocess.run(
        [sys.executable, "-m", "ezrec", "config", "set", "SUPABASE_KEY"], input="sb_secret_typed\n",
        text=True, capture_output=True, timeout=60, check=True,
        env={"PATH": os.environ["PATH"], "EZREC_HOME": str(tmp_path), "TZ": "UTC"},
    )  # fmt: skip
    assert env.read_text().endswith("\nSUPABASE_KEY=sb_secret_typed\n")
    assert "sb_secret" not in typed.stdout + typed.stderr
    assert "it counts from the next start of EZREC" in typed.stdout
    shown = ezrec(tmp_path, "config", "--changed")
    assert [line.split() for line in shown.stdout.splitlines()] == [
        ["EZREC_HOME", str(tmp_path), "environment"],
        ["SUPABASE_KEY", "***", ".env"],
        ["RECORDING_FPS", "25", ".env"],
    ]
    assert shown.stderr == "EZREC_PREROLL is no setting: did you mean EZREC_PRE_ROLL?\n"
    wrong = ezrec(tmp_path, "config", "set", "RECORDING_FPS", "-5")
    assert (wrong.returncode, len(wrong.stderr.splitlines())) == (78, 1)
    assert ezrec(tmp_path, "config", "set", "EZREC_PREROLL", "1").returncode == 3


@pytest.mark.parametrize(
    ("parts", "kept", "told"), [(["record"], False, 1), (["record"], True, 0), (["sync"], True, 1)]
)
def test_a_start_names_once_what_nobody_knows(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, parts: list[str], kept: bool, told: int
) -> None:
    (tmp_path / ".env").write_text("EZREC_PREROLL=10\n")
    run._log_start(logging.getLogger("ezrec"), load({"EZREC_HOME": str(tmp_path)}), parts, kept)
    assert caplog.text.count("did you mean EZREC_PRE_ROLL?") == told


def test_the_doctor_names_what_nobody_knows(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("EZREC_PREROLL=10\n")
    found = list(examine({"EZREC_HOME": str(tmp_path), "TZ": "UTC"}, quick=True))
    (told,) = [each for each in found if "EZREC_PREROLL" in each.evidence]
    assert (told.verdict, "EZREC_PRE_ROLL?" in told.evidence) == ("warning", True)
