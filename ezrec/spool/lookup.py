"""Finds the job that a person means, by its id or the beginning of its id, as git does. Never moves
anything.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass

from ezrec.domain.errors import Busy, NoSuchJob
from ezrec.domain.job import BadRecord, Job
from ezrec.domain.names import shown
from ezrec.domain.stages import DIRECTORIES, State
from ezrec.spool.spool import Entry, Gone, Spool

TRASH = "trash"
KEPT = "kept"
DONE = str(State.DONE)
IN_SPOOL = tuple(map(str, DIRECTORIES))
EVERYWHERE = (*IN_SPOOL, DONE, TRASH)
_LISTED = 8  # candidates named when a prefix is ambiguous
_LOOKS = 3  # a job that moves meanwhile is found at the next look


@dataclass(frozen=True, slots=True)
class JobMatch:
    """A job that was found. `place` is a directory of the spool, `done` or `trash`."""

    place: str
    job: Job
    entry: Entry | None = None


def resolve(spool: Spool, prefix: str) -> Entry:
    """The one job in the spool whose id is `prefix` or begins with it. Raises `NoSuchJob` and `Busy`."""
    try:
        found = find(spool, prefix, places=IN_SPOOL)
    except NoSuchJob:
        if (job := _left(spool, prefix)) is None:
            raise
        how = job.outcome or "over"
        raise NoSuchJob(
            f"job {job.id} has left the spool ({how}): its footage is not kept, "
            "and no video can be made of it again"
        ) from None
    if found.entry is None:
        raise NoSuchJob(f"job {found.job.id} has left the spool")
    return found.entry


def _left(spool: Spool, prefix: str) -> Job | None:
    """The one job in the history that is meant."""
    with contextlib.suppress(NoSuchJob):
        return find(spool, prefix, places=(DONE,)).job
    return None


def find(spool: Spool, prefix: str, places: tuple[str, ...] = EVERYWHERE) -> JobMatch:
    """The same in any of `places`; the first place that has it counts. Raises `NoSuchJob` and `Busy`."""
    for _ in range(_LOOKS):
        names = {place: _names(spool, place, prefix) for place in places}
        chosen = _choose(prefix, sorted(set().union(*names.values())), places)
        for place in places:
            if chosen in names[place]:
                with contextlib.suppress(Gone):
                    return _open(spool, place, chosen)
    raise Busy(f"job {chosen} is on the move; look again")


def all_ids(spool: Spool) -> set[str]:
    """Every id that a prefix could mean."""
    return set().union(*(_names(spool, place, "") for place in EVERYWHERE))


def _names(spool: Spool, place: str, prefix: str) -> set[str]:
    if place == DONE:
        names = [name[:-5] for name in os.listdir(spool.done) if name.endswith(".json")]
    elif place == TRASH:
        names = os.listdir(spool.trash)
    else:
        names = spool.names(State(place))
    return {name for name in names if name.startswith(prefix) and not name.startswith(".")}


def _choose(prefix: str, ids: list[str], places: tuple[str, ...]) -> str:
    """An exact match wins, else the prefix must fit exactly one id."""
    if prefix and prefix in ids:
        return prefix
    if len(ids) == 1 and prefix:
        return ids[0]
    if not ids or not prefix:
        where = "the trash" if places == (TRASH,) else "the spool"
        raise NoSuchJob(f"no job in {where} has the id {shown(prefix)}")
    named = ", ".join(shown(name)[1:-1] for name in ids[:_LISTED])
    more = f" and {len(ids) - _LISTED} more" if len(ids) > _LISTED else ""
    raise NoSuchJob(f"{shown(prefix)} fits {len(ids)} jobs: {named}{more}")


def _open(spool: Spool, place: str, job_id: str) -> JobMatch:
    if place == DONE:
        job = spool.finished(job_id)
        if job is None:
            raise NoSuchJob(f"the history of job {shown(job_id)} cannot be read")
        return JobMatch(place, job)
    if place == TRASH:
        entry = next((entry for entry in spool.discarded() if entry.path.name == job_id), None)
        if entry is None:
            raise NoSuchJob(f"{shown(job_id)} in the trash is no job")
        return JobMatch(place, entry.job, entry)
    try:
        entry = spool.read(State(place), job_id)
    except BadRecord as fault:
        where = shown(str(spool.directory(State(place)) / job_id), 200)[1:-1]
        raise NoSuchJob(f"{fault}; look into it, then move it away by hand: {where}") from None
    return JobMatch(place, entry.job, entry)
