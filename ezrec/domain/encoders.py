"""The encoders that may make what has to be encoded, by the name FFmpeg gives them. Values only."""

from __future__ import annotations

SOFTWARE = "libx264"
HARDWARE = ("h264_v4l2m2m",)  # of the Pi 4; the Pi 5 has none
AUTO = "auto"
WISHES = (AUTO, SOFTWARE, *HARDWARE)


def candidates(wish: str) -> tuple[str, ...]:
    """What to try in turn before x264."""
    if wish == AUTO:
        return HARDWARE
    return () if wish == SOFTWARE else (wish,)
