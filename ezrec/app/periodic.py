"""The pulses' part of the composition root: makes what each does, once. `app.py` says how often.

What is heavy is imported where it is used.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from ezrec import __version__
from ezrec.app.common import clock, gauges, hooks, spool
from ezrec.app.processing import AtLowest, ahead, media_versions
from ezrec.app.publishing import backend
from ezrec.domain.ports import Backend
from ezrec.settings import Settings
from ezrec.spool.spool import Spool
from ezrec.system import log_setup

if TYPE_CHECKING:
    from ezrec.domain.snapshot import Snapshot

# The local backend's heartbeat is a transaction on the card, 130 kB each: at rest one of so many is enough.
_BEATS_AT_REST = 40
_BRANDING_S = 300.0  # the uplink of an idle box may be paid by the megabyte


def beat(name: str, settings: Settings) -> Callable[[], float | None]:
    """What a pulse does, once."""
    if name == "ahead":
        return AtLowest(ahead(settings, log_setup.logger(name)))
    from ezrec.monitoring.collect import read_cloud
    from ezrec.monitoring.log_upload import LogCollector
    from ezrec.monitoring.status import StatusReporter
    from ezrec.publishing.report_steps import StepReporter
    from ezrec.sync.booking_sync import BookingSync
    from ezrec.sync.branding_cache import BrandingCache

    log = log_setup.logger(name)
    jobs = spool(settings)
    if name == "sync":
        media = BrandingCache(settings.media_cache)
        past_days = settings.sync_past_days if settings.backend == "supabase" else None
        cache, now = settings.booking_cache, clock(settings)
        branding_s = _BRANDING_S if settings.backend == "supabase" else 0.0
        sync = BookingSync(
            backend(settings), jobs, cache, media, now, settings.zone, log, past_days, branding_s
        )
        sync.interval_s = settings.sync_interval_s
        sync.was_shut_out = lambda: bool((found := read_cloud(settings)) and found.hidden)
        return sync
    if name == "tell":
        return StepReporter(backend(settings), jobs, clock(settings), log)
    if name == "tidy":
        return _tidy(jobs, settings, log)
    if name == "status":
        told, mine = hooks(settings, log), backend(settings)
        versions = functools.partial(_versions, settings)
        beside = _still(mine, jobs, settings, log) if settings.status_still else _nothing
        now = clock(settings)
        rest_s = _BEATS_AT_REST * settings.status_interval_s if settings.backend == "local" else 0.0
        status = StatusReporter(mine, gauges(settings), jobs, now, settings, told, log, versions, beside)
        status.heartbeat_rest_s = rest_s
        status.forecast = _guard(jobs, settings, log)
        return status
    return LogCollector(jobs, clock(settings), settings, log)


def beat_once(name: str, settings: Settings) -> None:
    """A pulse in a process of its own: what it began to tell is told before the process ends."""
    beating = beat(name, settings)
    beating()
    finish: Callable[[float], None] = getattr(beating, "finish", lambda _: None)
    finish(settings.hook_limit_s)


def _still(mine: Backend, jobs: Spool, settings: Settings, log: logging.Logger) -> Callable[[], None]:
    from ezrec.camera.snapshots import newest_picture
    from ezrec.monitoring.thumbnail import Thumbnail

    return Thumbnail(mine, jobs, settings, newest_picture, log)


def _nothing() -> None:
    pass


def _versions(settings: Settings) -> dict[str, str]:
    found = {"ezrec": __version__, **media_versions(settings)}
    return {name: version or "missing" for name, version in found.items()}


def _tidy(jobs: Spool, settings: Settings, log: logging.Logger) -> Callable[[], None]:
    from ezrec.monitoring.retention import Retention

    places = (settings.state, settings.media_cache, settings.booking_cache.parent)
    return Retention(jobs, clock(settings), log, settings.keep_uploaded, settings.logs, places)


def _guard(jobs: Spool, settings: Settings, log: logging.Logger) -> Callable[[Snapshot], str]:
    from ezrec.monitoring.disk_guard import DiskGuard

    size = settings.reserve_mb * 1_000_000
    return DiskGuard(
        jobs, clock(settings), log, settings.state, settings.logs, settings.bitrate, reserve_bytes=size
    )
