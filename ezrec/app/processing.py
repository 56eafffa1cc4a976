"""What makes videos: the transcoder, the handlers of the process stage, and what works ahead of it.

What is heavy is imported where it is used.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ezrec.app.common import clock, spool
from ezrec.domain.job import Kind
from ezrec.domain.ports import RenderOptions
from ezrec.domain.stages import State
from ezrec.runtime.handling import Handler
from ezrec.settings import Settings
from ezrec.spool.spool import Spool
from ezrec.sync.branding_cache import BrandingCache
from ezrec.system import log_setup

if TYPE_CHECKING:
    from ezrec.media.render.renderer import FfmpegTranscoder
    from ezrec.processing.prerender import Prerenderer

_OVERLAY_S = 30.0  # to make the picture that a camera draws; a camera's start waits a second for it


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


def check_assets(settings: Settings, assets: Sequence[tuple[str, Path]]) -> None:
    """Try each as a video would use it. Raises `Reject` for the first that cannot be used.

    Writes nothing: whoever asks may be another user than the services are.
    """
    from ezrec.media.render.renderer import FfmpegTranscoder

    checker = FfmpegTranscoder(bitrate=settings.bitrate, preset=settings.preset)
    for kind, path in assets:
        checker.check_asset(kind, path)


def process_handlers(settings: Settings, log: logging.Logger) -> dict[Kind, Handler]:
    from ezrec.media.ffmpeg.audio_mux import AudioMuxer
    from ezrec.media.ffmpeg.trim import trim
    from ezrec.media.mp4.finish_in_place import give_index
    from ezrec.media.mp4.repair import repair
    from ezrec.monitoring.log_upload import pack_requested
    from ezrec.processing.process import process

    jobs = spool(settings)
    muxer = AudioMuxer(
        while_recording=settings.while_recording, is_recording=lambda: bool(jobs.names(State.RECORDING))
    )
    video = functools.partial(
        process,
        transcoder=transcoder(settings),
        assets=BrandingCache(settings.media_cache).assets,
        repair=repair,
        log=log,
        mux_audio=muxer.mux,
        trim=trim,
        options=_render_options(settings),
        is_short=lambda: _is_short(settings),
        give_index=give_index,
    )
    logs = functools.partial(
        pack_requested, spool=jobs, clock=clock(settings), settings=settings, log=log_setup.logger("logs")
    )
    return {Kind.BOOKING: video, Kind.CLIP: video, Kind.LOGS: logs}


def _is_short(settings: Settings) -> bool:
    from ezrec.monitoring.collect import read_disk_measures

    room = read_disk_measures(settings.state, clock(settings).now())
    return room is not None and room.is_unbranded


def _render_options(settings: Settings) -> RenderOptions:
    return RenderOptions(_made(settings), settings.logo_show, settings.logo_layout, settings.artefacts)


def prerenderer(settings: Settings, log: logging.Logger) -> Prerenderer:
    from ezrec.domain.branding import UNUSABLE
    from ezrec.monitoring.collect import read_health
    from ezrec.processing.check_branding import BrandingChecker
    from ezrec.processing.prepare_intro import IntroPreparer
    from ezrec.processing.prerender import Prerenderer

    def dropped() -> int | None:
        health = read_health(settings.state)
        return health.dropped if health else None

    jobs, maker, assets = spool(settings), transcoder(settings), BrandingCache(settings.media_cache).assets
    return Prerenderer(
        jobs,
        maker,
        assets,
        _render_options(settings),
        dropped,
        clock(settings),
        log,
        prepare_intro=_preparing(
            settings,
            log,
            BrandingChecker(maker, assets, settings.state / UNUSABLE, log),
            IntroPreparer(jobs, maker, assets, _made(settings), log),
        ),
        follows=settings.while_recording != "no",
    )


def _preparing(
    settings: Settings,
    log: logging.Logger,
    check: Callable[[], None],
    intro: Callable[[Callable[[], bool]], None],
) -> Callable[[Callable[[], bool]], None]:
    """Tries new branding, then prepares what it needs: the picture that a camera draws, and the intro."""
    from ezrec.app.recording import capture_overlays, draws_logo

    overlay = capture_overlays(settings, log, wait_s=_OVERLAY_S) if draws_logo(settings) else None

    def prepare(may_go_on: Callable[[], bool]) -> None:
        if may_go_on():
            check()
        if overlay is not None and may_go_on():
            overlay()
        intro(may_go_on)

    return prepare


def _made(settings: Settings) -> Path:
    """Where the media cache keeps what was made of the assets."""
    return settings.media_cache / "made"


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
