"""What happens to a job next, when, why it waits, and the command that helps. Pure.

One function for each directory; nothing is read here and nothing is printed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from ezrec.cli.formatting import printable, when
from ezrec.domain.incidents import called
from ezrec.domain.job import Job
from ezrec.domain.progress import words
from ezrec.domain.redaction import cleaned
from ezrec.domain.upload_schedule import Wait
from ezrec.spool.lookup import DONE, IN_SPOOL, KEPT, TRASH


@dataclass(frozen=True, slots=True)
class NextStep:
    """What happens to a job next, as `text` that fits a column. `why`: empty unless something needs saying;
    `cure`: a command or a hint. `called`: what is not as it should be: partial, missed, without logo."""

    text: str
    at: datetime | None = None
    why: str = ""
    cure: str = ""
    needs_you: bool = False
    called: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """The text, and what the job is called."""
        return ", ".join((self.text, *(word for word in self.called if word != self.text)))


def next_step(job: Job, place: str, now: datetime, progress: Mapping[str, Any] | None = None) -> NextStep:
    """What happens next to a job that lies in `place`: a directory of the spool, `done` or `trash`."""
    step = _BY_PLACE[place](job, now, progress or {})
    return cleaned(replace(step, called=() if place == "incoming" else called(job)))


def rests_because(progress: Mapping[str, Any]) -> str:
    """Why the work on a job is paused, by its progress file; empty while it is not."""
    why = progress.get("rests")
    return printable(why) if isinstance(why, str) else ""


def stage_of(job: Job, place: str) -> str:
    """The stage whose attempts count for a job in `place`; empty when none does."""
    if place in ("deferred", "failed"):
        place = job.return_to or ""
    return {
        "incoming": "record", "recording": "record", "raw": "process", "processing": "process",
        "processed": "upload",
    }.get(place, "")  # fmt: skip


def _incoming(job: Job, now: datetime, _: Mapping[str, Any]) -> NextStep:
    if job.held:
        return _held(job)
    if job.booking is not None and job.booking.is_cancelled:
        return NextStep("ends unrecorded", why="cancelled")
    if job.booking is not None and now < job.booking.start:
        return NextStep(f"starts {when(job.booking.start, now)}", job.due, job.reason)
    if job.due is not None and job.due > now:
        return NextStep(f"again {when(job.due, now)}", job.due, job.reason)
    return NextStep("due now", job.due, job.reason)


def _recording(job: Job, now: datetime, _: Mapping[str, Any]) -> NextStep:
    if job.booking is None:
        return NextStep("recording")
    if now < job.booking.start:
        return NextStep(f"starts {when(job.booking.start, now)}", job.booking.start, job.reason)
    if now < job.booking.end:
        return NextStep(f"ends {when(job.booking.end, now)}", job.booking.end, job.reason)
    return NextStep("ending", job.booking.end, job.reason)


def _raw(job: Job, now: datetime, _: Mapping[str, Any]) -> NextStep:
    return _held(job) if job.held else NextStep("waits its turn", job.due, job.reason)


def _processing(job: Job, now: datetime, progress: Mapping[str, Any]) -> NextStep:
    why = rests_because(progress)
    far = words(progress, why) or "processing"
    if why:
        return NextStep(f"{far}, rests", None, why, "set by EZREC_PROCESS_WHILE_RECORDING")
    return NextStep(far, None, job.reason)


def _processed(job: Job, now: datetime, progress: Mapping[str, Any]) -> NextStep:
    if job.boot_id:  # a process has claimed it: it is uploaded in place
        return NextStep(words(progress) or "uploading", None, job.reason)
    return _raw(job, now, progress)


def _deferred(job: Job, now: datetime, _: Mapping[str, Any]) -> NextStep:
    if job.held:
        return _held(job)
    at = job.due or now
    if job.booking is not None and job.booking.is_cancelled and job.return_to == "incoming":
        wanted = f"ezrec spool retry {job.id} --from process"
        return NextStep(f"removed {when(job.kept_until or at, now)}", at, job.reason, f"publish it: {wanted}")
    cure = _NO_SOONER.get(job.waits_for, f"sooner: ezrec spool retry {job.id}")
    if job.waits_for == Wait.CURE and job.remedy:
        cure = f"{job.remedy}; {cure}"
    return NextStep(f"again {when(at, now)}", at, job.reason, cure)


# A retry would only come back: these waits are settings.
_NO_SOONER: dict[str, str] = {
    Wait.HOURS: "set by EZREC_UPLOAD_WINDOW",
    Wait.RECORDING: "set by EZREC_UPLOAD_WHILE_RECORDING",
}


def _held(job: Job) -> NextStep:
    return NextStep("held", None, job.held, f"ezrec spool release {job.id}", needs_you=True)


def _failed(job: Job, now: datetime, _: Mapping[str, Any]) -> NextStep:
    cure = job.remedy or f"ezrec spool retry {job.id}"
    return NextStep("needs you", None, job.reason or "no reason is recorded", cure, needs_you=True)


def _done(job: Job, now: datetime, _: Mapping[str, Any]) -> NextStep:
    return NextStep(str(job.outcome or "done"), None, job.reason)


def _kept(job: Job, now: datetime, _: Mapping[str, Any]) -> NextStep:
    return NextStep("uploaded, and kept", None, "", "")


def _trash(job: Job, now: datetime, _: Mapping[str, Any]) -> NextStep:
    return NextStep("removed", None, "", f"ezrec spool restore {job.id}")


_BY_PLACE: dict[str, Callable[[Job, datetime, Mapping[str, Any]], NextStep]] = {
    "incoming": _incoming,
    "recording": _recording,
    "raw": _raw,
    "processing": _processing,
    "processed": _processed,
    "deferred": _deferred,
    "failed": _failed,
    DONE: _done,
    KEPT: _kept,
    TRASH: _trash,
}
assert set(_BY_PLACE) == {*IN_SPOOL, DONE, KEPT, TRASH}
