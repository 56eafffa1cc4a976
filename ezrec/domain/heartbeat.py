"""The facts as this camera's row of `system_status`: the columns that the front end knows, and no others."""

from __future__ import annotations

from typing import Any

from ezrec.domain.facts import Facts

_GB = 1e9
_LONGEST_ERROR = 500  # characters; it is read in a column


def row(facts: Facts, user_id: str, camera_id: str, last_error: str = "") -> dict[str, Any]:
    """The row; a gauge that cannot be had is left out, so that the database keeps what it knows."""
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
        "last_error": (last_error or facts.last_error)[:_LONGEST_ERROR] or None,
        **{name: value for name, value in gauges.items() if value is not None},
    }


def _gb(count: int | None) -> float | None:
    return None if count is None else round(count / _GB, 2)
