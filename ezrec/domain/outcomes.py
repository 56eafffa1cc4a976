"""How work on a job may end: what a handler or a drain says, and `stages.settle` turns into a directory."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ezrec.domain.job import JobOutcome


@dataclass(frozen=True, slots=True)
class Done:
    """The stage's work is finished."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The job ends here: there is nothing to hand on (missed, cancelled)."""

    outcome: JobOutcome
    reason: str


@dataclass(frozen=True, slots=True)
class RetryLater:
    """A transient fault (`Retry`), or one that is cured elsewhere. Blameless: it counts against no limit."""

    reason: str
    after_s: float | None = None
    blameless: bool = False
    waits_for: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A permanent fault (`Reject`)."""

    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Crash:
    """A bug: an exception that nobody foresaw."""

    message: str


@dataclass(frozen=True, slots=True)
class Crashed:
    """The worker died with the job in hand: killed, or with the whole machine (`power_cut`)."""

    power_cut: bool


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The process was asked to end; the job is as good as before."""


@dataclass(frozen=True, slots=True)
class Preserved:
    """The job is over, but its footage is kept for a while, in case a person wants it after all.

    At `until` it comes back to where the stage takes from, and ends there.
    """

    reason: str
    remedy: str
    until: datetime


Outcome = Done | Closed | Preserved | RetryLater | Rejected | Crash | Crashed | Interrupted
