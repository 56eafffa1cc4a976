"""FFmpeg's programs as the strategies run them: with one priority, one throttle, one cache of probes."""

from __future__ import annotations

import contextlib
import functools
import math
import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from pathlib import Path

from ezrec.domain.errors import Retry
from ezrec.media.ffmpeg import decoding, native_probe, runner
from ezrec.media.ffmpeg.encoders import Encoders
from ezrec.media.ffmpeg.inputs import RESULT, TAKE, MediaKind, Unusable, sniffed
from ezrec.media.ffmpeg.probe import Media, inspect
from ezrec.media.ffmpeg.probe_cache import ProbeCache
from ezrec.media.ffmpeg.runner import FfmpegFailed, Limits, Log, answer
from ezrec.media.ffmpeg.throttle import Throttle
from ezrec.media.mp4 import boxes
from ezrec.system.task import CancelToken

_TRIAL_S = 30.0
# A Pi 5 encodes 1080p30 in about real time, a Pi 4 in two to three times that while it records: what takes
# longer than twelve times its length will never end.
_WALL_BASE_S, _WALL_FACTOR = 120.0, 12.0


class VerificationError(Retry):
    """The file made is not what it should be."""


class NotApplicable(ValueError):
    """A strategy cannot make this video; the message says why, and the next one is tried."""


@dataclass(frozen=True, slots=True)
class Tools:
    """The programs, and how they are run. `bitrate` in bit/s; `idle_s`: seconds without progress before a
    program is ended.
    """

    ffmpeg: str
    ffprobe: str
    nice: int
    bitrate: int
    preset: str
    idle_s: float
    throttle: Throttle = field(default_factory=Throttle)
    encoders: Encoders = field(default_factory=Encoders)
    probe_cache: ProbeCache = field(default_factory=ProbeCache)

    def inspect(self, kind: MediaKind, path: Path, token: CancelToken | None = None) -> Media:
        found = self.probe_cache.have(kind, path, lambda: self._inspected(kind, path, token))
        own = found.appearance.colours
        if (own.is_hdr or own.is_wide) and not _tone_maps(self.ffmpeg):
            return replace(found, tone_maps=False)
        return found

    def _inspected(self, kind: MediaKind, path: Path, token: CancelToken | None) -> Media:
        """By the file's own tables if a camera or we have written them, else by ffprobe."""
        if kind in (TAKE, RESULT):
            with contextlib.suppress(Unusable, OSError):  # `inspect` raises the better message
                sniffed(kind, path)
                if kind is RESULT or boxes.is_fragmented(path):
                    found = native_probe.described(path)
                    if found:
                        return found
        return inspect(kind, path, ffprobe=self.ffprobe, nice=self.nice, token=token)

    def are_well(self) -> bool:
        """True when FFmpeg can decode a small picture now: then the file it failed at is to blame."""
        try:
            return self.decoded(decoding.decode_nothing(self.ffmpeg), _TRIAL_S) == 1
        except (FfmpegFailed, Retry):
            return False

    def decoded(
        self, argv: list[str], wall_s: float, token: CancelToken | None = None, log: Log | None = None
    ) -> int:
        """Decode, and return how many frames came out."""
        meter = Meter()
        runner.run(
            argv, Limits(wall_s, math.inf), nice=self.nice, on_output=meter.feed, token=token, log=log,
            throttle=self.throttle,
        )  # fmt: skip
        return meter.frames

    def run(
        self,
        argv: list[str],
        output: Path,
        seconds: float,
        token: CancelToken,
        log: Log,
        progress: Callable[[float], None] = lambda done: None,
    ) -> None:
        """Run FFmpeg to make `output`, which will last `seconds`. `progress` gets the part done, 0 to 1.

        FFmpeg counts as stuck when neither its progress nor the file changes: `+faststart` rewrites the file
        at the end, for minutes on a card, without a progress report.
        """
        meter = Meter(lambda done_s: progress(min(1.0, done_s / seconds) if seconds else 0.0))
        runner.run(
            argv, Limits(_WALL_BASE_S + _WALL_FACTOR * seconds, self.idle_s), nice=self.nice,
            on_output=meter.feed, log=log, token=token, pulse=lambda: (meter.done_s, _size_and_time(output)),
            throttle=self.throttle,
        )  # fmt: skip


def _size_and_time(path: Path) -> Hashable:
    """Changes whenever the file is written to."""
    try:
        info = path.stat()
    except OSError:
        return None
    return info.st_size, info.st_mtime_ns


@functools.cache
def _tone_maps(ffmpeg: str) -> bool:
    """Whether this FFmpeg was built with libzimg; without it HDR is shown, but pale."""
    return bool(re.search(r"\bzscale\b", answer(ffmpeg, "-filters")))


class Meter:
    """Reads the output of `-progress`: blocks of key=value lines, each ended by the key `progress`.

    `progress` is called after each block with the seconds of video done.
    """

    def __init__(self, progress: Callable[[float], None] = lambda done_s: None) -> None:
        self._progress, self._rest = progress, b""
        self.frames, self.done_s = 0, 0.0

    def feed(self, data: bytes) -> None:
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[-1000:]
        for line in lines:
            key, _, value = line.decode(errors="replace").partition("=")
            self._take(key, value.strip())

    def _take(self, key: str, value: str) -> None:
        if key == "progress":
            self._progress(self.done_s)
        elif not value.isdecimal():  # N/A while nothing is written
            return
        elif key == "frame":
            self.frames = int(value)
        elif key == "out_time_us":  # out_time_ms too holds microseconds, despite its name
            self.done_s = max(self.done_s, int(value) / 1e6)
