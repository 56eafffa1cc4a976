"""A picture in a terminal: each character two pixels, one above the other, in 256 colours or in all."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

_LIMIT_S = 20.0
_STEPS = 5  # of each colour in the cube of 256


def can_draw(environ: Mapping[str, str], *, is_terminal: bool) -> bool:
    """Whether the terminal has colours and these characters."""
    speaks = any("UTF-8" in environ.get(name, "").upper() for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    return is_terminal and speaks and environ.get("TERM", "dumb") not in ("dumb", "linux", "")


def drawn(path: Path, width: int, height: int, *, all_colours: bool) -> list[str]:
    """The picture file in `width` columns and `height` // 2 lines; none where it cannot be read."""
    argv = ["ffmpeg", "-v", "error", "-nostdin", "-i", f"file:{path}", "-vf", f"scale={width}:{height}",
            "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"]  # fmt: skip
    try:
        done = subprocess.run(
            argv, capture_output=True, timeout=_LIMIT_S, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return lines(done.stdout, width, all_colours=all_colours)


def lines(pixels: bytes, width: int, *, all_colours: bool) -> list[str]:
    """Rows of RGB pixels as lines of half blocks; an odd last row is left out."""
    row = 3 * width
    found = []
    for top in range(0, len(pixels) - 2 * row + 1, 2 * row):
        cells = []
        for at in range(top, top + row, 3):
            upper, lower = pixels[at : at + 3], pixels[at + row : at + row + 3]
            cells.append(f"\033[38;{_colour(upper, all_colours)}m\033[48;{_colour(lower, all_colours)}m▀")
        found.append("".join(cells) + "\033[0m")
    return found


def _colour(pixel: bytes, all_colours: bool) -> str:
    if all_colours:
        return f"2;{pixel[0]};{pixel[1]};{pixel[2]}"
    red, green, blue = (round(part / 255 * _STEPS) for part in pixel)
    return f"5;{16 + 36 * red + 6 * green + blue}"
