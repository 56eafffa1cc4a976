"""How a booking's recording ends: recorded, partial, missed or cancelled. Values in, values out.

Each function gives the outcome for the stage table, and the fields of the record that tell of it. No
footage goes silently: what a cancellation leaves is kept for a day under a reason that says until when.
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
_ASK_AGAIN = timedelta(hours=1)  # while the clock cannot be trusted, no day begins


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
    # A day that an untrusted clock began would end the moment it is set: none begins until it is right.
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
    """Of a booking with footage: how much of it, and what is missing."""
    noted = _coverage(job)
    return {**noted, "recording": JobOutcome.PARTIAL if noted["gap_count"] else JobOutcome.RECORDED}


def of_a_missed(fault: str) -> Closed:
    """Of a booking without a second of footage. `fault`: what kept the camera away."""
    if fault:
        return Closed(JobOutcome.MISSED, f"no camera during the whole booking: {fault}")
    return Closed(JobOutcome.MISSED, "the booking was over before this machine could record it")


def measured_anew(job: Job) -> dict[str, Any]:
    """Of a recording that is over, when its takes turn out to hold something else than was known."""
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


UNNAMED_S = 0.5  # less is the distance of two frames and a key frame, not a hole
MOST_NAMED = 200  # in one list: a slow card can make thousands, and a record has to stay small


@dataclass(frozen=True, slots=True)
class Missing:
    """What is missing in a window: the longest gaps by name, the number of all, the seconds of all."""

    gaps: tuple[Window, ...]
    count: int
    seconds: float


def missing_in(window: Window, takes: Sequence[Take]) -> Missing:
    """What is missing. Tiny gaps count as seconds alone."""
    gaps = gaps_in(window, takes)
    named = [gap for gap in gaps if gap.length_s > UNNAMED_S]
    seconds = sum(gap.length_s for gap in gaps) + sum(take.unlisted_s for take in takes)
    return Missing(
        _longest(named), len(named) + sum(take.unlisted for take in takes), min(seconds, window.length_s)
    )


def bounded(take: Take) -> Take:
    """The take with its longest holes alone, and of the others their number and sum."""
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
    """In the order of time."""
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
