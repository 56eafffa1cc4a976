"""Writes the progress note of a job: the part done, the pace, the time left; at most twice a second."""

from __future__ import annotations

import time
from collections.abc import Callable

from ezrec.spool.spool import Entry

_EVERY_S = 0.5
_TOO_EARLY = 0.02  # of the work: before that, a forecast is a guess


class ProgressMeter:
    """Called with the finished part, 0 to 1. `video_s`: seconds of video that are worked on, to give the pace
    as a multiple of real time.
    """

    def __init__(
        self,
        entry: Entry,
        stage: str,
        doing: str,
        video_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._entry, self._stage, self._doing, self._video_s = entry, stage, doing, video_s
        self._clock, self._began = clock, clock()
        self._first: float | None = None  # what an earlier try did does not count for the pace
        self._reported: float | None = None
        self._part, self._rests, self._since = 0.0, "", 0.0

    def __call__(self, part: float) -> None:
        now = self._clock()
        if self._first is None:
            self._first, self._began = part, now
        self._part = part
        if self._reported is not None and now - self._reported < _EVERY_S and part < 1:
            return
        self._tell(now)

    def rest(self, why: str) -> None:
        """Called with the reason when the work comes to rest, and with an empty word when it goes on."""
        now = self._clock()
        if self._rests:  # the time of rest says nothing of the pace
            self._began += now - self._since
        self._rests, self._since = why, now
        self._tell(now)

    def _tell(self, now: float) -> None:
        self._reported = now
        done, spent_s = self._part - (self._first or 0.0), now - self._began
        left_s = speed = None
        if done > _TOO_EARLY and spent_s > 0 and not self._rests:  # nobody knows how long a rest takes
            left_s = round(spent_s * (1 - self._part) / done)
            speed = round(self._video_s * done / spent_s, 2) if self._video_s else None
        self._entry.report(
            stage=self._stage, doing=self._doing, part=round(self._part, 4), eta_s=left_s, speed=speed,
            **({"rests": self._rests} if self._rests else {}),
        )  # fmt: skip
