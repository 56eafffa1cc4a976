"""The logos of a video in their places: what every rung lays over it.

Decides nothing about looks: where each logo stands is said by `domain/branding.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ezrec.adapters import ffmpeg_graph as graph
from ezrec.adapters.ffmpeg_input import LOGO
from ezrec.adapters.ffmpeg_run import Switch
from ezrec.adapters.ffmpeg_tools import Tools
from ezrec.domain.branding import LogoLayout, arrange


def placed(
    tools: Tools,
    frame: tuple[int, int],
    logo: Path | None,
    sponsors: Sequence[Path],
    layout: LogoLayout,
    switch: Switch | None = None,
) -> list[graph.Placed]:
    """Each logo with its place in a frame of that size."""
    pictures = [tools.inspect(LOGO, path, switch) for path in (*((logo,) if logo else ()), *sponsors)]
    sizes = [(picture.info.width, picture.info.height) for picture in pictures]
    first, rest = (sizes[0], sizes[1:]) if logo else (None, sizes)
    places = arrange(frame, first, rest, layout)
    return [graph.Placed(*both) for both in zip(pictures, places, strict=True)]
