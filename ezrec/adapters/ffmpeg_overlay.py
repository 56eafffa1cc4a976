"""The logos of a video as one picture: what every rung lays over it, and a camera may burn in.

Decides nothing about looks: where each logo stands is said by `domain/branding.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ezrec.adapters import ffmpeg_graph as graph
from ezrec.adapters import ffmpeg_pieces as pieces
from ezrec.adapters.ffmpeg_input import LOGO
from ezrec.adapters.ffmpeg_run import Failed, Limits, Log, Switch, run
from ezrec.adapters.ffmpeg_tools import Tools
from ezrec.domain.branding import LogoLayout, Place, around, arrange
from ezrec.domain.errors import Reject, Retry

_WALL_S = 60.0


@dataclass(frozen=True, slots=True)
class Composed:
    """All logos in one picture: `rgba` holds its rows, four bytes a pixel, and `place` where it stands."""

    place: Place
    rgba: bytes


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


def compose(
    tools: Tools, frame: tuple[int, int], logo: Path | None, sponsors: Sequence[Path], layout: LogoLayout
) -> Composed | None:
    """The overlay for a camera that burns it in; None where there is no logo.

    Raises `Reject` for a logo that is no picture, `Retry` where the machine fails.
    """
    logos = placed(tools, frame, logo, sponsors, layout)
    if not logos:
        return None
    place = around([logo.place for logo in logos])
    try:
        with TemporaryDirectory(prefix="ezrec-overlay-") as folder:
            raw = Path(folder) / "overlay"
            argv = pieces.composed(tools.ffmpeg, logos, place, raw, raw=True)
            run(argv, Limits(_WALL_S), nice=tools.nice, hear=lambda _: None, log=Log())
            rgba = raw.read_bytes()
    except Failed as fault:
        if fault.passing:
            raise Retry(f"the logos cannot be put together: {fault.last_word}") from None
        raise Reject(f"the logos cannot be put together: {fault.last_word}", LOGO.remedy) from None
    except OSError as fault:
        raise Retry(f"the logos cannot be put together: {fault.strerror}") from fault
    if len(rgba) != 4 * place.width * place.height:
        raise Reject("the logos cannot be put together", LOGO.remedy)
    return Composed(place, rgba)
