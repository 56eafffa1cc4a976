"""The films' part of the composition root: makes what turns takes into videos, and is asked about FFmpeg.

What is heavy is imported where it is used.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ezrec.app.common import clock, spool
from ezrec.domain import health
from ezrec.domain.job import Kind
from ezrec.domain.ports import RenderPlan
from ezrec.domain.stages import State
from ezrec.runtime.worker import Handler
from ezrec.settings import Settings
from ezrec.spool.spool import Spool
from ezrec.system import log_setup

if TYPE_CHECKING:
    from ezrec.domain.branding import Assets
    from ezrec.media.ffmpeg.audio_mux import AudioMuxer
    from ezrec.media.render.renderer import FfmpegTranscoder
    from ezrec.processing.prerender import Prerenderer


def transcoder(settings: Settings) -> FfmpegTranscoder:
    from ezrec.media.render.renderer import FfmpegTranscoder

    jobs = Spool(settings.spool)
    return FfmpegTranscoder(
        bitrate=settings.bitrate,
        preset=settings.preset,
        while_recording=settings.while_recording,
        is_recording=lambda: bool(jobs.names(State.RECORDING)),
        encoder=settings.encoder,
        memory=settings.state / "encoders.json",
        cache=_made(settings),
    )


def _dubber(settings: Settings) -> AudioMuxer:
    from ezrec.media.ffmpeg.audio_mux import AudioMuxer

    jobs = Spool(settings.spool)
    return AudioMuxer(
        while_recording=settings.while_recording, is_recording=lambda: bool(jobs.names(State.RECORDING))
    )


def processing(settings: Settings, log: logging.Logger) -> dict[Kind, Handler]:
    from ezrec.media.mp4.finish_in_place import give_index
    from ezrec.media.mp4.repair import salvage
    from ezrec.monitoring.log_upload import pack_requested
    from ezrec.processing.process import process

    handler = functools.partial(
        process,
        transcoder=transcoder(settings),
        assets=_assets(settings),
        salvage=salvage,
        log=log,
        dub=_dubber(settings).dub,
        plan=_looks(settings),
        is_short=lambda: _is_short(settings),
        give_index=give_index,
    )
    collector = functools.partial(
        pack_requested,
        spool=spool(settings),
        clock=clock(settings),
        settings=settings,
        log=log_setup.logger("logs"),
    )
    return {Kind.BOOKING: handler, Kind.CLIP: handler, Kind.LOGS: collector}


def _is_short(settings: Settings) -> bool:
    from ezrec.monitoring.collect import read_disk_measures

    room = read_disk_measures(settings.state, clock(settings).now())
    return room is not None and room.is_unbranded


def _assets(settings: Settings) -> Callable[[], Assets]:
    from ezrec.sync.branding_cache import BrandingCache

    return BrandingCache(settings.media_cache).assets


def _looks(settings: Settings) -> Callable[..., RenderPlan]:
    """Makes plans, with what the settings say of the looks of a video."""
    return functools.partial(
        RenderPlan,
        cache=_made(settings),
        logo_show=settings.logo_show,
        logo_layout=settings.logo_layout,
        artefacts=settings.artefacts,
    )


@dataclass(frozen=True, slots=True)
class AtLowest:
    """Work for a thread that does nothing else: to look into a recording of an hour takes CPU, too."""

    work: Prerenderer

    def __call__(self) -> float | None:
        with contextlib.suppress(PermissionError):  # a sandboxed unit may not, and has Nice= in place of it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)  # of the thread alone, on Linux
        return self.work()

    def stop(self) -> None:
        self.work.stop()


def ahead(settings: Settings, log: logging.Logger) -> Prerenderer:
    from ezrec.processing.prepare_intro import IntroPreparer
    from ezrec.processing.prerender import Prerenderer

    said = settings.state / health.FILE

    def dropped() -> int | None:
        try:
            return health.decode(said.read_bytes()).dropped
        except (OSError, ValueError):
            return None

    jobs, maker, assets = spool(settings), transcoder(settings), _assets(settings)
    return Prerenderer(
        jobs,
        maker,
        assets,
        _looks(settings),
        dropped,
        clock(settings),
        log,
        ready=IntroPreparer(jobs, maker, assets, _made(settings), log),
        follows=settings.while_recording != "no",
    )


def _made(settings: Settings) -> Path:
    """Where the media cache keeps what was made of the assets."""
    return settings.media_cache / "made"


def encoder(settings: Settings) -> str | None:
    """What encodes, and why it is no other; None before one in hardware was tried for the first time."""
    found = transcoder(settings).encoder()
    return str(found) if found else None


def media_versions(settings: Settings | None = None) -> dict[str, str | None]:
    """Versions of what EZREC works with but does not bring along; None where it is missing.

    With settings FFmpeg is asked only when it is another than last time: some ask four times a minute.
    """
    from importlib import metadata

    from ezrec.media.render.renderer import ffmpeg_version, known_version

    try:
        picamera2: str | None = metadata.version("picamera2")
    except metadata.PackageNotFoundError:
        picamera2 = None
    ffmpeg = known_version(settings.state / "ffmpeg_version") if settings else ffmpeg_version()
    return {"ffmpeg": ffmpeg, "picamera2": picamera2}


def software_missing() -> list[str]:
    from ezrec.media.render.renderer import software_missing

    return software_missing()
