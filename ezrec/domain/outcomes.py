"""How work on a job may end. `stages.settle` turns each into a directory."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ezrec.domain.job import JobOutcome


@dataclass(frozen=True, slots=True)
class Done:
    """The work of the stage is finished."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The job ends here: there is nothing to hand on (missed, cancelled)."""

    outcome: JobOutcome
    reason: str


@dataclass(frozen=True, slots=True)
class RetryLater:
    """A transient fault (`Retry`), or one that is corrected elsewhere. `blameless`: the try is not
    counted.
    """

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
    """A bug: an unexpected exception."""

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
    """The job is over, but its footage is kept until `until`, in case a person wants it. Then it comes back
    to the stage, and ends there.
    """

    reason: str
    remedy: str
    until: datetime


Outcome = Done | Closed | Preserved | RetryLater | Rejected | Crash | Crashed | Interrupted
