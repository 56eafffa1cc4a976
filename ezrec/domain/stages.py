"""The one table that says where a job goes, and the one function that reads it.

Rule 1: everything that decides a job's next directory is here. `spool/spool.py` moves, `runtime/settler.py`
calls; neither knows a reason. `draw()` makes the diagram in `spool/README.md` from `STAGES`; a test compares
them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from ezrec.domain.job import Fault, Job, JobOutcome
from ezrec.domain.outcomes import (
    Closed,
    Crash,
    Crashed,
    Done,
    Interrupted,
    Outcome,
    Preserved,
    Rejected,
    RetryLater,
)


class State(StrEnum):
    """A directory of the spool; `DONE` is where a job has left it."""

    INCOMING = "incoming"
    RECORDING = "recording"
    RAW = "raw"
    PROCESSING = "processing"
    PROCESSED = "processed"
    DEFERRED = "deferred"
    FAILED = "failed"
    DONE = "done"


# In the order in which a job passes them; DONE is no directory of entries.
DIRECTORIES = tuple(state for state in State if state is not State.DONE)
IN_HAND = (State.RECORDING, State.PROCESSING)


class Role(StrEnum):
    """What a directory is for."""

    WAITING_ROOM = "waiting room"
    RUN_QUEUE = "run queue"
    IN_HAND = "in hand"


@dataclass(frozen=True, slots=True)
class Stage:
    """One row of the table.

    `tries`: how many tries may end with `Retry` (None: no limit); `deaths` and `power_cuts`: how many may end
    with the worker's death. Backoff: full jitter over `base_s · 2ⁿ`, at most `cap_s`. `reports`: the status
    that the backend gets.
    """

    name: str
    takes_from: State
    works_in: State
    success: State
    later: State
    tries: int | None
    deaths: int | None
    power_cuts: int | None
    base_s: float
    cap_s: float
    reports: str
    gives_up: str


RECORD = Stage(
    name="record",
    takes_from=State.INCOMING,
    works_in=State.RECORDING,
    success=State.RAW,
    # Not deferred/: another process brings jobs back from there, and the match would not wait.
    later=State.INCOMING,
    tries=None,
    deaths=None,
    power_cuts=None,
    base_s=1,
    cap_s=10,
    reports="completed",
    gives_up="end of the window",
)
PROCESS = Stage(
    name="process",
    takes_from=State.RAW,
    works_in=State.PROCESSING,
    success=State.PROCESSED,
    later=State.DEFERRED,
    tries=3,
    deaths=3,
    # A job under which the supply browns out would otherwise reboot the box for ever.
    power_cuts=10,
    base_s=10,
    cap_s=600,
    reports="video_processed",
    gives_up="3 tries",
)
UPLOAD = Stage(
    name="upload",
    takes_from=State.PROCESSED,
    works_in=State.PROCESSED,
    success=State.DONE,
    later=State.DEFERRED,
    tries=None,
    deaths=None,
    power_cuts=None,
    base_s=5,
    cap_s=900,
    reports="video_uploaded",
    gives_up="never, for a transient fault",
)
RETRY = Stage(
    name="retry",
    takes_from=State.DEFERRED,
    works_in=State.DEFERRED,
    success=State.DEFERRED,  # never used: the job says where it returns to
    later=State.DEFERRED,
    tries=None,
    deaths=None,
    power_cuts=None,
    base_s=5,
    cap_s=900,
    reports="–",
    gives_up="–",
)
STAGES = {stage.name: stage for stage in (RECORD, PROCESS, UPLOAD, RETRY)}
CRASHES = 3  # so many bugs in a row are tried again; after the next a person is needed
LONGEST_WAIT_S = 86400.0  # whatever wait the other side asks for, a day later it is tried


def settle(stage: Stage, job: Job, outcome: Outcome, now: datetime, chance: float) -> tuple[State, Job]:
    """The job's next directory, and its record there. `chance` in [0, 1) spreads the backoff."""
    state, job = _decide(stage, job, outcome, now, chance)
    return state, replace(job.arrived(state, now), boot_id="")  # no worker has it any more


