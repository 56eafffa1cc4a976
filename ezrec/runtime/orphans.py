"""Jobs whose process died while it worked on them: given back a few at a time, running matches first."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from ezrec.domain.job import Job, first_come
from ezrec.spool.entry import Entry


class Ownerless:
    """Those that are still to be given back, and which of them could not be just now."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        self._rest: dict[str, float] = {}  # until when one is let alone, monotonic

    def __len__(self) -> int:
        return len(self._entries)

    def paths(self) -> set[Path]:
        return {entry.path for entry in self._entries}

    def find(self, entries: list[Entry], now: datetime) -> None:
        """Take these, and no others, for ownerless."""
        entries.sort(key=lambda entry: (_is_over(entry.job, now), *first_come(entry.job)))
        self._entries = deque(entries)

    def add(self, entry: Entry) -> None:
        self._entries.append(entry)

    def give_some(
        self,
        give_back: Callable[[Entry], bool],
        monotonic: Callable[[], float],
        slice_s: float,
        rest_s: float,
    ) -> float:
        """Give back for about `slice_s` seconds; in how many seconds to go on (0: at once).

        One that cannot be given back rests for `rest_s`.
        """
        ends, given = monotonic() + slice_s, 0
        for _ in range(len(self._entries)):
            entry = self._entries.popleft()
            if self._rest.get(entry.id, -math.inf) > monotonic():
                self._entries.append(entry)
            elif give_back(entry):
                given += 1
                self._rest.pop(entry.id, None)
            else:
                self._rest[entry.id] = monotonic() + rest_s
                self._entries.append(entry)
            if monotonic() >= ends:
                break
        return 0.0 if given else rest_s


def _is_over(job: Job, now: datetime) -> bool:
    return job.booking is not None and job.booking.end <= now
