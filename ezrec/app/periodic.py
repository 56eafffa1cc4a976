"""The table of periodic tasks: how each is made, how often it runs, and what wakes it in between.

What is heavy is imported by the function that makes it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ezrec import __version__
from ezrec.app.common import clock, gauges, hooks, spool
from ezrec.app.processing import prerenderer
from ezrec.app.publishing import backend, local_backend
from ezrec.domain.stages import State
from ezrec.runtime.periodic import AtLowestPriority, PeriodicTask, PeriodicWork
from ezrec.settings import Settings
from ezrec.system import log_setup

_TIDY_S = 6 * 3600.0
# The local backend's heartbeat is a transaction on the card, 130 kB each: at rest one of so many is enough.
_HEARTBEATS_AT_REST = 40
_BRANDING_S = 300.0  # the uplink of an idle box may be paid by the megabyte


def _sync(settings: Settings, log: logging.Logger) -> PeriodicWork:
    from ezrec.monitoring.state_files import read_cloud
    from ezrec.sync.booking_sync import BookingSync
    from ezrec.sync.branding_cache import BrandingCache

    is_cloud = settings.backend == "supabase"
    return BookingSync(
        backend(settings), spool(settings), settings.booking_cache, BrandingCache(settings.media_cache),
        clock(settings), settings.zone, log,
        past_days=settings.sync_past_days if is_cloud else None,
        branding_s=_BRANDING_S if is_cloud else 0.0,
        was_shut_out=lambda: bool((found := read_cloud(settings)) and found.hidden),
        interval_s=settings.sync_interval_s,
    )  # fmt: skip


def _tell(settings: Settings, log: logging.Logger) -> PeriodicWork:
    from ezrec.publishing.report_steps import StepReporter

    return StepReporter(backend(settings), spool(settings), clock(settings), log)


def _status(settings: Settings, log: logging.Logger) -> PeriodicWork:
    from ezrec.media.versions import versions
    from ezrec.monitoring.disk_guard import DiskGuard
    from ezrec.monitoring.status import StatusReporter

    cloud, jobs, now = backend(settings), spool(settings), clock(settings)
    status = StatusReporter(
        cloud, gauges(settings), jobs, now, settings, hooks(settings, log), log,
        versions=lambda: {"ezrec": __version__, **versions(settings.state)},
        forecast=DiskGuard(
            jobs, now, log, settings.state, settings.logs, settings.bitrate, settings.reserve_mb * 1_000_000
        ),
    )  # fmt: skip
    if settings.backend == "local":
        status.heartbeat_rest_s = _HEARTBEATS_AT_REST * settings.status_interval_s
    if settings.status_still:
        from ezrec.camera.snapshots import newest_picture
        from ezrec.monitoring.thumbnail import Thumbnail

        status.send_thumbnail = Thumbnail(cloud, jobs, settings, newest_picture, log)
    return status


def _logs(settings: Settings, log: logging.Logger) -> PeriodicWork:
    from ezrec.monitoring.log_upload import LogCollector

    return LogCollector(spool(settings), clock(settings), settings, log)


def _tidy(settings: Settings, log: logging.Logger) -> PeriodicWork:
    from ezrec.monitoring.retention import Retention

    places = (settings.state, settings.media_cache, settings.booking_cache.parent)
    return Retention(
        spool(settings), clock(settings), log, settings.keep_uploaded, settings.logs, places, settings.state
    )


def _ahead(settings: Settings, log: logging.Logger) -> PeriodicWork:
    return AtLowestPriority(prerenderer(settings, log))


@dataclass(frozen=True, slots=True)
class _Row:
    make: Callable[[Settings, logging.Logger], PeriodicWork]
    interval_s: Callable[[Settings], float]
    watched: Callable[[Settings], Sequence[Path]] = lambda settings: ()
    pauses_offline: bool = False


def _states(*states: State) -> Callable[[Settings], Sequence[Path]]:
    return lambda settings: [settings.spool / state for state in states]


def _local_changes(settings: Settings) -> Sequence[Path]:
    return [local_backend(settings).changes] if settings.backend == "local" else []


_TABLE = {
    "sync": _Row(_sync, lambda s: s.sync_interval_s, _local_changes, pauses_offline=True),
    "tell": _Row(_tell, lambda s: s.rescan_s, _states(State.RAW, State.PROCESSED), pauses_offline=True),
    # what is booked decides whether the disk will do
    "status": _Row(_status, lambda s: s.status_interval_s, _states(State.INCOMING), pauses_offline=True),
    "logs": _Row(_logs, lambda s: s.logs_interval_s, lambda s: [s.logs]),
    "tidy": _Row(_tidy, lambda s: _TIDY_S),
    "ahead": _Row(_ahead, lambda s: s.rescan_s, _states(State.RECORDING)),
}
TASKS = tuple(_TABLE)


def periodic_task(name: str, settings: Settings) -> PeriodicTask:
    """The periodic task of this name. `ezrec pulse` runs its `work` once."""
    row, log = _TABLE[name], log_setup.logger(name)
    work, watched = row.make(settings, log), row.watched(settings)
    return PeriodicTask(name, row.interval_s(settings), work, log, watched, row.pauses_offline)
