"""Makes the picture that a camera draws: the logos as one, in planes as `overlay` gets them in processing."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import ffmpeg  # type: ignore[import-untyped]  # ffmpeg-python ships no types

from ezrec.camera.overlay.blend import CaptureOverlay
from ezrec.domain.branding import LogoLayout, LogoPosition
from ezrec.domain.errors import Retry
from ezrec.media.ffmpeg import filters
from ezrec.media.ffmpeg.colours import UNKNOWN, resolved
from ezrec.media.ffmpeg.inputs import file_url
from ezrec.media.ffmpeg.runner import Limits, Log, run
from ezrec.media.ffmpeg.tools import Tools
from ezrec.media.render import assets
from ezrec.media.render.assets import AssetMaker
from ezrec.system import durable
from ezrec.system.task import CancelToken


def make(
    key: str,
    folder: Path,
    logo: Path | None,
    sponsors: Sequence[Path],
    frame: tuple[int, int],
    layout: LogoLayout,
    limit_s: float,
) -> CaptureOverlay:
    """Written beside and renamed; its place stands in its name. Raises what FFmpeg's adapters raise."""
    tools = Tools("ffmpeg", "ffprobe", nice=0, bitrate=0, preset="", idle_s=limit_s)
    placed = assets.placed(tools, frame, logo, sponsors, layout)
    part = folder / f".{key}.part"
    with contextlib.ExitStack() as kept, Log() as log:
        one = placed[0]
        if len(placed) > 1:
            maker = AssetMaker(tools, folder / f".{key}", None, CancelToken(), log)
            one = kept.enter_context(maker.overlay(placed))
        at = one.place  # FFmpeg's overlay takes the even pixel, too
        place = LogoPosition(at.x // 2 * 2, at.y // 2 * 2, at.width, at.height)
        numbers = f"{place.x}-{place.y}-{place.width}-{place.height}"
        made = CaptureOverlay(folder / f"{key}.{numbers}.yuva", place, key)
        try:
            limits = Limits(limit_s, limit_s)
            run(_raw(one, frame, part), limits, nice=0, on_output=lambda data: None, log=log)
            if (size := part.stat().st_size) != made.size:
                raise Retry(f"{size} bytes came of it where {made.size} were expected")
            durable.sync_file(part)
            durable.rename(part, made.path)
        finally:
            part.unlink(missing_ok=True)
    return made


def _raw(logo: filters.PlacedLogo, frame: tuple[int, int], output: Path) -> list[str]:
    """As `filters.with_logo` has it, up to the overlay itself; a camera's colours are those of its size."""
    colours = resolved((UNKNOWN, UNKNOWN, UNKNOWN), frame[1])
    target = filters.Target(*frame, Fraction(1), sound=False, colours=colours)
    picture = filters.logo_planes(logo, target)
    options = {"f": "rawvideo", "frames:v": 1}
    return filters.compiled("ffmpeg", ffmpeg.output(picture, file_url(output), **options))
