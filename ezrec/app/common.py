"""What every process begins with: the clock, the spool, the hooks and the gauges."""

from __future__ import annotations

import logging
import threading

from ezrec.domain.errors import Busy
from ezrec.domain.ports import Clock, Gauges
from ezrec.monitoring.lives import recorder_lives
from ezrec.runtime.hooks import Hooks
from ezrec.settings import Settings
from ezrec.spool.spool import Spool
from ezrec.system import log_setup
from ezrec.system.clock import SystemClock


def clock(settings: Settings) -> Clock:
    return SystemClock(assume=settings.assume_clock)


def spool(settings: Settings) -> Spool:
    """The spool, with its directories in place, and with what a crash left half done finished.

    Half-deleted entries are removed in a thread: they may be gigabytes, and a recorder that was started again
    has a match to go on with. Raises `Busy` while the spool's disk is away.
    """
    made = Spool(settings.spool)
    if not made.root.is_dir() and recorder_lives(settings, clock(settings)):
        # A new one would be another spool, and in the way of the real one when that comes back.
        raise Busy(f"the spool {made.root} is away, and the recorder waits for it: was a disk unplugged?")
    made.prepare()
    if not made.is_tidy():
        _log_repairs(made.finish_building())
        threading.Thread(
            target=lambda: _log_repairs(made.finish_deleting()), name="deleting", daemon=True
        ).start()
    return made


def _log_repairs(repairs: list[str]) -> None:
    for repair in repairs:
        log_setup.logger("run").warning("after a crash: %s", repair)


def gauges(settings: Settings) -> Gauges:
    from ezrec.system.gauges import SystemGauges

    return SystemGauges(settings.spool)


def hooks(settings: Settings, log: logging.Logger) -> Hooks:
    return Hooks(settings.hooks, settings.hook_limit_s, log)
