"""Still pictures: the newest key frame of a take that grows, and a picture file made of a key frame.

Reads a take beside the recorder that writes it, and touches nothing of it.
"""

from __future__ import annotations

import os
from pathlib import Path

from ezrec import plain
from ezrec.adapters import ffmpeg_run, mp4boxes
from ezrec.adapters.fragments import BadStream, FragmentReader
from ezrec.domain.errors import Retry

_WALL_S = 20.0
_MOST_LOOKED_AT = (
    200  # fragments, from the end: at 0.2 s each far more than any camera's key frames lie apart
)


def newest_key_frame(path: Path) -> bytes:
    """A tiny MP4 with the newest key frame in front, out of a fragmented take. Raises `Retry`."""
    try:
        with plain.opened(path, shared=True) as file:
            opening, fragments = _layout(path)
            file.seek(0)
            header = file.read(opening)
            for begin, end in reversed(fragments[-_MOST_LOOKED_AT:]):
                file.seek(begin)
                data = file.read(end - begin)
                if _starts_with_key(header + data):
                    return header + data
    except OSError as fault:
        raise Retry(f"{path.name} cannot be read: {fault.strerror}") from fault
    raise Retry(f"{path.name} holds no whole picture yet")


def _layout(path: Path) -> tuple[int, list[tuple[int, int]]]:
    """Where the header ends, and from where to where each whole fragment lies."""
    length, opening, begin = path.stat().st_size, 0, -1
    fragments: list[tuple[int, int]] = []
    try:
        for box in mp4boxes.top_level(path):
            if box.end > length:
                break
            if box.type == b"moov":
                opening = box.end
            elif box.type == b"moof":
                begin = box.offset
            elif box.type == b"mdat" and begin >= 0:
                fragments.append((begin, box.end))
                begin = -1
    except mp4boxes.TornFile:
        pass  # its newest fragment is being written this moment
    return opening, fragments


def _starts_with_key(data: bytes) -> bool:
    try:
        fragments = FragmentReader().feed(data, 0.0)
    except BadStream:
        return False
    return bool(fragments) and fragments[0].starts_with_key


def draw(key_frame: bytes, path: Path) -> None:
    """Make a picture file of a tiny MP4; the format follows the name's ending. Raises `Retry`."""
    clip = path.with_name(f".{path.name}.{os.getpid()}.mp4")
    inputs = ("-protocol_whitelist", "file", "-f", "mov", "-i", f"file:{clip.absolute()}")
    _draw(key_frame, clip, inputs, path)


def draw_raw(planes: bytes, size: tuple[int, int], path: Path) -> None:
    """Make a picture file of the three planes of a YUV 4:2:0 picture. Raises `Retry`."""
    raw = path.with_name(f".{path.name}.{os.getpid()}.yuv")
    shape = ("-pix_fmt", "yuv420p", "-s", f"{size[0]}x{size[1]}")
    _draw(planes, raw, ("-f", "rawvideo", *shape, "-i", f"file:{raw.absolute()}"), path)


def _draw(data: bytes, beside: Path, inputs: tuple[str, ...], path: Path) -> None:
    """Written beside and renamed, so that a name never holds half a picture."""
    made = path.with_name(f".{path.name}.{os.getpid()}{path.suffix}")
    argv = ["ffmpeg", "-v", "level+error", "-nostdin", "-y", *inputs]
    argv += ["-frames:v", "1", "-update", "1", f"file:{made.absolute()}"]
    try:
        beside.write_bytes(data)
        ffmpeg_run.run(argv, ffmpeg_run.Limits(wall_s=_WALL_S), nice=10, hear=lambda _: None)
        made.replace(path)
    except (OSError, ffmpeg_run.Failed) as fault:
        raise Retry(f"no picture could be made: {fault}") from fault
    finally:
        for left in (beside, made):
            left.unlink(missing_ok=True)
