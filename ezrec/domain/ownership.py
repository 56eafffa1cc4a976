"""Whose an object in a bucket is. Values in, values out.

Two videos may want one name: two clips of one booking, or one booking on two boxes. An object belongs to a
job only when it carries the job's mark, when the record of the job's upload names it, or when its bytes are
the same. Its size proves nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

_TAG = 8  # characters of a mark that are enough for a name


class Whose(StrEnum):
    """Whose an object is, for the job that wants its name."""

    NOBODYS = "nobody's"
    OURS = "ours"
    OUTDATED = "outdated"  # ours, with other bytes: the video was made anew
    ANOTHERS = "another's"


@dataclass(frozen=True, slots=True)
class Mark:
    """The mark on an object of the job that it was stored for.

    `job` differs for every job, also for two of one booking on two boxes. `made` differs for every file that
    a job made.
    """

    job: str
    made: str

    @property
    def tag(self) -> str:
        """The part of the job's mark that goes into a name."""
        return self.job[:_TAG]

    def whose(self, other: Mark) -> Whose:
        """Whose an object with the mark `other` is."""
        if other.job != self.job:
            return Whose.ANOTHERS
        return Whose.OURS if other.made == self.made else Whose.OUTDATED


def mark(job_id: str, created: datetime, size: int, mtime_ns: int) -> Mark:
    """The mark of a job's file, by its size in bytes and its modification time."""
    return Mark(_digest(f"{job_id} {created.timestamp():.6f}"), _digest(f"{size} {mtime_ns}"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
