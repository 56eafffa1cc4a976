"""What the numbers of a picture mean: by its tags, else by its size, as players have it. Pure.

The codes are those of ITU-T H.273, which H.264, MP4 and FFmpeg share. A video without tags is BT.709 from
720 lines on and BT.601 below. Browsers guess so, too, and throw away tags that are not complete: whatever is
encoded here gets all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

UNKNOWN = 2
BT709 = 1
_RGB, _BT470BG, _BT601, _BT2020, _BT2020_CONSTANT = 0, 5, 6, 9, 10
_PQ, _HLG = 16, 18
_SRGB = 13
_HD_LINES = 720


class Colours(NamedTuple):
    """Which colours are mixed, how brightness grows with its number, how brightness and colour are told
    apart.
    """

    primaries: int
    transfer: int
    matrix: int

    @property
    def is_hdr(self) -> bool:
        return self.transfer in (_PQ, _HLG)

    @property
    def is_wide(self) -> bool:
        """Whether its primaries show more colours than an ordinary screen: BT.2020, DCI-P3."""
        return self.primaries in (_BT2020, 11, 12)

    @property
    def is_rgb(self) -> bool:
        return self.matrix == _RGB

    @property
    def swscale(self) -> str:
        """The matrix by the name that FFmpeg's `scale` knows."""
        return _SWSCALE.get(self.matrix, "bt601")


HD = Colours(BT709, BT709, BT709)
_SD = Colours(_BT601, _BT601, _BT601)
_SWSCALE = {
    1: "bt709", 4: "fcc", _BT470BG: "bt601", _BT601: "bt601", 7: "smpte240m", _BT2020: "bt2020",
    _BT2020_CONSTANT: "bt2020",
}  # fmt: skip
_USUAL_MATRICES = (BT709, _BT470BG, _BT601)  # those that a finished video may have


@dataclass(frozen=True, slots=True)
class Appearance:
    """How a picture is to be shown. `orientation` is that of EXIF, 1 to 8."""

    colours: Colours = HD
    has_alpha: bool = False
    is_interlaced: bool = False
    orientation: int = 1


def resolved(told: tuple[int, int, int], lines: int) -> Colours:
    """The tags, and what is usual for a video of so many lines where they say nothing."""
    primaries, transfer, matrix = told
    usual = HD if lines >= _HD_LINES else _SD
    if matrix not in _SWSCALE:
        matrix = _BT2020 if transfer in (_PQ, _HLG) or primaries == _BT2020 else usual.matrix
    if matrix in (_BT2020, _BT2020_CONSTANT):
        usual = Colours(_BT2020, BT709, matrix)
    elif matrix == BT709:
        usual = HD
    return Colours(
        usual.primaries if primaries in (0, UNKNOWN) else primaries,
        usual.transfer if transfer in (0, UNKNOWN) else transfer,
        matrix,
    )


def of_pixels(pixels: str, told: tuple[int, int, int], lines: int) -> Colours:
    """By the kind of pixels as FFmpeg calls it: what is RGB has no matrix, whatever its tags say."""
    if is_rgb(pixels):
        return Colours(told[0] if told[0] not in (0, UNKNOWN) else BT709, _SRGB, _RGB)
    return resolved(told, lines)


def of_video(first: Colours) -> Colours:
    """The colours of a finished video, after those of its first take: kept where every player knows them."""
    is_usual = first.matrix in _USUAL_MATRICES and not first.is_hdr and not first.is_wide
    return first if is_usual else HD


def is_rgb(pixels: str) -> bool:
    return pixels.startswith(("rgb", "bgr", "gbr", "argb", "abgr", "0rgb", "0bgr", "x2rgb", "x2bgr", "pal8"))


def has_alpha(pixels: str) -> bool:
    return pixels.startswith(("rgba", "bgra", "argb", "abgr", "gbrap", "yuva", "ya8", "ya16", "pal8", "ayuv"))


_NAMES = (
    # as ffprobe calls primaries, transfer and matrix
    {"bt709": 1, "bt470m": 4, "bt470bg": 5, "smpte170m": 6, "smpte240m": 7, "film": 8, "bt2020": 9,
     "smpte428": 10, "smpte431": 11, "smpte432": 12, "ebu3213": 22},
    {"bt709": 1, "bt470m": 4, "bt470bg": 5, "smpte170m": 6, "smpte240m": 7, "linear": 8, "log100": 9,
     "log316": 10, "iec61966-2-4": 11, "bt1361e": 12, "iec61966-2-1": 13, "bt2020-10": 14, "bt2020-12": 15,
     "smpte2084": 16, "smpte428": 17, "arib-std-b67": 18},
    {"gbr": 0, "bt709": 1, "fcc": 4, "bt470bg": 5, "smpte170m": 6, "smpte240m": 7, "ycgco": 8,
     "bt2020nc": 9, "bt2020c": 10},
)  # fmt: skip


def named(primaries: str, transfer: str, matrix: str) -> tuple[int, int, int]:
    """The codes of what ffprobe says."""
    first, second, third = (
        names.get(word, UNKNOWN) for names, word in zip(_NAMES, (primaries, transfer, matrix), strict=True)
    )
    return first, second, third
