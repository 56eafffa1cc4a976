"""When uploads may run, in which order, and what ends a wait. Values in, values out.

The hours are local time. They are looked up minute by minute, so a night in which an hour is missing or comes
twice needs no rule of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from enum import StrEnum
from typing import Any

from ezrec.domain.booking import Instant
from ezrec.domain.job import Job, Kind

_ALWAYS = "always"
_MINUTE = timedelta(minutes=1)
_HORIZON_MIN = 3 * 24 * 60  # minutes; an opening in a missing hour comes again the next day


class Wait(StrEnum):
    """What a job waits for: it goes on when that comes, even before it is due."""

    NETWORK = "network"
    HOURS = "hours"
    RECORDING = "recording"
    CURE = "cure"  # by a person in the cloud; only another try shows it


@dataclass(frozen=True, slots=True)
class DailySpan:
    """From one time of day to another, perhaps over midnight; if equal, the whole day."""

    opens: time
    closes: time

    def holds(self, at: time) -> bool:
        if self.opens < self.closes:
            return self.opens <= at < self.closes
        return at >= self.opens or at < self.closes

    def __str__(self) -> str:
        return f"{self.opens:%H:%M}-{self.closes:%H:%M}"


@dataclass(frozen=True, slots=True)
class Hours:
    """The hours of a day in which uploads may run; none given: always."""

    spans: tuple[DailySpan, ...] = ()

    def are_open(self, now: datetime, zone: tzinfo) -> bool:
        at = now.astimezone(zone).time()
        return not self.spans or any(span.holds(at) for span in self.spans)

    def next_opening(self, now: datetime, zone: tzinfo) -> datetime:
        """The first minute from `now` on in which they are open; `now` if they are open."""
        if self.are_open(now, zone):
            return now
        minute = now.replace(second=0, microsecond=0)
        for _ in range(_HORIZON_MIN):
            minute += _MINUTE
            if self.are_open(minute, zone):
                return minute
        return minute

    def __str__(self) -> str:
        return ",".join(map(str, self.spans)) or _ALWAYS


def read_hours(text: str) -> Hours:
    """Read `22:00-07:00,12:30-14:00`, or `always`. Raises `ValueError`."""
    if text == _ALWAYS:
        return Hours()
    return Hours(tuple(_span(part.strip()) for part in text.split(",") if part.strip()))


def _span(text: str) -> DailySpan:
    match = re.fullmatch(r"(\d{1,2}):(\d\d)\s*-\s*(\d{1,2}):(\d\d)", text)
    if match is None:
        raise ValueError("must be `always`, or hours such as 22:00-07:00, several with commas between")
    opens_h, opens_m, closes_h, closes_m = map(int, match.groups())
    if (closes_h, closes_m) == (24, 0):
        closes_h = 0
    try:
        return DailySpan(time(opens_h, opens_m), time(closes_h, closes_m))
    except ValueError:
        raise ValueError("must be hours from 00:00 to 24:00, such as 22:00-07:00") from None


@dataclass(frozen=True, slots=True)
class Hold:
    """Why an upload has to wait, and until when."""

    what: Wait
    reason: str
    until: datetime


def hold(
    now: datetime, zone: tzinfo, hours: Hours, *, while_recording: bool, recorded_until: datetime | None
) -> Hold | None:
    """What keeps uploads waiting now. `recorded_until`: the end of what is being recorded, if anything is."""
    if not hours.are_open(now, zone):
        return Hold(Wait.HOURS, f"outside the hours for uploads ({hours})", hours.next_opening(now, zone))
    if recorded_until is not None and not while_recording:
        until = max(recorded_until, now + _MINUTE)
        return Hold(Wait.RECORDING, "waits for the end of the recording", until)
    return None


# ---- what goes first

UPLOAD_STATE = "upload.json"  # in a job: how far its upload is; written by the backend
_SPARE_S = 1800.0


@dataclass(frozen=True, slots=True)
class UploadDeadline:
    """When an upload expires, and its size in bytes: from `upload.json`."""

    expires: Instant | None = None
    size: int = 0

    def is_urgent(self, now: datetime, part: float, bytes_s: float | None) -> bool:
        """True when it must go on now, or what was sent will be lost; False when it will be late in any case.

        `part`: the sent part, 0 to 1. `bytes_s`: measured bytes a second, None before the first.
        """
        if self.expires is None or part <= 0:
            return False
        lasts_s = (self.expires - now).total_seconds()
        needs_s = self.size * (1 - part) / bytes_s if bytes_s else 0.0
        return max(needs_s, 0.0) <= lasts_s < 2 * needs_s + _SPARE_S


def upload_order(job: Job, until: datetime | None = None) -> tuple[Any, ...]:
    """A sort key: the newest match first, then the smallest video; logs last.

    `until`: when a started upload expires. Such an upload goes before all others.
    """
    if job.booking is not None:
        began = job.booking.start
    else:
        began = min((take.started for take in job.takes), default=job.created)
    pressing = (1, 0.0) if until is None else (0, until.timestamp())
    size = job.result.size if job.result else 0
    return (job.kind is Kind.LOGS, *pressing, -began.timestamp(), size, job.id)
