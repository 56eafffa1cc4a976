"""`FfmpegTranscoder`: the port `Transcoder`, which probes media files and renders finished videos with
FFmpeg.

Never leaves a half file under a final name. `strategies.py` lists the ways to make a video.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from ezrec.domain.encoders import SOFTWARE
from ezrec.domain.errors import Busy, Reject, Retry, Stopped, disk_full, is_full
from ezrec.domain.ports import MediaInfo, RenderPlan
from ezrec.media.ffmpeg import decoding, filters, native_probe
from ezrec.media.ffmpeg.encoders import Choice, Encoders
from ezrec.media.ffmpeg.inputs import INTRO, LOGO, TAKE
from ezrec.media.ffmpeg.probe import Unseen
from ezrec.media.ffmpeg.probe_cache import ProbeCache
from ezrec.media.ffmpeg.runner import DISK_FULL, FfmpegFailed, Log, TookTooLong, answer
from ezrec.media.ffmpeg.throttle import Throttle, never
from ezrec.media.ffmpeg.tools import NotApplicable, Tools, VerificationError
from ezrec.media.mp4 import boxes, repair
from ezrec.media.render.copy import Joiner
from ezrec.media.render.prerender import LOWEST, EncodingPause, PollingCancelToken, SegmentPrerenderer
from ezrec.media.render.strategies import Strategies
from ezrec.system import durable, plain_files
from ezrec.system.task import CancelToken

_REMEDY = "read ffmpeg.log in the job's directory; put another file in the recording's place, then retry"
_LONGEST_INTRO_S = 120.0
_CHECK_BASE_S, _CHECK_FACTOR = 60.0, 3.0  # for decoding an asset: a Pi decodes 4K HEVC in about real time
_SAMPLE = "camera.mp4"
_SAMPLE_BYTES = 8 << 20  # some seconds, with a few key frames


class FfmpegTranscoder:
    """The port `Transcoder`. `bitrate` in bit/s; `idle_s`: seconds that a render may go without progress.

    With `while_recording` "no", `is_recording` is asked once a second, and the work pauses while it is true.
    `encoder`: a value of `domain/encoders.py`. `memory`: a file that keeps which encoders passed their test.
    `cache`: the folder that keeps what probes of intros and logos found; plans name it too.
    """

    def __init__(
        self,
        *,
        bitrate: int,
        preset: str = "veryfast",
        nice: int = 10,
        ffmpeg: str = "ffmpeg",
        ffprobe: str = "ffprobe",
        idle_s: float = 120.0,
        while_recording: str = "nice",
        is_recording: Callable[[], bool] = never,
        encoder: str = SOFTWARE,
        memory: Path | None = None,
        cache: Path | None = None,
    ) -> None:
        throttle = Throttle(while_recording, is_recording)
        self._pause = EncodingPause()
        encoders = Encoders(ffmpeg, encoder, memory, is_recording)
        self._tools = Tools(
            ffmpeg, ffprobe, nice, bitrate, preset, idle_s, throttle, encoders, ProbeCache(cache)
        )

    def probe(self, path: Path) -> MediaInfo:
        return self._tools.inspect(TAKE, path).info

    def check_asset(self, kind: str, path: Path) -> None:
        check, remedy = {
            "intro": (self._check_intro, INTRO.remedy),
            "logo": (self._check_logo, LOGO.remedy),
            "sponsor": (self._check_logo, LOGO.remedy),
        }[kind]
        for is_last in (False, True):
            try:
                return self._tools.probe_cache.once(kind, path, lambda: check(path))
            except TookTooLong as fault:
                raise Reject(
                    f"{path.name}: the {kind} is too heavy: {fault}", f"{remedy}, shorter or smaller"
                ) from None
            except FfmpegFailed as fault:
                reason = f"{path.name}: the {kind} cannot be decoded: {fault.last_word}"
                passes = fault.passing
            except Unseen as fault:
                reason, passes = fault.reason, True
            if not passes or is_last:
                break
            # A damaged file may need more memory than there is, or have a bad sector: is the machine well?
            if not self._tools.are_well():
                raise Retry(reason)
        raise Reject(reason, remedy)

    def render(
        self,
        plan: RenderPlan,
        progress: Callable[[float], None],
        on_stop: Callable[[Callable[[], None]], None],
        on_pause: Callable[[str], None] = lambda why: None,
    ) -> MediaInfo:
        """This order keeps a half file from being published:

        1. remove what an earlier try left
        2. render under another name
        3. verify the result
        4. fsync it, rename it, fsync the directory
        5. make the artefacts
        """
        token = CancelToken()
        on_stop(token.cancel)
        part = plan.output.with_name(f"{plan.output.name}.part")
        self._tools.throttle.step_back(self._tools.nice)
        throttle = replace(self._tools.throttle, on_pause=on_pause)
        tools = replace(
            self._tools, throttle=throttle, probe_cache=self._tools.probe_cache.within(plan.options.cache)
        )
        try:
            with _ffmpeg_faults(plan.output.name, reject_lasting=True):
                part.unlink(missing_ok=True)
                with Log(plan.log) as log:
                    strategies = Strategies(tools, plan, part, progress, token, log)
                    info = strategies.run()
                    token.check()
                    durable.sync_file(part)
                    durable.rename(part, plan.output)
                    strategies.accompany()
        except VerificationError as fault:
            raise Reject(fault.reason, _REMEDY) from None
        finally:
            tools.probe_cache.forget()
            with contextlib.suppress(OSError):  # must not hide the fault that led here
                part.unlink(missing_ok=True)
        progress(1.0)
        return info

    def encoder(self) -> Choice | None:
        """The encoder that will be used; None while it is not known without testing one."""
        return self._tools.encoders.known()

    def prerender(self, plan: RenderPlan, may_go_on: Callable[[], bool]) -> bool:
        token, tools = PollingCancelToken(may_go_on), replace(self._tools, nice=LOWEST)
        with _ffmpeg_faults("a part"):
            try:
                with Log(plan.log) as log:
                    return SegmentPrerenderer(tools, plan, token, log, self._pause).work()
            except (Busy, Stopped, FileNotFoundError):
                return False  # another process works there, or the entry has moved on: it is made later

    def prepare(
        self, take: Path | None, intro: Path, cache: Path, may_go_on: Callable[[], bool] = lambda: True
    ) -> bool:
        tools = replace(self._tools, nice=LOWEST, probe_cache=ProbeCache(cache))
        token = PollingCancelToken(may_go_on)
        with _ffmpeg_faults(intro.name):
            try:
                sample = save_sample(take, cache) if take else saved_sample(cache)
                if sample is None:
                    return False
                Joiner(tools, cache / "prepare.mp4", cache, token, Log()).prepare(
                    tools.inspect(TAKE, sample, token), tools.inspect(INTRO, intro, token)
                )
            except (NotApplicable, Stopped, FileNotFoundError):
                return False
        return True

    def _check_intro(self, path: Path) -> None:
        """Decode all of it, at a small size: it must have as many frames as it claims."""
        intro = self._tools.inspect(INTRO, path)
        seconds = intro.info.duration_s
        if seconds > _LONGEST_INTRO_S:
            raise Reject(
                f"{path.name}: an intro of {seconds:.0f} s; at most {_LONGEST_INTRO_S:.0f}",
                "upload a shorter intro",
            )
        target = filters.Target(64, 36, intro.rate, intro.info.has_audio)
        argv = decoding.decode_intro(self._tools.ffmpeg, intro, target)
        frames = self._tools.decoded(argv, _CHECK_BASE_S + _CHECK_FACTOR * seconds)
        claimed = target.frames(intro)
        if frames != claimed:
            raise Reject(
                f"{path.name}: the intro gives {frames} frames where it promises {claimed}", INTRO.remedy
            )

    def _check_logo(self, path: Path) -> None:
        logo = self._tools.inspect(LOGO, path)
        if self._tools.decoded(decoding.decode_logo(self._tools.ffmpeg, logo), _CHECK_BASE_S) != 1:
            raise Reject(f"{path.name}: no picture in it", LOGO.remedy)


def ffmpeg_version(ffmpeg: str = "ffmpeg") -> str | None:
    """FFmpeg's version, or None when it is not installed."""
    found = re.match(r"\S+ version (\S+)", answer(ffmpeg, "-version"))
    return found.group(1) if found else None


