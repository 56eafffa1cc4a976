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
from collections.abc import Iterator
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
from ezrec.domain.job import JobOutcome
from ezrec.domain.machine import Machine, Throttling
from ezrec.domain.proof_of_life import ProcessState
from ezrec.domain.snapshot import FailedJob, Recorder, Snapshot, Upcoming, Uploads, Waiting
from ezrec.domain.stages import State
from ezrec.system import host
from ezrec.system.clock import SystemClock
from tests.fakes.clock import StandingClock
from tests.support.boxes import CourtBox, a_box
from tests.support.daemon import Box
from tests.support.jobs import ezrec, laid
from tests.support.wait import eventually

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


def test_what_is_recorded_says_when_it_ends() -> None:
    text = screen(replace(WELL, under_way=(Upcoming("b1", NOW - HOUR / 2, NOW + HOUR / 2),)))
    assert "recording  b1, ends at 18:30 · last frame 1 s ago · 30.0 fps" in text


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


class Here(StandingClock):
    """The clock of a box in this run of this machine: the command beside it looks at the real one."""

    def boot_id(self) -> str:
        return SystemClock().boot_id()


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CourtBox:
    monkeypatch.setenv("EZREC_HOME", str(tmp_path))
    monkeypatch.setenv("EZREC_ASSUME_CLOCK", "yes")
    monkeypatch.setenv("USER_ID", "user-1")
    made = a_box(tmp_path)
    made.clock = Here(datetime.now(UTC))
    made.gauges.show(uptime_s=time.clock_gettime(time.CLOCK_BOOTTIME))
    monkeypatch.setattr(host, "SYSTEMD", tmp_path / "no systemd")
    return made


def recorder(box: CourtBox, **changes: Any) -> Health:
    """Leave the word of a recorder that lives and rests, in this run of this machine."""
    known = {"camera_state": CameraState.OFF, "boot_id": box.clock.boot_id(), "last_frame_at": None}
    return box.healthy(**{**known, **changes})