def _decide(  # noqa: C901 - one arm an outcome
    stage: Stage, job: Job, outcome: Outcome, now: datetime, chance: float
) -> tuple[State, Job]:
    if stage is RETRY:
        return _return(job)
    match outcome:
        case Done():
            clean = replace(job, recoveries=0, power_cuts=0, due=None, return_to=None)
            if stage.success is State.DONE and clean.outcome is None:
                clean = replace(clean, outcome=JobOutcome.PUBLISHED)
            return stage.success, clean
        case Closed(named, reason):
            return State.DONE, replace(job, outcome=named, reason=reason, due=None, return_to=None)
        case Preserved(reason, remedy, until):
            kept = replace(job.without_attempt(stage.name), recoveries=0, power_cuts=0)
            return State.DEFERRED, replace(
                kept, reason=reason, remedy=remedy, due=until, return_to=stage.takes_from
            )
        case Interrupted():
            return stage.takes_from, job.without_attempt(stage.name)
        case Rejected(reason, remedy):
            return _fail(stage, job, "reject", reason, remedy, now)
        case RetryLater(reason, after_s, blameless=True, waits_for=what, remedy=cure):
            job = replace(job.without_attempt(stage.name), waits_for=what, remedy=cure)
            return _defer(stage, job, "waits", reason, 1, after_s, now, chance)
        case RetryLater(reason, after_s, waits_for=what):
            job = replace(job, waits_for=what)
            tries = job.attempts.get(stage.name, 0)
            if stage.tries is not None and tries >= stage.tries:
                remedy = f"see the log, cure the cause, then: ezrec spool retry {job.id}"
                return _fail(stage, job, "retry", f"{reason} (after {tries} tries)", remedy, now)
            return _defer(stage, job, "retry", reason, tries, after_s, now, chance)
        case Crash(message):
            return _recover(stage, job, "crash", message, CRASHES, now, chance)
        case Crashed(power_cut=True):
            return _power_cut(stage, job, now)
        case Crashed():
            message = f"the {stage.name} worker died with the job in hand"
            return _recover(stage, job, "died", message, stage.deaths, now, chance)


def comes_from(job: Job) -> State:
    """The directory a job came from, else the one that its content belongs in."""
    if job.return_to in (State.INCOMING, State.RAW, State.PROCESSED):
        return State(job.return_to)
    if job.result is not None:
        return State.PROCESSED
    return State.RAW if job.takes or job.booking is None else State.INCOMING


def _return(job: Job) -> tuple[State, Job]:
    """A deferred job goes back where it came from.

    `return_to` stays: after a crash between writing this record and the rename it is needed again.
    """
    return comes_from(job), replace(job, due=None, waits_for="", reason="", remedy="")


def _recover(
    stage: Stage, job: Job, kind: str, message: str, limit: int | None, now: datetime, chance: float
) -> tuple[State, Job]:
    """After a bug or a death: try again, within a limit."""
    n = job.recoveries + 1
    job = replace(job, recoveries=n)
    counted = n
    if stage is RECORD and job.booking is not None:
        # During the match every second is worth another try. Afterwards only the faults after its end count:
        # a camera that died ten times leaves footage that must be published.
        end = job.booking.end
        limit = None if now < end else CRASHES
        counted = 1 + sum(fault.kind in ("crash", "died") and fault.at >= end for fault in job.errors)
    elif stage is RECORD:
        limit = CRASHES
    if limit is not None and counted > limit:
        remedy = f"see the log; then: ezrec spool retry {job.id}"
        return _fail(stage, job, kind, f"{message} ({counted} times)", remedy, now)
    # During the match it goes on at once: the supervisor limits how often the recorder starts.
    is_in_play = stage is RECORD and job.booking is not None and now < job.booking.end
    if kind == "died" and (n <= CRASHES or is_in_play):
        return stage.takes_from, job.with_fault(Fault(now, stage.name, kind, message))
    return _defer(stage, job, kind, message, n, None, now, chance)


