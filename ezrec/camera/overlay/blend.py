"""`LogoBlend`: a small picture with transparency, drawn onto YUV 4:2:0 frames where they lie in memory.

What depends on the picture alone is worked out once, in 16-bit whole numbers, so that a frame costs some
hundredths of a millisecond. The sums are those of FFmpeg's `overlay`: what is drawn here and what is laid
over in processing cannot be told apart. Needs numpy, which comes with picamera2.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ezrec.domain.branding import LogoPosition

_ROUND = 128


@dataclass(frozen=True, slots=True)
class CaptureOverlay:
    """A picture to be drawn into every frame: raw planes Y, U, V and transparency of `place`'s size.

    `key` names the content that it was made of. The corner lies on even pixels.
    """

    path: Path
    place: LogoPosition
    key: str

    @property
    def size(self) -> int:
        """Bytes that the file must have."""
        return plane_bytes(self.place.width, self.place.height)


def plane_bytes(width: int, height: int) -> int:
    return 2 * width * height + 2 * (-(-width // 2) * -(-height // 2))


class LogoBlend:
    """Raises `ValueError` for planes that are not of the place's size."""

    def __init__(self, planes: bytes, place: LogoPosition) -> None:
        if len(planes) != plane_bytes(place.width, place.height):
            raise ValueError(f"{len(planes)} bytes are no picture of {place.width}×{place.height}")
        self._place = place
        self._numpy = numpy = importlib.import_module("numpy")
        width, height = place.width, place.height
        across, down = -(-width // 2), -(-height // 2)
        data = numpy.frombuffer(planes, numpy.uint8)
        light, rest = data[: width * height].reshape(height, width), data[width * height :]
        first = rest[: across * down].reshape(down, across)
        second = rest[across * down : 2 * across * down].reshape(down, across)
        cover = rest[2 * across * down :].reshape(height, width)
        even = numpy.pad(cover, ((0, height % 2), (0, width % 2)), mode="edge").astype(numpy.uint16)
        thin = (even[::2, ::2] + even[::2, 1::2] + even[1::2, ::2] + even[1::2, 1::2]) >> 2
        self._planes = [self._prepared(*pair) for pair in ((light, cover), (first, thin), (second, thin))]

    def draw(self, frame: Any, width: int, height: int, stride: int) -> None:
        """`frame`: all bytes of a YUV 4:2:0 picture. Its rows are `stride` long, not `width`."""
        place = self._place
        if place.x + place.width > width or place.y + place.height > height:
            raise ValueError(f"the logo does not fit into {width}×{height}")
        half = stride // 2
        light, rest = frame[: stride * height].reshape(height, stride), frame[stride * height :]
        part = half * (height // 2)
        first, second = rest[:part].reshape(-1, half), rest[part : 2 * part].reshape(-1, half)
        for plane, step, prepared in zip((light, first, second), (1, 2, 2), self._planes, strict=True):
            self._blend(plane, place.x // step, place.y // step, *prepared)

    def _prepared(self, colour: Any, cover: Any) -> tuple[Any, Any, Any, Any]:
        numpy = self._numpy
        wide = cover.astype(numpy.uint16)
        own = colour.astype(numpy.uint16) * wide + _ROUND
        return own, 255 - wide, numpy.empty_like(own), numpy.empty_like(own)

    def _blend(self, plane: Any, x: int, y: int, own: Any, through: Any, sums: Any, part: Any) -> None:
        """Own colour by its cover, what is below by the rest, over 255: all of it fits into 16 bits."""
        numpy = self._numpy
        below = plane[y : y + own.shape[0], x : x + own.shape[1]]
        numpy.multiply(below, through, out=sums)
        numpy.add(sums, own, out=sums)
        numpy.right_shift(sums, 8, out=part)
        numpy.add(sums, part, out=sums)
        numpy.right_shift(sums, 8, out=sums)
        below[:] = sums
