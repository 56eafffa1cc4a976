"""Tries the strategies that can make a finished video, the cheapest first.

A strategy that does not apply to the video, or whose result fails its check, gives way to the next; the
report beside the video says why. How each strategy works is described in its own module.
"""

from __future__ import annotations

import contextlib
import shutil
import struct
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from ezrec.domain.branding import lacking
from ezrec.domain.encoders import SOFTWARE
from ezrec.domain.errors import Busy, Reject, Retry, Stopped
from ezrec.domain.ports import MediaInfo, RenderPlan
from ezrec.media.ffmpeg import filters
from ezrec.media.ffmpeg.inputs import INTRO, LOGO, RESULT, TAKE, MediaKind
from ezrec.media.ffmpeg.probe import Media
from ezrec.media.ffmpeg.runner import FfmpegFailed, Log, TookTooLong
from ezrec.media.ffmpeg.tools import NotApplicable, Tools, VerificationError
from ezrec.media.render import assets
from ezrec.media.render.artefacts import FOLDER, Artefacts
from ezrec.media.render.assets import AssetMaker
from ezrec.media.render.copy import Joiner, JoinResult
from ezrec.media.render.encode_segments import SegmentEncoder
from ezrec.media.render.logo_segments import LogoSegments, held
from ezrec.media.render.report import REPORT as REPORT
from ezrec.media.render.report import RenderReport
from ezrec.media.render.verify_output import ExpectedVideo, OutputVerifier
from ezrec.system.task import CancelToken

_WAIT_S = 60.0  # for another process that makes a segment: it makes no further one, and gives up a long one
_AGAIN_S = 30.0
_ODD_TABLES = (ArithmeticError, LookupError, ValueError, struct.error)


