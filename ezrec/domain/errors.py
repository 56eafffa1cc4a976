"""The words in which work can fail. Handlers and adapters use these and no others.

A handler has two words: *later* (`Retry`) and *no* (`Reject`). `Stopped` is not a
failure: somebody asked the process to end. Every other exception is a bug and is
caught in exactly one place, the drain.
"""

from __future__ import annotations

import errno

_FULL = (errno.ENOSPC, errno.EDQUOT)
_STARVED = (errno.EMFILE, errno.ENFILE)
_ROOM_S = 60.0  # until the uploads may have made room


class Retry(Exception):
    """The fault may pass by itself: the job comes back after a backoff.

    `after_s` replaces the backoff where the other side named a time (Retry-After). `blameless`: nothing
    was tried, because something outside the job is missing; such a return counts against no limit.
    `waits_for` (a word of `uplink.Wait`): when that has come the job goes on, however early. `remedy`: what a
    person can do, where waiting alone may not cure it.
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
    """True when a disk, or what somebody may have of it, is full."""
    return fault.errno in _FULL


def is_starved(fault: BaseException) -> bool:
    """True when the process, or the machine, has no descriptor left: a fresh process may have some."""
    return isinstance(fault, OSError) and fault.errno in _STARVED


def disk_full(what: str) -> Retry:
    """The word for a full disk: no job is to blame for one, so none may end in `failed/` for it."""
    return Retry(f"disk full: {what}", _ROOM_S, blameless=True)


class Reject(Exception):
    """The fault will not pass by itself: the job waits in `failed/` for a person.

    `remedy` says what that person can do, in one line. `again_s`: it is cured elsewhere (in the cloud's
    console, say), where nobody will think of this job: it waits, and is tried again after so long.
    """

    def __init__(self, reason: str, remedy: str, *, again_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy
        self.again_s = again_s


class Stopped(Exception):
    """The work was laid down because the process was asked to end. Nobody is to blame."""


class Busy(Exception):
    """Somebody else holds what is needed: the message names the holder."""


class Refused(Exception):
    """A person asked for something that would lose footage or disturb work in hand."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


class NoSuchJob(Exception):
    """No job, or more than one, answers to the id a person typed."""


class ConfigError(Exception):
    """The settings cannot be used. `problems` lists every fault at once, a line each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
