"""Runs a handler, makes an outcome of whatever it returns or raises, and logs what came of the job.

A broad `except` stands here.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Mapping

from ezrec.domain.errors import Reject, Retry, Stopped, disk_full, is_full, is_starved
from ezrec.domain.job import Job, Kind
from ezrec.domain.outcomes import Closed, Crash, Done, Interrupted, Outcome, Preserved, Rejected, RetryLater
from ezrec.domain.stages import State
from ezrec.domain.upload_schedule import Wait
from ezrec.spool.spool import Entry
from ezrec.system.task import Task

Handler = Callable[[Entry, Task], Done | Closed | Preserved]
_STARVED_S = 5.0  # until descriptors are free again


def outcome_of(
    handlers: Mapping[Kind, Handler], stage: str, entry: Entry, task: Task, log: logging.Logger
) -> Outcome:
    """What came of the job. Never raises: neither a bug in a handler nor a full disk ends the stage."""
    handler = handlers.get(entry.job.kind)
    if handler is None:
        return Rejected(
            f"{stage} knows no jobs of kind {entry.job.kind}", f"remove it: ezrec spool rm {entry.id}"
        )
    try:
        return handler(entry, task)
    except Stopped:
        return Interrupted()
    except Retry as fault:
        return RetryLater(fault.reason, fault.after_s, fault.blameless, fault.waits_for, fault.remedy)
    except Reject as fault:
        return _rejected(fault)
    except OSError as fault:
        if is_starved(fault):  # by all that is open in this process; no job is to blame
            return RetryLater(f"{stage} has no descriptor left: {fault}", _STARVED_S, blameless=True)
        if not is_full(fault):
            return _bug(stage, entry, fault, log)
        full = disk_full(f"{stage} met it{_at(fault)}")
        return RetryLater(full.reason, full.after_s, full.blameless)
    except Exception as fault:  # noqa: BLE001 - a bug must not end the stage
        return _bug(stage, entry, fault, log)


def _bug(stage: str, entry: Entry, fault: Exception, log: logging.Logger) -> Crash:
    log.error("job %s: %s met a bug\n%s", entry.id, stage, traceback.format_exc())
    return Crash(f"{type(fault).__name__}: {fault}"[:500])


def _rejected(fault: Reject) -> RetryLater | Rejected:
    if fault.again_s is None:
        return Rejected(fault.reason, fault.remedy)
    return RetryLater(fault.reason, fault.again_s, blameless=True, waits_for=Wait.CURE, remedy=fault.remedy)


def _at(fault: OSError) -> str:
    return f" at {fault.filename}" if fault.filename else ""


def log_outcome(log: logging.Logger, outcome: Outcome, job: Job, state: State) -> None:
    """One line about where the job goes; for one that stands still, what to do."""
    match outcome:
        case RetryLater(reason):
            log.warning("job %s: %s; again at %s", job.id, reason, job.due)
        case Rejected(reason, remedy):
            log.error("job %s → failed/: %s; what to do: %s", job.id, reason, remedy)
        case Preserved(reason, remedy):
            log.warning("job %s → deferred/: %s; what to do: %s", job.id, reason, remedy)
        case Closed(named, reason):
            log.warning("job %s is over, %s: %s", job.id, named, reason)
        case _:
            log.info("job %s → %s/", job.id, state if state is not State.DONE else ".done")
