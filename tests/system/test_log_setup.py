"""Logging: one file a service, rotated by size also by several processes, and nothing secret in any of it."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from ezrec import settings
from ezrec.domain import redaction
from ezrec.settings.definitions import SECRETS
from ezrec.system import log_setup

SERVICE = "ezrec.system_status"


@pytest.fixture(autouse=True)
def own_handlers() -> Iterator[None]:
    """Whatever a test lets log is silent again after it."""
    names = ("", SERVICE, "ezrec.recorder")
    before = {name: list(logging.getLogger(name).handlers) for name in names}
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)
    for name in names:
        own = logging.getLogger(name)
        for handler in list(own.handlers):
            if handler not in before[name]:
                own.removeHandler(handler)
                handler.close()
    redaction.forget()


CANARIES = {name: f"canary/{number}+{name.lower()} é@x" for number, name in enumerate(SECRETS)}
CANARIES["EZREC_WEBHOOK"] = f"https://hooks.test/{CANARIES['EZREC_WEBHOOK']}"
RTSP = "p@ss/w0rd:canary"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoic2VydmljZSJ9.c2lnbmF0dXJl"
FORMS = {
    "jwt": (f"key {JWT}", JWT),
    "unsigned jwt": (f"key {JWT.rpartition('.')[0]}", "eyJyb2xlIjoic2VydmljZSJ9"),
    "sb key": ("key sb_secret_abcDEF123", "abcDEF123"),
    "token in a url": ("GET https://x.co/o?token=tok.en-1&a=b", "tok.en-1"),
    "access_token": ("https://x.co/#access_token=canary77", "canary77"),
    "bearer": ("Authorization: Bearer s3cr3t-t0ken", "s3cr3t"),
    "basic": ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
    "rtsp": ("rtsp://admin:hunter2@10.0.0.9/stream", "hunter2"),
    "rtsp with an at": ("rtsp://admin:hun@ter2@10.0.0.9/stream", "ter2"),
    "env": ("SUPABASE_KEY=canary88 USER_ID=u", "canary88"),
    "env of another name": ("SUPABASE_SERVICE_ROLE_KEY=canary99", "canary99"),
    "rtsp in capitals": ("RTSP://admin:hunter2@10.0.0.9/stream", "hunter2"),
    "rtsp with what ends a host": ("rtsp://admin:hun/#?ter2@10.0.0.9/stream", "ter2"),
    "rtsp with a token": ("rtsp://10.0.0.9/stream?t=hunter2: 401", "hunter2"),
    "rtsp with a name alone": ("rtsp://hunter2@10.0.0.9/stream", "hunter2"),
    "https": ("HTTPS://me:hunter2@x.co/", "hunter2"),
    "json in json": (r'{"body": "{\"refresh_token\":\"canary 5566\"}"}', "5566"),
    "words in json": ('{"password": "canary 5566", "x": 1}', "5566"),
    "json": ('{"password": "canary55", "x": 1}', "canary55"),
    "python": ("{'apikey': 'canary66'}", "canary66"),
}


def _settings(tmp_path: Path) -> settings.Settings:
    return settings.load(
        {
            "EZREC_HOME": str(tmp_path),
            "TZ": "UTC",
            "EZREC_CAMERA": f"rtsp://admin:{quote(RTSP, safe='')}@cam/1",
            **CANARIES,
        }
    )


def _everything_is_logged(text: str) -> None:
    """By message, argument, traceback, chained traceback, and by a library."""
    own = logging.getLogger(SERVICE)
    own.warning(f"said {text}")
    own.warning("given %s and %r", text, {"k": text})
    try:
        try:
            raise ValueError(text)
        except ValueError as fault:
            raise RuntimeError(f"because of {text}") from fault
    except RuntimeError:
        own.exception("failed")
    logging.getLogger("httpx").warning("HTTP Request: %s", text)
    logging.getLogger("httpx").info("HTTP Request: %s", text)


def test_no_secret_setting_is_ever_read_in_a_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wishes = _settings(tmp_path)
    log_setup.begin(wishes.logs, ["status"], secrets=wishes.secrets())
    values = [*CANARIES.values(), RTSP]
    assert set(values) == set(wishes.secrets()), "every secret field has its canary"
    for value in values:
        for shape in (value, quote(value, safe=""), quote(value), json.dumps({"x": value}), repr(value)):
            _everything_is_logged(shape)
    text = (wishes.logs / "system_status.log").read_text() + "".join(capsys.readouterr())
    assert text.count("***") > 100
    leaks = [word for value in values for word in re.split(r"\W+", value) if len(word) > 7 and word in text]
    assert leaks == []


@pytest.mark.parametrize("what", FORMS)
def test_what_looks_like_a_secret_is_taken_for_one(
    tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line, secret = FORMS[what]
    log_setup.begin(tmp_path, ["status"])
    _everything_is_logged(line)
    text = (tmp_path / "system_status.log").read_text() + "".join(capsys.readouterr())
    assert "***" in text
    assert secret not in text


@pytest.mark.parametrize(
    "text", ["key: user-1/logo/logo_1.png", "booking b1: 18:00 to 19:00", "rtsp://cam.local:554/stream"]
)
def test_plain_lines_stay_as_they_are(text: str) -> None:
    assert redaction.redacted(text) == text


def test_a_line_that_cannot_be_written_is_not_printed_instead(tmp_path: Path) -> None:
    code = (
        "import logging, sys; from pathlib import Path; from ezrec.system import log_setup as logs;"
        "logs.begin(Path(sys.argv[1]), ['status']);"
        "logging.getLogger('ezrec.system_status').warning('%d', 'token=canary44')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert "was not logged: TypeError" in done.stderr
    assert "canary44" not in done.stdout + done.stderr


def test_text_lines_have_the_form_that_installations_know(tmp_path: Path) -> None:
    log_setup.begin(tmp_path, ["status", "record"])
    logging.getLogger(SERVICE).info("a beat")
    text = (tmp_path / "system_status.log").read_text()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - INFO - a beat\n", text)
    assert (tmp_path / "recorder.log").read_text() == ""


def test_a_message_of_several_lines_cannot_pass_for_several_entries(tmp_path: Path) -> None:
    log_setup.begin(tmp_path, ["status"])
    logging.getLogger(SERVICE).info("a name\n2026-06-01 18:00:00,000 - INFO - all is well")
    first, second = (tmp_path / "system_status.log").read_text().splitlines()
    assert first.endswith("a name")
    assert second.startswith("  2026")


def test_libraries_are_quiet_below_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log_setup.begin(tmp_path, ["status"])
    for name in ("httpx", "httpcore", "picamera2", "watchdog.observers"):
        logging.getLogger(name).info("chatter")
    assert "chatter" not in capsys.readouterr().out


_WRITER = """
import logging, sys
from pathlib import Path
from ezrec.system import log_setup as logs
logs._LARGEST, logs._KEPT = 20_000, 1000
sys.stdout = open("/dev/null", "w")
logs.begin(Path(sys.argv[1]), ["status"])
for n in range(1500):
    logging.getLogger("ezrec.system_status").info("%s %d %s", sys.argv[2], n, "x" * 40)
"""


def test_several_processes_rotate_one_file_and_lose_no_line(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path), name]) for name in ("a", "b", "c")
    ]
    assert [writer.wait(120) for writer in writers] == [0, 0, 0]
    parts = list(tmp_path.glob("system_status.log*"))
    assert len(parts) > 10
    said = [line.split()[5:7] for part in parts for line in part.read_text().splitlines()]
    assert sorted(said) == sorted([name, str(n)] for name in "abc" for n in range(1500))
