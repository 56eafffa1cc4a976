"""A job's record: what is known of one piece of work, as it stands in its `job.json`.

The record never says where the job is: the directory it lies in does.
Records are values; the owner of a job makes a new one and writes it whole.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

import msgspec

from ezrec.domain import json_decode
from ezrec.domain.booking import Booking, Instant, Window
from ezrec.domain.names import BadName, JobId, safe_id, shown
from ezrec.domain.redaction import cleaned

_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}\.(?:mp4|m4a|zip)")
_QUEUES = ("incoming", "raw", "processed")  # where a job waits for a stage; `stages.py` owns the table
_FAILED = "failed"
_SOON = timedelta(minutes=1)  # before its start a booking is taken in hand: more than any camera needs
OPEN = "still open"  # what a take is said to be ended by while it is written
UNANSWERED = "the disk did not answer in time"  # the same, of one whose writer was not waited for any longer
_KEPT = 20  # faults and arrivals kept in a record: enough to explain, never a log


class Kind(StrEnum):
    """What a job is about."""

    BOOKING = "booking"
    CLIP = "clip"
    LOGS = "logs"


class JobOutcome(StrEnum):
    """The named end of a job."""

    RECORDED = "recorded"
    PARTIAL = "partial"
    MISSED = "missed"
    CANCELLED = "cancelled"
    PUBLISHED = "published"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that went wrong. `kind` is retry, waits, reject, crash, died or warning."""

    at: Instant
    stage: str
    kind: str
    message: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Arrival:
    """When the job came into a directory."""

    state: str
    at: Instant


_Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e6)]
_Bytes = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]


@dataclass(frozen=True, slots=True)
class Sound:
    """A file of sound that belongs to a take. `offset_s`: how much later than the picture it begins.

    `duration_s` counts its samples, `lasted_s` the time that they took: no two clocks run equally fast.
    """

    file: str
    offset_s: Annotated[float, msgspec.Meta(ge=-1e6, le=1e6)]
    duration_s: _Seconds = 0.0
    lasted_s: _Seconds = 0.0
    size: _Bytes = 0
    ended_by: str = ""


@dataclass(frozen=True, slots=True)
class Take:
    """One file of footage. `started` is the instant of its first frame, as the clock then stood.

    `dropped` frames came faster than the disk could take them; `holes` are where they are missing: the
    longest by name, `unlisted` others of `unlisted_s` seconds in all.
    `early_s`: how long before the padded window it begins, because a take begins with a key frame.
    `burned_in` names the logo that its pictures show already; empty: none.
    """

    file: str
    started: Instant
    duration_s: _Seconds
    size: _Bytes
    ended_by: str = ""
    dropped: int = 0
    holes: tuple[Window, ...] = ()
    burned_in: str = ""
    sound: tuple[Sound, ...] = ()
    unlisted: Annotated[int, msgspec.Meta(ge=0)] = 0
    unlisted_s: _Seconds = 0.0
    early_s: _Seconds = 0.0

    @property
    def ended(self) -> datetime:
        return self.started + timedelta(seconds=self.duration_s)


@dataclass(frozen=True, slots=True)
class Reckoning:
    """The time that a recording goes by: `zero` is what it calls the monotonic time 0 of this `boot_id`.

    `is_trusted`: the wall clock could be trusted when that was found.
    """

    boot_id: str
    zero: Instant
    is_trusted: bool

    def now(self, boot_id: str, monotonic: float) -> datetime | None:
        """What time it is by this; None in another run of the machine, whose monotonic clock began anew."""
        if not boot_id or boot_id != self.boot_id:
            return None
        return self.zero + timedelta(seconds=monotonic)


