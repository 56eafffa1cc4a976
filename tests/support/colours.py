"""The colour of a pixel as a player shows it, worked out from the file's own tags: no filter of FFmpeg's
has a part in it.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

GREEN = (0, 160, 60)  # of which BT.601 and BT.709 make very different things
_WEIGHTS = {"bt709": (0.2126, 0.0722), "smpte170m": (0.299, 0.114), "bt470bg": (0.299, 0.114)}


def tags(path: Path) -> tuple[str, str, str, str]:
    """Primaries, transfer, matrix and range as the file names them."""
    argv = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_streams", "-of", "json"]
    found = subprocess.run([*argv, f"file:{path}"], check=True, capture_output=True, timeout=60).stdout
    (stream,) = json.loads(found)["streams"]
    names = ("color_primaries", "color_transfer", "color_space", "color_range")
    first, second, third, fourth = (stream.get(name, "unknown") for name in names)
    return first, second, third, fourth


def size(path: Path) -> tuple[int, int]:
    argv = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "stream=width,height"]
    done = subprocess.run([*argv, "-of", "json", f"file:{path}"], check=True, capture_output=True, timeout=60)
    stream: dict[str, Any] = json.loads(done.stdout)["streams"][0]
    return stream["width"], stream["height"]


def planes(path: Path, at: float) -> tuple[int, int, bytes]:
    """The frame shown at a time, as it was decoded: YUV 4:2:0."""
    width, height = size(path)
    argv = ["ffmpeg", "-v", "error", "-nostdin", "-ss", str(at), "-i", f"file:{path}", "-map", "0:v:0"]
    argv += ["-frames:v", "1", "-f", "rawvideo", "-"]
    data = subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout
    assert len(data) == width * height * 3 // 2
    return width, height, data


def shown(path: Path, at: float, *places: tuple[int, int]) -> list[tuple[int, int, int]]:
    """Red, green and blue of these pixels; negative places count from the end."""
    width, height, data = planes(path, at)
    _, _, matrix, its_range = tags(path)
    assert matrix in _WEIGHTS, f"{path.name} is tagged {matrix}"
    found = []
    for x, y in ((x % width, y % height) for x, y in places):
        chroma = width * height + y // 2 * (width // 2) + x // 2
        yuv = data[y * width + x], data[chroma], data[chroma + width * height // 4]
        found.append(rgb(yuv, matrix, full_range=its_range == "pc"))
    return found


def rgb(yuv: tuple[int, int, int], matrix: str, *, full_range: bool) -> tuple[int, int, int]:
    """By the definition of ITU-R BT.601 and BT.709."""
    red_weight, blue_weight = _WEIGHTS[matrix]
    if full_range:
        y, u, v = yuv[0] / 255, (yuv[1] - 128) / 255, (yuv[2] - 128) / 255
    else:
        y, u, v = (yuv[0] - 16) / 219, (yuv[1] - 128) / 224, (yuv[2] - 128) / 224
    red, blue = y + 2 * (1 - red_weight) * v, y + 2 * (1 - blue_weight) * u
    green = (y - red_weight * red - blue_weight * blue) / (1 - red_weight - blue_weight)
    first, second, third = (min(255, max(0, round(255 * part))) for part in (red, green, blue))
    return first, second, third


def is_near(one: tuple[int, ...], other: tuple[int, ...], steps: int = 3) -> bool:
    return all(abs(mine - theirs) <= steps for mine, theirs in zip(one, other, strict=True))
