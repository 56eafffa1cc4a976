"""A job's record: the content of `job.json`.

It never says where the job is: its directory does. Records are values; the owner of a job makes a new one and
writes it whole.
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
_SOON = timedelta(minutes=1)  # a booking is claimed so long before its start: more than any camera needs
OPEN = "still open"  # `ended_by` of a take that is being written
UNANSWERED = "the disk did not answer in time"  # `ended_by` of a take whose writer was given up
_KEPT = 20  # faults and arrivals kept in a record


class Kind(StrEnum):
    """The kind of work."""

    BOOKING = "booking"
    CLIP = "clip"
    LOGS = "logs"


class JobOutcome(StrEnum):
    """How a job ended."""

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
    """A file of sound that belongs to a take. `offset_s`: how many seconds after the picture it begins.

    `duration_s` is its samples by the nominal rate, `lasted_s` the time they really took.
    """

    file: str
    offset_s: Annotated[float, msgspec.Meta(ge=-1e6, le=1e6)]
    duration_s: _Seconds = 0.0
    lasted_s: _Seconds = 0.0
    size: _Bytes = 0
    ended_by: str = ""


@dataclass(frozen=True, slots=True)
class Take:
    """One file of footage. `started`: the instant of its first frame, by the wall clock at that time.

    `dropped`: frames lost because the disk was too slow; `holes`: where they are missing, the longest ones;
    `unlisted` others lack `unlisted_s` seconds in all. `early_s`: how many seconds before the padded window
    it begins, because a take begins with a key frame. `burned_in`: the logo that it shows already; empty:
    none.
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
    """The clock of a recording: `zero` is the time of day at the monotonic time 0 of this `boot_id`.

    `is_trusted`: the wall clock was synchronised when it was set.
    """

    boot_id: str
    zero: Instant
    is_trusted: bool

    def now(self, boot_id: str, monotonic: float) -> datetime | None:
        """The time by this clock; None in another run of the machine, whose monotonic clock began anew."""
        if not boot_id or boot_id != self.boot_id:
            return None
        return self.zero + timedelta(seconds=monotonic)


@dataclass(frozen=True, slots=True)
class Result:
    """The finished video. `made_from` names all that it was made of: if equal, it is still valid."""

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
        """True when a worker may claim it now."""
        waits = self.waits_until(now)
        return not self.held and (waits is None or waits <= now)

    @property
    def since(self) -> datetime:
        """When it came into its directory."""
        return self.arrivals[-1].at if self.arrivals else self.created

    def waits_until(self, now: datetime) -> datetime | None:
        """When it is due; None: at once.

        A job that arrived in the future was deferred by a clock that has been set back, perhaps by years:
        then only the start of its booking counts.
        """
        if self.due is None or self.since <= now + _SOON:
            return self.due
        return min(self.due, self.booking.start - _SOON) if self.booking else None

    def with_fault(self, fault: Fault) -> Job:
        """Add to what went wrong; a wait for the same thing is listed once, with its newest time."""
        earlier = self.errors
        if fault.kind == "waits" and earlier and earlier[-1].message == fault.message:
            earlier = earlier[:-1]
        return replace(self, errors=(*earlier, fault)[-_KEPT:])

    def with_attempt(self, stage: str, boot_id: str) -> Job:
        """Count an attempt before the work, so that work which kills its worker is counted too."""
        attempts = {**self.attempts, stage: self.attempts.get(stage, 0) + 1}
        return replace(self, attempts=attempts, boot_id=boot_id, due=None, waits_for="", reason="", remedy="")

    def without_attempt(self, stage: str) -> Job:
        """Take the count back: the work was interrupted, or not begun."""
        return replace(self, attempts={**self.attempts, stage: max(0, self.attempts.get(stage, 0) - 1)})

    def as_found_in(self, state: str) -> Job:
        """The record as it counts in `state`. A job that a person moved by hand is tried from the beginning.

        That shows in the last arrival, which EZREC writes at every move.
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
        """For a job in failed/ without a reason: a move out of it was interrupted, or a person put
        it there.
        """
        was_leaving = len(self.arrivals) > 1 and self.arrivals[-2].state == _FAILED
        if was_leaving and self.errors:
            return replace(self, reason=self.errors[-1].message, remedy=self.errors[-1].remedy)
        return replace(
            self,
            reason="moved here by hand, or a move out of here was interrupted",
            remedy=f"ezrec spool retry {self.id}",
        )

    def arrived(self, state: str, now: datetime) -> Job:
        return replace(self, arrivals=(*self.arrivals, Arrival(state, now))[-_KEPT:])


class BadRecord(ValueError):
    """A `job.json` that cannot be read; the message says why, in one line."""


def encode(job: Job) -> bytes:
    """The bytes of `job.json`: indented, for the person who opens it; texts are redacted."""
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
                raise BadRecord(f"job.json names a file that cannot be in a job: {shown(name)}")
    except (msgspec.DecodeError, BadName, UnicodeDecodeError, RecursionError) as fault:
        raise BadRecord(f"job.json cannot be read: {fault}") from None
    return job


def first_come(job: Job) -> tuple[datetime, str]:
    """The sort key of most queues."""
    return job.due or job.created, job.id