def _power_cut(stage: Stage, job: Job, now: datetime) -> tuple[State, Job]:
    """The attempt does not count, but the power cut does."""
    n = job.power_cuts + 1
    job = replace(job.without_attempt(stage.name), power_cuts=n)
    if stage.power_cuts is not None and n > stage.power_cuts:
        message = f"the machine lost power {n} times while this job was in hand"
        remedy = f"check the power supply; then: ezrec spool retry {job.id}"
        return _fail(stage, job, "died", message, remedy, now)
    return stage.takes_from, job


def _fail(stage: Stage, job: Job, kind: str, reason: str, remedy: str, now: datetime) -> tuple[State, Job]:
    job = job.with_fault(Fault(now, stage.name, kind, reason, remedy))
    job = replace(job, reason=reason, remedy=remedy, due=None, waits_for="", return_to=stage.takes_from)
    return State.FAILED, job


def _defer(
    stage: Stage,
    job: Job,
    kind: str,
    reason: str,
    n: int,
    after_s: float | None,
    now: datetime,
    chance: float,
) -> tuple[State, Job]:
    if after_s is None or after_s != after_s:  # a server may say NaN
        after_s = backoff_s(n, stage.base_s, stage.cap_s, chance)
    wait_s = min(max(0.0, after_s), LONGEST_WAIT_S)
    job = job.with_fault(Fault(now, stage.name, kind, reason))
    due = now + timedelta(seconds=wait_s)
    return stage.later, replace(job, due=due, reason=reason, return_to=stage.takes_from)


def backoff_s(n: int, base_s: float, cap_s: float, chance: float) -> float:
    """Seconds to wait. Full jitter: a random part of `base_s · 2ⁿ⁻¹`, at most `cap_s`, at least 0.5."""
    ceiling = min(cap_s, base_s * 2 ** min(max(n, 1) - 1, 30))
    return max(0.5, float(chance * ceiling))


ROLES = {
    State.INCOMING: (Role.WAITING_ROOM, "a booking waits for its start"),
    State.RECORDING: (Role.IN_HAND, "the camera is armed for it or writing it"),
    State.RAW: (Role.RUN_QUEUE, "footage to be branded"),
    State.PROCESSING: (Role.IN_HAND, "FFmpeg is working on it"),
    State.PROCESSED: (Role.RUN_QUEUE, "finished video to be uploaded, in place"),
    State.DEFERRED: (Role.WAITING_ROOM, "comes back by itself at its due time, or is held"),
    State.FAILED: (Role.WAITING_ROOM, "needs a person; `reason.txt` says why and what to do"),
}


def draw() -> str:
    """The picture of the spool in `spool/README.md`, drawn from the table."""
    return "\n".join(_drawing())


def _drawing() -> Iterator[str]:
    working = [stage for stage in STAGES.values() if stage is not RETRY]
    yield "```"
    for stage in working:
        path = [stage.takes_from, stage.works_in, stage.success]
        if stage.takes_from is stage.works_in:
            path = [stage.takes_from, stage.success]
        names = [f".{s}/" if s is State.DONE else f"{s}/" for s in path]
        yield f"{stage.name:>8}:  " + " ──▶ ".join(f"{name:<11}" for name in names).rstrip()
        indent = " " * (11 + 14)
        yield f"{indent}├─ later ──▶ {stage.later}/"
        yield f"{indent}└─ no    ──▶ {State.FAILED}/"
    yield f"{'retry':>8}:  {State.DEFERRED}/   ──▶ where it came from, when it is due"
    yield "```"
    yield ""
    yield "| directory | kind | what lies there |"
    yield "|---|---|---|"
    for state, (role, meaning) in ROLES.items():
        yield f"| `{state}/` | {role} | {meaning} |"
    yield ""
    yield "| stage | takes from | works in | success | later | gives up after | tells the backend |"
    yield "|---|---|---|---|---|---|---|"
    for stage in STAGES.values():
        success = "where it came from" if stage is RETRY else str(stage.success)
        success = ".done" if stage.success is State.DONE else success
        yield (
            f"| {stage.name} | {stage.takes_from} | {stage.works_in} | {success} | {stage.later} "
            f"| {stage.gives_up} | {stage.reports} |"
        )


if __name__ == "__main__":
    print(draw())
