"""What every part of the composition root begins with: the clock and the spool."""

from __future__ import annotations

from ezrec import logs
from ezrec.adapters.clock import SystemClock
from ezrec.ports import Clock
from ezrec.settings import Settings
from ezrec.spool import Spool


def clock(settings: Settings) -> Clock:
    return SystemClock(assume=settings.assume_clock)


def spool(settings: Settings) -> Spool:
    """The spool, its directories in place and what a crash left in it finished off."""
    made = Spool(settings.spool)
    made.prepare()
    if not made.is_tidy():
        for said in made.finish_off():
            logs.logger("run").warning("after a crash: %s", said)
    return made
