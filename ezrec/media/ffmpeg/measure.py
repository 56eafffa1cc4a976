"""Measures a take for the camera test: frames, gaps between them, key frames, and how many frames decode."""

from __future__ import annotations

import itertools
from pathlib import Path

from ezrec.domain.camera_test import TakeFacts
from ezrec.domain.errors import Reject, Retry
from ezrec.media.ffmpeg import decoding
from ezrec.media.ffmpeg.inputs import TAKE
from ezrec.media.ffmpeg.runner import FfmpegFailed
from ezrec.media.ffmpeg.tools import Tools
from ezrec.media.mp4 import samples

_WALL_BASE_S, _WALL_FACTOR = 30.0, 3.0
_REMEDY = "look at the camera and its cable, then try again"


def take_facts(path: Path) -> TakeFacts:
    """Raises `Reject` for a file that is no take, `Retry` when FFmpeg cannot be run."""
    tools = Tools("ffmpeg", "ffprobe", nice=10, bitrate=0, preset="", idle_s=60.0)
    media = tools.inspect(TAKE, path)
    try:
        track = samples.read(path, sound=False).picture
    except ValueError as fault:
        raise Reject(f"what the camera wrote cannot be read: {fault}", _REMEDY) from None
    seconds = float(track.length_s)
    decoded = 0
    try:
        decoded = tools.decoded(
            decoding.decode_windows("ffmpeg", [(path, (0.0, seconds + 1))]),
            _WALL_BASE_S + _WALL_FACTOR * seconds,
        )
    except FfmpegFailed as fault:
        if fault.passing:
            raise Retry(f"it cannot be said whether the take decodes: {fault.last_word}") from None
    keys = [track.starts[number] for number in track.key_numbers()]
    return TakeFacts(
        width=media.info.width,
        height=media.info.height,
        codec=media.info.video_codec,
        frames=len(track),
        decoded=decoded,
        seconds=seconds,
        longest_gap_s=_longest([*track.starts, track.end]) / track.scale,
        key_every_s=_longest([*keys, track.end]) / track.scale,
        size=path.stat().st_size,
    )


def _longest(times: list[int]) -> int:
    return max((after - before for before, after in itertools.pairwise(times)), default=0)
