"""Whose an object in a bucket is: values in, values out.

Two videos may come to want one name: two clips of one booking, or the same booking on two boxes. What stands
under a name is only a job's own when it carries that job's mark, when the record of its own upload names it,
or when its bytes are the same. Its size proves nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

_TAG = 8  # characters of a mark that are enough for a name


class Whose(StrEnum):
    """What stands under a name, as the job sees it that wants the name."""

    NOBODYS = "nobody's"
    OURS = "ours"
    OUTDATED = "outdated"  # ours, with other bytes: the video was made anew
    ANOTHERS = "another's"


@dataclass(frozen=True, slots=True)
class Mark:
    """What an object carries of the job it was stored for.

    `job` is another for every job, also for two of one booking on two boxes; `made` is another for every
    file that one job made.
    """

    job: str
    made: str

    @property
    def tag(self) -> str:
        """What tells the job's names from another's."""
        return self.job[:_TAG]

    def whose(self, other: Mark) -> Whose:
        """Whose an object is that carries `other`."""
        if other.job != self.job:
            return Whose.ANOTHERS
        return Whose.OURS if other.made == self.made else Whose.OUTDATED


def mark(job_id: str, created: datetime, size: int, mtime_ns: int) -> Mark:
    """The mark of a job's file of this size and time of change."""
    return Mark(_digest(f"{job_id} {created.timestamp():.6f}"), _digest(f"{size} {mtime_ns}"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
