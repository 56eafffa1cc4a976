"""Tries the ways in which a finished video can be made, the cheapest that is right first.

A strategy that does not suit the video, or whose result fails its check, gives way to the next; the report
beside the video says why. How each strategy works stands in its own module.
"""

from __future__ import annotations

import contextlib
import struct
import traceback
from collections.abc import Callable, Hashable, Iterator
from dataclasses import replace
from pathlib import Path

from ezrec.domain.branding import lacking
from ezrec.domain.encoders import SOFTWARE
from ezrec.domain.errors import Busy, Reject, Retry, Stopped
from ezrec.domain.ports import MediaInfo, RenderPlan
from ezrec.media.ffmpeg import filters
from ezrec.media.ffmpeg.inputs import INTRO, LOGO, RESULT, TAKE, MediaKind
from ezrec.media.ffmpeg.probe import Media
from ezrec.media.ffmpeg.runner import FfmpegFailed, Limits, Log, TookTooLong, run
from ezrec.media.ffmpeg.tools import Meter, NotApplicable, Tools, VerificationError
from ezrec.media.render import assets
from ezrec.media.render.artefacts import FOLDER, Artefacts
from ezrec.media.render.assets import AssetMaker
from ezrec.media.render.copy import Joined, Joiner
from ezrec.media.render.encode_segments import SegmentEncoder
from ezrec.media.render.logo_segments import LogoSegments, held
from ezrec.media.render.report import REPORT as REPORT
from ezrec.media.render.report import RenderReport
from ezrec.media.render.smart_render import Overlay
from ezrec.media.render.verify_output import ExpectedVideo, OutputVerifier
from ezrec.system.task import CancelToken

_LONGEST_PART_S = 60.0  # another process makes one, gives it up where it takes long, and begins no further
_AGAIN_S = 30.0
_ODD = (ArithmeticError, LookupError, ValueError, struct.error)
# A Pi 5 encodes 1080p30 in about real time, a Pi 4 in two to three times that, beside a running
# recording: what has not ended after twelve times its length never will.
_WALL_BASE_S, _WALL_FACTOR = 120.0, 12.0


