"""The camera and the microphone of the settings, the handlers of the record stage, and its liveness."""

from __future__ import annotations

import contextlib
import functools
import logging
from typing import TYPE_CHECKING

from ezrec.app.common import clock
from ezrec.domain import health
from ezrec.domain.camera_address import is_network_camera
from ezrec.domain.job import Kind
from ezrec.domain.ports import Camera
from ezrec.runtime.handling import Handler
from ezrec.settings import Settings
from ezrec.sync.branding_cache import BrandingCache
from ezrec.system import log_setup

if TYPE_CHECKING:
    from ezrec.camera.ffmpeg_sources import Source
    from ezrec.camera.overlay.overlay import CaptureOverlays
    from ezrec.camera.shared_camera import CameraOptions
    from ezrec.runtime.liveness import Liveness


def camera(settings: Settings, log: logging.Logger | None = None) -> Camera:
    """The camera of EZREC_CAMERA: `auto` is the camera module, and never falls back to a test picture.

    With `log` it is the recorder's: it draws the logo, if the settings want that, and minds a short disk.
    """
    options = _recorder_options(settings, log) if log else None
    if settings.camera in ("auto", "picamera2"):
        from ezrec.camera.picamera.camera import PicameraCamera
        from ezrec.camera.picamera.device import PictureFormat

        size = settings.resolution
        picture = PictureFormat(size.width, size.height, settings.fps, settings.bitrate)
        return PicameraCamera(picture, clock(settings), options=options)
    from ezrec.camera.ffmpeg_camera import FfmpegCamera

    return FfmpegCamera(_source(settings), clock(settings), options=options)


def _recorder_options(settings: Settings, log: logging.Logger) -> CameraOptions:
    from ezrec.camera.shared_camera import CameraOptions
    from ezrec.camera.take_writer import ReservingDisk
    from ezrec.monitoring.state_files import read_disk_measures

    now = clock(settings).now

    def bitrate() -> int:
        """In bits a second, for the next start of the camera."""
        room = read_disk_measures(settings.state, now())
        lower = min(room.bitrate, settings.bitrate) if room is not None and room.bitrate > 0 else 0
        if 0 < lower < settings.bitrate:
            log.warning("the disk is short: recording at %.1f Mbit/s", lower / 1e6)
        return lower or settings.bitrate

    disk = ReservingDisk(settings.reserve_mb * 1_000_000)
    if not draws_logo(settings):
        return CameraOptions(warn=log.warning, bitrate=bitrate, disk=disk)
    overlay = capture_overlays(settings, log)
    return CameraOptions(overlay=overlay, warn=log.warning, bitrate=bitrate, disk=disk)


def microphone(settings: Settings) -> Camera | None:
    """The microphone of EZREC_AUDIO, which is a camera that takes sound; None where it is off."""
    if settings.audio == "off":
        return None
    from ezrec.camera.ffmpeg_camera import FfmpegCamera
    from ezrec.camera.microphones import sound_source

    return FfmpegCamera(sound_source(settings.audio), clock(settings))


def _source(settings: Settings) -> Source:
    from ezrec.camera.ffmpeg_sources import source_for

    size = settings.resolution
    return source_for(settings.camera, size.width, size.height, settings.fps, settings.bitrate)


def draws_logo(settings: Settings) -> bool:
    """Whether the camera draws the logo. One that is shown for a while only is added by the process stage,
    which then copies the rest of the video.
    """
    can = settings.camera in ("auto", "picamera2", "software")
    return can and settings.logo_at != "process" and settings.logo_show.is_always


def capture_overlays(settings: Settings, log: logging.Logger, wait_s: float | None = None) -> CaptureOverlays:
    """Finds or makes the picture that a camera draws. `wait_s`: how long to wait until it is made."""
    from ezrec.camera.overlay.overlay import CaptureOverlays

    size = settings.resolution
    assets, folder = BrandingCache(settings.media_cache).assets, settings.media_cache / "capture"
    more = {} if wait_s is None else {"wait_s": wait_s}
    return CaptureOverlays(
        assets, (size.width, size.height), settings.logo_layout, folder, log.warning, **more
    )


def camera_name(settings: Settings) -> str:
    """The name of the FFmpeg camera that is set, without its password."""
    return _source(settings).name


def promised(settings: Settings) -> tuple[float | None, int | None]:
    """Frames and bits a second that the camera keeps to; None each where it decides by itself."""
    if is_network_camera(settings.camera):
        return None, None
    return float(settings.fps), settings.bitrate


def recorder_liveness(settings: Settings, other: Camera | None = None) -> Liveness:
    """What shows that the recorder lives, with its camera; `other`: another camera than the settings name."""
    from ezrec.runtime.liveness import Liveness, leave_a_hung_camera

    with contextlib.suppress(OSError):  # a full or read-only disk of its own stops no recording
        settings.state.mkdir(parents=True, exist_ok=True)
    log = log_setup.logger("record")
    made = Liveness(
        other or camera(settings, log),
        settings.camera,
        clock(settings),
        settings.state / health.FILE,
        log,
        functools.partial(leave_a_hung_camera, log),
    )
    made.heartbeats.set_elsewhere(True)  # until the stage's lock is ours
    return made


def record_handlers(settings: Settings, log: logging.Logger, liveness: Liveness) -> dict[Kind, Handler]:
    from ezrec.media.mp4.repair import repair
    from ezrec.recording.record import Padding, record

    handler = functools.partial(
        record,
        camera=liveness.camera,
        microphone=microphone(settings),
        heartbeats=liveness.heartbeats,
        on_cancel=settings.on_cancel,
        clock=clock(settings),
        zone=settings.zone,
        padding=Padding(settings.pre_roll_s, settings.post_roll_s, settings.arm_s),
        repair=repair,
        log=log,
    )
    return {Kind.BOOKING: handler}