class Strategies:
    """Makes one video: from a plan to a verified file, `output`."""

    def __init__(
        self,
        tools: Tools,
        plan: RenderPlan,
        output: Path,
        progress: Callable[[float], None],
        token: CancelToken,
        log: Log,
    ) -> None:
        self._tools, self._plan, self._output = tools, plan, output
        self._progress, self._token, self._log = progress, token, log
        self._reported = 0.0
        self._report = RenderReport(left_out=list(plan.notes))
        self._kept = contextlib.ExitStack()

    def run(self) -> MediaInfo:
        with self._kept, self._report.timed("all"):
            with self._report.timed("look"):
                video = self._inspect_inputs()
            info = self._made(video)
        self._report.checks |= {"frames": info.frames, "duration_s": info.duration_s, "sound": info.has_audio}
        self._write_report()
        return info

    def accompany(self) -> None:
        """Make the artefacts of the finished video. Whatever goes wrong, the video stays."""
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

    def _inspect_inputs(self) -> filters.Video:
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
        """All logos as one picture, with its place; None if there are none."""
        plan = self._plan
        frame = (target.width, target.height)
        logos = assets.placed(
            self._tools, frame, plan.logo, plan.sponsors, plan.options.logo_layout, self._token
        )
        if not logos:
            return None
        try:
            return self._kept.enter_context(self._asset_maker.overlay(logos))
        except (NotApplicable, FfmpegFailed) as fault:
            if isinstance(fault, FfmpegFailed) and not fault.lasting:
                raise
            raise Reject(f"the logos cannot be put together: {fault}", LOGO.remedy) from None

    def _made(self, video: filters.Video) -> MediaInfo:
        strategies: tuple[tuple[str, Callable[[filters.Video], MediaInfo]], ...] = (
            ("copy", self._copy),
            ("smart", self._smart),
            ("parts", self._parts),
            ("remux", self._remux),
            ("encode in parts", self._encode_in_parts),
        )
        for name, make in strategies:
            try:
                self._report.strategy = name
                with self._report.timed(name):
                    return make(video)
            except (NotApplicable, VerificationError, TookTooLong) as fault:
                self._pass_over(name, str(fault))
            except _ODD_TABLES as fault:  # tables that make no sense in an unforeseen way
                self._log.note(traceback.format_exc())
                self._pass_over(name, f"{type(fault).__name__}: {fault}")
            except FfmpegFailed as fault:
                if fault.passing:
                    raise
                self._pass_over(name, fault.last_word)
        self._report.strategy = "encode"
        with self._report.timed("encode"):
            return self._encode(video)

    def _pass_over(self, strategy: str, reason: str) -> None:
        self._report.why.append(f"{strategy}: {reason}")
        self._log.note(f"not by {strategy}: {reason}")

    def _copy(self, video: filters.Video) -> MediaInfo:
        """Copy the samples of the intro and the takes."""
        self._check_copyable(video)
        info = self._joined(video, None)
        self._report.why.append(
            "the logo is in the picture already" if self._plan.logo else "no logo is wanted"
        )
        return info

    def _smart(self, video: filters.Video) -> MediaInfo:
        """Copy all but the groups of pictures that show the logo."""
        show = video.show
        if not video.logo or show.is_always:
            raise NotApplicable("no logo is wanted for a part of the time only")
        self._check_copyable(replace(video, logo=None))
        spans = tuple(show.spans(sum(take.info.duration_s for take in video.takes)))
        with self._segments_folder() as folder:
            segments = LogoSegments(self._asset_maker, video.logo, folder, spans)
            info = self._joined(video, segments)
        self._report.checks |= {"parts_found": segments.found, "parts_made": segments.made}
        self._report.why.append(f"the logo is wanted {show}")
        return info

    def _parts(self, video: filters.Video) -> MediaInfo:
        """Encode segment by segment; some were encoded during the recording."""
        if not video.logo or not video.show.is_always:
            raise NotApplicable("no logo is wanted all the time")
        if self._plan.parts is None:
            raise NotApplicable("there is no place to keep parts")
        self._check_copyable(replace(video, logo=None))
        segments = LogoSegments(self._asset_maker, video.logo, self._plan.parts, encoder=self._encoder())
        with self._held(self._plan.parts):
            info = self._joined(video, segments)
        self._report_segments(segments)
        return info

    def _encode_in_parts(self, video: filters.Video) -> MediaInfo:
        """Encode all of it segment by segment, so that a kill costs one of them."""
        if self._plan.parts is None:
            raise NotApplicable("there is no place to keep parts")
        with self._held(self._plan.parts):
            encoder = SegmentEncoder(self._asset_maker, video, self._plan.parts, self._encoder())
            try:
                info = self._verified(self._joiner.join_encoded(video, encoder))
            except (VerificationError, FfmpegFailed) as fault:
                if not (isinstance(fault, FfmpegFailed) and fault.passing):
                    encoder.forget()  # one of them is bad: the next try must not find it
                raise
        self._report_segments(encoder)
        if encoder.forgiven:
            self._report.why.append(f"passed over what cannot be decoded: {', '.join(encoder.forgiven)}")
        return info

    @contextlib.contextmanager
    def _segments_folder(self) -> Iterator[Path]:
        """The folder that keeps segments for a further try; without one, a folder for this try alone."""
        folder = self._plan.parts or self._asset_maker.aside("logo")
        try:
            with self._held(folder):
                yield folder
        finally:
            if self._plan.parts is None:
                shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def _held(self, folder: Path) -> Iterator[None]:
        try:
            with held(folder, _WAIT_S, self._token):
                yield
        except Busy as fault:
            raise Retry(f"a part is being made: {fault}", _AGAIN_S, blameless=True) from None

    def _report_segments(self, segments: LogoSegments | SegmentEncoder) -> None:
        found = f"{segments.found} of {segments.found + segments.made} parts were there already"
        self._report.why.append(f"{found}; {segments.made_s:.0f} s were left to encode")
        self._report.encoder = segments.encoder
        self._report.checks |= {"parts_found": segments.found, "parts_made": segments.made}
        self._log.note(found)

    @property
    def _asset_maker(self) -> AssetMaker:
        return AssetMaker(self._tools, self._output, self._plan.options.cache, self._token, self._log)

    @property
    def _joiner(self) -> Joiner:
        cache = self._plan.options.cache
        return Joiner(self._tools, self._output, cache, self._token, self._log, self._report_progress)

    def _joined(self, video: filters.Video, logo: LogoSegments | None) -> MediaInfo:
        return self._verified(self._joiner.join(video.takes, video.intro, logo))

    def _verified(self, joined: JoinResult) -> MediaInfo:
        info = self._verifier.check_tables(ExpectedVideo(joined.seconds, joined.frames, joined.sound))
        self._report.gaps = list(joined.gaps)
        self._report.intro = joined.intro
        self._report.checks["joins_decoded"] = joined.joins
        return info

    def _remux(self, video: filters.Video) -> MediaInfo:
        """Let FFmpeg copy one take; it may have B-frames."""
        self._check_copyable(video)
        if len(video.parts) != 1:
            raise NotApplicable("more than one part")
        take = video.takes[0]
        if take.is_cut:
            raise NotApplicable("it still holds what its owner cut off")
        info = take.info
        argv = filters.copy(self._tools.ffmpeg, take, take.path.stat().st_size, self._output)
        self._run(argv, info.duration_s)
        return self._verifier.check_decoding(
            ExpectedVideo(info.duration_s, info.frames, info.has_audio, take.rate)
        )

    def _check_copyable(self, video: filters.Video) -> None:
        if video.logo:
            raise NotApplicable("it gets a logo")
        for take in video.takes:
            if take.varies:
                raise NotApplicable(f"{take.path.name}: its picture changes in size")
            if not _is_publishable(take):
                raise NotApplicable(f"{take.path.name}: not in a form that every browser plays")

    def _encode(self, video: filters.Video) -> MediaInfo:
        """Encode all of it in one pass; with x264 if the hardware encoder fails."""
        encoding = filters.Encoding(
            self._output, self._tools.bitrate, self._tools.preset, encoder=self._encoder()
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
        """Encode; after a failure once more, passing over what cannot be decoded."""
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
        info = self._verifier.check_decoding(
            ExpectedVideo(seconds, video.frames, video.target.sound, video.target.rate, joins)
        )
        self._report.checks["joins_decoded"] = len(joins)
        return info

    @property
    def _verifier(self) -> OutputVerifier:
        return OutputVerifier(self._tools, self._output, self._token, self._log)

    def _encoder(self) -> str:
        choice = self._tools.encoders.choose(self._log)
        if choice.why:
            self._pass_over("hardware", choice.why)
        return choice.name

    def _inspect(self, kind: MediaKind, path: Path) -> Media:
        return self._tools.inspect(kind, path, self._token)

    def _report_progress(self, done: float) -> None:
        """Progress never goes back when another strategy begins."""
        self._reported = max(self._reported, min(1.0, done))
        self._progress(self._reported)

    def _run(self, argv: list[str], seconds: float) -> None:
        self._tools.run(argv, self._output, seconds, self._token, self._log, self._report_progress)


def _is_publishable(take: Media) -> bool:
    """True for what every browser plays."""
    return (
        take.info.video_codec == "h264"
        and take.pix_fmt in ("yuv420p", "yuvj420p")
        and take.audio_codec in ("", "aac")
        and not take.appearance.colours.is_hdr
    )
