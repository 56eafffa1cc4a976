"""Progress notes of a job at work: percent and the time that is left, at most twice a second."""

from __future__ import annotations

import time

from ezrec.spool import Entry

_EVERY_S = 0.5
_TOO_EARLY = 0.02  # of the work: before it, a forecast is a guess


class Meter:
    """Called with the finished part, 0 to 1."""

    def __init__(self, entry: Entry, stage: str, doing: str) -> None:
        self._entry, self._stage, self._doing = entry, stage, doing
        self._began = time.monotonic()
        self._told: float | None = None

    def __call__(self, part: float) -> None:
        now = time.monotonic()
        if self._told is not None and now - self._told < _EVERY_S and part < 1:
            return
        self._told = now
        spent_s = now - self._began
        left_s = round(spent_s * (1 - part) / part) if part > _TOO_EARLY else None
        self._entry.report(stage=self._stage, doing=self._doing, part=round(part, 4), eta_s=left_s)
