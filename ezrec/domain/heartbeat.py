"""Makes this camera's row of `system_status`: the columns that the front end knows, and `details`.

`details` is one JSON column for everything else that a dashboard may want: a table that lacks it lacks one
column and not twenty. Its figures are coarse, because each change is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ezrec.domain.incidents import Day
from ezrec.domain.redaction import head
from ezrec.domain.snapshot import Snapshot

_GB = 1e9
_LONGEST_ERROR = 500  # characters; it is read in a column
# A gauge that differs by so much from what was sent is sent before its turn.
_COARSE = {
    "cpu_usage_percent": 5.0,
    "memory_usage_percent": 2.0,
    "disk_usage_percent": 0.5,
    "temperature_celsius": 1.0,
    "memory_available_gb": 0.2,
    "disk_free_gb": 0.2,
    "uptime_seconds": 300.0,
}
_PASSING = ("bookings_fetched", "last_frame_age_s")  # of `details`: moves while all is well


def row(facts: Snapshot, user_id: str, camera_id: str, last_error: str = "") -> dict[str, Any]:
    """The row; a gauge without a value is left out, so that the database keeps the last one."""
    machine, now = facts.machine, facts.at.isoformat(timespec="seconds")
    gauges = {
        "cpu_usage_percent": machine.cpu_percent,
        "memory_usage_percent": machine.memory_percent,
        "disk_usage_percent": machine.disk_percent,
        "temperature_celsius": machine.temperature_c,
        "memory_total_gb": _gb(machine.memory_bytes),
        "memory_available_gb": _gb(machine.memory_available_bytes),
        "disk_total_gb": _gb(machine.disk_bytes),
        "disk_free_gb": _gb(machine.disk_free_bytes),
        "uptime_seconds": None if machine.uptime_s is None else int(machine.uptime_s),
    }
    return {
        "user_id": user_id,
        "camera_id": camera_id,
        "pi_active": True,
        "last_heartbeat": now,
        "updated_at": now,
        "is_recording": facts.is_recording,
        "last_error": head(last_error or facts.last_error, _LONGEST_ERROR) or None,
        "details": _details(facts),
        **{name: value for name, value in gauges.items() if value is not None},
    }


def news(row: Mapping[str, Any], sent: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that differ from what was last sent by more than their noise."""
    return {name: now for name, now in row.items() if name not in sent or _differs(name, now, sent[name])}


def _differs(name: str, now: Any, sent: Any) -> bool:
    if name == "details" and isinstance(now, dict) and isinstance(sent, dict):
        return _lasting(now) != _lasting(sent)
    noise = _COARSE.get(name)
    if noise is None or not isinstance(now, int | float) or not isinstance(sent, int | float):
        return bool(now != sent)
    return abs(now - sent) >= noise


def _lasting(details: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in details.items() if name not in _PASSING}


def _details(facts: Snapshot) -> dict[str, Any]:
    """Coarse figures, so that nothing changes from one heartbeat to the next while nothing happens."""
    recorder, uploads, hours = facts.recorder, facts.uploads, facts.recording_hours
    machine, health = facts.machine, recorder.health
    throttling = machine.throttling
    found = {
        "recorder_alive": recorder.is_alive,
        "expected_to_record": list(recorder.expected),
        "recording": list(recorder.recording),
        "camera": str(health.camera_state) if health else None,
        "last_frame_age_s": None if recorder.frame_age_s is None else int(recorder.frame_age_s),
        "jobs": {name: count for name, count in facts.jobs.items() if count},
        "oldest_waiting": facts.oldest and facts.oldest.since.isoformat(timespec="minutes"),
        "to_upload_mb": round(uploads.left_bytes / 1e6),
        "to_upload_minutes": None if uploads.left_s is None else round(uploads.left_s / 60),
        "recording_hours_free": None if hours is None else int(hours),
        "disk_measure": facts.disk_measure or None,
        "last_24_h": facts.day.words if facts.day != Day() else None,
        "recorder": None if facts.recorder.proof.is_alive else str(facts.recorder.proof),
        "clock_synchronised": facts.clock_synchronised,
        "bookings_fetched": facts.booking_cache_at and facts.booking_cache_at.isoformat(timespec="minutes"),
        "load_15min": round(machine.load[2], 1) if machine.load else None,
        "sent_gb": _tenths(machine.sent_bytes),
        "received_gb": _tenths(machine.received_bytes),
        "throttling": list(throttling.now) if throttling else None,
        "versions": facts.versions,
    }
    return {name: value for name, value in found.items() if value not in (None, [], {})}


def _tenths(count: int | None) -> float | None:
    return None if count is None else round(count / _GB, 1)


def _gb(count: int | None) -> float | None:
    return None if count is None else round(count / _GB, 2)
