"""FFmpeg's programs as the strategies call them: with one priority, one throttle, one cache of probes."""

from __future__ import annotations

import contextlib
import functools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from ezrec.domain.errors import Retry
from ezrec.media.ffmpeg import decoding, native_probe
from ezrec.media.ffmpeg.encoders import Encoders
from ezrec.media.ffmpeg.inputs import RESULT, TAKE, MediaKind, Unusable, sniffed
from ezrec.media.ffmpeg.probe import Media, inspect
from ezrec.media.ffmpeg.probe_cache import ProbeCache
from ezrec.media.ffmpeg.runner import FfmpegFailed, Limits, Log, answer, run
from ezrec.media.ffmpeg.throttle import Throttle
from ezrec.media.mp4 import boxes
from ezrec.system.task import CancelToken

_TRIAL_S = 30.0


class VerificationError(Retry):
    """What came out is not what was asked for."""


class NotApplicable(ValueError):
    """A strategy cannot make this video; the message says why, and the next one is tried."""


@dataclass(frozen=True, slots=True)
class Tools:
    """The programs, and how they are called."""

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
        found = self.probe_cache.have(kind, path, lambda: self._look(kind, path, token))
        own = found.appearance.colours
        if (own.is_hdr or own.is_wide) and not _tone_maps(self.ffmpeg):
            return replace(found, tone_maps=False)
        return found

    def _look(self, kind: MediaKind, path: Path, token: CancelToken | None) -> Media:
        """By the file's own tables where they are a camera's, or of our own writing; else by ffprobe."""
        if kind in (TAKE, RESULT):
            with contextlib.suppress(Unusable, OSError):  # ffprobe's look says it better
                sniffed(kind, path)
                if kind is RESULT or boxes.is_fragmented(path):
                    found = native_probe.described(path)
                    if found:
                        return found
        return inspect(kind, path, ffprobe=self.ffprobe, nice=self.nice, token=token)

    def are_well(self) -> bool:
        """Whether they can do a little work just now: then a fault is that of the file they failed at."""
        try:
            return self.decoded(decoding.decode_nothing(self.ffmpeg), _TRIAL_S) == 1
        except (FfmpegFailed, Retry):
            return False

    def decoded(
        self, argv: list[str], wall_s: float, token: CancelToken | None = None, log: Log | None = None
    ) -> int:
        """Frames that come out of a decoding run."""
        meter = Meter()
        run(
            argv, Limits(wall_s, math.inf), nice=self.nice, on_output=meter.hear, token=token, log=log,
            throttle=self.throttle,
        )  # fmt: skip
        return meter.frames


@functools.cache
def _tone_maps(ffmpeg: str) -> bool:
    """Whether this FFmpeg was built with libzimg; without it HDR is shown, but pale."""
    return bool(re.search(r"\bzscale\b", answer(ffmpeg, "-filters")))


class Meter:
    """Reads `-progress`: blocks of key=value lines, each ended by the key `progress`."""

    def __init__(self, tell: Callable[[float], None] = lambda done_s: None) -> None:
        self._tell, self._rest = tell, b""
        self.frames, self.done_s = 0, 0.0

    def hear(self, data: bytes) -> None:
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[-1000:]
        for line in lines:
            key, _, value = line.decode(errors="replace").partition("=")
            self._take(key, value.strip())

    def _take(self, key: str, value: str) -> None:
        if key == "progress":
            self._tell(self.done_s)
        elif not value.isdecimal():  # N/A, as long as nothing was written
            return
        elif key == "frame":
            self.frames = int(value)
        elif key == "out_time_us":  # out_time_ms holds microseconds too, in spite of its name
            self.done_s = max(self.done_s, int(value) / 1e6)
