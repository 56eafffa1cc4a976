"""How a booking's recording ends: recorded, partial, missed or cancelled. Values in, values out.

Each function returns the outcome for the stage table, and the fields of the record about it. Footage of a
cancelled booking is kept for a day, with a reason that says until when.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from ezrec.domain.booking import Window
from ezrec.domain.job import Job, JobOutcome, Take
from ezrec.domain.outcomes import Closed, Done, Preserved

KEPT = timedelta(hours=24)
_ASK_AGAIN = timedelta(hours=1)  # while the clock is not synchronised, the day does not begin


class OnCancel(StrEnum):
    """What becomes of the footage when a booking is cancelled while it is recorded."""

    KEEP = "keep"
    TRIM = "trim"
    DISCARD = "discard"


def of_a_cancelled(
    job: Job, on_cancel: OnCancel, now: datetime, *, is_synchronised: bool
) -> tuple[Done | Closed | Preserved, dict[str, Any]]:
    """The end of a booking that was cancelled, with or without footage."""
    if not job.takes:
        return Closed(JobOutcome.CANCELLED, "the booking was cancelled"), {}
    if on_cancel is OnCancel.DISCARD:
        reason = "cancelled while it was recorded; the footage is discarded (EZREC_ON_CANCEL)"
        return Closed(JobOutcome.CANCELLED, reason), {}
    if on_cancel is OnCancel.TRIM:
        return Done(), {**_coverage(job), "recording": JobOutcome.CANCELLED}
    if is_synchronised and job.kept_until is not None and now >= job.kept_until:
        reason = "cancelled while it was recorded; the footage was kept for a day, and nobody wanted it"
        return Closed(JobOutcome.CANCELLED, reason), {}
    # Counted from a wrong time, the day would end when the clock is set: it begins once the clock is right.
    until = (job.kept_until or now + KEPT) if is_synchronised else None
    shown = f"{until:%Y-%m-%d %H:%M} UTC" if until else "a day after the clock is synchronised"
    reason = f"cancelled while it was recorded; the footage is removed at {shown}"
    remedy = (
        f"publish what there is: ezrec spool retry {job.id} --from process; "
        f"or remove it now: ezrec spool rm {job.id} --with-footage"
    )
    noted = {**_coverage(job), "recording": JobOutcome.CANCELLED, "kept_until": until}
    return Preserved(reason, remedy, until or now + _ASK_AGAIN), noted


def of_a_recorded(job: Job) -> dict[str, Any]:
    """The fields for a booking with footage: how much there is, and what is missing."""
    noted = _coverage(job)
    return {**noted, "recording": JobOutcome.PARTIAL if noted["gap_count"] else JobOutcome.RECORDED}


def of_a_missed(fault: str) -> Closed:
    """The outcome of a booking without any footage. `fault`: why there was no camera."""
    if fault:
        return Closed(JobOutcome.MISSED, f"no camera during the whole booking: {fault}")
    return Closed(JobOutcome.MISSED, "the booking was over before this machine could record it")


def measured_anew(job: Job) -> dict[str, Any]:
    """The fields for a finished recording whose takes turned out to hold something else."""
    if job.booking is None or job.recording is None:
        return {}
    return of_a_recorded(job) if job.recording is not JobOutcome.CANCELLED else _coverage(job)


def _coverage(job: Job) -> dict[str, Any]:
    assert job.booking is not None
    missing = missing_in(job.booking.window, job.takes)
    return {
        "gaps": missing.gaps,
        "gap_count": missing.count,
        "missing_s": round(missing.seconds, 3),
        "coverage_pct": round(100 * share_covered(job.booking.window, job.takes), 2),
    }


UNNAMED_S = 0.5  # shorter ones are normal distances between frames
MOST_NAMED = 200  # a slow card can make thousands, and a record must stay small


@dataclass(frozen=True, slots=True)
class Missing:
    """What is missing in a window: the longest gaps, the number of all, the seconds of all."""

    gaps: tuple[Window, ...]
    count: int
    seconds: float


def missing_in(window: Window, takes: Sequence[Take]) -> Missing:
    """What is missing. Gaps up to 0.5 s count in the seconds only."""
    gaps = gaps_in(window, takes)
    named = [gap for gap in gaps if gap.length_s > UNNAMED_S]
    seconds = sum(gap.length_s for gap in gaps) + sum(take.unlisted_s for take in takes)
    return Missing(
        _longest(named), len(named) + sum(take.unlisted for take in takes), min(seconds, window.length_s)
    )


def bounded(take: Take) -> Take:
    """The take with its longest holes only; of the others the number and the sum."""
    if len(take.holes) <= MOST_NAMED:
        return take
    kept = _longest(take.holes)
    others = set(take.holes) - set(kept)
    return replace(
        take,
        holes=kept,
        unlisted=take.unlisted + sum(hole.length_s > UNNAMED_S for hole in others),
        unlisted_s=round(take.unlisted_s + sum(hole.length_s for hole in others), 3),
    )


def _longest(windows: Sequence[Window]) -> tuple[Window, ...]:
    """The longest of them, in the order of time."""
    if len(windows) <= MOST_NAMED:
        return tuple(windows)
    longest = sorted(windows, key=lambda one: one.length_s, reverse=True)[:MOST_NAMED]
    return tuple(sorted(longest, key=lambda one: one.start))


def gaps_in(window: Window, takes: Iterable[Take], least_s: float = 0.0) -> tuple[Window, ...]:
    """The parts of `window` that no take holds and that last longer than `least_s` seconds."""
    gaps, reached = [], window.start
    for piece in sorted((piece for take in takes for piece in _pieces(take)), key=lambda piece: piece.start):
        begins = min(piece.start, window.end)
        if begins > reached:
            gaps.append(Window(reached, begins))
        reached = max(reached, piece.end)
    if reached < window.end:
        gaps.append(Window(reached, window.end))
    return tuple(gap for gap in gaps if gap.length_s > least_s)


def _pieces(take: Take) -> Iterator[Window]:
    """What a take holds between its holes."""
    begins = take.started
    for hole in take.holes:
        yield Window(begins, hole.start)
        begins = hole.end
    yield Window(begins, take.ended)


def share_covered(window: Window, takes: Sequence[Take]) -> float:
    """The part of `window` that takes hold, 0 to 1."""
    missing_s = missing_in(window, takes).seconds
    return max(0.0, 1 - missing_s / window.length_s) if window.length_s > 0 else 0.0
