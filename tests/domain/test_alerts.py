"""The alerts: what each rule sees, and that everything is told once."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ezrec.domain.alerts import RULES, Alert, Judged, as_seen, judge, worst_first
from ezrec.domain.cloud_state import Access, Cloud
from ezrec.domain.disk_policy import OtherDisk
from ezrec.domain.health import CameraState, Health
from ezrec.domain.incidents import Incident, IncidentKind
from ezrec.domain.machine import Machine, Throttling
from ezrec.domain.proof_of_life import Life, Starter
from ezrec.domain.snapshot import (
    Blocked,
    FailedJob,
    HeldBooking,
    Recorder,
    ServicesLife,
    Snapshot,
    Upcoming,
    Uploads,
    Waiting,
)

HOOKS = Path(__file__).parents[2] / "hooks" / "README.md"
NOW = datetime(2026, 6, 1, 18, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
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
    "no_recorder": {"recorder": Recorder(False, health=HEALTH)},
    "services_silent": {"services": ServicesLife(Life.ENDED, NOW, 78)},
    "supervisor_stopped": {"services": ServicesLife(stopped_supervisor=76)},
    "held_booking": {"held": HeldBooking("b5", NOW + HOUR, NOW + 2 * HOUR, "the hall is closed")},
    "no_frame": {"recorder": Recorder(True, ("b1",), ("b1",), STALE)},
    "test_picture": {"films_no_court": "the test picture is filmed"},
    "disk_short": {"forecast_short": "tonight needs 9 GB more"},
    "clock_unsynchronised": {"clock_synchronised": False},
    "cloud_refused": {"cloud": Cloud(Access.REFUSED, NOW, "no such key")},
    "cloud_over_quota": {"cloud": Cloud(Access.QUOTA, NOW, "402 the plan is used up")},
    "cloud_silent": {"cloud": Cloud(Access.SILENT, NOW, "540 the project is paused")},
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


def test_the_list_of_alerts_for_people_is_complete() -> None:
    listed = re.findall(r"^\| `(\w+)` \| (\w+) \|", HOOKS.read_text(), re.MULTILINE)
    assert sorted(listed) == sorted((rule.name, str(rule.severity)) for rule in RULES)


def test_a_box_that_is_well_raises_nothing() -> None:
    assert judge(WELL, ()) == Judged(())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_each_alert_is_raised_once_and_cleared_once(rule: Any) -> None:
    facts = replace(WELL, **WRONG[rule.name])
    first = judge(facts, ())
    raised = names(first)[0]
    alerts, cleared = first.alerts, []
    for _ in range(8):
        facts = after(facts, max(15.0, rule.after_s))
        judged = judge(replace(facts, cloud_reached_at=_reached(rule.name, facts)), alerts)
        raised += names(judged)[0]
        cleared += names(judged)[1]
        alerts = judged.alerts
    assert (raised, cleared) == ([rule.name], [])
    assert alerts[0].remedy
    well = replace(WELL, at=facts.at, machine=replace(WELL.machine, uptime_s=facts.machine.uptime_s))
    for _ in range(70):
        well = after(well, 15.0)
        judged = judge(replace(well, cloud_reached_at=well.at), alerts)
        raised += names(judged)[0]
        cleared += names(judged)[1]
        alerts = judged.alerts
    assert (raised, cleared, alerts) == ([rule.name], [rule.name], ())


def _reached(name: str, facts: Snapshot) -> datetime | None:
    return {"cloud_unreachable": NOW - 2 * HOUR, "cloud_never_reached": None}.get(name, facts.at)


def test_a_twitch_is_not_worth_an_alert() -> None:
    missing = replace(WELL, **WRONG["not_recording"])
    first = judge(missing, ())
    assert first.raised == ()
    assert judge(after(WELL, 10), first.alerts) == Judged(())


def test_a_pending_alert_survives_the_process_that_saw_it_first() -> None:
    dark = replace(WELL, clock_synchronised=False)
    pending = judge(dark, ()).alerts
    assert not pending[0].is_raised
    assert names(judge(after(dark, 599), pending)) == ([], [])
    assert names(judge(after(dark, 600), pending)) == (["clock_unsynchronised"], [])


def test_a_clock_that_steps_by_years_neither_raises_nor_clears() -> None:
    dark = replace(WELL, clock_synchronised=False)
    pending = judge(dark, ()).alerts
    leapt = replace(after(dark, 15), at=NOW + timedelta(days=4000), cloud_reached_at=None)
    assert names(judge(leapt, pending)) == ([], [])


def test_a_reboot_begins_the_count_anew_but_raises_nothing_twice() -> None:
    dark = replace(WELL, clock_synchronised=False)
    pending = judge(dark, ()).alerts
    booted = replace(after(dark, -4990), boot_id="boot-2")
    assert names(judge(booted, pending)) == ([], [])
    raised = judge(after(dark, 600), pending).alerts
    again = judge(booted, raised)
    assert names(again) == ([], [])
    assert again.alerts[0].is_raised
    assert names(judge(replace(booted, clock_synchronised=True), again.alerts))[1] == ["clock_unsynchronised"]


def test_a_frame_that_comes_and_goes_is_one_alert() -> None:
    still = replace(WELL, **WRONG["no_frame"])
    alerts = judge(still, ()).alerts
    told: list[str] = []
    for n in range(1, 9):
        facts = after(still if n % 2 else WELL, 15.0 * n)
        judged = judge(replace(facts, cloud_reached_at=facts.at), alerts)
        told += [*names(judged)[0], *names(judged)[1]]
        alerts = judged.alerts
    assert told == []


def test_a_cloud_that_refuses_us_is_not_called_unreachable() -> None:
    facts = replace(WELL, **WRONG["cloud_refused"], **WRONG["cloud_unreachable"])
    (alert,) = judge(facts, ()).alerts
    assert alert.name == "cloud_refused"
    assert "no such key" in alert.message


def test_an_upload_that_waits_for_the_network_or_gets_on_is_not_stopped() -> None:
    waits = WRONG["upload_stopped"]
    away = replace(WELL, **waits, cloud_reached_at=NOW - timedelta(minutes=20))
    assert judge(away, ()).raised == ()
    moving = replace(waits["uploads"], moved_at=NOW - timedelta(minutes=5))
    assert judge(replace(WELL, uploads=moving), ()).raised == ()
    young = replace(waits["uploads"], oldest=Waiting("b0", "processed", NOW - HOUR))
    assert judge(replace(WELL, uploads=young), ()).raised == ()


@pytest.mark.parametrize(
    ("recorder", "why"),
    [
        (Recorder(None, ("b1",), ()), "no recorder runs"),
        (Recorder(False, ("b1",), (), HEALTH), "the recorder is gone"),
        (Recorder(False, ("b1",), (), HEALTH, Life.STOPPED), "the recorder is stopped"),
        (Recorder(False, ("b1",), (), HEALTH, Life.SILENT), "the recorder hangs"),
        (Recorder(True, ("b1",), (), HEALTH), "no camera"),
        (Recorder(True, ("b1",), (), replace(HEALTH, last_error="")), "the camera is restarting"),
    ],
)
def test_a_match_that_is_not_recorded_says_why(recorder: Recorder, why: str) -> None:
    alert = judge(replace(WELL, recorder=recorder), ()).alerts[0]
    assert alert.message == f"booking b1 should be recorded and is not: {why}"


def test_of_many_alerts_the_worst_come_first_and_pending_ones_not_at_all() -> None:
    facts = replace(WELL, **WRONG["failed_jobs"], **WRONG["disk_short"], clock_synchronised=False)
    alerts = judge(facts, ()).alerts
    assert [alert.name for alert in worst_first(alerts)] == ["disk_short", "failed_jobs"]


def test_an_alert_whose_rule_is_gone_is_cleared() -> None:
    old = Alert("old_rule", RULES[0].severity, "x", "y", "boot-1", 1.0, NOW)
    assert names(judge(WELL, (old,))) == ([], ["old_rule"])


# ---- what counts at once


@pytest.mark.parametrize("name", ["no_recorder", "not_recording", "services_silent"])
def test_who_looks_is_shown_the_gravest_as_raised_at_the_first_look(name: str) -> None:
    """Its telling waits for a moment, because a recorder may be about to begin; and with a dead periodic task
    nobody would ever tell it."""
    facts = replace(WELL, **WRONG[name])
    (alert,) = [one for one in as_seen(judge(facts, ()), facts) if one.name == name]
    assert alert.is_raised
    assert alert.counts
    assert worst_first(judge(facts, ()).alerts)[0].name == name


def test_since_when_is_known_from_the_facts_and_not_from_who_looked_first() -> None:
    since = {"b1": NOW - timedelta(minutes=7)}
    facts = replace(WELL, recorder=Recorder(False, ("b1",), (), HEALTH, Life.ENDED, since))
    alerts = {one.name: one for one in as_seen(judge(facts, ()), facts)}
    assert alerts["not_recording"].since == alerts["not_recording"].raised_at == since["b1"]
    assert alerts["no_recorder"].since == HEALTH.at


def test_a_recorder_that_lives_has_a_moment_to_begin_and_a_dead_one_has_none() -> None:
    since = {"b1": NOW - timedelta(seconds=2)}
    begins = replace(WELL, recorder=Recorder(True, ("b1",), (), HEALTH, None, since))
    assert judge(begins, ()).alerts == ()
    dead = replace(begins, recorder=replace(begins.recorder, is_alive=False))
    assert judge(dead, ()).alerts[0].name == "not_recording"


def test_a_recorder_that_is_missing_names_the_booking_ahead_and_the_command() -> None:
    facts = replace(
        WELL, recorder=Recorder(), next_booking=Upcoming("b2", NOW + HOUR, NOW + 2 * HOUR),
        starter=Starter("ezrec"),
    )  # fmt: skip
    alert = judge(facts, ()).alerts[0]
    assert alert.message.endswith("; booking b2 starts in 60 min")
    assert alert.remedy == "sudo systemctl start ezrec"


# ---- what a held booking and a silent cloud say


@pytest.mark.parametrize(("hours", "is_wrong"), [(3.0, False), (1.9, True), (-0.5, True), (-1.5, False)])
def test_a_held_booking_is_told_when_its_time_comes_near(hours: float, is_wrong: bool) -> None:
    start = NOW + hours * HOUR
    facts = replace(WELL, held=HeldBooking("b5", start, start + HOUR, "why"))
    found = judge(facts, ()).alerts
    assert [alert.name for alert in found] == (["held_booking"] if is_wrong else [])
    if is_wrong:
        assert "ezrec spool release b5" in found[0].remedy


@pytest.mark.parametrize("access", [Access.QUOTA, Access.SILENT, Access.REFUSED])
def test_one_cause_is_one_line(access: Access) -> None:
    for reached in (None, NOW - 5 * HOUR):
        facts = replace(
            WELL, cloud=Cloud(access, NOW, "402 x"), cloud_reached_at=reached, cloud_fault="x", has_cloud=True
        )
        assert len(judge(facts, ()).alerts) == 1


def test_a_cloud_that_does_not_answer_just_now_is_not_well_and_not_yet_told() -> None:
    facts = replace(WELL, cloud_reached_at=NOW - timedelta(minutes=5), cloud_fault="no route")
    (alert,) = judge(facts, ()).alerts
    assert (alert.name, alert.counts) == ("cloud_unreachable", False)
    assert alert.message == "the cloud was last reached 5 min ago: no route"


def test_a_cloud_that_nobody_has_reached_yet_is_not_well() -> None:
    facts = replace(WELL, cloud_reached_at=None, has_cloud=True)
    assert [alert.name for alert in judge(facts, ()).alerts] == ["cloud_never_reached"]
    assert judge(replace(facts, has_cloud=False), ()).alerts == ()


# ---- incidents

MISSED = Incident(IncidentKind.MISSED, "b1", NOW - HOUR, "booking b1 was missed: no camera")


def test_an_incident_is_told_once_and_stays_until_it_is_put_away() -> None:
    facts = replace(WELL, incidents=(MISSED,))
    first = judge(facts, ())
    assert names(first) == (["missed"], [])
    assert first.raised[0].id == "missed-b1"
    assert "ezrec alerts clear missed-b1" in first.raised[0].remedy
    later = after(facts, 9e5)
    again = judge(replace(later, cloud_reached_at=later.at), first.alerts)
    assert names(again) == ([], [])
    assert names(judge(WELL, again.alerts)) == ([], ["missed"])


def test_a_second_incident_of_a_kind_is_told_too() -> None:
    first = judge(replace(WELL, incidents=(MISSED,)), ())
    second = judge(replace(WELL, incidents=(MISSED, replace(MISSED, job="b2"))), first.alerts)
    assert [alert.id for alert in second.raised] == ["missed-b2"]


def test_an_old_incident_is_listed_and_told_to_nobody() -> None:
    old = replace(MISSED, at=NOW - timedelta(days=8))
    judged = judge(replace(WELL, incidents=(old,)), ())
    assert names(judged) == ([], [])
    assert [alert.id for alert in judged.alerts] == ["missed-b1"]
