"""The logos of a video: when they are shown, and where in the picture."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_SPAN = r"(\d+(?:\.\d+)?)([smh])"
_FORM = re.compile(rf"always|first:{_SPAN}|every:{_SPAN}/{_SPAN}")
_MOST_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class LogoShow:
    """`shown_s` seconds of every `every_s`, from the beginning on; both infinite: always."""

    shown_s: float = math.inf
    every_s: float = math.inf

    def __str__(self) -> str:
        if self.is_always:
            return "always"
        if math.isinf(self.every_s):
            return f"first:{self.shown_s:g}s"
        return f"every:{self.every_s:g}s/{self.shown_s:g}s"

    @property
    def is_always(self) -> bool:
        return math.isinf(self.shown_s)

    def spans(self, length_s: float) -> Iterator[tuple[float, float]]:
        """Begin and end of each showing, in seconds, in a video of that length."""
        begin = 0.0
        while begin < length_s:
            yield begin, min(length_s, begin + self.shown_s)
            begin += self.every_s


ALWAYS = LogoShow()


@dataclass(frozen=True, slots=True)
class LogoSpans:
    """As `LogoShow`, for a video of which some takes show the logo already: only in these seconds."""

    parts: tuple[tuple[float, float], ...]

    is_always = False

    def __str__(self) -> str:
        return "in the takes that lack it"

    def spans(self, length_s: float) -> Iterator[tuple[float, float]]:
        return ((begin, min(end, length_s)) for begin, end in self.parts if begin < length_s)


def lacking(show: LogoShow, takes: Sequence[tuple[float, bool]], frame_s: float) -> LogoSpans:
    """When to overlay the logo on a row of takes, given as seconds and whether they show it already.

    Each edge is half a frame early, between two frames, so that rounding never adds one.
    """
    parts, begin, total = list[tuple[float, float]](), 0.0, sum(length for length, _ in takes)
    wanted = list(show.spans(total))
    for length, shows_it in takes:
        if not shows_it:
            both = ((max(on, begin), min(off, begin + length)) for on, off in wanted)
            parts += [(max(0.0, on - frame_s / 2), off - frame_s / 2) for on, off in both if on < off]
        begin += length
    return LogoSpans(tuple(parts))


def read_logo_show(text: str) -> LogoShow:
    """Reads `always`, `first:10s` or `every:5m/10s`. Raises `ValueError` with the right form."""
    match = _FORM.fullmatch(text)
    if not match:
        raise ValueError("must look like always, first:10s or every:5m/10s")
    if text == "always":
        return ALWAYS
    numbers = [
        float(n) * _UNITS[unit]
        for n, unit in zip(match.groups()[::2], match.groups()[1::2], strict=True)
        if n
    ]
    every_s, shown_s = numbers if len(numbers) == 2 else (math.inf, numbers[0])
    if not 1 <= shown_s < min(every_s, _MOST_S):
        raise ValueError("the logo must be shown for a second at least, and for less than the time between")
    return LogoShow(shown_s, every_s)


CORNERS = ("bottom-right", "bottom-left", "top-right", "top-left")
MARGIN = 10


@dataclass(frozen=True, slots=True)
class LogoLayout:
    """The corners of the logos. Sizes: at most so many % of the frame's width and height."""

    corner: str = "bottom-right"
    size: int = 25
    sponsor_corner: str = "bottom-right"
    sponsor_size: int = 15


@dataclass(frozen=True, slots=True)
class LogoPosition:
    """Where a picture is in the frame, in pixels from the top left."""

    x: int
    y: int
    width: int
    height: int


def arrange(
    frame: tuple[int, int],
    logo: tuple[int, int] | None,
    sponsors: Sequence[tuple[int, int]],
    layout: LogoLayout,
) -> list[LogoPosition]:
    """The positions of the logo (if any) and of each sponsor's logo. All sizes are (width, height) in pixels.

    Each corner holds a row, the logo outermost. A logo keeps its size unless it is too large; a row wider
    than the frame is made smaller as a whole.
    """
    wanted = [(layout.corner, _limited(logo, frame, layout.size))] if logo else []
    wanted += [(layout.sponsor_corner, _limited(size, frame, layout.sponsor_size)) for size in sponsors]
    places: dict[int, LogoPosition] = {}
    for corner in CORNERS:
        row = [(number, size) for number, (at, size) in enumerate(wanted) if at == corner]
        sizes = _fitting([size for _, size in row], frame[0])
        edge = MARGIN
        for (number, _), (width, height) in zip(row, sizes, strict=True):
            x = frame[0] - edge - width if corner.endswith("right") else edge
            y = frame[1] - MARGIN - height if corner.startswith("bottom") else MARGIN
            places[number] = LogoPosition(max(0, x), max(0, y), width, height)
            edge += width + MARGIN
    return [places[number] for number in range(len(wanted))]


def around(places: Sequence[LogoPosition]) -> LogoPosition:
    """The smallest rectangle around all of them, on even pixels: colour has half the resolution."""
    x, y = min(place.x for place in places) // 2 * 2, min(place.y for place in places) // 2 * 2
    right, bottom = (
        max(place.x + place.width for place in places),
        max(place.y + place.height for place in places),
    )
    return LogoPosition(x, y, -((x - right) // 2) * 2, -((y - bottom) // 2) * 2)


def _limited(size: tuple[int, int], frame: tuple[int, int], percent: int) -> tuple[int, int]:
    width, height = size
    part = Fraction(percent, 100)
    factor = min(Fraction(1), frame[0] * part / width, frame[1] * part / height)
    return max(1, int(width * factor)), max(1, int(height * factor))


def _fitting(sizes: list[tuple[int, int]], width: int) -> list[tuple[int, int]]:
    room, taken = width - MARGIN * (len(sizes) + 1), sum(size[0] for size in sizes)
    if taken <= room:
        return sizes
    factor = Fraction(max(1, room), taken)
    return [(max(1, int(across * factor)), max(1, int(down * factor))) for across, down in sizes]


UNUSABLE = "branding_unusable.json"  # in EZREC_STATE: what of the branding cannot be used, and why


@dataclass(frozen=True, slots=True)
class Assets:
    """The files to use now. `is_known` is False until the branding was fetched once."""

    is_known: bool
    intro: Path | None = None
    logo: Path | None = None
    sponsors: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return self.intro is None and self.logo is None and not self.sponsors
