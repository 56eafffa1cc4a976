"""`FfmpegTranscoder`: looks into media and renders finished videos, by FFmpeg's programs.

Decides what to make and whether it was made. How a child is run, a file opened, looked into or a graph
drawn stands in `ffmpeg_run`, `ffmpeg_input`, `ffmpeg_probe` and `ffmpeg_graph`. Never leaves a half file
under a final name.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from pathlib import Path

from ezrec import durable
from ezrec.adapters import ffmpeg_graph as graph
from ezrec.adapters.ffmpeg_input import INTRO, LOGO, RESULT, TAKE, Kind
from ezrec.adapters.ffmpeg_probe import Media, inspect
from ezrec.adapters.ffmpeg_run import Failed, Limits, Log, Switch, TookTooLong, run
from ezrec.domain.errors import Reject, Retry
from ezrec.ports import MediaInfo, RenderPlan

_LONGEST_INTRO_S = 120.0
_CHECK_BASE_S, _CHECK_FACTOR = 60.0, 3.0  # decoding an asset: a Pi reads 4K HEVC at about real time
# A Pi 5 encodes 1080p30 in about real time, a Pi 4 in two to three times that, beside a running
# recording: what has not ended after twelve times its length never will.
_WALL_BASE_S, _WALL_FACTOR = 120.0, 12.0


@dataclass(frozen=True, slots=True)
class _Tools:
    """The programs, and how they are called."""

    ffmpeg: str
    ffprobe: str
    nice: int
    bitrate: int
    preset: str
    idle_s: float

    def inspect(self, kind: Kind, path: Path, switch: Switch | None = None) -> Media:
        return inspect(kind, path, ffprobe=self.ffprobe, nice=self.nice, switch=switch)

    def decoded(
        self, argv: list[str], wall_s: float, switch: Switch | None = None, log: Log | None = None
    ) -> int:
        """Frames that come out of a decoding run."""
        meter = _Meter()
        run(argv, Limits(wall_s, math.inf), nice=self.nice, hear=meter.hear, switch=switch, log=log)
        return meter.frames


class FfmpegTranscoder:
    """The port `Transcoder`. `bitrate` in bit/s; `idle_s` is how long a render may stand still."""

    def __init__(
        self,
        *,
        bitrate: int,
        preset: str = "veryfast",
        nice: int = 10,
        ffmpeg: str = "ffmpeg",
        ffprobe: str = "ffprobe",
        idle_s: float = 120.0,
    ) -> None:
        self._tools = _Tools(ffmpeg, ffprobe, nice, bitrate, preset, idle_s)

    def probe(self, path: Path) -> MediaInfo:
        return self._tools.inspect(TAKE, path).info

    def check_asset(self, kind: str, path: Path) -> None:
        check, remedy = {
            "intro": (self._check_intro, INTRO.remedy),
            "logo": (self._check_logo, LOGO.remedy),
        }[kind]
        try:
            check(path)
        except TookTooLong as fault:
            raise Reject(
                f"{path.name}: the {kind} is too heavy: {fault}", f"{remedy}, shorter or smaller"
            ) from None
        except Failed as fault:
            if fault.passing:
                raise Retry(f"{path.name}: {fault.last_word}") from None
            raise Reject(f"{path.name}: the {kind} cannot be decoded: {fault.last_word}", remedy) from None

    def render(
        self,
        plan: RenderPlan,
        progress: Callable[[float], None],
        on_stop: Callable[[Callable[[], None]], None],
    ) -> MediaInfo:
        """The order is what keeps a half file from being published:

        1. remove what an earlier try left
        2. render beside the final name
        3. verify what came out
        4. fsync it, rename it, fsync the directory
        """
        switch = Switch()
        on_stop(switch.pull)
        part = plan.output.with_name(f"{plan.output.name}.part")
        try:
            part.unlink(missing_ok=True)
            with Log(plan.log) as log:
                info = _Render(self._tools, plan, part, progress, switch, log).make()
            switch.check()
            durable.sync_file(part)
            durable.rename(part, plan.output)
        except Failed as fault:
            raise Retry(f"ffmpeg: {fault.last_word}") from None
        except OSError as fault:
            raise Retry(f"{plan.output.name} cannot be written: {fault.strerror}") from fault
        finally:
            with contextlib.suppress(OSError):  # the fault that brought us here is the one to tell
                part.unlink(missing_ok=True)
        progress(1.0)
        return info

    def _check_intro(self, path: Path) -> None:
        """Decode all of it through a render's own filters, small: it must give every frame it promises."""
        intro = self._tools.inspect(INTRO, path)
        seconds = intro.info.duration_s
        if seconds > _LONGEST_INTRO_S:
            raise Reject(
                f"{path.name}: an intro of {seconds:.0f} s; at most {_LONGEST_INTRO_S:.0f}",
                "upload a shorter intro",
            )
        target = graph.Target(64, 36, intro.rate, intro.info.has_audio)
        argv = graph.decode_intro(self._tools.ffmpeg, intro, target)
        frames, promised = (
            self._tools.decoded(argv, _CHECK_BASE_S + _CHECK_FACTOR * seconds),
            target.frames(intro),
        )
        if frames != promised:
            raise Reject(
                f"{path.name}: the intro gives {frames} frames where it promises {promised}", INTRO.remedy
            )

    def _check_logo(self, path: Path) -> None:
        logo = self._tools.inspect(LOGO, path)
        if self._tools.decoded(graph.decode_logo(self._tools.ffmpeg, logo), _CHECK_BASE_S) != 1:
            raise Reject(f"{path.name}: no picture in it", LOGO.remedy)


