"""A tap between a camera and its recorder: what had been delivered at any moment, by a third party's word.

A program under FFmpeg's name, first in the recorder's path. Of a camera's stream it keeps a copy with the
monotonic time at which each piece was handed on; every other call it passes to the real FFmpeg.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from ezrec.media.mp4.fragments import Fragment, FragmentReader

_TAP = """#!{python} -SE
import os, subprocess, sys, time
argv = [{real!r}, *sys.argv[1:]]
if "pipe:1" not in argv:
    os.execv(argv[0], argv)
stream = {folder!r} + "/%020d" % time.monotonic_ns()
child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
with open(stream, "wb", buffering=0) as copy, open(stream + ".times", "w", buffering=1) as times:
    while data := os.read(child.stdout.fileno(), 1 << 18):
        copy.write(data)
        print(time.clock_gettime(time.CLOCK_MONOTONIC), len(data), file=times)
        while data:
            data = data[os.write(1, data):]
sys.exit(child.wait())
"""


@dataclass(frozen=True)
class Delivered:
    """One life of a camera, up to a moment."""

    fragments: tuple[Fragment, ...]

    @property
    def frames(self) -> int:
        return sum(fragment.frames for fragment in self.fragments)

    def instant_of(self, frames: int, fps: float) -> float:
        """The monotonic time at which so many frames had been taken.

        A fragment can come late but never before its end, so the least delay seen counts as none.
        """
        began = min(fragment.arrived - fragment.end_time / fragment.timescale for fragment in self.fragments)
        return began + frames / fps


class Tap:
    """`path` goes in front of the recorder's PATH."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "tap"
        self._streams = folder / "streams"
        self.path.mkdir()
        self._streams.mkdir()
        real = shutil.which("ffmpeg")
        assert real, "FFmpeg is not installed"
        program = self.path / "ffmpeg"
        program.write_text(_TAP.format(python=sys.executable, real=real, folder=str(self._streams)))
        program.chmod(0o755)

    def delivered(self, until: float) -> Delivered:
        """What the camera that began last had handed on at the monotonic time `until`."""
        stream = max(path for path in self._streams.iterdir() if not path.suffix)
        data, reader, found, at = stream.read_bytes(), FragmentReader(), list[Fragment](), 0
        for line in stream.with_name(f"{stream.name}.times").read_text().splitlines():
            moment, length = float(line.split()[0]), int(line.split()[1])
            if moment > until:
                break
            found += reader.feed(data[at : at + length], moment)
            at += length
        return Delivered(tuple(found))
