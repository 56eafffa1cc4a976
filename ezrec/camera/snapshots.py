"""Still pictures: the newest key frame of a take that grows, and a picture file made of a key frame.

Reads a take beside the recorder that writes it, and touches nothing of it.
"""

from __future__ import annotations

import os
import struct
import tempfile
from pathlib import Path

from ezrec.domain.errors import Retry
from ezrec.media.ffmpeg import runner
from ezrec.media.ffmpeg.runner import FfmpegFailed, Limits, run
from ezrec.media.mp4 import boxes
from ezrec.media.mp4.fragments import BadStream, FragmentReader
from ezrec.system import plain_files

_WALL_S = 20.0
_MOST_LOOKED_AT = (
    200  # fragments, from the end: at 0.2 s each far more than any camera's key frames lie apart
)


def newest_key_frame(path: Path) -> bytes:
    """A tiny MP4 with the newest key frame in front, out of a fragmented take. Raises `Retry`."""
    try:
        with plain_files.opened(path, shared=True) as file:
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
        for box in boxes.top_level(path):
            if box.end > length:
                break
            if box.type == b"moov":
                opening = box.end
            elif box.type == b"moof":
                begin = box.offset
            elif box.type == b"mdat" and begin >= 0:
                fragments.append((begin, box.end))
                begin = -1
    except boxes.TornFile:
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
        runner.run(argv, runner.Limits(wall_s=_WALL_S), nice=10, on_output=lambda _: None)
        made.replace(path)
    except (OSError, runner.FfmpegFailed) as fault:
        raise Retry(f"no picture could be made: {fault}") from fault
    finally:
        for left in (beside, made):
            left.unlink(missing_ok=True)


_TAIL = 6 << 20  # more than a second of any bitrate that a court is recorded with, and mostly several
_MOST_HEAD = 1 << 20
_LIMIT_S = 20.0
_NICE = 15


def newest_picture(take: Path, target: Path, width: int = 320) -> None:
    """Write the newest key frame of a fragmented MP4 to the new JPEG `target`. Raises `Retry`."""
    with tempfile.TemporaryDirectory(prefix="ezrec-still-") as folder:
        part = Path(folder) / "part.mp4"
        try:
            part.write_bytes(_end_of(take))
        except OSError as fault:
            raise Retry(f"no picture of {take.name}: {fault.strerror}") from None
        argv = [
            "ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", "-y", "-protocol_whitelist", "file",
            "-f", "mov", "-skip_frame", "nokey", "-i", f"file:{part}", "-an", "-fps_mode", "passthrough",
            "-vf", f"scale={width}:-2", "-q:v", "5", "-update", "1", "-f", "image2", f"file:{target}",
        ]  # fmt: skip
        try:
            run(argv, Limits(_LIMIT_S), nice=_NICE, on_output=lambda _: None)
        except FfmpegFailed as fault:
            raise Retry(f"no picture of {take.name}: {fault.last_word}") from None
    if not target.exists():
        raise Retry(f"no picture of {take.name}: no key frame in its last seconds")


def _end_of(take: Path) -> bytes:
    """The header of a fragmented MP4 and its last whole fragments, as a file of its own."""
    with plain_files.opened(take) as file:
        size = os.fstat(file.fileno()).st_size
        head = _header(file.read(min(size, _MOST_HEAD)))
        if not head:
            raise Retry(f"no picture of {take.name}: it has no header yet")
        begins = max(len(head), size - _TAIL)
        file.seek(begins)
        tail = file.read(size - begins)
    return head + _whole_fragments(tail)


def _header(data: bytes) -> bytes:
    """The boxes up to the first fragment."""
    at = 0
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"moof":
            return data[:at]
        if length < 8:
            break
        at += length
    return b""


def _whole_fragments(data: bytes) -> bytes:
    """From the first fragment in `data` to the last whole one: each is a `moof` and its `mdat`."""
    at = data.find(b"moof") - 4
    while at >= 0:
        end = _chain(data, at)
        if end > at:
            return data[at:end]
        at = data.find(b"moof", at + 8) - 4  # these four bytes were part of a picture
    return b""


def _chain(data: bytes, at: int) -> int:
    """Where the boxes that follow each other from `at` on end; `at` itself if there is no whole fragment."""
    end = at
    while at + 16 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if length < 8 or kind not in (b"moof", b"mdat") or at + length > len(data):
            break
        at += length
        if kind == b"mdat":
            end = at
    return end
