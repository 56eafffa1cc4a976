"""The cameras' part of the composition root: makes a camera of the settings, and what is asked about cameras.

What is heavy is imported where it is used.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from ezrec.domain.camera_address import is_network_camera
from ezrec.domain.ports import Camera
from ezrec.settings import Settings
from ezrec.sync.branding_cache import BrandingCache
from ezrec.system.clock import SystemClock

if TYPE_CHECKING:
    from ezrec.camera.ffmpeg_sources import Source
    from ezrec.camera.overlay.overlay import CaptureOverlays
    from ezrec.camera.shared_camera import CameraOptions
    from ezrec.domain.camera_test import TakeFacts


def camera(settings: Settings, log: logging.Logger | None = None) -> Camera:
    """With `log` it is a recorder's, and draws the logo where it can and is to.

    `auto` is the camera module, or says what to plug in; it never falls back to a test picture.
    """
    if settings.camera in ("auto", "picamera2"):
        return _camera_module(settings, log)
    from ezrec.camera.ffmpeg_camera import FfmpegCamera

    clock = SystemClock(assume=settings.assume_clock)
    return FfmpegCamera(_source(settings), clock, options=_options(settings, log))


def microphone(settings: Settings) -> Camera | None:
    """A camera that takes sound; None where none is wanted."""
    if settings.audio == "off":
        return None
    from ezrec.camera.ffmpeg_camera import FfmpegCamera
    from ezrec.camera.microphones import sound_source

    return FfmpegCamera(sound_source(settings.audio), SystemClock(assume=settings.assume_clock))


def _source(settings: Settings) -> Source:
    from ezrec.camera.ffmpeg_sources import source_for

    size = settings.resolution
    return source_for(settings.camera, size.width, size.height, settings.fps, settings.bitrate)


def _camera_module(settings: Settings, log: logging.Logger | None) -> Camera:
    from ezrec.camera.picamera.camera import PicameraCamera
    from ezrec.camera.picamera.device import PictureFormat

    size = settings.resolution
    picture = PictureFormat(size.width, size.height, settings.fps, settings.bitrate)
    clock = SystemClock(assume=settings.assume_clock)
    return PicameraCamera(picture, clock, options=_options(settings, log))


def _options(settings: Settings, log: logging.Logger | None) -> CameraOptions:
    """What a recorder's camera is given: logo, bitrate, and the disk reserve to spare."""
    from ezrec.camera.shared_camera import CameraOptions

    if log is None:
        return CameraOptions()
    from ezrec.camera.take_writer import ReservingDisk
    from ezrec.spool.usage import read_room

    clock = SystemClock(assume=settings.assume_clock)

    def bitrate() -> int:
        room = read_room(settings.state, clock.now())
        lower = min(room.bitrate, settings.bitrate) if room is not None and room.bitrate > 0 else 0
        if 0 < lower < settings.bitrate:
            log.warning("the disk is short: recording at %.1f Mbit/s", lower / 1e6)
        return lower or settings.bitrate

    disk = ReservingDisk(settings.reserve_mb * 1_000_000)
    if not draws_logo(settings):
        return CameraOptions(warn=log.warning, bitrate=bitrate, disk=disk)
    overlay = capture_overlays(settings, log)
    return CameraOptions(overlay=overlay, warn=log.warning, bitrate=bitrate, disk=disk)


def draws_logo(settings: Settings) -> bool:
    """A logo that is not always shown is laid over afterwards: then the rest of the film is only copied."""
    can = settings.camera in ("auto", "picamera2", "software")
    return can and settings.logo_at != "process" and settings.logo_show.is_always


def capture_overlays(settings: Settings, log: logging.Logger, wait_s: float | None = None) -> CaptureOverlays:
    """Makes or finds the picture that a camera draws; `wait_s`: how long to wait for one to be made."""
    from ezrec.camera.overlay.overlay import CaptureOverlays

    size = settings.resolution
    assets, folder = BrandingCache(settings.media_cache).assets, settings.media_cache / "capture"
    more = {} if wait_s is None else {"wait_s": wait_s}
    return CaptureOverlays(
        assets, (size.width, size.height), settings.logo_layout, folder, log.warning, **more
    )


def camera_modules() -> list[str]:
    """The models of the connected camera modules. Raises `Reject` when there is none to be had."""
    from ezrec.camera.picamera.discovery import connected

    return connected()


def usb_cameras() -> list[tuple[str, str]]:
    """Device and name of the USB cameras that are plugged in."""
    from ezrec.camera.v4l2_discovery import usb_cameras

    return list(usb_cameras())


def camera_name(settings: Settings) -> str:
    """What people are told of the FFmpeg camera that is set; holds no password."""
    return _source(settings).name


def promised(settings: Settings) -> tuple[float | None, int | None]:
    """Frames and bits a second that the camera keeps to; None where it decides by itself."""
    if is_network_camera(settings.camera):
        return None, None
    return float(settings.fps), settings.bitrate


def take_facts(take: Path) -> TakeFacts:
    from ezrec.media.ffmpeg.measure import take_facts

    return take_facts(take)


def draw_newest(take: Path, picture: Path) -> None:
    """Make a picture file of the newest key frame of a take, which may still grow."""
    from ezrec.camera import snapshots

    snapshots.draw(snapshots.newest_key_frame(take), picture)