class _Unfaithful(Retry):
    """What came out is not what was asked for."""


@dataclass(frozen=True, slots=True)
class _Render:
    """One rendering, from plan to verified file."""

    tools: _Tools
    plan: RenderPlan
    part: Path
    progress: Callable[[float], None]
    switch: Switch
    log: Log

    def make(self) -> MediaInfo:
        plan = self.plan
        film = graph.Film(
            takes=[self._inspect(TAKE, take) for take in plan.takes],
            intro=self._inspect(INTRO, plan.intro) if plan.intro else None,
            logo=self._inspect(LOGO, plan.logo) if plan.logo else None,
        )
        if film.parts == (film.takes[0],) and not film.logo and _is_publishable(film.takes[0]):
            with contextlib.suppress(_Unfaithful):
                return self._copy(film.takes[0])
            self.log.note("the copy does not hold what the recording shows: encoding instead")
        return self._encode(film)

    def _copy(self, take: Media) -> MediaInfo:
        info = take.info
        argv = graph.copy(self.tools.ffmpeg, take, take.path.stat().st_size, self.part)
        self._run(argv, info.duration_s)
        return self._verified(info.duration_s, info.frames, 1 / info.fps, info.has_audio)

    def _encode(self, film: graph.Film) -> MediaInfo:
        """A second run forgives what stopped the first: a spoilt frame must not cost an hour of footage."""
        encoding = graph.Encoding(self.part, self.tools.bitrate, self.tools.preset)
        seconds, frame_s = float(film.seconds), float(1 / film.target.rate)
        try:
            self._run(graph.encode(self.tools.ffmpeg, film, encoding), seconds)
        except Failed as fault:
            if fault.passing:
                raise
            self.log.note(f"once more, passing over what cannot be decoded: {fault.last_word}")
            self._run(graph.encode(self.tools.ffmpeg, film, replace(encoding, tolerant=True)), seconds)
        return self._verified(seconds, film.frames, frame_s, film.target.sound)

    def _inspect(self, kind: Kind, path: Path) -> Media:
        return self.tools.inspect(kind, path, self.switch)

    def _run(self, argv: list[str], seconds: float) -> None:
        meter = _Meter(lambda done_s: self.progress(min(1.0, done_s / seconds)))

        def pulse() -> Hashable:
            # +faststart moves the whole file at the end, for minutes on a card, without a word of progress
            return meter.done_s, _touched(self.part)

        limits = Limits(_WALL_BASE_S + _WALL_FACTOR * seconds, self.tools.idle_s)
        run(
            argv, limits, nice=self.tools.nice, hear=meter.hear, log=self.log, switch=self.switch, pulse=pulse
        )

    def _verified(self, seconds: float, frames: int | None, frame_s: float, sound: bool) -> MediaInfo:
        """Look at what was made: FFmpeg 5.1 ends with 0 on a missing segment, a full size limit and more."""
        try:
            made = self._inspect(RESULT, self.part)
        except Reject as fault:
            raise _Unfaithful(f"the video made is not sound: {fault.reason}") from None
        info = made.info
        if abs(info.duration_s - seconds) > frame_s + 0.1:
            raise _Unfaithful(
                f"the video made lasts {info.duration_s:.2f} s where {seconds:.2f} s were expected"
            )
        if not info.frames or (frames is not None and abs(info.frames - frames) > 2):
            raise _Unfaithful(f"the video made has {info.frames or 0} frames where {frames} were expected")
        if info.has_audio != sound:
            raise _Unfaithful(f"the video made has {'a' if info.has_audio else 'no'} sound track")
        if not self.tools.decoded(
            graph.decode_end(self.tools.ffmpeg, made), _CHECK_BASE_S, self.switch, self.log
        ):
            raise _Unfaithful("the video made shows no picture at its end")
        return info


class _Meter:
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


def _is_publishable(take: Media) -> bool:
    """True for what every browser plays as it is."""
    return (
        take.info.video_codec == "h264"
        and take.pix_fmt in ("yuv420p", "yuvj420p")
        and take.audio_codec in ("", "aac")
    )


def _touched(path: Path) -> Hashable:
    """Differs whenever a file was written to."""
    try:
        now = path.stat()
    except FileNotFoundError:
        return None
    return now.st_size, now.st_mtime_ns


def ffmpeg_version(ffmpeg: str = "ffmpeg") -> str | None:
    """The version FFmpeg gives itself, or None where there is none to ask."""
    said = re.match(r"\S+ version (\S+)", _said(ffmpeg, "-version"))
    return said.group(1) if said else None


def software_missing(ffmpeg: str = "ffmpeg", ffprobe: str = "ffprobe") -> list[str]:
    """What is not there of the software this module needs, by names a person can install."""
    parts = {
        "ffmpeg": (ffmpeg, "-version", "version"),
        "ffprobe": (ffprobe, "-version", "version"),
        "libx264 (in ffmpeg)": (ffmpeg, "-encoders", r"\blibx264\b"),
        "drawtext filter (in ffmpeg)": (ffmpeg, "-filters", r"\bdrawtext\b"),
    }
    return [
        name
        for name, (program, question, sign) in parts.items()
        if not re.search(sign, _said(program, question))
    ]


def _said(program: str, question: str) -> str:
    said = bytearray()
    try:
        run([program, "-hide_banner", question], Limits(10.0), nice=0, hear=said.extend)
    except (Failed, Retry):
        return ""
    return said.decode(errors="replace")
