"""Reads what the services wrote into EZREC_STATE; None where there is no readable file."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from ezrec.domain import branding, cloud_state, disk_policy, health, json_decode, status_file
from ezrec.domain.alerts import Alert
from ezrec.domain.cloud_state import Cloud
from ezrec.domain.disk_policy import DiskMeasures
from ezrec.domain.health import Health
from ezrec.domain.status_file import StatusFile
from ezrec.settings import Settings
from ezrec.system import plain_files

T = TypeVar("T")
ALERTS = "alerts.json"  # in EZREC_STATE
PUT_AWAY = "put_away"  # a directory there: an empty file for each incident that a person has put away
_MOST_FAULT = 500  # characters of what is wrong with a file
_LARGEST = 1 << 16  # bytes of a `health.json` that are read; real ones have a few hundred
_MEASURES_VALID_S = 3600.0  # a disk measure that nobody has confirmed for so long is no longer in force


def read_status_file(state: Path) -> StatusFile | None:
    """What the status task last wrote."""
    return _read(state / status_file.FILE, status_file.decode, limit=1 << 24)


def read_health(state: Path) -> Health | None:
    """What the recorder last wrote."""
    return _read(state / health.FILE, health.decode)


def recording_rate(settings: Settings) -> float:
    """Bytes a minute of a recording: as measured of late, or what the set bitrate makes."""
    found = read_health(settings.state)
    return float((found.bytes_a_minute if found else None) or settings.bitrate * 60 / 8)


def read_cloud(settings: Settings) -> Cloud | None:
    """How the cloud last treated this box; None without Supabase: the file is then of an earlier time."""
    if settings.backend != "supabase":
        return None
    return _read(settings.state / cloud_state.FILE, cloud_state.decode)


class _BrandingFaults(msgspec.Struct):
    faults: tuple[str, ...] = ()


def read_branding_faults(state: Path) -> tuple[str, ...]:
    """What of the branding was found to be unusable: a line each."""
    found = _read(state / branding.UNUSABLE, lambda data: json_decode.decode(data, _BrandingFaults))
    return tuple(fault[:_MOST_FAULT] for fault in found.faults) if found else ()


def read_alerts(state: Path) -> tuple[Alert, ...]:
    """The alerts as last remembered; none where there is no readable file."""
    return _read(state / ALERTS, lambda data: json_decode.decode(data, tuple[Alert, ...]), 1 << 24) or ()


def read_disk_measures(state: Path, now: datetime) -> DiskMeasures | None:
    """The disk measures in force; None when none was confirmed within an hour: then all is as usual."""
    measures = _read(state / disk_policy.FILE, disk_policy.decode)
    is_valid = measures is not None and abs((now - measures.at).total_seconds()) <= _MEASURES_VALID_S
    return measures if is_valid else None


def _read(path: Path, decode: Callable[[bytes], T], limit: int = _LARGEST) -> T | None:
    try:
        return decode(plain_files.read(path, limit, shared=True))
    except (OSError, ValueError):
        return None


def read_put_away(state: Path) -> frozenset[str]:
    """The incidents that a person has put away, by their ids."""
    try:
        return frozenset(os.listdir(state / PUT_AWAY))
    except OSError:
        return frozenset()
