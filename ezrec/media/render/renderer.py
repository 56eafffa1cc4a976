"""`FfmpegTranscoder`, the port `Transcoder`: looks into media files and renders finished videos with FFmpeg.

Never leaves a half file under a final name. `strategies.py` says in which ways a video can be made.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable
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
from ezrec.media.mp4 import boxes
from ezrec.media.render import renderer
from ezrec.media.render.copy import Joiner
from ezrec.media.render.prerender import LOWEST, EncodingPause, PollingCancelToken, SegmentPrerenderer
from ezrec.media.render.strategies import Strategies
from ezrec.system import durable, plain_files
from ezrec.system.task import CancelToken

_REMEDY = "read ffmpeg.log in the job's directory; put another file in the recording's place, then retry"
_LONGEST_INTRO_S = 120.0
_CHECK_BASE_S, _CHECK_FACTOR = 60.0, 3.0  # decoding an asset: a Pi reads 4K HEVC at about real time


class FfmpegTranscoder:
    """The port `Transcoder`. `bitrate` in bit/s; `idle_s` is how long a render may stand still.

    `is_recording` is asked once a second where `while_recording` is `no`: the work rests meanwhile.
    `encoder` is a wish of `domain/encoders.py`; `memory`, a file, keeps what was found of encoders.
    In `cache` is kept what was seen in intros and logos; plans name it too.
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
        said = f"the {kind} cannot be decoded"
        for is_last in (False, True):
            try:
                return self._tools.probe_cache.once(kind, path, lambda: check(path))
            except TookTooLong as fault:
                raise Reject(
                    f"{path.name}: the {kind} is too heavy: {fault}", f"{remedy}, shorter or smaller"
                ) from None
            except FfmpegFailed as fault:
                reason, passes = f"{path.name}: {said}: {fault.last_word}", fault.passing
            except Unseen as fault:
                reason, passes = fault.reason, True
            if not passes or is_last:
                break
            # A damaged file can ask for more memory than there is, and a bad sector lies in it alone.
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
        """The order is what keeps a half file from being published:

        1. remove what an earlier try left
        2. render beside the final name
        3. verify what came out
        4. fsync it, rename it, fsync the directory
        5. make what accompanies it
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
        except FfmpegFailed as fault:
            if fault.last_word == DISK_FULL:
                raise disk_full(f"no room for {plan.output.name}") from None
            if fault.lasting:  # the whole video was encoded to come to this: it is not to be done again
                raise Reject(f"ffmpeg: {fault.last_word}", _REMEDY) from None
            raise Retry(f"ffmpeg: {fault.last_word}") from None
        except OSError as fault:
            if is_full(fault):
                raise disk_full(f"no room for {plan.output.name}") from fault
            raise Retry(f"{plan.output.name} cannot be written: {fault.strerror}") from fault
        finally:
            tools.probe_cache.forget()
            with contextlib.suppress(OSError):  # the fault that brought us here is the one to tell
                part.unlink(missing_ok=True)
        progress(1.0)
        return info

    def encoder(self) -> Choice | None:
        """The encoder that will be used, as far as that is known without trying one."""
        return self._tools.encoders.known()

    def prerender(self, plan: RenderPlan, may_go_on: Callable[[], bool]) -> bool:
        try:
            with Log(plan.log) as log:
                return SegmentPrerenderer(
                    replace(self._tools, nice=LOWEST), plan, PollingCancelToken(may_go_on), log, self._pause
                ).work()
        except (Busy, Stopped, FileNotFoundError):
            return False  # not our turn: in the end it is made in any case
        except FfmpegFailed as fault:
            if fault.last_word == DISK_FULL:
                raise disk_full("no room for a part") from None
            raise Retry(f"ffmpeg: {fault.last_word}") from None
        except OSError as fault:
            if is_full(fault):
                raise disk_full("no room for a part") from fault
            raise Retry(f"a part cannot be made: {fault.strerror}") from fault

    def prepare(
        self, take: Path | None, intro: Path, cache: Path, may_go_on: Callable[[], bool] = lambda: True
    ) -> bool:
        tools = replace(self._tools, nice=LOWEST, probe_cache=ProbeCache(cache))
        token = PollingCancelToken(may_go_on)
        try:
            sample = renderer.taken(take, cache) if take else renderer.kept(cache)
            if sample is None:
                return False
            Joiner(tools, cache / "prepare.mp4", cache, token, Log()).prepare(
                tools.inspect(TAKE, sample, token), tools.inspect(INTRO, intro, token)
            )
        except (NotApplicable, Stopped, FileNotFoundError):
            return False
        except FfmpegFailed as fault:
            raise Retry(f"{intro.name}: {fault.last_word}") from None
        except OSError as fault:
            raise Retry(f"{intro.name} cannot be prepared: {fault.strerror}") from fault
        return True

    def _check_intro(self, path: Path) -> None:
        """Decode all of it through a render's own filters, small: it must give every frame it promises."""
        intro = self._tools.inspect(INTRO, path)
        seconds = intro.info.duration_s
        if seconds > _LONGEST_INTRO_S:
            raise Reject(
                f"{path.name}: an intro of {seconds:.0f} s; at most {_LONGEST_INTRO_S:.0f}",
                "upload a shorter intro",
            )
        target = filters.Target(64, 36, intro.rate, intro.info.has_audio)
        argv = decoding.decode_intro(self._tools.ffmpeg, intro, target)
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
        if self._tools.decoded(decoding.decode_logo(self._tools.ffmpeg, logo), _CHECK_BASE_S) != 1:
            raise Reject(f"{path.name}: no picture in it", LOGO.remedy)


def ffmpeg_version(ffmpeg: str = "ffmpeg") -> str | None:
    """The version FFmpeg gives itself, or None where there is none to ask."""
    said = re.match(r"\S+ version (\S+)", answer(ffmpeg, "-version"))
    return said.group(1) if said else None


def known_version(memory: Path, ffmpeg: str = "ffmpeg") -> str | None:
    """The same, from the file `memory` as long as the program is the one that was asked last."""
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
        if not re.search(sign, answer(program, question))
    ]


_NAME = "camera.mp4"
_ENOUGH = 8 << 20  # some seconds, with a few key frames


def kept(cache: Path) -> Path | None:
    path = cache / _NAME
    return path if path.is_file() else None


def taken(take: Path, cache: Path) -> Path | None:
    """A sample of this take; None where it does not hold a second yet, or is of another kind."""
    cache.mkdir(parents=True, exist_ok=True)
    new = durable.beside(cache / _NAME)
    try:
        with open(plain_files.create(new), "wb") as file:
            file.write(plain_files.read(take, _ENOUGH))
        boxes.cut_torn_tail(new)
        found = native_probe.described(new) if boxes.is_fragmented(new) else None
        if found is None or found.info.duration_s < 1:
            return None
        new.rename(cache / _NAME)
    except boxes.TornFile:
        return None
    finally:
        with contextlib.suppress(OSError):
            new.unlink()
    return cache / _NAME
