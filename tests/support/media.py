"""Small media files for tests, made by FFmpeg, and a look at single pixels of what came out.

Every file is made once a test run and copied from then on. Colours are solid, so that a pixel tells
which input a frame came from.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import json
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ezrec.media.mp4.boxes import Boxes, NoBox

COLOURS = {
    "red": (255, 0, 0),
    "lime": (0, 255, 0),
    "blue": (0, 0, 255),
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "yellow": (255, 255, 0),
    "magenta": (255, 0, 255),
}
STORE = "EZREC_TEST_MEDIA"  # where the files of a test run are kept
FRAGMENTED = ("-movflags", "empty_moov+default_base_moof", "-frag_duration", "200000")


def box(kind: bytes, body: bytes = b"") -> bytes:
    """One box of an MP4 file."""
    return struct.pack(">I4s", 8 + len(body), kind) + body


def make_take(
    path: Path,
    seconds: float = 2,
    size: tuple[int, int] = (320, 180),
    fps: str | float = 30,
    colour: str = "blue",
    *,
    fragmented: bool = True,
    audio: bool = False,
    filters: str = "null",
    pixels: str = "yuv420p",
) -> Path:
    """A recording as the camera writes it: H.264 without B-frames, in fragments of 0.2 s."""
    container = FRAGMENTED if fragmented else ("-movflags", "+faststart")
    video = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-g", "30", "-pix_fmt", pixels)
    inputs = (*_source(colour, size, fps, seconds, filters), *_tone(audio, seconds))
    return _made(path, inputs, (*video, "-ac", "2", *container))


def make_intro(
    path: Path,
    seconds: float = 1,
    size: tuple[int, int] = (640, 360),
    fps: str | float = 25,
    colour: str = "red",
    *,
    codec: str = "libx264",
    audio: bool = True,
    channels: int = 2,
    sound_rate: int = 48000,
    filters: str = "null",
    pixels: str = "yuv420p",
    quarter_turns: int = 0,
) -> Path:
    """An intro of any make; the container follows the name's ending."""
    if codec == "libx265":
        video = ("-c:v", codec, "-preset", "ultrafast", "-tag:v", "hvc1", "-x265-params", "log-level=error")
    else:
        video = ("-c:v", codec, *(("-preset", "ultrafast") if codec == "libx264" else ()))
    inputs = (*_source(colour, size, fps, seconds, filters), *_tone(audio, seconds, sound_rate))
    _made(path, inputs, (*video, "-pix_fmt", pixels, "-ac", str(channels)))
    return turned(path, quarter_turns) if quarter_turns else path


def make_logo(path: Path, size: tuple[int, int] = (64, 32), colour: str = "lime", alpha: float = 1.0) -> Path:
    """A picture of one colour; the format follows the name's ending."""
    source = f"color={colour}@{alpha}:s={size[0]}x{size[1]}:r=1:d=1,format=rgba"
    return _made(path, ("-f", "lavfi", "-i", source), ("-frames:v", "1"))


def turned(path: Path, quarter_turns: int) -> Path:
    """Mark a file as filmed with the camera on its side, in the picture's own track header."""
    corners = {1: (0, 1, -1, 0), 2: (-1, 0, 0, -1), 3: (0, -1, 1, 0)}[quarter_turns % 4]
    a, b, c, d = (value << 16 for value in corners)
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 44
    struct.pack_into(">9i", data, matrix, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


@dataclass(frozen=True)
class Picture:
    """One decoded frame."""

    width: int
    height: int
    data: bytes

    def colour(self, x: int, y: int) -> str:
        """The name of the colour that is nearest to a pixel; negative places count from the end."""
        at = ((y % self.height) * self.width + x % self.width) * 3
        pixel = self.data[at : at + 3]
        return min(
            COLOURS, key=lambda name: sum((p - q) ** 2 for p, q in zip(pixel, COLOURS[name], strict=True))
        )


def picture_at(path: Path, seconds: float) -> Picture:
    """The frame shown at a time."""
    argv = ["ffmpeg", "-v", "error", "-nostdin", "-ss", str(seconds), "-i", f"file:{path}", "-map", "0:v:0"]
    argv += ["-frames:v", "1", "-f", "image2pipe", "-c:v", "ppm", "-"]
    said = subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout
    _, size, _, data = said.split(b"\n", 3)
    width, height = size.split()
    return Picture(int(width), int(height), data)


def streams(path: Path) -> dict[str, Any]:
    """What ffprobe says of each stream, by its type; packets are counted, not believed."""
    argv = ["ffprobe", "-v", "error", "-count_packets", "-show_streams", "-of", "json", "-i", f"file:{path}"]
    found = json.loads(subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout)
    return {stream["codec_type"]: stream for stream in found["streams"]}


def frames(path: Path) -> int:
    """Frames of the picture that can really be decoded."""
    argv = [
        "ffprobe",
        "-v",
        "error",
        "-select_streams",
        "v:0",
        "-count_frames",
        "-show_entries",
        "stream=nb_read_frames",
    ]
    argv += ["-of", "csv=p=0", "-i", f"file:{path}"]
    return int(subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout.strip(b",\n"))


def _source(
    colour: str, size: tuple[int, int], fps: str | float, seconds: float, filters: str
) -> tuple[str, ...]:
    picture = f"color={colour}:s={size[0]}x{size[1]}:r={fps}:d={seconds},{filters}"
    return ("-f", "lavfi", "-i", picture)


def _tone(wanted: bool, seconds: float, rate: int = 48000) -> tuple[str, ...]:
    return ("-f", "lavfi", "-i", f"sine=440:d={seconds}:r={rate}") if wanted else ()


def _made(path: Path, inputs: tuple[str, ...], options: tuple[str, ...]) -> Path:
    argv = ["ffmpeg", "-v", "error", "-nostdin", "-y", *inputs, "-fps_mode", "vfr", *options]
    return made_once(path, argv, lambda new: subprocess.run([*argv, str(new)], check=True, timeout=120))


def made_once(path: Path, what: object, make: Callable[[Path], object]) -> Path:
    """A copy of the file that `make` wrote when a test of this run first asked for `what`, in any worker."""
    name = hashlib.sha256(repr(what).encode()).hexdigest()[:32]
    kept = _folder() / f"{name}{path.suffix or '.mp4'}"
    if not kept.exists():
        with tempfile.TemporaryDirectory(dir=_folder()) as apart:  # another worker may be at it too
            new = Path(apart) / kept.name
            make(new)
            new.replace(kept)
    shutil.copyfile(kept, path)
    return path


@functools.cache
def _folder() -> Path:
    """One for all workers (`tests/conftest.py` makes it); whoever else comes here gets one alone."""
    if STORE in os.environ:
        return Path(os.environ[STORE])
    folder = tempfile.mkdtemp(prefix="ezrec-media-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def count_samples(path: Path, track: int) -> int:
    """Frames of a track in the fragments of a file, which may still grow, by their tables alone."""
    count = 0
    with path.open("rb") as file, contextlib.suppress(NoBox):
        boxes = Boxes(file)
        for moof in (box for box in boxes.top() if box.type == b"moof"):
            for traf in (box for box in boxes.inside(moof) if box.type == b"traf"):
                tables = {box.type: box for box in boxes.inside(traf)}
                if boxes.word(tables[b"tfhd"].body + 4) == track:
                    count += boxes.word(tables[b"trun"].body + 4)
    return count
