"""Versions of what EZREC works with but does not bring along: FFmpeg and picamera2."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from ezrec.media.render.renderer import ffmpeg_version, known_version


def versions(state: Path | None = None) -> dict[str, str]:
    """The version of each, or `missing`.

    With `state`, the directory EZREC_STATE, FFmpeg is asked only when it is another than last time.
    """
    ffmpeg = known_version(state / "ffmpeg_version") if state else ffmpeg_version()
    try:
        picamera2 = metadata.version("picamera2")
    except metadata.PackageNotFoundError:
        picamera2 = "missing"
    return {"ffmpeg": ffmpeg or "missing", "picamera2": picamera2}
