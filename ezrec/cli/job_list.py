"""Rows for `ezrec spool ls`: one for each job, file or broken entry in the spool. Prints and moves nothing.

Ten thousand jobs are listed in half a second, so a row reads one small file: sizes come from the record where
it has them, and from the disk only for what is being written or cannot be read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ezrec.cli.formatting import utc
from ezrec.cli.next_step import NextStep, next_step, stage_of
from ezrec.domain.job import Job
from ezrec.domain.names import shown
from ezrec.domain.progress import number_in, part_done
from ezrec.domain.stages import STAGES, State
from ezrec.spool.intake import ADOPTING
from ezrec.spool.lookup import DONE, IN_SPOOL, KEPT, TRASH
from ezrec.spool.spool import Entry, Spool, UnknownFile, history

_WITH_PROGRESS = (State.PROCESSING, State.PROCESSED)
_ADOPTER = {stage.takes_from: stage.name for stage in STAGES.values()}


@dataclass(slots=True)
class Row:
    """One line of the listing. `job` is None for what is no job (yet): a loose file, a broken entry."""

    place: str
    name: str
    next_step: NextStep
    job: Job | None = None
    size: int | None = None
    since: datetime | None = None
    progress: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        if self.job is not None:
            return str(self.job.kind)
        return "loose" if self.next_step.text == "to be adopted" else "unreadable"

    @property
    def tries(self) -> int:
        return self.job.attempts.get(stage_of(self.job, self.place), 0) if self.job else 0

    def as_json(self, now: datetime) -> dict[str, Any]:
        """The row for machines; times in UTC, sizes in bytes."""
        job, booking = self.job, self.job.booking if self.job else None
        return {
            "id": job.id if job else None,
            "name": self.name,
            "kind": self.kind,
            "state": self.place,
            "booking": {
                "id": booking.id,
                "start": utc(booking.start),
                "end": utc(booking.end),
                "status": booking.status,
            }
            if booking
            else None,
            "size": self.size,
            "created": utc(job.created) if job else None,
            "since": utc(self.since),
            "age_s": round((now - self.since).total_seconds(), 1) if self.since else None,
            "attempts": dict(job.attempts) if job else {},
            "tries": self.tries,
            "next": self.next_step.text,
            "next_at": utc(self.next_step.at),
            "progress": part_done(self.progress),
            "eta_s": number_in(self.progress, "eta_s"),
            "speed": number_in(self.progress, "speed"),
            "held": job.held if job else "",
            "why": self.next_step.why,
            "cure": self.next_step.cure,
            "needs_you": self.next_step.needs_you,
            "called": list(self.next_step.called),
            "coverage_pct": job.coverage_pct if job else None,
            "outcome": job.outcome if job else None,
        }


def rows(spool: Spool, places: Sequence[str], now: datetime, since: datetime | None = None) -> list[Row]:
    """Everything in `places`, in the order in which a job passes them; nothing older than `since`."""
    found: list[Row] = []
    for place in (*IN_SPOOL, DONE, KEPT, TRASH):
        if place in places:
            found += sorted(_rows(spool, place, now, since), key=_order)
    return [row for row in found if since is None or row.since is None or row.since >= since]


def _rows(spool: Spool, place: str, now: datetime, since: datetime | None) -> Iterator[Row]:
    if place == DONE:
        for job in history(spool, since):
            size = job.result.size if job.result else None
            yield Row(place, job.id, next_step(job, place, now), job, size, job.since)
    elif place == KEPT:
        for entry in spool.kept_copies():
            size = entry.job.result.size if entry.job.result else entry.size()
            yield Row(place, entry.id, next_step(entry.job, place, now), entry.job, size, entry.job.since)
    elif place == TRASH:
        for entry in spool.discarded():
            yield _row(entry, place, now)
    else:
        entries, unknown = spool.look(State(place))
        for entry in entries:
            yield _row(entry, place, now)
        for file in unknown:
            yield _unknown(spool, State(place), file)


def _row(entry: Entry, place: str, now: datetime) -> Row:
    job = entry.job
    progress = entry.progress_now(place) if place in _WITH_PROGRESS else {}
    step = next_step(job, place, now, progress)
    return Row(
        place,
        entry.id if place != TRASH else entry.path.name,
        step,
        job,
        _size(entry, place),
        job.since,
        progress,
    )


def _size(entry: Entry, place: str) -> int | None:
    job = entry.job
    if place == State.INCOMING and not job.takes:
        return None
    if job.takes and place != State.RECORDING:
        total = job.result.size if job.result else 0
        for take in job.takes:
            total += take.size
        return total
    return entry.size()


def _order(row: Row) -> tuple[datetime, str]:
    job = row.job
    if job is None:
        return datetime.max.replace(tzinfo=UTC), row.name
    if row.place == State.INCOMING and job.booking:
        return job.booking.start, row.name
    return row.since or job.created, row.name


def _unknown(spool: Spool, place: State, file: UnknownFile) -> Row:
    """A file that is no job (yet): what will become of it, or why nothing does."""
    size, since, is_directory = None, None, False
    try:
        info = os.lstat(spool.directory(place) / file.name)
        size, since = info.st_size, datetime.fromtimestamp(info.st_mtime, UTC)
        is_directory = stat.S_ISDIR(info.st_mode)
    except (OSError, OverflowError, ValueError):
        pass
    if place in ADOPTING and not is_directory:
        why = f"{shown(file.name)} lies loose in {place}/ and becomes a job once it is complete"
        cure = f"not running? ezrec run-stage {_ADOPTER[place]} --once"
        return Row(place, file.name, NextStep("to be adopted", None, why, cure), None, size, since)
    where = spool.directory(place)
    name = shown(file.name)
    why = file.why if name in file.why else f"{name}: {file.why}"
    step = NextStep("no job", None, why, f"look into it, then move it out of {where}", needs_you=True)
    return Row(place, file.name, step, None, None if is_directory else size, since)
