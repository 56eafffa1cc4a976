"""The composition root: the only importer of adapters. Binds handlers by (stage, kind) and starts nothing.

Each function makes one thing of the settings. What is heavy is imported where it is made, so that a
command pays only for what it uses; the recorder never imports the cloud client. What its parts make
(`basics`, `beats`, `cameras`, `clouds`, `films`) is had from here by commands and tests: `import x as x`.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ezrec.app.common import clock as clock
from ezrec.app.common import gauges as gauges
from ezrec.app.common import hooks as hooks
from ezrec.app.common import spool as spool
from ezrec.app.periodic import beat as beat
from ezrec.app.periodic import beat_once as beat_once
from ezrec.app.processing import encoder as encoder
from ezrec.app.processing import media_versions as media_versions
from ezrec.app.processing import processing
from ezrec.app.processing import software_missing as software_missing
from ezrec.app.processing import transcoder as transcoder
from ezrec.app.publishing import backend as backend
from ezrec.app.publishing import backend_state as backend_state
from ezrec.app.publishing import cloud_check as cloud_check
from ezrec.app.publishing import local_backend as local_backend
from ezrec.app.publishing import shared_supabase, upload_policy, uploading
from ezrec.app.recording import camera as camera
from ezrec.app.recording import camera_modules as camera_modules
from ezrec.app.recording import microphone as microphone
from ezrec.domain import health
from ezrec.domain.booking import Booking
from ezrec.domain.job import Kind
from ezrec.domain.ports import Camera
from ezrec.domain.stages import STAGES, State
from ezrec.runtime.worker import Handler, Worker
from ezrec.settings import Settings
from ezrec.spool.intake import Intake
from ezrec.system import log_setup

if TYPE_CHECKING:
    from ezrec.runtime.liveness import Liveness
    from ezrec.runtime.scheduler import PeriodicTask, Services

STAGE_LANES = ("record", "process", "upload", "retry")
PULSE_LANES = ("sync", "tell", "status", "logs", "tidy", "ahead")
_TIDY_S = 6 * 3600.0
_PAUSE_OFFLINE = ("sync", "tell", "status")  # they sleep longer and longer while the cloud is away …
_RETURN_S = 10.0  # … and are woken when it is back, no oftener than this
LANES = (*STAGE_LANES, *PULSE_LANES)
_AFTER_HINT_S = 5.0  # from one connection to Realtime to the next
_ALIVE_S = 3600.0  # where no watchdog asks for more
_RECORDER_ALIVE_S, _WORKER_ALIVE_S = (
    2.0,
    10.0,
)  # to their keeper; a hung camera costs a match, an upload waits


def drain(name: str, settings: Settings, wait_s: float = -1, recorder: Liveness | None = None) -> Worker:
    """One stage, ready to be run. `recorder`: the vitals of the one that records, if somebody asks them."""
    from ezrec.media.mp4.boxes import lacks

    log = log_setup.logger(name)
    stage = STAGES[name]
    bookings = _known_bookings(settings)
    extra: dict[str, Any] = {}
    if name == "upload":
        extra["order"] = upload_policy(settings).order
    elif name == "retry":
        extra["come"] = upload_policy(settings).ended_waits
    adopter = Intake(
        spool=spool(settings),
        state=stage.takes_from,
        clock=clock(settings),
        zone=settings.zone,
        log=log,
        lead_s=settings.pre_roll_s + settings.arm_s,
        known_booking=bookings,
        lacks=lacks,
    )
    return Worker(
        stage=stage,
        spool=adopter.spool,
        hooks=hooks(settings, log),
        clock=adopter.clock,
        log=log,
        handlers=_recording(settings, log, recorder) if recorder else _HANDLERS[name](settings, log),
        sign=recorder.hear_stage if recorder else lambda _: None,
        adopter=adopter,
        wide=name == "record",
        wait_s=wait_s,
        keeps=settings.keep_uploaded > timedelta(0),
        **extra,
    )


def _known_bookings(settings: Settings) -> Callable[[str], Booking | None]:
    from ezrec.sync.booking_sync import known_booking

    return known_booking(settings.booking_cache, settings.zone)


def vitals(settings: Settings, of: Camera | None = None) -> Liveness:
    """What the recorder shows for itself; `of` is another camera than the settings name."""
    from ezrec.runtime.liveness import Liveness, leave_a_hung_camera

    with contextlib.suppress(OSError):  # a disk of its own that is full or read-only stops no recording
        settings.state.mkdir(parents=True, exist_ok=True)
    log = log_setup.logger("record")
    made = Liveness(
        of or camera(settings, log),
        settings.camera,
        clock(settings),
        settings.state / health.FILE,
        log,
        functools.partial(leave_a_hung_camera, log),
    )
    made.signs.set_elsewhere(True)  # until the stage's lock is ours
    return made


def _recording(
    settings: Settings, log: logging.Logger, recorder: Liveness | None = None
) -> dict[Kind, Handler]:
    from ezrec.media.mp4.repair import salvage
    from ezrec.recording.record import Padding, record

    recorder = recorder or vitals(settings)
    handler = functools.partial(
        record,
        camera=recorder.camera,
        microphone=microphone(settings),
        signs=recorder.signs,
        on_cancel=settings.on_cancel,
        clock=clock(settings),
        zone=settings.zone,
        padding=Padding(settings.pre_roll_s, settings.post_roll_s, settings.arm_s),
        salvage=salvage,
        log=log,
    )
    return {Kind.BOOKING: handler}


def _waiting(settings: Settings, log: logging.Logger) -> dict[Kind, Handler]:
    return {}  # what is deferred is only moved


_HANDLERS: dict[str, Callable[[Settings, logging.Logger], dict[Kind, Handler]]] = {
    "record": _recording,
    "process": processing,
    "upload": uploading,
    "retry": _waiting,
}


def pulse(name: str, settings: Settings) -> PeriodicTask:
    from ezrec.runtime.scheduler import PeriodicTask

    interval_s = {
        "sync": settings.sync_interval_s,
        "tell": settings.rescan_s,
        "status": settings.status_interval_s,
        "logs": settings.logs_interval_s,
        "tidy": _TIDY_S,
        "ahead": settings.rescan_s,
    }[name]
    does = beat(name, settings)
    halt = getattr(does, "stop", None)
    return PeriodicTask(
        name, interval_s, does, log=log_setup.logger(name), **({"halt": halt} if halt else {})
    )


def services(settings: Settings, lanes: Sequence[str], of: Camera | None = None) -> Services:
    """Everything that one process is to run, with the watch that wakes it.

    `of` is another camera than the settings name.
    """
    from ezrec.runtime.scheduler import PeriodicTask, Services
    from ezrec.system.clock import on_step

    with contextlib.suppress(OSError):
        (settings.state / "key.said").unlink()  # a start of services is worth every word
    recorder = vitals(settings, of) if "record" in lanes else None
    drains = [
        drain(name, settings, recorder=recorder if name == "record" else None)
        for name in STAGE_LANES
        if name in lanes
    ]
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
    if "ahead" in beating:
        directory = settings.spool / State.RECORDING
        watched[directory] = _both(watched.get(directory), beating["ahead"].bell.ring)
    retry = next((made.bell.ring for made in drains if made.stage is STAGES["retry"]), None)
    watched |= _return(settings, retry, [beating[name] for name in _PAUSE_OFFLINE if name in beating])
    if retry is not None:  # a recording ended
        directory = settings.spool / State.RAW
        watched[directory] = _both(watched.get(directory), retry)
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
    if "sync" in beating and settings.backend == "supabase" and settings.realtime:
        hint = shared_supabase(settings).hint(beating["sync"].bell.ring)
        beating["realtime"] = PeriodicTask(
            "realtime", _AFTER_HINT_S, hint.listen, hint, log=log_setup.logger("realtime")
        )
    made = Services(
        drains, list(beating.values()), watched, settings.rescan_s, log_setup.logger("run"), recorder
    )
    on_step(made.nudge)
    return made


def _return(
    settings: Settings, retry: Callable[[], None] | None, pausing: Sequence[PeriodicTask]
) -> dict[Path, Callable[[], None]]:
    """What to watch for the cloud's return; nothing where nobody waits for it."""
    if retry is not None or pausing:
        with contextlib.suppress(OSError):  # without the event each comes back by its own pause
            settings.reach.mkdir(parents=True, exist_ok=True)
            lanes = [pulse.bell.ring for pulse in pausing]
            return {settings.reach: _on_return(settings, retry or (lambda: None), lanes)}
    return {}


