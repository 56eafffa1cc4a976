"""A small picture out of a take that is being written: its newest key frame, without touching the camera.

Reads the beginning of the file and its last megabytes, however long the recording is: an hour has 36,000
boxes, and walking them on a memory card would take longer than the picture is worth.
"""

from __future__ import annotations

import os
import struct
import tempfile
from pathlib import Path

from ezrec import plain
from ezrec.adapters.ffmpeg_run import Failed, Limits, run
from ezrec.domain.errors import Retry

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
            run(argv, Limits(_LIMIT_S), nice=_NICE, hear=lambda _: None)
        except Failed as fault:
            raise Retry(f"no picture of {take.name}: {fault.last_word}") from None
    if not target.exists():
        raise Retry(f"no picture of {take.name}: no key frame in its last seconds")


def _end_of(take: Path) -> bytes:
    """The header of a fragmented MP4 and its last whole fragments, as a file of its own."""
    with plain.opened(take) as file:
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
