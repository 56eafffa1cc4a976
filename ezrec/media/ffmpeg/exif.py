"""Which way up a still picture is meant: its EXIF orientation, which FFmpeg reads in some formats only.

A phone writes every photo as its sensor lies and says in EXIF how to turn it. Every viewer obeys. Reads the
beginning of the file alone, and answers 1 (as it is) for whatever makes no sense.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from ezrec.system import plain_files

UPRIGHT = 1
_MOST = 1 << 20  # of the file: EXIF stands at the beginning, in WebP behind the picture
_TAG = 0x0112
_SHORT = 3


def orientation(path: Path) -> int:
    """1 to 8, as EXIF counts them."""
    with plain_files.opened(path, shared=True) as file:
        data = file.read(_MOST)
    for found in (*_jpeg(data), *_png(data), *_webp(data)):
        return _read(found.removeprefix(b"Exif\0\0"))
    return UPRIGHT


def _jpeg(data: bytes) -> Iterator[bytes]:
    at = 2
    while data.startswith(b"\xff\xd8") and data[at : at + 1] == b"\xff" and at + 4 <= len(data):
        kind, size = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : at + 2 + size]
        if kind == 0xDA or size < 2:  # the picture itself begins
            return
        if kind == 0xE1 and body.startswith(b"Exif\0\0"):
            yield body
        at += 2 + size


def _png(data: bytes) -> Iterator[bytes]:
    at = 8
    while data.startswith(b"\x89PNG") and at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"eXIf":
            yield data[at + 8 : at + 8 + size]
        at += 12 + size


def _webp(data: bytes) -> Iterator[bytes]:
    at = 12
    while data[8:12] == b"WEBP" and at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"EXIF":
            yield data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def _read(tiff: bytes) -> int:
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return UPRIGHT
    try:
        (at,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, at)
        for number in range(min(count, 200)):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", tiff, at + 2 + 12 * number)
            if tag == _TAG and kind == _SHORT and 1 <= value <= 8:
                return int(value)
    except struct.error:
        pass
    return UPRIGHT
