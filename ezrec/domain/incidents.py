"""What went wrong with a recording or a video, in the words that every list uses: partial, missed, cancelled,
without logo. And what of it a person has to hear: an incident is an alert until somebody puts it away.

Pure: made of the records of jobs alone, so that whoever asks finds the same.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from ezrec.domain.booking import Instant
from ezrec.domain.job import Job, JobOutcome, Kind

DAY = timedelta(days=1)
_TOLD = 300  # characters of a reason
_SHARES = 3  # named of those that were recorded in part
# The notes of a video name what was left out of it: `published without the logo 'club/logo.png': …`.
_LEFT_OUT = re.compile(
    r"published without (?:the )?(intro and (?:sponsors' logos|logo)|sponsor(?:'s logo|s' logos)?|intro|logo)"
)
_AS_RECORDED = "published as it was recorded"
_BRANDING = ("intro", "logo", "sponsor")
_SHOWN = {"sponsor": "sponsors' logos"}


class IncidentKind(StrEnum):
    """What a person has to hear of."""

    MISSED = "missed"
    PARTIAL = "partial"
    BARE = "bare"


@dataclass(frozen=True, slots=True)
class Incident:
    """One thing that went wrong with one job, and when that was known. `text`: what, for a person."""

    kind: IncidentKind
    job: str
    at: Instant
    text: str

    @property
    def id(self) -> str:
        """What a person types to put it away."""
        return f"{self.kind}-{self.job}"

    @property
    def remedy(self) -> str:
        return f"why: ezrec explain {self.job}; once you know: ezrec alerts clear {self.id}"


def percent(job: Job) -> str:
    """How much of a booking was recorded. Never rounded up: 99.96 % is not all of it."""
    return "" if job.coverage_pct is None else f"{math.floor(job.coverage_pct * 10) / 10:.1f} %"


def left_out(job: Job) -> tuple[str, ...]:
    """The branding that a video should have and has not: `intro`, `logo`, `sponsor`."""
    if job.result is None:
        return ()
    found: set[str] = set()
    for note in job.result.notes:
        if note.startswith(_AS_RECORDED):  # that is bare only where there is some branding
            found |= {name for name in _BRANDING if _is_wanted(job.result.made_from, name)}
        for words in _LEFT_OUT.findall(note):
            found.add("sponsor" if "sponsor" in words else "logo" if "logo" in words else "intro")
            found |= {"intro"} if "intro" in words else set()
    return tuple(name for name in _BRANDING if name in found)


def _is_wanted(made_from: Iterable[str], name: str) -> bool:
    return any(part.startswith(f"{name}:") and part != f"{name}:None" for part in made_from)


def without(job: Job) -> str:
    """`without logo`; empty for a video that has all its branding."""
    found = left_out(job)
    return f"without {' and '.join(_SHOWN.get(name, name) for name in found)}" if found else ""


def called(job: Job) -> tuple[str, ...]:
    """The words for what is not as it should be with a job; none when all is well."""
    found = []
    ends = {job.recording, job.outcome}
    if JobOutcome.MISSED in ends:
        found.append("missed")
    if JobOutcome.CANCELLED in ends or (job.booking is not None and job.booking.is_cancelled):
        found.append("cancelled")
    if job.recording is JobOutcome.PARTIAL:
        found.append(f"partial ({percent(job)})" if percent(job) else "partial")
    return tuple(filter(None, (*found, without(job))))


def incidents_of(job: Job) -> Iterator[Incident]:
    """What a person has to hear of one job, wherever it is. What a person removed is no news to anybody."""
    if job.outcome is JobOutcome.REMOVED or job.kind is Kind.LOGS:
        return
    if job.outcome is JobOutcome.MISSED:
        text = f"booking {job.id} was missed: {job.reason or 'no reason is recorded'}"
        yield Incident(IncidentKind.MISSED, job.id, job.since, text[:_TOLD])
    if job.recording is JobOutcome.PARTIAL:
        share = f": {percent(job)} of it is there" if percent(job) else ""
        text = f"booking {job.id} was recorded in part{share}, {job.missing_s:.0f} s are missing"
        yield Incident(IncidentKind.PARTIAL, job.id, _recorded_at(job), text)
    if missing := without(job):
        note = next((note for note in job.result.notes if "without" in note), "") if job.result else ""
        because = note.partition(": ")[2]
        text = f"the video of {job.id} is {missing}{f': {because}' if because else ''}"
        yield Incident(IncidentKind.BARE, job.id, job.since, text[:_TOLD])


def _recorded_at(job: Job) -> datetime:
    """When its recording was over."""
    return next((arrival.at for arrival in job.arrivals if arrival.state == "raw"), job.since)


@dataclass(frozen=True, slots=True)
class Digest:
    """What counts of one job here. `at`: the moment by which it belongs to a day; `partial`: the share that
    was recorded, None where nothing is missing."""

    job: str
    at: datetime
    outcome: JobOutcome | None = None
    partial: str | None = None
    without: str = ""
    incidents: tuple[Incident, ...] = ()


def digest(job: Job) -> Digest | None:
    """None for an archive of logs: it is no video that anybody waits for."""
    if job.kind is Kind.LOGS:
        return None
    at = job.since if job.outcome is not None else _recorded_at(job)
    partial = percent(job) if job.recording is JobOutcome.PARTIAL else None
    return Digest(job.id, at, job.outcome, partial, without(job), tuple(incidents_of(job)))


@dataclass(frozen=True, slots=True)
class Day:
    """What became of the jobs of the last 24 hours: how many, of the partial ones their shares, and of the
    videos those without some of their branding, by the words for it."""

    published: int = 0
    partial: tuple[str, ...] = ()
    missed: int = 0
    cancelled: int = 0
    without: dict[str, int] = field(default_factory=dict)

    @property
    def is_bad(self) -> bool:
        return bool(self.partial or self.missed or self.without)

    @property
    def words(self) -> str:
        """`5 published, 1 partial (41.9 %), 1 missed, 2 without logo`."""
        shown = ", ".join(filter(None, self.partial[:_SHARES]))
        shares = f" ({shown}{', …' if len(self.partial) > _SHARES else ''})" if shown else ""
        found = [
            f"{self.published} published",
            f"{len(self.partial)} partial{shares}" if self.partial else "",
            f"{self.missed} missed" if self.missed else "",
            *(f"{count} {words}" for words, count in sorted(self.without.items())),
            f"{self.cancelled} cancelled" if self.cancelled else "",
        ]
        return ", ".join(filter(None, found))


def day(jobs: Iterable[Digest], now: datetime) -> Day:
    """The last 24 hours, of the jobs in the spool and in the history."""
    recent = [job for job in jobs if now - DAY <= job.at <= now]
    ended = Counter(job.outcome for job in recent)
    return Day(
        published=ended[JobOutcome.PUBLISHED],
        partial=tuple(job.partial for job in recent if job.partial is not None),
        missed=ended[JobOutcome.MISSED],
        cancelled=ended[JobOutcome.CANCELLED],
        without=dict(Counter(job.without for job in recent if job.without)),
    )
