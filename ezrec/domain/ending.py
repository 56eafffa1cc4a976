"""How a booking's recording ends: recorded, partial, missed or cancelled. Values in, values out.

Each function gives the outcome for the stage table, and the fields of the record that tell of it. No
footage goes silently: what a cancellation leaves is kept for a day under a reason that says until when.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from ezrec.domain.coverage import missing_in, share_covered
from ezrec.domain.job import Job, JobOutcome
from ezrec.domain.outcomes import Closed, Done, Kept

KEPT = timedelta(hours=24)
_ASK_AGAIN = timedelta(hours=1)  # while the clock cannot be trusted, no day begins


class OnCancel(StrEnum):
    """What becomes of the footage when a booking is cancelled while it is recorded."""

    KEEP = "keep"
    TRIM = "trim"
    DISCARD = "discard"


def of_a_cancelled(
    job: Job, on_cancel: OnCancel, now: datetime, *, is_synchronised: bool
) -> tuple[Done | Closed | Kept, dict[str, Any]]:
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
    return Kept(reason, remedy, until or now + _ASK_AGAIN), noted


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
