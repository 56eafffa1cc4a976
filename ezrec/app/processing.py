"""What makes videos: the transcoder, the handlers of the process stage, and what works ahead of it.

What is heavy is imported where it is used.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ezrec.app.common import clock, spool
from ezrec.app.recording import capture_overlays
from ezrec.domain.job import Kind
from ezrec.domain.ports import RenderOptions
from ezrec.domain.stages import State
from ezrec.monitoring.state_files import read_disk_measures, read_health
from ezrec.runtime.handling import Handler
from ezrec.settings import Settings
from ezrec.spool.spool import Spool
from ezrec.sync.branding_cache import BrandingCache
from ezrec.system import log_setup

if TYPE_CHECKING:
    from ezrec.media.render.renderer import FfmpegTranscoder
    from ezrec.processing.prerender import Prerenderer

_OVERLAY_S = 30.0  # to make the picture that a camera draws; a camera's start waits a second for it


def _made(settings: Settings) -> Path:
    """Where the media cache keeps what was made of the assets."""
    return settings.media_cache / "made"


def _options(settings: Settings) -> RenderOptions:
    return RenderOptions(_made(settings), settings.logo_show, settings.logo_layout, settings.artefacts)


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

    jobs, now = spool(settings), clock(settings)

    def is_short() -> bool:
        measures = read_disk_measures(settings.state, now.now())
        return measures is not None and measures.is_unbranded

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
        options=_options(settings),
        is_short=is_short,
        give_index=give_index,
    )
    logs = functools.partial(
        pack_requested, spool=jobs, clock=now, settings=settings, log=log_setup.logger("logs")
    )
    return {Kind.BOOKING: video, Kind.CLIP: video, Kind.LOGS: logs}


def prerenderer(settings: Settings, log: logging.Logger) -> Prerenderer:
    from ezrec.domain.branding import UNUSABLE
    from ezrec.processing.check_branding import BrandingChecker
    from ezrec.processing.prepare_intro import IntroPreparer
    from ezrec.processing.prerender import Prerenderer

    def dropped() -> int | None:
        health = read_health(settings.state)
        return health.dropped if health else None

    jobs, maker, assets = spool(settings), transcoder(settings), BrandingCache(settings.media_cache).assets
    made = Prerenderer(
        jobs,
        maker,
        assets,
        _options(settings),
        dropped,
        clock(settings),
        log,
        follows=settings.while_recording != "no",
    )
    made.prepare += (BrandingChecker(maker, assets, settings.state / UNUSABLE, log).prepare,)
    if settings.draws_logo:
        made.prepare += (capture_overlays(settings, log, _OVERLAY_S).prepare,)
    made.prepare += (IntroPreparer(jobs, maker, assets, _made(settings), log),)
    return made
