"""The H.264 encoders, by their names in FFmpeg. Values only."""

from __future__ import annotations

SOFTWARE = "libx264"
HARDWARE = ("h264_v4l2m2m",)  # of the Pi 4; the Pi 5 has none
AUTO = "auto"
WISHES = (AUTO, SOFTWARE, *HARDWARE)


def candidates(wish: str) -> tuple[str, ...]:
    """The encoders to try before x264."""
    if wish == AUTO:
        return HARDWARE
    return () if wish == SOFTWARE else (wish,)
