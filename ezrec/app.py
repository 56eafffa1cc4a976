"""The composition root: the only importer of adapters. Binds handlers by (stage, kind) and starts nothing.

Each function makes one thing of the settings. What is heavy is imported where it is made, so that a
command pays only for what it uses; the recorder never imports the cloud client.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from ezrec import __version__, logs
from ezrec.adapters.clock import SystemClock
from ezrec.adopt import Adopter
from ezrec.domain.booking import Booking
from ezrec.domain.job import Kind
from ezrec.domain.stages import STAGES, State
from ezrec.drain import Drain, Handler
from ezrec.hooks import Hooks
from ezrec.ports import Backend, Camera, Clock, Gauges, RenderPlan, Transcoder
from ezrec.settings import Settings
from ezrec.spool import Spool

if TYPE_CHECKING:
    from ezrec.adapters.local import LocalBackend
    from ezrec.domain.facts import Facts
    from ezrec.watch import Pulse, Services

STAGE_LANES = ("record", "process", "upload", "retry")
PULSE_LANES = ("sync", "tell", "status", "logs", "tidy")
_TIDY_S = 6 * 3600.0
# The local backend's heartbeat is a transaction on the card, 130 kB each: at rest one of so many is enough.
_BEATS_AT_REST = 40
LANES = (*STAGE_LANES, *PULSE_LANES)
_ALIVE_S = 3600.0  # where no watchdog asks for more


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


def local_backend(settings: Settings) -> LocalBackend:
    from ezrec.adapters.local import LocalBackend

    return LocalBackend(
        settings.local_store, settings.user_id, settings.camera_id, settings.zone, clock(settings)
    )


def backend(settings: Settings) -> Backend:
    if settings.backend == "local":
        return local_backend(settings)
    from ezrec.adapters.supabase import from_settings

    return from_settings(settings, clock(settings))


def backend_state(settings: Settings) -> str:
    """One short line for people."""
    if settings.backend == "local":
        return f"local, in {settings.local_store}"
    return f"supabase, {settings.supabase_url}"


def camera(settings: Settings) -> Camera:
    """`auto` is the camera module, or says what to plug in; it never falls back to a test picture."""
    if settings.camera in ("auto", "picamera2"):
        return _camera_module(settings)
    from ezrec.adapters.ffmpeg_camera import FfmpegCamera
    from ezrec.adapters.ffmpeg_sources import source_for

    size = settings.resolution
    source = source_for(settings.camera, size.width, size.height, settings.fps, settings.bitrate)
    return FfmpegCamera(source, clock(settings))


def _camera_module(settings: Settings) -> Camera:
    from ezrec.adapters.picamera import PicameraCamera
    from ezrec.adapters.picamera_device import Picture

    size = settings.resolution
    picture = Picture(size.width, size.height, settings.fps, settings.bitrate)
    return PicameraCamera(picture, clock(settings))


def camera_modules() -> list[str]:
    """The models of the connected camera modules. Raises `Reject` when there is none to be had."""
    from ezrec.adapters.picamera_found import connected

    return connected()


def transcoder(settings: Settings) -> Transcoder:
    from ezrec.adapters.ffmpeg import FfmpegTranscoder

    jobs = Spool(settings.spool)
    return FfmpegTranscoder(
        bitrate=settings.bitrate,
        preset=settings.preset,
        while_recording=settings.while_recording,
        is_recording=lambda: bool(jobs.names(State.RECORDING)),
    )


def gauges(settings: Settings) -> Gauges:
    from ezrec.adapters.gauges import SystemGauges

    return SystemGauges(settings.spool)


def hooks(settings: Settings, log: logging.Logger) -> Hooks:
    return Hooks(settings.hooks, settings.hook_limit_s, log)


def drain(name: str, settings: Settings, wait_s: float = -1) -> Drain:
    """One stage, ready to be run."""
    log = logs.logger(name)
    stage = STAGES[name]
    bookings = _known_bookings(settings)
    adopter = Adopter(
        spool=spool(settings),
        state=stage.takes_from,
        clock=clock(settings),
        zone=settings.zone,
        log=log,
        lead_s=settings.pre_roll_s + settings.arm_s,
        known_booking=bookings,
    )
    return Drain(
        stage=stage,
        spool=adopter.spool,
        hooks=hooks(settings, log),
        clock=adopter.clock,
        log=log,
        handlers=_HANDLERS[name](settings, log),
        adopter=adopter,
        wide=name == "record",
        wait_s=wait_s,
        keeps=settings.keep_uploaded > timedelta(0),
    )


def _known_bookings(settings: Settings) -> Callable[[str], Booking | None]:
    from ezrec.pulses.sync import known_booking

    return known_booking(settings.booking_cache, settings.zone)


def _recording(settings: Settings, log: logging.Logger) -> dict[Kind, Handler]:
    from ezrec.adapters.salvage import salvage
    from ezrec.handlers.record import Padding, record

    handler = functools.partial(
        record,
        camera=camera(settings),
        clock=clock(settings),
        zone=settings.zone,
        padding=Padding(settings.pre_roll_s, settings.post_roll_s, settings.arm_s),
        salvage=salvage,
        log=log,
    )
    return {Kind.BOOKING: handler}


def _processing(settings: Settings, log: logging.Logger) -> dict[Kind, Handler]:
    from ezrec.adapters.salvage import salvage
    from ezrec.branding import MediaCache
    from ezrec.handlers.process import process
    from ezrec.pulses.logs import collect

    handler = functools.partial(
        process,
        transcoder=transcoder(settings),
        assets=MediaCache(settings.media_cache).assets,
        salvage=salvage,
        log=log,
        plan=functools.partial(
            RenderPlan,
            cache=settings.media_cache / "made",
            logo_show=settings.logo_show,
            logo_layout=settings.logo_layout,
            artefacts=settings.artefacts,
        ),
    )
    collector = functools.partial(
        collect, spool=spool(settings), clock=clock(settings), settings=settings, log=logs.logger("logs")
    )
    return {Kind.BOOKING: handler, Kind.CLIP: handler, Kind.LOGS: collector}


def _uploading(settings: Settings, log: logging.Logger) -> dict[Kind, Handler]:
    from ezrec.handlers.upload import archive, upload

    cloud = backend(settings)
    handler = functools.partial(
        upload,
        backend=cloud,
        clock=clock(settings),
        zone=settings.zone,
        user_id=settings.user_id,
        camera_id=settings.camera_id,
        log=log,
    )
    keeper = functools.partial(
        archive, backend=cloud, bucket=settings.log_bucket, camera_id=settings.camera_id, log=log
    )
    return {Kind.BOOKING: handler, Kind.CLIP: handler, Kind.LOGS: keeper}


def _waiting(settings: Settings, log: logging.Logger) -> dict[Kind, Handler]:
    return {}  # what is deferred is only moved


_HANDLERS: dict[str, Callable[[Settings, logging.Logger], dict[Kind, Handler]]] = {
    "record": _recording,
    "process": _processing,
    "upload": _uploading,
    "retry": _waiting,
}


def beat(name: str, settings: Settings) -> Callable[[], None]:
    """What a pulse does, once."""
    from ezrec.branding import MediaCache
    from ezrec.pulses.logs import CollectLogs
    from ezrec.pulses.status import Status
    from ezrec.pulses.sync import Sync
    from ezrec.pulses.tell import Tell

    log = logs.logger(name)
    jobs = spool(settings)
    if name == "sync":
        media = MediaCache(settings.media_cache)
        past_days = settings.sync_past_days if settings.backend == "supabase" else None
        cache, now = settings.booking_cache, clock(settings)
        return Sync(backend(settings), jobs, cache, media, now, settings.zone, log, past_days)
    if name == "tell":
        return Tell(backend(settings), jobs, log)
    if name == "tidy":
        return _tidy(jobs, settings, log)
    if name == "status":
        told, mine = hooks(settings, log), backend(settings)
        beside = _still(mine, jobs, settings, log) if settings.status_still else _nothing
        now = clock(settings)
        rest_s = _BEATS_AT_REST * settings.status_interval_s if settings.backend == "local" else 0.0
        status = Status(mine, gauges(settings), jobs, now, settings, told, log, _versions, beside)
        status.heartbeat_rest_s = rest_s
        status.forecast = _guard(jobs, settings, log)
        return status
    return CollectLogs(jobs, clock(settings), settings, log)


def beat_once(name: str, settings: Settings) -> None:
    """A pulse in a process of its own: what it began to tell is told before the process ends."""
    beating = beat(name, settings)
    beating()
    finish: Callable[[float], None] = getattr(beating, "finish", lambda _: None)
    finish(settings.hook_limit_s)


def _still(mine: Backend, jobs: Spool, settings: Settings, log: logging.Logger) -> Callable[[], None]:
    from ezrec.adapters.stills import newest_picture
    from ezrec.pulses.still import Still

    return Still(mine, jobs, settings, newest_picture, log)


def _nothing() -> None:
    pass


def _versions() -> dict[str, str]:
    found = {"ezrec": __version__, **media_versions()}
    return {name: version or "missing" for name, version in found.items()}


def _tidy(jobs: Spool, settings: Settings, log: logging.Logger) -> Callable[[], None]:
    from ezrec.pulses.tidy import Tidy

    places = (settings.state, settings.media_cache, settings.booking_cache.parent)
    return Tidy(jobs, clock(settings), log, settings.keep_uploaded, settings.logs, places)


def _guard(jobs: Spool, settings: Settings, log: logging.Logger) -> Callable[[Facts], str]:
    from ezrec.pulses.guard import Guard

    size = settings.reserve_mb * 1_000_000
    return Guard(
        jobs, clock(settings), log, settings.state, settings.logs, settings.bitrate, reserve_bytes=size
    )


def pulse(name: str, settings: Settings) -> Pulse:
    from ezrec.watch import Pulse

    interval_s = {
        "sync": settings.sync_interval_s,
        "tell": settings.rescan_s,
        "status": settings.status_interval_s,
        "logs": settings.logs_interval_s,
        "tidy": _TIDY_S,
    }[name]
    return Pulse(name, interval_s, beat(name, settings))


def services(settings: Settings, lanes: Sequence[str]) -> Services:
    """Everything that one process is to run, with the watch that wakes it."""
    from ezrec.adapters.clock_steps import on_step
    from ezrec.watch import Services

    drains = [drain(name, settings) for name in STAGE_LANES if name in lanes]
    beating = {name: pulse(name, settings) for name in PULSE_LANES if name in lanes}
    watched: dict[Path, Callable[[], None]] = {
        made.spool.directory(made.stage.takes_from): made.bell.ring for made in drains
    }
    if "tell" in beating:
        tell = beating["tell"].bell.ring
        for state in (State.RAW, State.PROCESSED):
            directory = settings.spool / state
            watched[directory] = _both(watched.get(directory), tell)
    if "status" in beating:  # the disk is looked at anew when what is booked changes
        incoming = settings.spool / State.INCOMING
        watched[incoming] = _both(watched.get(incoming), beating["status"].bell.ring)
    if "logs" in beating:
        with contextlib.suppress(OSError):  # without the hint the next regular look finds it
            settings.logs.mkdir(parents=True, exist_ok=True)
            if os.access(settings.logs, os.R_OK | os.X_OK):  # what cannot be watched would end us
                watched[settings.logs] = beating["logs"].bell.ring
    if "sync" in beating and settings.backend == "local":
        changes = local_backend(settings).changes
        with contextlib.suppress(OSError):  # without the hint the next regular look finds a change
            changes.mkdir(parents=True, exist_ok=True)
            watched[changes] = beating["sync"].bell.ring
    made = Services(drains, list(beating.values()), watched, settings.rescan_s, logs.logger("run"))
    on_step(made.nudge)
    return made


def _both(first: Callable[[], None] | None, second: Callable[[], None]) -> Callable[[], None]:
    def ring() -> None:
        if first is not None:
            first()
        second()

    return ring


def media_versions() -> dict[str, str | None]:
    """Versions of what EZREC works with but does not bring along; None where it is missing."""
    from importlib import metadata

    from ezrec.adapters.ffmpeg import ffmpeg_version

    try:
        picamera2: str | None = metadata.version("picamera2")
    except metadata.PackageNotFoundError:
        picamera2 = None
    return {"ffmpeg": ffmpeg_version(), "picamera2": picamera2}


def software_missing() -> list[str]:
    from ezrec.adapters.ffmpeg import software_missing

    return software_missing()


def attend(running: Services) -> None:
    """Run services to their end, and keep systemd told, where it listens."""
    from ezrec.adapters.systemd import notify, watchdog_s

    try:
        running.run(
            ready=lambda: notify("READY=1"),
            alive=lambda: notify("WATCHDOG=1"),
            alive_s=watchdog_s() or _ALIVE_S,
        )
    finally:
        notify("STOPPING=1")
