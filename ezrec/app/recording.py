"""The cameras' part of the composition root: makes a camera of the settings, and what is asked about cameras.

What is heavy is imported where it is used.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ezrec.domain.camera_address import is_network_camera
from ezrec.domain.ports import Backend, Camera
from ezrec.settings import Settings
from ezrec.sync.branding_cache import BrandingCache
from ezrec.system.clock import SystemClock

if TYPE_CHECKING:
    from ezrec.camera.ffmpeg_sources import Source
    from ezrec.camera.overlay.overlay import CaptureOverlays
    from ezrec.domain.camera_test import TakeFacts

_MAKING_S = 30.0


def camera(settings: Settings, log: logging.Logger | None = None) -> Camera:
    """With `log` it is a recorder's, and draws the logo where it can and is to.

    `auto` is the camera module, or says what to plug in; it never falls back to a test picture.
    """
    if settings.camera in ("auto", "picamera2"):
        return _camera_module(settings, log)
    from ezrec.camera.ffmpeg_camera import FfmpegCamera

    clock = SystemClock(assume=settings.assume_clock)
    return FfmpegCamera(_source(settings), clock, **_logo(settings, log), **_room(settings, log))


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
    return PicameraCamera(picture, clock, **_logo(settings, log), **_room(settings, log))


def _room(settings: Settings, log: logging.Logger | None) -> dict[str, Any]:
    """How a recorder's camera minds the room on the disk: the bitrate of its next start, and the reserve."""
    if log is None:
        return {}
    from ezrec.camera.take_writer import ReservingDisk
    from ezrec.monitoring.collect import read_disk_measures

    clock = SystemClock(assume=settings.assume_clock)

    def bitrate() -> int:
        room = read_disk_measures(settings.state, clock.now())
        lower = min(room.bitrate, settings.bitrate) if room is not None and room.bitrate > 0 else 0
        if 0 < lower < settings.bitrate:
            log.warning("the disk is short: recording at %.1f Mbit/s", lower / 1e6)
        return lower or settings.bitrate

    return {"bitrate": bitrate, "disk": ReservingDisk(settings.reserve_mb * 1_000_000)}


def _logo(settings: Settings, log: logging.Logger | None) -> dict[str, Any]:
    """Whom a camera tells what it notices, and how it gets the logo that it draws, if it is to draw one."""
    if log is None:
        return {}
    drawn = {"burn_in": burn_ins(settings, log)} if draws_logo(settings) else {}
    return {**drawn, "tell": log.warning}


def draws_logo(settings: Settings) -> bool:
    """A logo that is not always shown is laid over afterwards: then the rest of the film is only copied."""
    can = settings.camera in ("auto", "picamera2", "software")
    return can and settings.logo_at != "process" and settings.logo_show.is_always


def burn_ins(settings: Settings, log: logging.Logger, **more: float) -> CaptureOverlays:
    from ezrec.camera.overlay.overlay import CaptureOverlays

    size = settings.resolution
    assets, folder = BrandingCache(settings.media_cache).assets, settings.media_cache / "capture"
    return CaptureOverlays(
        assets, (size.width, size.height), settings.logo_layout, folder, log.warning, **more
    )


class ReadyingCache(BrandingCache):
    """The media cache of whoever fetches: what it fetched is made ready for the camera at once, so that no
    start of a camera has to wait for that.
    """

    def __init__(self, settings: Settings, log: logging.Logger) -> None:
        super().__init__(settings.media_cache)
        self._make_ready = burn_ins(settings, log, wait_s=_MAKING_S) if draws_logo(settings) else None

    def refresh(self, backend: Backend, tell: Callable[[str], None]) -> None:
        super().refresh(backend, tell)
        if self._make_ready is not None:
            self._make_ready()


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
