"""What every process begins with: the clock, the spool, the hooks and the gauges."""

from __future__ import annotations

import logging

from ezrec.domain.errors import Busy
from ezrec.domain.ports import Clock, Gauges
from ezrec.monitoring.lives import recorder_lives
from ezrec.runtime.hooks import Hooks
from ezrec.runtime.webhook import WebhookSender
from ezrec.settings import Settings
from ezrec.spool.spool import Spool
from ezrec.system import log_setup
from ezrec.system.clock import SystemClock


def clock(settings: Settings) -> Clock:
    return SystemClock(assume=settings.assume_clock)


def spool(settings: Settings) -> Spool:
    """The spool, with its directories in place and repaired. Raises `Busy` while its disk is away."""
    made = Spool(settings.spool)
    if not made.root.is_dir() and recorder_lives(settings, clock(settings)):
        # A new one would be another spool, and in the way of the real one when that comes back.
        raise Busy(f"the spool {made.root} is away, and the recorder waits for it: was a disk unplugged?")
    made.prepare()
    made.repair(log_setup.logger("run"))
    return made


def gauges(settings: Settings) -> Gauges:
    from ezrec.system.gauges import SystemGauges

    return SystemGauges(settings.spool)


def hooks(settings: Settings, log: logging.Logger, *, has_network: bool = True) -> Hooks:
    sender = WebhookSender(settings.webhook, log) if settings.webhook and has_network else None
    return Hooks(settings.hooks, settings.hook_limit_s, log, sender, settings.camera_id)