def status(capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = run(["status"])
    return code, capsys.readouterr().out


def worst(capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    code = run(["status", "--json"])
    return code, {alert["name"]: alert for alert in json.loads(capsys.readouterr().out)["alerts"]}


def test_a_box_on_which_nothing_ever_ran_is_an_alarm_with_the_command_to_type(
    box: CourtBox, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = status(capsys)
    assert code == ALARMED
    assert text.splitlines()[0].endswith("act now")
    assert "!! no recorder runs: none has left a word here (now)\n   → ezrec run\n" in text
    assert "EZREC's services have never run here" in text


def test_after_a_beat_beside_a_recorder_all_is_well(
    box: CourtBox, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder(box)
    pulse = box.status()
    pulse()
    pulse.finish(60)
    code, text = status(capsys)
    assert (code, text.splitlines()[0].rpartition(" · ")[2]) == (OK, "all is well"), text
    assert "recording  nothing, and nothing is due · the recorder waits · camera off" in text
    assert "last 24 h: nothing was due" in text
    assert "processor 12 %" in text
    assert "ffmpeg 5.1" in text


def test_a_beat_alone_is_no_proof_that_anybody_records(
    box: CourtBox, capsys: pytest.CaptureFixture[str]
) -> None:
    box.status()()
    code, text = status(capsys)
    assert code == ALARMED
    assert "all is well" not in text


def test_services_that_fell_silent_are_an_alarm(box: CourtBox, capsys: pytest.CaptureFixture[str]) -> None:
    recorder(box)
    box.pass_time(-3600)
    box.status()()
    code, text = status(capsys)
    assert code == ALARMED
    assert "EZREC's services are silent: no booking is fetched" in text
    assert "(since 60 min)" in text


@pytest.fixture(params=["runs", "stopped", "gone", "never"])
def process(request: pytest.FixtureRequest) -> Iterator[tuple[str, int | None]]:
    """How a process is, and its id: it is the recorder of a test, or its worker."""
    how = request.param
    if how == "never":
        yield how, None
        return
    child = subprocess.Popen(["sleep", "60"])
    signals = {"runs": signal.SIGCONT, "stopped": signal.SIGSTOP, "gone": signal.SIGKILL}
    child.send_signal(signals[how])
    wanted = {"runs": ProcessState.RUNS, "stopped": ProcessState.STOPPED, "gone": ProcessState.GONE}
    assert eventually(lambda: host.process_state(child.pid) is wanted[how])
    yield how, child.pid
    child.kill()
    child.wait(60)


worker = process


@pytest.mark.parametrize("booking", [None, "ahead", "in play"])
@pytest.mark.parametrize("silent_s", [0.0, 4000.0])
@pytest.mark.parametrize("pulse_is", ["fresh", "old", "never"])
def test_whoever_is_dead_the_status_says_so_with_6_and_the_command(
    box: CourtBox,
    process: tuple[str, int | None],
    capsys: pytest.CaptureFixture[str],
    booking: str | None,
    silent_s: float,
    pulse_is: str,
) -> None:
    """Every way in which a recorder can be, beside every way in which the periodic tasks can."""
    how, pid = process
    if booking:
        starts_in_s = 3600.0 if booking == "ahead" else -600.0
        made = box.booking("b1", starts_in_s=starts_in_s)
        laid(box.spool, State.INCOMING, "b1", booking=made, created=made.start - HOUR)
    if pid is not None:
        recorder(box, pid=pid, at=box.now - timedelta(seconds=silent_s))
    if pulse_is != "never":
        box.pass_time(-4000 if pulse_is == "old" else 0)
        box.status()()
        box.pass_time(4000 if pulse_is == "old" else 0)
    code, alerts = worst(capsys)
    lives = how == "runs" and not silent_s
    assert ("no_recorder" in alerts) is not lives
    assert ("not_recording" in alerts) is (booking == "in play")
    assert ("services_silent" in alerts) is (pulse_is != "fresh")
    is_well = lives and booking != "in play" and pulse_is == "fresh"
    assert code == (OK if is_well else ALARMED)
    for alert in alerts.values():
        assert alert["raised_at"], "never new for ever"
    if not lives:
        hangs = how == "stopped" or (how == "runs" and silent_s)
        command = f"kill -KILL {pid}; ezrec run" if hangs else "ezrec run"
        assert alerts["no_recorder"]["remedy"] == command
        assert ("b1 starts in" in alerts["no_recorder"]["message"]) is (booking == "ahead")


def test_a_worker_that_ended_or_is_stopped_is_an_alarm_however_fresh_its_status_is(
    box: CourtBox, worker: tuple[str, int | None], capsys: pytest.CaptureFixture[str]
) -> None:
    how, pid = worker
    recorder(box)
    pulse = box.status()
    pulse.pid = pid or 0
    pulse()
    code, alerts = worst(capsys)
    assert code == (OK if how in ("runs", "never") else ALARMED)
    if how == "stopped":
        assert f"process {pid} is stopped" in alerts["services_silent"]["message"]


def test_systemd_is_named_where_it_starts_this_very_box(
    box: CourtBox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    units = box.home / "units"
    units.mkdir()
    unit = units / "ezrec.service"
    monkeypatch.setattr(host, "UNITS", units)
    unit.write_text(f"Environment=EZREC_HOME={box.home}\n")
    assert worst(capsys)[1]["no_recorder"]["remedy"] == "ezrec run", "systemd does not run here"
    monkeypatch.setattr(host, "SYSTEMD", box.home)
    assert worst(capsys)[1]["no_recorder"]["remedy"] == "sudo systemctl start ezrec"
    unit.write_text(f"Environment=EZREC_HOME={box.home}-other\n")
    assert worst(capsys)[1]["no_recorder"]["remedy"] == "ezrec run", "the unit is another box's"
    unit.unlink()
    (units / "recorder.service").write_text(f"RequiresMountsFor={box.home}\n")
    assert worst(capsys)[1]["no_recorder"]["remedy"] == "sudo systemctl start ezrec.target"


def test_a_match_that_nobody_records_is_an_alarm_at_the_first_look(
    box: CourtBox, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder(box, camera_state=CameraState.RESTARTING, last_error="no camera")
    laid(box.spool, State.INCOMING, "b1", booking=box.booking())
    box.status()()
    code, text = status(capsys)
    assert code == ALARMED
    assert "booking b1 should be recorded and is not: no camera (since 10 min)" in text
    assert "act now" in text


def test_json_holds_the_facts_the_alerts_and_the_code(
    box: CourtBox, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder(box)
    laid(box.spool, State.FAILED, "b9", reason="no picture")
    box.status()()
    code = run(["status", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["code"] == code == WARNED
    assert {alert["name"] for alert in told["alerts"]} <= {rule.name for rule in RULES}
    assert told["facts"]["jobs"]["failed"] == 1
    assert told["recording_hours"] > 0


def test_the_last_day_is_one_line_with_what_to_type(
    box: CourtBox, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder(box)
    for name, outcome in (("b1", JobOutcome.PUBLISHED), ("b2", JobOutcome.MISSED)):
        entry = laid(box.spool, State.PROCESSED, name)
        box.spool.leave(entry, replace(entry.job, outcome=outcome).arrived("done", box.now))
    box.status()()
    code, text = status(capsys)
    assert code == WARNED
    assert "last 24 h: 1 published, 1 missed → ezrec alerts" in text
    assert "booking b2 was missed" in text
    run(["alerts", "clear", "--all"])
    capsys.readouterr()
    code, text = status(capsys)
    assert code == OK
    assert "last 24 h: 1 published, 1 missed → ezrec spool ls --since 24h" in text


def test_many_incidents_of_a_kind_are_one_line() -> None:
    alerts = [
        Alert("missed", Severity.WARNING, f"booking b{n} was missed", "r", "b", 0.0, NOW, job=f"b{n}")
        for n in range(9)
    ]
    lines = screen(WELL, *alerts).splitlines()
    assert sum(line.startswith("! ") for line in lines) == 1
    assert "9 times a booking was missed; the newest: booking b8 was missed" in lines[2]


def test_looking_leaves_no_trace(tmp_path: Path) -> None:
    home = tmp_path / "nothing-yet"
    done = ezrec(home, "status", EZREC_ASSUME_CLOCK="yes")
    assert done.returncode == ALARMED, done.stderr
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
        _read_until(screen_end, "Ctrl-C", limit_s=10)  # also where nothing changes: it moves every second
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


def test_beside_running_services_all_is_well(tmp_path: Path) -> None:
    box = Box(tmp_path / "home")
    try:
        box.run("--only", "status")
        box.run("--only", "record")
        box.wait_for((box.settings.state / "metrics" / "ezrec.prom").exists, "no report is written")
        box.wait_for((box.settings.state / "health.json").exists, "no recorder begins")
        done = ezrec(box.home, "status", EZREC_ASSUME_CLOCK="yes")
    finally:
        box.close()
    assert (done.returncode, done.stderr) == (OK, ""), done.stdout
    assert "all is well" in done.stdout
