"""What every part of the composition root begins with: the clock, the spool, the hooks and the gauges."""

from __future__ import annotations

import logging
import threading

from ezrec.domain.errors import Busy
from ezrec.domain.ports import Clock, Gauges
from ezrec.monitoring.collect import recorder_lives
from ezrec.runtime.hooks import Hooks
from ezrec.settings import Settings
from ezrec.spool.spool import Spool
from ezrec.system import log_setup
from ezrec.system.clock import SystemClock


def clock(settings: Settings) -> Clock:
    return SystemClock(assume=settings.assume_clock)


def spool(settings: Settings) -> Spool:
    """The spool, its directories in place and what a crash left in it finished off.

    What is half deleted is removed beside the start: a recorder that was started again has a match to go on
    with, and gigabytes take their time.
    """
    made = Spool(settings.spool)
    if not made.root.is_dir() and recorder_lives(settings, clock(settings)):
        # Made anew it would be another one, and in the way of the real one when that comes back.
        raise Busy(f"the spool {made.root} is away, and the recorder waits for it: was a disk unplugged?")
    made.prepare()
    if not made.is_tidy():
        _say(made.finish_building())
        threading.Thread(target=lambda: _say(made.finish_deleting()), name="deleting", daemon=True).start()
    return made


def _say(done: list[str]) -> None:
    for said in done:
        log_setup.logger("run").warning("after a crash: %s", said)


def gauges(settings: Settings) -> Gauges:
    from ezrec.system.gauges import SystemGauges

    return SystemGauges(settings.spool)


def hooks(settings: Settings, log: logging.Logger) -> Hooks:
    return Hooks(settings.hooks, settings.hook_limit_s, log)
