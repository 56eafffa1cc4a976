"""`SessionClock`: the wall clock as a recording goes by. Once it writes, a step of the clock moves nothing.

A match does not become longer or shorter because somebody sets the clock of the box:

1. until the first take the clock counts as it stands: a step is obeyed at once
2. from then on time goes by the monotonic clock, from what the wall clock said then. Two hours forward do
   not cut the match off, a day back does not make it wait for tomorrow
3. unless the clock could not be trusted when the take began and now can: that step was the truth, and all
   is judged anew by it
4. a recorder that died is followed by one that knows the clock by what stands in the record, and goes by the
   same time, as long as the machine was not started anew. A booking that was moved ahead begins by the wall

Each booking has its own. Decides nothing but what time it is.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from ezrec.domain.job import Reckoning
from ezrec.domain.ports import Clock


class SessionClock:
    """The part of the port `Clock` that a recording needs, held fast from `hold_fast` on."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: datetime | None = None  # the wall clock's reading at the monotonic time 0
        self._attached: datetime | None = None  # the same as it stood when the newest take began
        self._is_trusted = False

    def now(self) -> datetime:
        if self._held is None:
            return self._clock.now()
        if not self._is_trusted and self._clock.is_synchronised():
            self._held, self._is_trusted = self._zero(), True
        return self._held + timedelta(seconds=self._clock.monotonic())

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def is_synchronised(self) -> bool:
        return self._clock.is_synchronised()

    def instant(self, monotonic: float) -> datetime:
        """What we call a moment of the monotonic clock."""
        return self.now() + timedelta(seconds=monotonic - self._clock.monotonic())

    def hold_fast(self) -> None:
        """A take begins."""
        self._attached = self._zero()
        if self._held is None:
            self._held, self._is_trusted = self._attached, self._clock.is_synchronised()

    @property
    def reckoning(self) -> Reckoning | None:
        """What a successor has to know, to go by the same time; None as long as the wall clock counts."""
        boot_id = self._clock.boot_id()
        return Reckoning(boot_id, self._held, self._is_trusted) if self._held and boot_id else None

    def resume(self, kept: Reckoning, begins: datetime) -> None:
        """Go by the time of a predecessor, if by that a recording that `begins` then has begun."""
        now = kept.now(self._clock.boot_id(), self._clock.monotonic())
        if now is not None and now >= begins:
            self._held, self._is_trusted = kept.zero, kept.is_trusted

    def on_the_wall(self, moment: datetime) -> datetime:
        """What the wall clock, as it now stands, calls a moment of ours."""
        return moment if self._held is None else moment + (self._zero() - self._held)

    def as_held(self, moment: datetime) -> datetime:
        """The other way: what we call a moment that was read off the wall when the newest take began."""
        if self._held is None or self._attached is None:
            return moment
        return moment + (self._held - self._attached)

    def _zero(self) -> datetime:
        return self._clock.now() - timedelta(seconds=self._clock.monotonic())