def _on_return(
    settings: Settings, retry: Callable[[], None], lanes: Sequence[Callable[[], None]]
) -> Callable[[], None]:
    """Rings when the cloud can be reached again. The lanes not without end where it comes and goes: one that
    reaches it and one that does not would wake each other by turns.
    """
    from ezrec.cloud.connectivity import Connectivity

    connectivity, now = Connectivity(settings.reach), clock(settings)
    rests_until = float("-inf")

    def ring() -> None:
        nonlocal rests_until
        if connectivity.is_offline():
            return
        retry()
        if now.monotonic() >= rests_until:
            rests_until = now.monotonic() + _RETURN_S
            for lane in lanes:
                lane()

    return ring


def _both(first: Callable[[], None] | None, second: Callable[[], None]) -> Callable[[], None]:
    def ring() -> None:
        if first is not None:
            first()
        second()

    return ring


def attend(running: Services, *, kept: bool = False) -> None:
    """Run services to their end, and keep told whoever keeps this process: systemd, or another of ours."""
    from ezrec.system.sd_notify import notify, tell_keeper, watchdog_s

    say = tell_keeper if kept else notify
    kept_s = _RECORDER_ALIVE_S if running.is_recorder else _WORKER_ALIVE_S
    alive_s = kept_s if kept else watchdog_s() or _ALIVE_S
    try:
        running.run(ready=lambda: say("READY=1"), alive=lambda: say("WATCHDOG=1"), alive_s=alive_s)
    finally:
        say("STOPPING=1")
