"""Settings: the environment over `.env`, every problem at once, and no secret shown."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from ezrec.app import publishing
from ezrec.domain.errors import ConfigError
from ezrec.settings import DEFAULT_HOME, Resolution, Settings, load
from ezrec.settings.definitions import RETIRED
from ezrec.settings.docs import env_example, table

ROOT = Path(__file__).parents[2]
SUPABASE = {"SUPABASE_URL": "https://abc.supabase.co/", "SUPABASE_KEY": "s3cret", "USER_ID": "u-1"}


def loaded(home: Path, **environ: str) -> Settings:
    return load({"EZREC_HOME": str(home), **environ})


def problems(home: Path, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as said:
        loaded(home, **environ)
    assert str(said.value) == "; ".join(said.value.problems)
    return said.value.problems


def env_file(home: Path, text: str) -> None:
    (home / ".env").write_text(text)


def test_nothing_set_is_a_working_local_installation() -> None:
    settings = load({})
    assert settings.home == DEFAULT_HOME
    assert settings.backend == "local"
    assert settings.spool == DEFAULT_HOME / "spool"
    assert settings.booking_cache == DEFAULT_HOME / "bookings_cache.json"
    assert (settings.resolution, settings.fps, settings.bitrate) == (Resolution(1920, 1080), 30, 10_000_000)
    assert settings.camera_id == "0"


def test_home_holds_everything_that_is_not_set_apart(tmp_path: Path) -> None:
    settings = loaded(tmp_path, LOGS_DIR="/var/log/ezrec")
    below = (
        settings.spool,
        settings.hooks,
        settings.media_cache,
        settings.booking_cache,
        settings.local_store,
    )
    assert all(path.is_relative_to(tmp_path) for path in below)
    assert settings.logs == Path("/var/log/ezrec")


def test_the_file_is_read_and_the_environment_wins_over_it(tmp_path: Path) -> None:
    env_file(tmp_path, "# a comment\nRECORDING_FPS=25\nexport CAMERA_ID='cam-1'\nRESOLUTION=1280x720\n")
    settings = loaded(tmp_path, RECORDING_FPS="50")
    assert (settings.fps, settings.camera_id, settings.resolution) == (50, "cam-1", Resolution(1280, 720))


def test_an_empty_variable_is_not_set(tmp_path: Path) -> None:
    env_file(tmp_path, "CAMERA_ID=cam-1\nRECORDING_FPS=\n")
    settings = loaded(tmp_path, CAMERA_ID="")
    assert (settings.camera_id, settings.fps) == ("cam-1", 30)


def test_nothing_in_the_file_is_expanded_or_run(tmp_path: Path) -> None:
    env_file(tmp_path, "SUPABASE_KEY=$HOME`id`${PATH}\n")
    assert loaded(tmp_path).supabase_key == "$HOME`id`${PATH}"


@pytest.mark.parametrize("name", ["SUPABASE_KEY", "SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_ANON_KEY"])
def test_the_key_is_known_by_every_name_it_had(tmp_path: Path, name: str) -> None:
    assert loaded(tmp_path, **{name: "s3cret"}).supabase_key == "s3cret"


@pytest.mark.parametrize(
    "audio", ["alsa:hw:1,0", "alsa:default:CARD=Device", "pulse:default", "software", "off"]
)
def test_sound_is_off_unless_a_device_is_named(tmp_path: Path, audio: str) -> None:
    assert loaded(tmp_path).audio == "off"
    assert loaded(tmp_path, EZREC_AUDIO=audio).audio == audio


@pytest.mark.parametrize("name", ["LOCAL_TIMEZONE", "SYSTEM_TIMEZONE", "TIMEZONE", "TIMEZONE_NAME"])
def test_the_zone_is_known_by_every_name_it_had(tmp_path: Path, name: str) -> None:
    assert str(loaded(tmp_path, **{name: "Europe/Madrid"}).zone) == "Europe/Madrid"


def credential_file(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


CLOUD = {"SUPABASE_URL": "https://abc.supabase.co", "USER_ID": "user-1"}


@pytest.mark.parametrize("how", ["named", "named in .env", "by systemd"])
def test_key_and_account_may_lie_in_a_file_of_their_own(tmp_path: Path, how: str) -> None:
    text = "SUPABASE_ANON_KEY=key-of-file\nEZREC_DEVICE_EMAIL=court@club.test\nEZREC_DEVICE_PASSWORD=opens\n"
    path = credential_file(tmp_path / "secrets" / "ezrec-device", text)
    env_file(tmp_path, "SUPABASE_KEY=key-of-env\n")
    environ = {"EZREC_DEVICE_CREDENTIALS": str(path)} if how == "named" else {}
    if how == "named in .env":
        env_file(tmp_path, f"EZREC_DEVICE_CREDENTIALS={path}\n")
    if how == "by systemd":
        environ = {"CREDENTIALS_DIRECTORY": str(path.parent)}
    found = loaded(tmp_path, **CLOUD, **environ)
    account = (found.supabase_key, found.device_email, found.device_password)
    assert account == ("key-of-file", "court@club.test", "opens")
    assert loaded(tmp_path, **CLOUD, **environ, SUPABASE_KEY="key-of-shell").supabase_key == "key-of-shell"


def test_a_credential_file_sets_credentials_and_nothing_else(tmp_path: Path) -> None:
    path = credential_file(tmp_path / "device", "SUPABASE_KEY=k\nEZREC_SPOOL=/tmp/elsewhere\n")
    assert problems(tmp_path, **CLOUD, EZREC_DEVICE_CREDENTIALS=str(path)) == [
        f"{path} sets EZREC_SPOOL: it may set SUPABASE_KEY, EZREC_DEVICE_EMAIL, EZREC_DEVICE_PASSWORD"
    ]


def test_a_credential_file_that_is_named_has_to_be_there(tmp_path: Path) -> None:
    said = problems(tmp_path, **CLOUD, SUPABASE_KEY="k", EZREC_DEVICE_CREDENTIALS=str(tmp_path / "no"))
    assert said == [f"EZREC_DEVICE_CREDENTIALS is '{tmp_path}/no': there is no such file"]
    assert loaded(tmp_path, CREDENTIALS_DIRECTORY=str(tmp_path)).supabase_key == ""


def test_each_key_may_be_a_file_as_systemd_hands_a_directory_over(tmp_path: Path) -> None:
    env_file(tmp_path, "SUPABASE_KEY=key-of-env\nEZREC_DEVICE_PASSWORD=of-env\n")
    credential_file(tmp_path / "given" / "ezrec_SUPABASE_KEY", "key-of-file\n")
    credential_file(tmp_path / "given" / "ezrec_EZREC_DEVICE_EMAIL", "court@club.test\n")
    credential_file(tmp_path / "given" / "ezrec_EZREC_SPOOL", "/tmp/elsewhere\n")
    found = loaded(tmp_path, **CLOUD, CREDENTIALS_DIRECTORY=str(tmp_path / "given"))
    account = (found.supabase_key, found.device_email, found.device_password)
    assert account == ("key-of-file", "court@club.test", "of-env")
    assert found.spool == tmp_path / "spool", "it sets credentials and nothing else"


def test_who_does_not_talk_to_the_cloud_needs_no_key_and_who_does_says_so(tmp_path: Path) -> None:
    found = loaded(tmp_path, **CLOUD)
    assert (found.backend, found.supabase_key) == ("supabase", "")
    with pytest.raises(ConfigError, match="SUPABASE_KEY is not set"):
        publishing.backend(found)


def test_the_newest_name_counts_and_the_environment_counts_more(tmp_path: Path) -> None:
    both = {"SUPABASE_KEY": "new", "SUPABASE_ANON_KEY": "old"}
    assert loaded(tmp_path, **both).supabase_key == "new"
    env_file(tmp_path, "SUPABASE_KEY=from-file\n")
    assert loaded(tmp_path, SUPABASE_ANON_KEY="from-environment").supabase_key == "from-environment"


def test_the_backend_follows_from_the_url_unless_it_is_named(tmp_path: Path) -> None:
    assert loaded(tmp_path, **SUPABASE).backend == "supabase"
    assert loaded(tmp_path, **SUPABASE).supabase_url == "https://abc.supabase.co"
    assert loaded(tmp_path, EZREC_BACKEND="local", **SUPABASE).backend == "local"


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    found = problems(
        tmp_path, EZREC_BACKEND="cloud", RECORDING_FPS="many", RESOLUTION="big", LOCAL_TIMEZONE="Mars/North",
        USER_ID="../me", EZREC_SPOOL="spool", EZREC_ASSUME_CLOCK="perhaps", SYSTEM_STATUS_INTERVAL="0",
    )  # fmt: skip
    names = ["EZREC_BACKEND", "RECORDING_FPS", "RESOLUTION", "LOCAL_TIMEZONE", "USER_ID", "EZREC_SPOOL"]
    names += ["EZREC_ASSUME_CLOCK", "SYSTEM_STATUS_INTERVAL"]
    assert sorted(line.split(" is ")[0] for line in found) == sorted(names)
    assert all("\n" not in line for line in found)


def test_a_wrong_home_does_not_hide_the_other_problems() -> None:
    with pytest.raises(ConfigError) as said:
        load({"EZREC_HOME": "here", "RECORDING_FPS": "many"})
    assert [line.split(" is ")[0] for line in said.value.problems] == ["EZREC_HOME", "RECORDING_FPS"]


def test_the_cloud_needs_an_account_and_a_key(tmp_path: Path) -> None:
    found = problems(tmp_path, SUPABASE_URL="https://abc.supabase.co")
    assert [line.split(" is ")[0] for line in found] == ["USER_ID", "SUPABASE_KEY"]
    found = problems(tmp_path, EZREC_BACKEND="supabase")
    assert [line.split(" is ")[0] for line in found] == ["SUPABASE_URL", "USER_ID", "SUPABASE_KEY"]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("RESOLUTION", ["1920", "1920*1080", "1921x1080", "32x32", "9999x9999", "1920x1080\nx", "-2x4"]),
        ("RECORDING_FPS", ["0", "121", "29.97", "nan", "1e9", "thirty"]),
        ("RECORDING_BITRATE", ["10M", "1", "inf"]),
        ("BOOKING_FETCH_INTERVAL", ["nan", "inf", "-1", "0", "soon"]),
        ("SUPABASE_URL", ["abc.supabase.co", "ftp://x", "https://", "file:///etc/passwd"]),
        ("CAMERA_ID", ["a/b", "..", "-x", "x" * 65, "é"]),
        ("LOCAL_TIMEZONE", ["../etc/passwd", "/etc/localtime", "Madrid", "\x01"]),
        ("EZREC_SPOOL", ["spool", "./spool", "../spool"]),
        (
            "EZREC_AUDIO",
            ["on", "alsa", "alsa:", "alsa:-y", "alsa:hw:1,0 -y", "pulse:a/b", "software:1", "hw:1,0", "é"],
        ),
        ("EZREC_X264_PRESET", ["veryslow", "fast; rm"]),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(tmp_path: Path, name: str, values: list[str]) -> None:
    for value in values:
        (line, *_) = problems(tmp_path, **{"USER_ID": "u", "SUPABASE_KEY": "k", name: value})
        assert line.startswith(f"{name} is "), value


def test_no_secret_is_shown_anywhere(tmp_path: Path) -> None:
    settings = loaded(tmp_path, **SUPABASE)
    assert settings.shown()["SUPABASE_KEY"] == "***"
    assert "s3cret" not in str(settings.shown())
    assert "s3cret" not in repr(settings)
    assert loaded(tmp_path).shown()["SUPABASE_KEY"] == "", "unset is seen to be unset"


def test_effective_settings_are_shown_in_the_words_in_which_they_are_set(tmp_path: Path) -> None:
    first = loaded(tmp_path, LOCAL_TIMEZONE="Europe/Madrid", EZREC_ASSUME_CLOCK="1", EZREC_PRE_ROLL="2.5")
    shown = first.shown()
    assert (shown["RESOLUTION"], shown["EZREC_ASSUME_CLOCK"], shown["EZREC_PRE_ROLL"]) == (
        "1920x1080",
        "yes",
        "2.5",
    )
    assert load({name: value for name, value in shown.items() if value}) == first


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"USER_ID=\xff\xfe\n")
    assert ".env cannot be read" in problems(tmp_path)[0]


def offset_h(zone: Any, month: int) -> float:
    offset: timedelta = datetime(2026, month, 1, tzinfo=zone).utcoffset() or timedelta()
    return offset.total_seconds() / 3600


def test_the_systems_zone_brings_its_summer_time(tmp_path: Path) -> None:
    for name in ("Europe/Madrid", ":Europe/Madrid", "/usr/share/zoneinfo/Europe/Madrid"):
        if name.startswith("/") and not Path(name).exists():
            continue
        zone = loaded(tmp_path, TZ=name).zone
        assert (offset_h(zone, 1), offset_h(zone, 7)) == (1, 2)
    assert loaded(tmp_path, TZ="UTC").zone is not None
    assert loaded(tmp_path).zone is not None


def test_a_zone_of_the_system_that_cannot_be_read_is_a_problem_and_not_utc(tmp_path: Path) -> None:
    assert "set LOCAL_TIMEZONE" in problems(tmp_path, TZ="CET-1CEST,M3.5.0,M10.5.0/3")[0]
    assert str(loaded(tmp_path, TZ="CET-1CEST", LOCAL_TIMEZONE="Europe/Madrid").zone) == "Europe/Madrid"


def test_a_retired_setting_changes_nothing_and_is_named_to_whoever_still_sets_it(tmp_path: Path) -> None:
    env_file(tmp_path, "EZREC_RESCAN=soon\nEZREC_HOOKS=\nEZREC_PRE_ROLL=4\n")
    settings = loaded(tmp_path, EZREC_LOG_FORMAT="json")
    assert (settings.rescan_s, settings.hooks, settings.pre_roll_s) == (60, tmp_path / "hooks", 4)
    said = [f"EZREC_{name} is no longer a setting: remove the line" for name in ("LOG_FORMAT", "RESCAN")]
    assert settings.notes() == said
    assert not set(RETIRED) & set(settings.shown())
    environ = {"EZREC_HOME": str(tmp_path), "PATH": os.environ["PATH"], "EZREC_LOG_FORMAT": "json"}
    for command in ("config", "config --json"):
        done = subprocess.run(
            [sys.executable, "-m", "ezrec", *command.split()], capture_output=True, text=True, timeout=60,
            env=environ, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr.splitlines()) == (0, said)


def test_the_example_file_is_fresh() -> None:
    stale = "stale: python -m ezrec.settings write"
    assert (ROOT / ".env.example").read_text() == env_example(), stale


def test_the_example_file_sets_nothing_and_names_everything(tmp_path: Path) -> None:
    env_file(tmp_path, (ROOT / ".env.example").read_text())
    assert loaded(tmp_path, LOCAL_TIMEZONE="UTC") == load(
        {"EZREC_HOME": str(tmp_path), "LOCAL_TIMEZONE": "UTC"}
    )
    for name in loaded(tmp_path).shown():
        assert f"#{name}=" in env_example()
        assert f"| {name}" in table()


def test_the_generator_prints_what_the_functions_return() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "ezrec.settings", "env"], check=True, capture_output=True, timeout=60,
        cwd=ROOT, env=os.environ | {"PYTHONWARNINGS": "error"},
    ).stdout.decode()  # fmt: skip
    assert said == env_example()


@pytest.mark.parametrize("password", ["hunter2", "hun@ter2", "p:w/x", "p", "camera"])
@pytest.mark.parametrize("scheme", ["rtsp", "RTSP", "Rtsps"])
def test_a_cameras_password_is_a_secret_too(tmp_path: Path, scheme: str, password: str) -> None:
    address = f"{scheme}://admin:{quote(password, safe='')}@cam:554/1?token=t0ken&channel=1"
    found = load({"EZREC_HOME": str(tmp_path), "TZ": "UTC", "EZREC_CAMERA": address})
    assert found.shown()["EZREC_CAMERA"] == f"{scheme.lower()}://***@cam:554/1?***"
    assert found.secrets() == (password, "t0ken")


@pytest.mark.parametrize("char", "#/?@ ")
@pytest.mark.parametrize("scheme", ["rtsp", "RTSP", "rtsps"])
def test_a_password_that_breaks_an_address_is_refused_with_the_cure_and_never_shown(
    tmp_path: Path, scheme: str, char: str
) -> None:
    given = {"EZREC_CAMERA": f"{scheme}://admin:Canary{char}9word@10.0.0.9/cam"}
    with pytest.raises(ConfigError) as raised:
        load({"EZREC_HOME": str(tmp_path), "TZ": "UTC", **given})
    (said,) = raised.value.problems
    for cure in ("EZREC_CAMERA", "# as %23", "/ as %2F", "? as %3F", "@ as %40"):
        assert cure in said
    assert "Canary" not in said
    assert "9word" not in said


def test_no_fault_of_a_setting_quotes_a_secret(tmp_path: Path) -> None:
    given = {
        "EZREC_CAMERA": "rstp:admin:canary-1@10.0.0.9",
        "SUPABASE_URL": "ftp://me:canary-2@x.co",
        "EZREC_DEVICE_PASSWORD": "canary-3/word",
        "USER_ID": "the canary-3/word",
        "RECORDING_FPS": "sb_secret_canary4",
        "RESOLUTION": "rtsp://a:canary-5@b " * 9,
    }
    with pytest.raises(ConfigError) as raised:
        load({"EZREC_HOME": str(tmp_path), "TZ": "UTC", **given})
    assert len(raised.value.problems) == 6
    assert "canary" not in str(raised.value.problems)
