"""The camera and the microphone of the settings, the handlers of the record stage, and its liveness."""

from __future__ import annotations

import functools
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from ezrec.app.common import clock
from ezrec.camera.v4l2_discovery import usb_cameras
from ezrec.domain import health
from ezrec.domain.camera_address import kind_of
from ezrec.domain.job import Kind
from ezrec.domain.ports import Camera
from ezrec.runtime.handling import Handler
from ezrec.settings import Settings
from ezrec.sync.branding_cache import BrandingCache
from ezrec.system import log_setup

if TYPE_CHECKING:
    from ezrec.camera.overlay.overlay import CaptureOverlays
    from ezrec.camera.shared_camera import CameraOptions
    from ezrec.runtime.liveness import Liveness


def camera(settings: Settings, log: logging.Logger | None = None) -> Camera:
    """The camera of EZREC_CAMERA: `auto` is the camera module, else a USB camera, and never a test picture.

    With `log` it is the recorder's: it draws the logo, if the settings want that, and minds a short disk.
    """
    options = _recorder_options(settings, log) if log else None
    size, now = settings.resolution, clock(settings)
    if kind_of(settings.camera) in ("auto", "picamera2"):
        from ezrec.camera.picamera.camera import PicameraCamera
        from ezrec.camera.picamera.device import PictureFormat

        picture = PictureFormat(size.width, size.height, settings.fps, settings.bitrate)
        module = PicameraCamera(picture, now, options=options)
        return module if settings.camera == "picamera2" else _auto(module, settings, options)
    from ezrec.camera.ffmpeg_camera import FfmpegCamera
    from ezrec.camera.ffmpeg_sources import source_for

    source = source_for(settings.camera, size.width, size.height, settings.fps, settings.bitrate)
    return FfmpegCamera(source, now, options=options)


def _auto(module: Camera, settings: Settings, options: CameraOptions | None) -> Camera:
    from ezrec.camera.auto_camera import AutoCamera
    from ezrec.camera.ffmpeg_camera import FfmpegCamera
    from ezrec.camera.ffmpeg_sources import source_for
    from ezrec.camera.picamera.device import is_absent

    @functools.cache
    def of_device(device: str) -> Camera:
        size = settings.resolution
        source = source_for(f"v4l2:{device}", size.width, size.height, settings.fps, settings.bitrate)
        return FfmpegCamera(source, clock(settings), options=options)

    def usb() -> Camera | None:
        device = next((device for device, _ in usb_cameras()), None)
        return None if device is None else of_device(device)

    return AutoCamera(module, lambda fault: is_absent(fault.reason), usb)


def _recorder_options(settings: Settings, log: logging.Logger) -> CameraOptions:
    from ezrec.camera.shared_camera import CameraOptions
    from ezrec.camera.take_writer import ReservingDisk
    from ezrec.monitoring.disk_guard import recording_bitrate

    now = clock(settings).now
    made = CameraOptions(
        warn=log.warning,
        bitrate=lambda: recording_bitrate(settings.state, settings.bitrate, now(), log),
        disk=ReservingDisk(settings.reserve_mb * 1_000_000),
    )
    return replace(made, overlay=capture_overlays(settings, log)) if settings.draws_logo else made


def microphone(settings: Settings) -> Camera | None:
    """The microphone of EZREC_AUDIO, which is a camera that takes sound; None where it is off."""
    if settings.audio == "off":
        return None
    from ezrec.camera.ffmpeg_camera import FfmpegCamera
    from ezrec.camera.microphones import sound_source

    return FfmpegCamera(sound_source(settings.audio), clock(settings))


def capture_overlays(settings: Settings, log: logging.Logger, wait_s: float | None = None) -> CaptureOverlays:
    """Finds or makes the picture that a camera draws. `wait_s`: how long to wait until it is made."""
    from ezrec.camera.overlay.overlay import CaptureOverlays

    frame = (settings.resolution.width, settings.resolution.height)
    assets, folder = BrandingCache(settings.media_cache).assets, settings.media_cache / "capture"
    return CaptureOverlays(assets, frame, settings.logo_layout, folder, log.warning, wait_s)


def recorder_liveness(settings: Settings, other: Camera | None = None) -> Liveness:
    """What shows that the recorder lives, with its camera; `other`: another camera than the settings name."""
    from ezrec.runtime.liveness import Liveness

    log = log_setup.logger("record")
    made = Liveness(
        other or camera(settings, log), settings.camera, clock(settings), settings.state / health.FILE, log
    )
    made.heartbeats.set_elsewhere(True)  # until the stage's lock is ours
    return made


def record_handlers(settings: Settings, log: logging.Logger, liveness: Liveness) -> dict[Kind, Handler]:
    from ezrec.media.mp4.repair import repair
    from ezrec.recording.record import record
    from ezrec.recording.session import Padding

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