def known_version(memory: Path, ffmpeg: str = "ffmpeg") -> str | None:
    """The same; read from the file `memory` while the program has not changed since it was last asked."""
    program = shutil.which(ffmpeg)
    if program is None:
        return None
    info = os.stat(program)
    mark = f"{program} {info.st_size} {info.st_mtime_ns} "
    with contextlib.suppress(OSError, UnicodeDecodeError):
        kept = memory.read_text()
        if kept.startswith(mark):
            return kept.removeprefix(mark)
    version = ffmpeg_version(ffmpeg)
    if version is not None:
        with contextlib.suppress(OSError):
            memory.parent.mkdir(parents=True, exist_ok=True)
            durable.write(memory, f"{mark}{version}".encode())
    return version


def software_missing(ffmpeg: str = "ffmpeg", ffprobe: str = "ffprobe") -> list[str]:
    """The software that this module needs and that is missing, by names that a person can install."""
    parts = {
        "ffmpeg": (ffmpeg, "-version", "version"),
        "ffprobe": (ffprobe, "-version", "version"),
        "libx264 (in ffmpeg)": (ffmpeg, "-encoders", r"\blibx264\b"),
        "drawtext filter (in ffmpeg)": (ffmpeg, "-filters", r"\bdrawtext\b"),
    }
    return [
        name
        for name, (program, question, sign) in parts.items()
        if not re.search(sign, answer(program, question))
    ]