class Strategies:
    """One rendering, from plan to verified file."""

    def __init__(
        self,
        tools: Tools,
        plan: RenderPlan,
        part: Path,
        progress: Callable[[float], None],
        token: CancelToken,
        log: Log,
    ) -> None:
        self._tools, self._plan, self._part = tools, plan, part
        self._progress, self._token, self._log = progress, token, log
        self._told = 0.0
        self._report = RenderReport(left_out=list(plan.notes))
        self._kept = contextlib.ExitStack()

    def run(self) -> MediaInfo:
        with self._kept, self._report.timed("all"):
            with self._report.timed("look"):
                video = self._film()
            info = self._made(video)
        self._report.checks |= {"frames": info.frames, "duration_s": info.duration_s, "sound": info.has_audio}
        self._write_report()
        return info

    def accompany(self) -> None:
        """Make the artefacts of the finished video. It is there: nothing that goes wrong now may cost it."""
        if not self._plan.options.artefacts:
            return
        folder = self._plan.output.with_name(FOLDER)
        try:
            with self._report.timed("artefacts"):
                video = self._inspect(RESULT, self._plan.output)
                maker = Artefacts(self._tools, video, folder, self._token, self._log)
                self._report.artefacts = maker.make(self._plan.options.artefacts)
            self._write_report()
        except (Retry, Reject, Stopped, OSError) as fault:
            self._log.note(f"no artefacts: {fault}")

    def _write_report(self) -> None:
        self._report.write(self._plan.output.with_name(REPORT))

    def _film(self) -> filters.Video:
        plan = self._plan
        video = filters.Video(
            takes=[self._inspect(TAKE, take) for take in plan.takes],
            intro=self._inspect(INTRO, plan.intro) if plan.intro else None,
            show=plan.options.logo_show,
        )
        burned = [take in plan.burned_in for take in plan.takes]
        if all(burned):
            return video
        video = replace(video, logo=self._logo(video.target))
        if not any(burned):
            return video
        rate = video.target.rate
        lengths = [float(video.target.frames(take) / rate) for take in video.takes]
        takes = list(zip(lengths, burned, strict=True))
        return replace(video, show=lacking(plan.options.logo_show, takes, float(1 / rate)))

    def _logo(self, target: filters.Target) -> filters.PlacedLogo | None:
        """The logos as one picture and where it stands: as it is where it is one alone, else composed."""
        plan = self._plan
        frame = (target.width, target.height)
        logos = assets.placed(
            self._tools, frame, plan.logo, plan.sponsors, plan.options.logo_layout, self._token
        )
        if not logos:
            return None
        try:
            return self._kept.enter_context(self._asset_maker.overlaid(logos))
        except (NotApplicable, FfmpegFailed) as fault:
            if isinstance(fault, FfmpegFailed) and not fault.lasting:
                raise
            raise Reject(f"the logos cannot be put together: {fault}", LOGO.remedy) from None

    def _made(self, video: filters.Video) -> MediaInfo:
        strategies: tuple[tuple[str, Callable[[filters.Video], MediaInfo]], ...] = (
            ("copy", self._copy),
            ("smart", self._smart),
            ("parts", self._parted),
            ("remux", self._remux),
            ("encode in parts", self._encode_in_parts),
        )
        for name, make in strategies:
            try:
                self._report.rung = name
                with self._report.timed(name):
                    return make(video)
            except (NotApplicable, VerificationError, TookTooLong) as fault:
                self._pass_over(name, str(fault))
            except _ODD as fault:  # tables that make no sense in a way that nobody thought of
                self._log.note(traceback.format_exc())
                self._pass_over(name, f"{type(fault).__name__}: {fault}")
            except FfmpegFailed as fault:
                if fault.passing:
                    raise
                self._pass_over(name, fault.last_word)
        self._report.rung = "encode"
        with self._report.timed("encode"):
            return self._encode(video)

    def _pass_over(self, strategy: str, reason: str) -> None:
        self._report.why.append(f"{strategy}: {reason}")
        self._log.note(f"not by {strategy}: {reason}")

    def _copy(self, video: filters.Video) -> MediaInfo:
        """Intro and takes by their samples."""
        self._check_copyable(video)
        info = self._joined(video, None)
        self._report.why.append(
            "the logo is in the picture already" if self._plan.logo else "no logo is wanted"
        )
        return info

    def _smart(self, video: filters.Video) -> MediaInfo:
        """As copied, but for the groups of pictures that are to show the logo."""
        show = video.show
        if not video.logo or show.is_always:
            raise NotApplicable("no logo is wanted for a part of the time only")
        self._check_copyable(replace(video, logo=None))
        seconds = sum(take.info.duration_s for take in video.takes)
        info = self._joined(video, Overlay(video.logo, tuple(show.spans(seconds)), self._plan.parts))
        self._report.why.append(f"the logo is wanted {show}")
        return info

    def _parted(self, video: filters.Video) -> MediaInfo:
        """Encoded part by part, as far as that was not done while it was recorded."""
        if not video.logo or not video.show.is_always:
            raise NotApplicable("no logo is wanted all the time")
        if self._plan.parts is None:
            raise NotApplicable("there is no place to keep parts")
        self._check_copyable(replace(video, logo=None))
        parts = LogoSegments(self._asset_maker, video.logo, self._plan.parts, self._encoder())
        with self._held(self._plan.parts):
            info = self._joined(video, None, parts)
        self._report_parts(parts)
        return info

    def _encode_in_parts(self, video: filters.Video) -> MediaInfo:
        """Nothing can be copied: all is encoded, part by part, so that a kill costs one of them."""
        if self._plan.parts is None:
            raise NotApplicable("there is no place to keep parts")
        with self._held(self._plan.parts):
            encode = SegmentEncoder(self._asset_maker, video, self._plan.parts, self._encoder())
            try:
                info = self._proven(self._joiner.join_encoded(video, encode))
            except (VerificationError, FfmpegFailed) as fault:
                if not (isinstance(fault, FfmpegFailed) and fault.passing):
                    encode.forget()  # one of them is spoilt: whoever tries again is not to find it
                raise
        self._report_parts(encode)
        if encode.forgiven:
            self._report.why.append(f"passed over what cannot be decoded: {', '.join(encode.forgiven)}")
        return info

    @contextlib.contextmanager
    def _held(self, folder: Path) -> Iterator[None]:
        try:
            with held(folder, _LONGEST_PART_S, self._token):
                yield
        except Busy as fault:
            raise Retry(f"a part is being made: {fault}", _AGAIN_S, blameless=True) from None

    def _report_parts(self, parts: LogoSegments | SegmentEncoder) -> None:
        said = f"{parts.found} of {parts.found + parts.made} parts were there already"
        self._report.why.append(f"{said}; {parts.made_s:.0f} s were left to encode")
        self._report.encoder = parts.encoder
        self._report.checks |= {"parts_found": parts.found, "parts_made": parts.made}
        self._log.note(said)

    @property
    def _asset_maker(self) -> AssetMaker:
        return AssetMaker(self._tools, self._part, self._plan.options.cache, self._token, self._log)

    @property
    def _joiner(self) -> Joiner:
        return Joiner(self._tools, self._part, self._plan.options.cache, self._token, self._log, self._tell)

    def _joined(
        self, video: filters.Video, overlay: Overlay | None, parts: LogoSegments | None = None
    ) -> MediaInfo:
        joined = self._joiner.join(video.takes, video.intro, overlay, parts)
        info = self._proven(joined)
        if overlay:
            self._report.checks |= {"parts_found": joined.runs_found, "parts_made": joined.runs_made}
        return info

    def _proven(self, joined: Joined) -> MediaInfo:
        info = self._checker.looked_at(ExpectedVideo(joined.seconds, joined.frames, joined.sound))
        self._report.gaps = list(joined.gaps)
        self._report.intro = joined.intro
        self._report.checks["joins_decoded"] = joined.joins
        return info

    def _remux(self, video: filters.Video) -> MediaInfo:
        """One take as FFmpeg copies it, with B-frames and all."""
        self._check_copyable(video)
        if len(video.parts) != 1:
            raise NotApplicable("more than one part")
        take = video.takes[0]
        if take.is_cut:
            raise NotApplicable("it holds what its owner cut off")
        info = take.info
        argv = filters.copy(self._tools.ffmpeg, take, take.path.stat().st_size, self._part)
        self._run(argv, info.duration_s)
        promised = ExpectedVideo(info.duration_s, info.frames, info.has_audio, take.rate)
        return self._checker.decoded(promised)

    def _check_copyable(self, video: filters.Video) -> None:
        if video.logo:
            raise NotApplicable("a logo is to be laid over it")
        for take in video.takes:
            if take.varies:
                raise NotApplicable(f"{take.path.name}: its picture changes in size")
            if not _is_publishable(take):
                raise NotApplicable(f"{take.path.name}: not in a form that every browser plays")

    def _encode(self, video: filters.Video) -> MediaInfo:
        """A second run forgives what stopped the first: a spoilt frame must not cost an hour of footage."""
        encoding = filters.Encoding(
            self._part, self._tools.bitrate, self._tools.preset, encoder=self._encoder()
        )
        if encoding.encoder != SOFTWARE:
            try:
                return self._encoded(video, encoding)
            except (FfmpegFailed, VerificationError) as fault:
                if isinstance(fault, FfmpegFailed) and fault.passing:
                    raise
                self._tools.encoders.distrust(encoding.encoder, str(fault))
                self._pass_over(encoding.encoder, str(fault))
                encoding = replace(encoding, encoder=SOFTWARE)
        return self._encoded(video, encoding)

    def _encoded(self, video: filters.Video, encoding: filters.Encoding) -> MediaInfo:
        seconds = float(video.seconds)
        self._report.encoder = encoding.encoder
        try:
            self._run(filters.encode(self._tools.ffmpeg, video, encoding), seconds)
        except FfmpegFailed as fault:
            if fault.passing or encoding.encoder != SOFTWARE:
                raise
            self._pass_over("encode", f"once more, passing over what cannot be decoded: {fault.last_word}")
            self._run(filters.encode(self._tools.ffmpeg, video, replace(encoding, tolerant=True)), seconds)
        joins = video.joins
        info = self._checker.decoded(
            ExpectedVideo(seconds, video.frames, video.target.sound, video.target.rate, joins)
        )
        self._report.checks["joins_decoded"] = len(joins)
        return info

    @property
    def _checker(self) -> OutputVerifier:
        return OutputVerifier(self._tools, self._part, self._token, self._log)

    def _encoder(self) -> str:
        choice = self._tools.encoders.choose(self._log)
        if choice.why:
            self._pass_over("hardware", choice.why)
        return choice.name

    def _inspect(self, kind: MediaKind, path: Path) -> Media:
        return self._tools.inspect(kind, path, self._token)

    def _tell(self, done: float) -> None:
        """Progress never goes back when another strategy begins."""
        self._told = max(self._told, min(1.0, done))
        self._progress(self._told)

    def _run(self, argv: list[str], seconds: float) -> None:
        meter = Meter(lambda done_s: self._tell(done_s / seconds))

        def pulse() -> Hashable:
            # +faststart moves the whole file at the end, for minutes on a card, without a word of progress
            return meter.done_s, _touched(self._part)

        limits = Limits(_WALL_BASE_S + _WALL_FACTOR * seconds, self._tools.idle_s)
        run(
            argv, limits, nice=self._tools.nice, on_output=meter.hear, log=self._log, token=self._token,
            pulse=pulse, throttle=self._tools.throttle,
        )  # fmt: skip


def _is_publishable(take: Media) -> bool:
    """True for what every browser plays as it is."""
    return (
        take.info.video_codec == "h264"
        and take.pix_fmt in ("yuv420p", "yuvj420p")
        and take.audio_codec in ("", "aac")
        and not take.appearance.colours.is_hdr
    )


def _touched(path: Path) -> Hashable:
    """Differs whenever a file was written to."""
    try:
        now = path.stat()
    except FileNotFoundError:
        return None
    return now.st_size, now.st_mtime_ns
