"""The snapshot: what follows from them by arithmetic, and whether a health's writer still lives."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ezrec.domain import status_file
from ezrec.domain.health import CameraState, Health
from ezrec.domain.heartbeat import news, row
from ezrec.domain.machine import Machine, Throttling
from ezrec.domain.snapshot import (
    Recorder,
    Snapshot,
    Uploads,
    measured_rate,
)
from ezrec.domain.status_file import StatusFile

NOW = datetime(2026, 6, 1, 18, 0, tzinfo=UTC)
HEALTH = Health(NOW, 77, "boot-1", "software", CameraState.RUNNING, last_frame_at=NOW - timedelta(seconds=3))


def test_the_age_of_a_frame_is_that_of_the_moment_in_which_it_was_told() -> None:
    assert Recorder(True, health=HEALTH).frame_age_s == 3
    assert Recorder(False, health=HEALTH).frame_age_s is None


def test_the_free_disk_is_told_in_hours_of_recording() -> None:
    facts = Snapshot(NOW, machine=Machine(disk_free_bytes=9_000_000_000), recording_bytes_a_minute=75_000_000)
    assert facts.recording_hours == pytest.approx(2)
    assert replace(facts, machine=Machine()).recording_hours is None


def test_the_rate_of_uploads_is_measured_between_two_looks_at_the_same_one() -> None:
    begun = Uploads(1, 1000, job="b1", sent_bytes=100)
    on = Uploads(1, 1000, job="b1", sent_bytes=400)
    assert measured_rate(begun, on, 15) == 20
    known = replace(begun, bytes_a_second=10.0)
    assert measured_rate(known, on, 15) == pytest.approx(13)
    for now in (Uploads(1, 1000, job="b2", sent_bytes=400), Uploads(), begun):
        assert measured_rate(known, now, 15) == 10, "nothing new was measured"
    assert measured_rate(known, on, 0) == 10


def test_what_is_left_to_upload_takes_its_time() -> None:
    assert Uploads(1, 1000, sent_bytes=400, bytes_a_second=20).left_s == 30
    assert Uploads(1, 1000).left_s is None
    assert Uploads().left_s == 0


def test_the_row_has_the_tables_columns_and_leaves_out_what_nobody_knows() -> None:
    machine = Machine(cpu_percent=1.5, disk_free_bytes=16_123_456_789, uptime_s=99.9)
    found = row(Snapshot(NOW, machine=machine, last_error="older"), "user-1", "0", "newer")
    assert found.pop("details")["clock_synchronised"] is False
    assert found == {
        "user_id": "user-1",
        "camera_id": "0",
        "pi_active": True,
        "last_heartbeat": "2026-06-01T18:00:00+00:00",
        "updated_at": "2026-06-01T18:00:00+00:00",
        "is_recording": False,
        "last_error": "newer",
        "cpu_usage_percent": 1.5,
        "disk_free_gb": 16.12,
        "uptime_seconds": 99,
    }
    assert len(row(Snapshot(NOW), "u", "0", "x" * 9000)["last_error"]) == 500


@pytest.mark.parametrize(
    ("name", "told", "now", "is_news"),
    [
        ("cpu_usage_percent", 3.0, 7.9, False),
        ("cpu_usage_percent", 3.0, 8.0, True),
        ("cpu_usage_percent", 3.0, None, True),
        ("disk_free_gb", 16.0, 15.7, True),
        ("is_recording", False, True, True),
        ("last_error", None, "the disk is full", True),
        ("last_heartbeat", "2026-06-01T18:00:00+00:00", "2026-06-01T18:00:15+00:00", True),
        ("details", {"jobs": {"raw": 1}}, {"jobs": {"raw": 2}}, True),
        ("details", {"last_frame_age_s": 0}, {"last_frame_age_s": 1, "bookings_fetched": "x"}, False),
        ("details", None, {"jobs": {}}, True),
    ],
)
def test_a_column_is_news_when_it_differs_by_more_than_its_noise(
    name: str, told: Any, now: Any, is_news: bool
) -> None:
    assert (news({name: now}, {name: told}) == {name: now}) is is_news
    assert news({name: now}, {}) == {name: now}


def test_a_report_comes_back_as_it_was_written() -> None:
    machine = Machine(load=(1.0, 0.5, 0.25), throttling=Throttling(("throttled",)))
    facts = Snapshot(NOW, "boot-1", machine, Recorder(True, ("b1",), ("b1",), HEALTH), {"raw": 2})
    assert status_file.decode(status_file.encode(StatusFile(facts))) == StatusFile(facts)


def test_the_heartbeat_tells_the_rest_in_one_column_that_is_the_same_while_all_rests() -> None:
    facts = Snapshot(
        NOW,
        machine=Machine(disk_free_bytes=75 * 10**9, throttling=Throttling(now=("under-voltage",))),
        recorder=Recorder(True, ("b1",), ("b1",), HEALTH),
        jobs={"raw": 2, "failed": 0},
        uploads=Uploads(jobs=1, bytes=600_000_000, bytes_a_second=1e6),
        recording_bytes_a_minute=75e6,
        clock_synchronised=True,
        versions={"ezrec": "0.1.0"},
    )
    details = row(facts, "u", "0")["details"]
    assert details == {
        "recorder_alive": True,
        "expected_to_record": ["b1"],
        "recording": ["b1"],
        "camera": "running",
        "last_frame_age_s": 3,
        "jobs": {"raw": 2},
        "to_upload_mb": 600,
        "to_upload_minutes": 10,
        "recording_hours_free": 16,
        "clock_synchronised": True,
        "throttling": ["under-voltage"],
        "versions": {"ezrec": "0.1.0"},
    }
    later = replace(facts, at=NOW + timedelta(seconds=15))
    assert row(later, "u", "0")["details"] == details