def saved_sample(cache: Path) -> Path | None:
    """The sample that was saved last, if there is one."""
    path = cache / _SAMPLE
    return path if path.is_file() else None


def save_sample(take: Path, cache: Path) -> Path | None:
    """Save the beginning of a take, which may still grow; None if it is no recording of a second.

    It shows in what format an intro has to be prepared for this camera.
    """
    cache.mkdir(parents=True, exist_ok=True)
    new = durable.beside(cache / _SAMPLE)
    try:
        with open(plain_files.create(new), "wb") as file:
            file.write(plain_files.read(take, _SAMPLE_BYTES))
        repaired = repair.repair(new)
        if not boxes.is_fragmented(new) or (repaired.seconds or 0) < 1 or not native_probe.described(new):
            return None
        new.rename(cache / _SAMPLE)
    finally:
        with contextlib.suppress(OSError):
            new.unlink()
    return cache / _SAMPLE


@contextlib.contextmanager
def _ffmpeg_faults(name: str, *, reject_lasting: bool = False) -> Iterator[None]:
    """Turns faults of FFmpeg and of the disk, while `name` is made, into `Retry` or `Reject`.

    `reject_lasting`: a fault that would come again is a `Reject`: the whole video was encoded to meet it.
    """
    try:
        yield
    except FfmpegFailed as fault:
        if fault.last_word == DISK_FULL:
            raise disk_full(f"no room for {name}") from None
        if reject_lasting and fault.lasting:
            raise Reject(f"ffmpeg: {fault.last_word}", _REMEDY) from None
        raise Retry(f"ffmpeg: {fault.last_word}") from None
    except OSError as fault:
        if is_full(fault):
            raise disk_full(f"no room for {name}") from fault
        raise Retry(f"{name} cannot be written: {fault.strerror}") from fault
