"""The alerts: what each rule sees, and that everything is told once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ezrec.domain.alerts import RULES, Alert, Judged, judge, worst_first
from ezrec.domain.cloud_state import Access, Cloud
from ezrec.domain.disk_policy import OtherDisk
from ezrec.domain.health import CameraState, Health
from ezrec.domain.machine import Machine, Throttling
from ezrec.domain.snapshot import Blocked, FailedJob, Recorder, Snapshot, Upcoming, Uploads, Waiting

NOW = datetime(2026, 6, 1, 18, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
STALL_S = 3 * 3600.0
HEALTH = Health(
    NOW, 77, "boot-1", "software", CameraState.RESTARTING, last_frame_at=NOW, last_error="no camera"
)
WELL = Snapshot(
    NOW,
    "boot-1",
    Machine(uptime_s=5000.0, throttling=Throttling()),
    Recorder(True, ("b1",), ("b1",), HEALTH),
    clock_synchronised=True,
    cloud_reached_at=NOW,
)


def after(facts: Snapshot, seconds: float, **changes: Any) -> Snapshot:
    """The same box a while later."""
    uptime_s = (facts.machine.uptime_s or 0) + seconds
    machine = replace(changes.pop("machine", facts.machine), uptime_s=uptime_s)
    return replace(facts, at=facts.at + timedelta(seconds=seconds), machine=machine, **changes)


def names(judged: Judged) -> tuple[list[str], list[str]]:
    return [alert.name for alert in judged.raised], [alert.name for alert in judged.cleared]


STALE = replace(HEALTH, last_frame_at=NOW - timedelta(seconds=11))
WRONG: dict[str, dict[str, Any]] = {
    "not_recording": {"recorder": Recorder(True, ("b1",), (), HEALTH)},
    "no_frame": {"recorder": Recorder(True, ("b1",), ("b1",), STALE)},
    "disk_short": {"forecast_short": "tonight needs 9 GB more"},
    "clock_unsynchronised": {"clock_synchronised": False},
    "cloud_refused": {"cloud": Cloud(Access.REFUSED, NOW, "no such key")},
    "bookings_hidden": {"cloud": Cloud(Access.GOOD, NOW, hidden=True)},
    "upload_stopped": {"uploads": Uploads(1, 9, Waiting("b0", "deferred", NOW - 4 * HOUR))},
    "upload_blocked": {"blocked": Blocked(2, FailedJob("b8", NOW, "413 too large", "raise the limit"))},
    "video_too_large": {
        "cloud": Cloud(Access.GOOD, NOW, most_bytes=50_000_000),
        "longest_booking": Upcoming("b7", NOW, NOW + HOUR),
        "recording_bytes_a_minute": 75e6,
    },
    "upload_expires": {
        "uploads": Uploads(1, 9, None, "b6", 100, 1.0, NOW, job_bytes=9000, expires_at=NOW + HOUR)
    },
    "cloud_never_reached": {"cloud_reached_at": None, "cloud_fault": "522"},
    "cloud_unreachable": {"cloud_reached_at": NOW - 2 * HOUR},
    "under_voltage": {"machine": Machine(uptime_s=5000.0, throttling=Throttling(("under_voltage",)))},
    "other_disk": {"other_disks": (OtherDisk(("LOGS_DIR",), "/var/log/ezrec", 1_000_000),)},
    "key_frames": {"recorder": Recorder(True, health=replace(HEALTH, key_every_s=40.0))},
    "branding_unusable": {"branding_faults": ("published without the logo: it is a GIF",)},
    "failed_jobs": {"failed": (FailedJob("b9", NOW, "no picture", "copy it again"),)},
}


def test_every_rule_has_a_case() -> None:
    assert set(WRONG) == {rule.name for rule in RULES}


def test_a_box_that_is_well_raises_nothing() -> None:
    assert judge(WELL, (), STALL_S) == Judged(())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_each_alert_is_raised_once_and_cleared_once(rule: Any) -> None:
    facts = replace(WELL, **WRONG[rule.name])
    first = judge(facts, (), STALL_S)
    raised = names(first)[0]
    alerts, cleared = first.alerts, []
    for _ in range(8):
        facts = after(facts, max(15.0, rule.after_s))
        judged = judge(replace(facts, cloud_reached_at=_reached(rule.name, facts)), alerts, STALL_S)
        raised += names(judged)[0]
        cleared += names(judged)[1]
        alerts = judged.alerts
    assert (raised, cleared) == ([rule.name], [])
    assert alerts[0].remedy
    well = replace(WELL, at=facts.at, machine=replace(WELL.machine, uptime_s=facts.machine.uptime_s))
    for _ in range(70):
        well = after(well, 15.0)
        judged = judge(replace(well, cloud_reached_at=well.at), alerts, STALL_S)
        raised += names(judged)[0]
        cleared += names(judged)[1]
        alerts = judged.alerts
    assert (raised, cleared, alerts) == ([rule.name], [rule.name], ())


def _reached(name: str, facts: Snapshot) -> datetime | None:
    return {"cloud_unreachable": NOW - 2 * HOUR, "cloud_never_reached": None}.get(name, facts.at)


def test_a_twitch_is_not_worth_an_alert() -> None:
    missing = replace(WELL, **WRONG["not_recording"])
    first = judge(missing, (), STALL_S)
    assert first.raised == ()
    assert judge(after(WELL, 10), first.alerts, STALL_S) == Judged(())


def test_a_pending_alert_survives_the_process_that_saw_it_first() -> None:
    dark = replace(WELL, clock_synchronised=False)
    pending = judge(dark, (), STALL_S).alerts
    assert not pending[0].is_raised
    assert names(judge(after(dark, 599), pending, STALL_S)) == ([], [])
    assert names(judge(after(dark, 600), pending, STALL_S)) == (["clock_unsynchronised"], [])


def test_a_clock_that_steps_by_years_neither_raises_nor_clears() -> None:
    dark = replace(WELL, clock_synchronised=False)
    pending = judge(dark, (), STALL_S).alerts
    leapt = replace(after(dark, 15), at=NOW + timedelta(days=4000), cloud_reached_at=None)
    assert names(judge(leapt, pending, STALL_S)) == ([], [])


def test_a_reboot_begins_the_count_anew_but_raises_nothing_twice() -> None:
    dark = replace(WELL, clock_synchronised=False)
    pending = judge(dark, (), STALL_S).alerts
    booted = replace(after(dark, -4990), boot_id="boot-2")
    assert names(judge(booted, pending, STALL_S)) == ([], [])
    raised = judge(after(dark, 600), pending, STALL_S).alerts
    again = judge(booted, raised, STALL_S)
    assert names(again) == ([], [])
    assert again.alerts[0].is_raised
    assert names(judge(replace(booted, clock_synchronised=True), again.alerts, STALL_S))[1] == [
        "clock_unsynchronised"
    ]


def test_a_frame_that_comes_and_goes_is_one_alert() -> None:
    still = replace(WELL, **WRONG["no_frame"])
    alerts = judge(still, (), STALL_S).alerts
    told: list[str] = []
    for n in range(1, 9):
        facts = after(still if n % 2 else WELL, 15.0 * n)
        judged = judge(replace(facts, cloud_reached_at=facts.at), alerts, STALL_S)
        told += [*names(judged)[0], *names(judged)[1]]
        alerts = judged.alerts
    assert told == []


def test_a_cloud_that_refuses_us_is_not_called_unreachable() -> None:
    facts = replace(WELL, **WRONG["cloud_refused"], **WRONG["cloud_unreachable"])
    (alert,) = judge(facts, (), STALL_S).alerts
    assert alert.name == "cloud_refused"
    assert "no such key" in alert.message


def test_an_upload_that_waits_for_the_network_or_gets_on_is_not_stopped() -> None:
    waits = WRONG["upload_stopped"]
    away = replace(WELL, **waits, cloud_reached_at=NOW - timedelta(minutes=20))
    assert judge(away, (), STALL_S).raised == ()
    moving = replace(waits["uploads"], moved_at=NOW - timedelta(minutes=5))
    assert judge(replace(WELL, uploads=moving), (), STALL_S).raised == ()
    young = replace(waits["uploads"], oldest=Waiting("b0", "processed", NOW - HOUR))
    assert judge(replace(WELL, uploads=young), (), STALL_S).raised == ()


@pytest.mark.parametrize(
    ("recorder", "why"),
    [
        (Recorder(None, ("b1",), ()), "no recorder runs"),
        (Recorder(False, ("b1",), (), HEALTH), "the recorder is gone"),
        (Recorder(True, ("b1",), (), HEALTH), "no camera"),
        (Recorder(True, ("b1",), (), replace(HEALTH, last_error="")), "the camera is restarting"),
    ],
)
def test_a_match_that_is_not_recorded_says_why(recorder: Recorder, why: str) -> None:
    (alert,) = judge(replace(WELL, recorder=recorder), (), STALL_S).alerts
    assert alert.message == f"booking b1 should be recorded and is not: {why}"


def test_of_many_alerts_the_worst_come_first_and_pending_ones_not_at_all() -> None:
    facts = replace(WELL, **WRONG["failed_jobs"], **WRONG["disk_short"], clock_synchronised=False)
    alerts = judge(facts, (), STALL_S).alerts
    assert [alert.name for alert in worst_first(alerts)] == ["disk_short", "failed_jobs"]


def test_an_alert_whose_rule_is_gone_is_cleared() -> None:
    old = Alert("old_rule", RULES[0].severity, "x", "y", "boot-1", 1.0, NOW)
    assert names(judge(WELL, (old,), STALL_S)) == ([], ["old_rule"])
