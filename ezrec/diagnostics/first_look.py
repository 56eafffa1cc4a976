"""What a person wants to see after an installation: that it runs, the camera's picture, what comes next.

Looks, and takes one picture into EZREC_STATE. Every wait has a limit: a slow cloud must not hold it up.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ezrec.app import common
from ezrec.camera.picamera.device import is_absent
from ezrec.diagnostics import machine_checks
from ezrec.diagnostics.camera_test import connected, snapshot
from ezrec.domain.camera_address import shown
from ezrec.domain.errors import Busy, Refused, Reject, Retry
from ezrec.domain.findings import Verdict
from ezrec.domain.snapshot import Upcoming
from ezrec.domain.trial_picture import REMEDY
from ezrec.monitoring.collect import films_no_court, look
from ezrec.monitoring.lives import recorder_lives
from ezrec.settings import Settings

PICTURE = "camera.jpg"  # in EZREC_STATE
_STARTS_S = 15.0
_FETCHED_S = 20.0
_LOOK_S = 0.3


@dataclass(frozen=True, slots=True)
class FirstLook:
    """`wrong`: each thing that needs a person, in a line with what to type. `picture`: None without one."""

    wrong: tuple[str, ...]
    camera: str
    picture: Path | None
    next_booking: Upcoming | None
    bookings_known: bool


def first_look(settings: Settings) -> FirstLook:
    clock = common.clock(settings)
    wrong: list[str] = []
    if not _wait(lambda: recorder_lives(settings, clock), _STARTS_S):
        wrong.append("no recorder runs → sudo ezrec doctor")
    wrong += [
        f"{one.evidence} → {one.remedy}"
        for one in machine_checks.units(settings)
        if one.verdict is Verdict.FAULT
    ]
    if alarm := films_no_court(settings):
        wrong.append(f"{alarm} → {REMEDY}")
    picture: Path | None = settings.state / PICTURE
    try:
        assert picture is not None
        snapshot(settings, picture)
    except (Retry, Refused, Busy, Reject, OSError) as fault:
        picture = None
        wrong.append(_without_picture(settings, str(fault)))
    is_known = settings.backend == "local" or _wait(settings.booking_cache.exists, _FETCHED_S)
    if not is_known:
        wrong.append("no bookings were fetched yet → sudo ezrec doctor says why, if that lasts")
    snapshot_now, _ = look(settings, clock)
    return FirstLook(
        tuple(dict.fromkeys(wrong)), _camera(settings), picture, snapshot_now.next_booking, is_known
    )


def _without_picture(settings: Settings, fault: str) -> str:
    if settings.camera == "auto" and is_absent(fault):
        return "no camera was found → plug one in (a camera module with the power off); it is then taken"
    return f"the camera gave no picture: {fault} → sudo ezrec camera test"


def _camera(settings: Settings) -> str:
    found = next((one for one in connected(settings) if one.is_chosen), None)
    if found is None or not found.setting:
        return shown(settings.camera)
    return f"{found.name} ({shown(settings.camera)})"


def _wait(is_so: Callable[[], bool], limit_s: float) -> bool:
    gives_up = time.monotonic() + limit_s
    while not is_so():
        if time.monotonic() > gives_up:
            return False
        time.sleep(_LOOK_S)
    return True
