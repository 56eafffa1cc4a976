"""The exceptions by which work fails. Handlers and adapters raise no others.

A handler raises `Retry` for *later* and `Reject` for *no*. `Stopped` is no failure: the process was asked to
end. Every other exception is a bug, and is caught in one place (`runtime/handling.py`).
"""

from __future__ import annotations

import errno

_FULL = (errno.ENOSPC, errno.EDQUOT)
_STARVED = (errno.EMFILE, errno.ENFILE)
_ROOM_S = 60.0  # by then uploads may have made room


class Retry(Exception):
    """The fault may pass by itself: the job comes back after a backoff.

    `after_s` replaces the backoff where the other side named a time (Retry-After). `blameless`: the cause is
    outside the job, and the try is not counted. `waits_for` (a value of `upload_schedule.Wait`): the job goes
    on as soon as that is there. `remedy`: what a person can do, where waiting alone may not cure it.
    """

    def __init__(
        self,
        reason: str,
        after_s: float | None = None,
        *,
        blameless: bool = False,
        waits_for: str = "",
        remedy: str = "",
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after_s = after_s
        self.blameless = blameless
        self.waits_for = waits_for
        self.remedy = remedy


def is_full(fault: OSError) -> bool:
    """True when a disk or a quota is full."""
    return fault.errno in _FULL


def is_starved(fault: BaseException) -> bool:
    """True when the process or the machine has no descriptor left; a new process may have some."""
    return isinstance(fault, OSError) and fault.errno in _STARVED


def disk_full(what: str) -> Retry:
    """The `Retry` for a full disk: no job is to blame, so none ends in `failed/` for it."""
    return Retry(f"disk full: {what}", _ROOM_S, blameless=True)


class Reject(Exception):
    """The fault will not pass by itself: the job waits in `failed/` for a person.

    `remedy` says what that person can do, in one line. `again_s`: the fault is corrected elsewhere, in the
    cloud's console, say; so the job waits in `deferred/` and is tried again after so many seconds.
    """

    def __init__(self, reason: str, remedy: str, *, again_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy
        self.again_s = again_s


class Stopped(Exception):
    """The work ended early because the process was asked to end."""


class Busy(Exception):
    """Another process holds what is needed; the message names it."""


class Refused(Exception):
    """A person asked for something that would lose footage or disturb work in hand."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


class NoSuchJob(Exception):
    """No job, or more than one, has the id that a person typed."""


class ConfigError(Exception):
    """The settings cannot be used. `problems` lists every fault at once, a line each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


# What somebody types who may not read or write what a command needs.
NEEDS_RIGHTS = (
    "type it with sudo; or join the group ezrec, once: sudo usermod -aG ezrec $USER, and log in again"
)
