"""Still pictures: the newest key frame of a take that grows, and a picture file made of a key frame.

Reads a take beside the recorder that writes it, and touches nothing of it.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

from ezrec.domain.errors import Retry
from ezrec.media.ffmpeg.runner import FfmpegFailed, Limits, run
from ezrec.media.mp4.fragments import BadStream, Fragment, FragmentReader
from ezrec.system import plain_files

_WALL_S = 20.0
_MOST_HEAD = 1 << 20
_TAILS = (6 << 20, 48 << 20)  # bytes from the end: some seconds, then a minute where key frames are rare


def newest_key_frame(path: Path) -> bytes:
    """A tiny MP4 with the newest key frame in front, out of a fragmented take. Raises `Retry`."""
    try:
        with plain_files.opened(path) as file:
            header = _header(file.read(_MOST_HEAD))
            for most in _TAILS if header else ():
                keys = [one for one in _newest(file, header, most) if one.starts_with_key]
                if keys:
                    return header + keys[-1].data
    except OSError as fault:
        raise Retry(f"{path.name} cannot be read: {fault.strerror}") from fault
    raise Retry(f"{path.name} holds no whole picture yet")


def _header(data: bytes) -> bytes:
    """The boxes up to the first fragment; empty where there are none."""
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"moof":
            return data[:at]
        if size < 8:
            break
        at += size
    return b""


def _newest(file: BinaryIO, header: bytes, most: int) -> list[Fragment]:
    """The whole fragments among the last `most` bytes of a take."""
    size = os.fstat(file.fileno()).st_size
    file.seek(max(len(header), size - most))
    tail = file.read(most)
    at = tail.find(b"moof") - 4
    while at >= 0:
        try:
            if fragments := FragmentReader().feed(header + tail[at:], 0.0):
                return fragments
        except BadStream:
            pass  # these four bytes were part of a picture, or a fragment is damaged
        at = tail.find(b"moof", at + 8) - 4
    return []


def newest_picture(take: Path, target: Path, width: int = 320) -> None:
    """Draw the newest key frame of a fragmented take, `width` pixels wide, for a report. Raises `Retry`."""
    draw(newest_key_frame(take), target, ("-vf", f"scale={width}:-2", "-q:v", "5"))


def draw(key_frame: bytes, path: Path, options: tuple[str, ...] = ()) -> None:
    """Make a picture file of a tiny MP4; the format follows the name's ending. Raises `Retry`."""
    clip = path.with_name(f".{path.name}.{os.getpid()}.mp4")
    inputs = ("-protocol_whitelist", "file", "-f", "mov", "-i", f"file:{clip.absolute()}")
    _draw(key_frame, clip, inputs, path, options)


def draw_raw(planes: bytes, size: tuple[int, int], path: Path) -> None:
    """Make a picture file of the three planes of a YUV 4:2:0 picture. Raises `Retry`."""
    raw = path.with_name(f".{path.name}.{os.getpid()}.yuv")
    shape = ("-pix_fmt", "yuv420p", "-s", f"{size[0]}x{size[1]}")
    _draw(planes, raw, ("-f", "rawvideo", *shape, "-i", f"file:{raw.absolute()}"), path)


def _draw(
    data: bytes, beside: Path, inputs: tuple[str, ...], path: Path, options: tuple[str, ...] = ()
) -> None:
    """Written beside and renamed, so that a name never holds half a picture."""
    made = path.with_name(f".{path.name}.{os.getpid()}{path.suffix}")
    argv = ["ffmpeg", "-v", "level+error", "-nostdin", "-y", *inputs]
    argv += [*options, "-frames:v", "1", "-update", "1", f"file:{made.absolute()}"]
    try:
        beside.write_bytes(data)
        run(argv, Limits(wall_s=_WALL_S), nice=10, on_output=lambda _: None)
        made.replace(path)
    except (OSError, FfmpegFailed) as fault:
        raise Retry(f"no picture could be made: {fault}") from fault
    finally:
        for left in (beside, made):
            left.unlink(missing_ok=True)