@dataclass(frozen=True, slots=True)
class Result:
    """The finished video. `made_from` names everything it depends on: equal means still valid."""

    file: str
    duration_s: _Seconds
    size: _Bytes
    made_from: tuple[str, ...]
    intro_s: _Seconds = 0.0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """The record of one job; see `spool/README.md` for the meaning of each field."""

    id: JobId
    kind: Kind
    created: Instant
    booking: Booking | None = None
    due: Instant | None = None
    attempts: dict[str, int] = field(default_factory=dict)
    recoveries: int = 0
    power_cuts: int = 0
    boot_id: str = ""
    return_to: str | None = None
    waits_for: str = ""
    held: str = ""
    kept_until: Instant | None = None
    errors: tuple[Fault, ...] = ()
    arrivals: tuple[Arrival, ...] = ()
    takes: tuple[Take, ...] = ()
    reckoning: Reckoning | None = None
    gaps: tuple[Window, ...] = ()
    gap_count: Annotated[int, msgspec.Meta(ge=0)] = 0
    missing_s: Annotated[float, msgspec.Meta(ge=0, le=1e9)] = 0.0
    coverage_pct: Annotated[float, msgspec.Meta(ge=0, le=1000)] | None = None
    recording: JobOutcome | None = None
    result: Result | None = None
    steps: dict[str, Instant] = field(default_factory=dict)
    published_as: str = ""
    outcome: JobOutcome | None = None
    reason: str = ""
    remedy: str = ""
    v: int = 1

    def is_due(self, now: datetime) -> bool:
        """True when nothing but a free hand is missing."""
        waits = self.waits_until(now)
        return not self.held and (waits is None or waits <= now)

    @property
    def since(self) -> datetime:
        """When it came into the directory it lies in."""
        return self.arrivals[-1].at if self.arrivals else self.created

    def waits_until(self, now: datetime) -> datetime | None:
        """When it is due; None: at once. A wait that began in the future says nothing any more.

        The clock was set back since, perhaps by years, and the job would lie there for as long. Then the
        start of its booking alone counts.
        """
        if self.due is None or self.since <= now + _SOON:
            return self.due
        return min(self.due, self.booking.start - _SOON) if self.booking else None

    def with_fault(self, fault: Fault) -> Job:
        """Add to what went wrong; a wait for the same thing is told once, with its newest time."""
        earlier = self.errors
        if fault.kind == "waits" and earlier and earlier[-1].message == fault.message:
            earlier = earlier[:-1]
        return replace(self, errors=(*earlier, fault)[-_KEPT:])

    def with_attempt(self, stage: str, boot_id: str) -> Job:
        """Counted before the work, so that work which kills its worker is counted too."""
        attempts = {**self.attempts, stage: self.attempts.get(stage, 0) + 1}
        return replace(self, attempts=attempts, boot_id=boot_id, due=None, waits_for="", reason="", remedy="")

    def without_attempt(self, stage: str) -> Job:
        """Takes the count back: the work was laid down, or not begun."""
        return replace(self, attempts={**self.attempts, stage: max(0, self.attempts.get(stage, 0) - 1)})

    def as_found_in(self, state: str) -> Job:
        """The record as it counts in `state`. A person who moved the job by hand wants it tried afresh.

        The record tells by its last arrival, which every move of ours writes. A job in hand is never fresh.
        """
        if not self.arrivals or self.arrivals[-1].state == state:
            return self
        if state == _FAILED and not self.reason:
            return self._with_its_reason()
        if state not in _QUEUES:
            return self
        waits = self.booking.start - _SOON if state == "incoming" and self.booking else None
        return replace(
            self, attempts={}, recoveries=0, power_cuts=0, boot_id="", due=waits, return_to=None,
            waits_for="", held="", outcome=None, reason="", remedy="", reckoning=None,
        )  # fmt: skip

    def _with_its_reason(self) -> Job:
        """For one that lies in failed/ without a reason: a move out of it was broken off, or a person laid it
        there.
        """
        was_on_its_way = len(self.arrivals) > 1 and self.arrivals[-2].state == _FAILED
        if was_on_its_way and self.errors:
            return replace(self, reason=self.errors[-1].message, remedy=self.errors[-1].remedy)
        return replace(
            self,
            reason="moved here by hand, or a move out of here was broken off",
            remedy=f"ezrec spool retry {self.id}",
        )

    def arrived(self, state: str, now: datetime) -> Job:
        return replace(self, arrivals=(*self.arrivals, Arrival(state, now))[-_KEPT:])


class BadRecord(ValueError):
    """A `job.json` that cannot be read; the message says why, in one line."""


def encode(job: Job) -> bytes:
    """The bytes of `job.json`: indented, for the person who opens it; nothing secret that somebody said."""
    return msgspec.json.format(msgspec.json.encode(cleaned(job)), indent=1) + b"\n"


def decode(data: bytes) -> Job:
    """Read a `job.json`; raises `BadRecord`."""
    try:
        job = json_decode.decode(data, Job)
        safe_id(job.id)
        if job.booking is not None:
            safe_id(job.booking.id)
        sounds = [sound.file for take in job.takes for sound in take.sound]
        results = [job.result.file] if job.result else []
        named = [job.published_as] if job.published_as else []
        for name in [take.file for take in job.takes] + sounds + results + named:
            if not _FILE.fullmatch(name):
                raise BadRecord(f"job.json names a file that no job holds: {shown(name)}")
    except (msgspec.DecodeError, BadName, UnicodeDecodeError, RecursionError) as fault:
        raise BadRecord(f"job.json cannot be read: {fault}") from None
    return job


def first_come(job: Job) -> tuple[datetime, str]:
    """The order of most queues."""
    return job.due or job.created, job.id
