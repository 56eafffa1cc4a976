"""`ezrec status`: one screen from files alone, with and without anybody running."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ezrec.cli.main import ALARMED, OK, WARNED, run
from ezrec.cli.status_view import answers, draw
from ezrec.domain.alerts import RULES, Alert, Severity
from ezrec.domain.cloud_state import Access, Cloud
from ezrec.domain.health import CameraState, Health
from ezrec.domain.machine import Machine, Throttling
from ezrec.domain.snapshot import FailedJob, Recorder, Snapshot, Upcoming, Uploads, Waiting
from ezrec.domain.stages import State
from tests.support.boxes import CourtBox, a_box
from tests.support.daemon import Box
from tests.support.jobs import ezrec, laid

NOW = datetime(2026, 11, 25, 18, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
HEALTH = Health(
    NOW, 77, "boot-1", "software", CameraState.RUNNING, last_frame_at=NOW - timedelta(seconds=1), fps=29.97
)
WELL = Snapshot(
    NOW,
    "boot-1",
    Machine(90_000.0, (0.5, 0.4, 0.3), 12.0, 40.0, disk_free_bytes=60_000_000_000, temperature_c=51.0),
    Recorder(True, ("b1",), ("b1",), HEALTH),
    {"incoming": 2, "recording": 1},
    recording_bytes_a_minute=75e6,
    clock_synchronised=True,
    booking_cache_at=NOW - HOUR,
    next_booking=Upcoming("b2", NOW + 2 * HOUR, NOW + 3 * HOUR),
    booked_s=5400.0,
    versions={"ezrec": "1.0", "ffmpeg": "5.1.9", "picamera2": "missing"},
    cloud_reached_at=NOW - timedelta(seconds=14),
)
CRITICAL, WARNING = (
    Alert("not_recording", Severity.CRITICAL, "booking b1 should be recorded and is not: no recorder runs",
          "ezrec doctor", "boot-1", 1.0, NOW - timedelta(minutes=12)),
    Alert("failed_jobs", Severity.WARNING, "job b9 needs a person: no picture",
          "ezrec spool ls --failed", "boot-1", 1.0, NOW - 2 * HOUR),
)  # fmt: skip


def screen(facts: Snapshot, *alerts: Alert, colour: bool = False) -> str:
    return "\n".join(draw(facts, alerts, "EZREC court-7", ZoneInfo("UTC"), 80, colour))


def test_a_box_that_is_well_says_so_in_one_screen() -> None:
    text = screen(WELL)
    assert text.splitlines()[0] == "EZREC court-7 · Wed 25 Nov 18:00:00 · all is well"
    assert "recording  b1 · last frame 1 s ago · 30.0 fps" in text
    assert "next       b2 · Wed 25 Nov 20:00–21:00 · in 2 h 00" in text
    assert "disk       60.0 GB free, 13 h of recording" in text
    assert "they fit" in text
    assert "uploads    nothing waits" in text


def test_how_the_cloud_treats_the_box_stands_beside_when_it_was_reached() -> None:
    assert "cloud      reached 14 s ago · bookings fetched" in screen(WELL)
    refused = replace(WELL, cloud=Cloud(Access.REFUSED, NOW, "no such key"))
    assert "cloud      REFUSES this device · reached 14 s ago" in screen(refused)
    hidden = replace(WELL, cloud=Cloud(Access.GOOD, NOW, hidden=True))
    assert "cloud      SHOWS NO BOOKING any more · reached" in screen(hidden)
    assert "cloud      reached" in screen(replace(WELL, cloud=Cloud(Access.GOOD, NOW)))


def test_what_is_wrong_stands_first_with_since_when_and_what_to_type() -> None:
    lines = screen(WELL, CRITICAL, WARNING).splitlines()
    assert lines[0].endswith("act now")
    assert lines[2] == "!! booking b1 should be recorded and is not: no recorder runs (since 12 min)"
    assert lines[3] == "   → ezrec doctor"
    assert lines[4] == "!  job b9 needs a person: no picture (since 2 h 00)"
    assert lines[5] == "   → ezrec spool ls --failed"


CROWDED = replace(
    WELL,
    recorder=Recorder(True, ("b" * 64, "c" * 64), ("c" * 64,), HEALTH),
    jobs=dict.fromkeys(
        ("incoming", "recording", "raw", "processing", "processed", "deferred", "failed"), 1000
    ),
    oldest=Waiting("d" * 64, "processed", NOW - 50 * HOUR),
    failed=(FailedJob("b9", NOW, "\x1b[2Jno picture", "copy"),),
    uploads=Uploads(9, 10**11, Waiting("d" * 64, "processed", NOW - 50 * HOUR), "d" * 64, 5, 1e6),
    machine=replace(WELL.machine, throttling=Throttling(("under_voltage", "throttled"))),
    booked_s=90_000.0,
    forecast_short="1500 min are booked within 24 h",
)


@pytest.mark.parametrize("facts", [WELL, CROWDED, Snapshot(NOW)], ids=["well", "crowded", "empty"])
def test_the_screen_fits_80_columns_and_24_lines_and_obeys_no_name(facts: Snapshot) -> None:
    hostile = replace(CRITICAL, message="x\x1b[2J\ny " * 30)
    lines = screen(facts, hostile).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(screen(facts, CRITICAL).splitlines()) <= 28
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize(
    ("changes", "words", "mood"),
    [
        ({}, "TOO LITTLE", "critical"),
        ({"uploads": Uploads(bytes_a_second=1e6)}, "they fit as uploads go on", "ok"),
        (
            {"disk_measure": "videos are published without branding"},
            "they fit with this measure · videos are",
            "warning",
        ),
        ({"booked_s": 60.0}, "they fit", "ok"),
        ({"booked_s": 0.0, "forecast_short": "full"}, "nothing is booked", "critical"),
        ({"forecast_short": "full", "disk_measure": "x"}, "TOO LITTLE · x", "critical"),
    ],
)
def test_the_screen_says_in_which_way_the_booked_fits(changes: dict[str, Any], words: str, mood: str) -> None:
    facts = (
        replace(WELL, booked_s=90_000.0, **changes) if "booked_s" not in changes else replace(WELL, **changes)
    )
    (line,) = [line for line in answers(facts, ZoneInfo("UTC")) if line.label == "disk"]
    assert words in line.text
    assert line.mood == mood


def test_colour_only_repeats_what_the_words_say() -> None:
    plain = screen(CROWDED, CRITICAL, WARNING)
    coloured = screen(CROWDED, CRITICAL, WARNING, colour=True)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain
    for word in ("NOT ", "TOO LITTLE", "UNDER-VOLTAGE"):
        assert word in plain


# ---- the command


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CourtBox:
    monkeypatch.setenv("EZREC_HOME", str(tmp_path))
    monkeypatch.setenv("EZREC_ASSUME_CLOCK", "yes")
    monkeypatch.setenv("USER_ID", "user-1")
    made = a_box(tmp_path)
    made.clock._now = datetime.now(UTC)
    return made


def status(capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = run(["status"])
    return code, capsys.readouterr().out


def test_without_any_daemon_it_answers_and_says_that_nobody_is_there(
    box: CourtBox, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = status(capsys)
    assert code == WARNED
    assert "EZREC's services have never run here" in text
    assert "ezrec run" in text


def test_after_a_beat_all_is_well(box: CourtBox, capsys: pytest.CaptureFixture[str]) -> None:
    pulse = box.status()
    pulse()
    pulse.finish(60)
    code, text = status(capsys)
    assert (code, text.splitlines()[0].rpartition(" · ")[2]) == (OK, "all is well"), text
    assert "processor 12 %" in text
    assert "ffmpeg 5.1" in text


def test_services_that_fell_silent_are_a_warning(box: CourtBox, capsys: pytest.CaptureFixture[str]) -> None:
    box.clock.pass_time(-3600)
    box.status()()
    code, text = status(capsys)
    assert code == WARNED
    assert "EZREC's services are silent (since 60 min)" in text


def test_a_match_that_nobody_records_is_noticed_at_once_and_an_alarm_when_it_lasts(
    box: CourtBox, capsys: pytest.CaptureFixture[str]
) -> None:
    laid(box.spool, State.INCOMING, "b1", booking=box.booking())
    pulse = box.status()
    pulse()
    code, text = status(capsys)
    assert (code, "should be recorded and is not" in text) == (WARNED, True)
    box.gauges.pass_time(15)
    pulse()
    code, text = status(capsys)
    assert code == ALARMED
    assert "act now" in text


def test_json_holds_the_facts_the_alerts_and_the_code(
    box: CourtBox, capsys: pytest.CaptureFixture[str]
) -> None:
    laid(box.spool, State.FAILED, "b9", reason="no picture")
    code = run(["status", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["code"] == code == WARNED
    assert {alert["name"] for alert in told["alerts"]} <= {rule.name for rule in RULES} | {"services_silent"}
    assert told["facts"]["jobs"]["failed"] == 1
    assert told["recording_hours"] > 0


def test_looking_leaves_no_trace(tmp_path: Path) -> None:
    home = tmp_path / "nothing-yet"
    done = ezrec(home, "status", EZREC_ASSUME_CLOCK="yes")
    assert done.returncode == WARNED, done.stderr
    assert not home.exists()


def test_its_heavy_friends_are_left_at_home(tmp_path: Path) -> None:
    code = "import sys; from ezrec.cli.main import run; run(['status']); print(*sys.modules, file=sys.stderr)"
    environ = {"PATH": os.environ["PATH"], "EZREC_HOME": str(tmp_path), "EZREC_ASSUME_CLOCK": "yes"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=60, check=True
    )
    assert not {"supabase", "psutil", "rich", "httpx", "watchdog"} & set(done.stderr.split())


def test_watch_draws_anew_when_a_file_changes_and_ends_with_ctrl_c(box: CourtBox) -> None:
    screen_end, program_end = pty.openpty()
    environ = {"PATH": os.environ["PATH"], "EZREC_HOME": str(box.home), "EZREC_ASSUME_CLOCK": "yes"}
    child = subprocess.Popen(
        [sys.executable, "-m", "ezrec", "status", "--watch"],
        env={**environ, "TERM": "xterm", "LANG": "C.UTF-8", "TZ": "UTC"},
        stdin=subprocess.DEVNULL, stdout=program_end, stderr=program_end, start_new_session=True,
    )  # fmt: skip
    os.close(program_end)
    try:
        _read_until(screen_end, "Ctrl-C")
        time.sleep(1)
        laid(box.spool, State.RAW, "fresh-1")
        _read_until(screen_end, "1 raw")
        child.send_signal(signal.SIGINT)
        assert child.wait(60) == OK
    finally:
        child.kill()
        child.wait(60)
        os.close(screen_end)


def _read_until(terminal: int, wanted: str, limit_s: float = 60) -> None:
    said, ends = "", time.monotonic() + limit_s
    while wanted not in said:
        assert time.monotonic() < ends, said
        if select.select([terminal], [], [], 1)[0]:
            said += os.read(terminal, 65536).decode(errors="replace")


def test_beside_a_running_service_all_is_well(tmp_path: Path) -> None:
    box = Box(tmp_path / "home")
    try:
        box.run("--only", "status")
        box.wait_for((box.settings.state / "metrics" / "ezrec.prom").exists, "no report is written")
        done = ezrec(box.home, "status", EZREC_ASSUME_CLOCK="yes")
    finally:
        box.close()
    assert (done.returncode, done.stderr) == (OK, ""), done.stdout
    assert "all is well" in done.stdout
