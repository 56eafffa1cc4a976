"""Joins intro and takes sample by sample, without encoding a frame of the recording.

1. read the takes' tables and parameter sets
2. get the intro in the takes' format; it is encoded once and kept in the media cache
3. join all parts and write the video in one pass
4. verify that it is what was planned, and decodes at its joins (`verify_copy`)

Raises `NotApplicable` for a video that cannot be made so: the next strategy is tried.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path

from ezrec.media.ffmpeg import filters
from ezrec.media.ffmpeg.colours import resolved
from ezrec.media.ffmpeg.probe import Media
from ezrec.media.ffmpeg.runner import Log
from ezrec.media.ffmpeg.tools import NotApplicable, Tools
from ezrec.media.mp4 import copyable, h264, index, timeline, writer
from ezrec.media.mp4.copyable import SoundForm, StreamInfo
from ezrec.media.mp4.timeline import Part
from ezrec.media.render.assets import USUAL_SOUND, AssetMaker, as_not_applicable
from ezrec.media.render.encode_segments import SegmentEncoder
from ezrec.media.render.logo_segments import LogoSegments, MainVideo
from ezrec.media.render.verify_copy import CopyVerifier
from ezrec.system.task import CancelToken

_LONGEST_GAP_S = Fraction(60, 1000)
_MOST_GAPS = 1000
_RATE_FROM = 300  # frames at the beginning, whose usual length is the camera's
_WRITING = 0.2  # of the work, if something is encoded first


@dataclass(frozen=True, slots=True)
class JoinResult:
    """What was written, for the report and for the last check. `intro`: none, made or cached."""

    frames: int
    seconds: float
    sound: bool
    joins: int
    gaps: Sequence[dict[str, object]]
    intro: str


@dataclass(frozen=True, slots=True)
class Joiner:
    """Makes the video `output` by copying. `cache` None: an intro is made for this video alone, beside it."""

    tools: Tools
    output: Path
    cache: Path | None
    token: CancelToken
    log: Log
    progress: Callable[[float], None] = field(default=lambda done: None)

    def join(self, takes: Sequence[Media], intro: Media | None, logo: LogoSegments | None) -> JoinResult:
        """Join the intro and the takes; `logo` makes the frames that show a logo."""
        with as_not_applicable():
            infos = [self._stream_info(take) for take in takes]
            sets, form = _agreed(infos)
            has_sound = any(media.info.has_audio for media in (*takes, *((intro,) if intro else ())))
            sound = (form or USUAL_SOUND) if has_sound else None
            if logo:
                main = logo.main_video(infos, sets, has_sound, self._report_encoding)
            else:
                numbered = list(enumerate(infos, 1))
                parts = [
                    Part.whole(number, one.tables.picture, one.tables.sound if sound else None)
                    for number, one in numbered
                ]
                main = MainVideo(parts, {number: one.path for number, one in numbered}, sets, infos[0])
            share = _WRITING if logo else 1.0
            return self._joined(main, takes[0].rate, intro, sound, _colours(infos), written_share=share)

    def join_encoded(self, video: filters.Video, encoder: SegmentEncoder) -> JoinResult:
        """Join the intro and the segments that `encoder` makes of the takes; nothing is copied from those."""
        with as_not_applicable():
            sound = USUAL_SOUND if video.target.sound else None
            main = encoder.main_video(self._report_encoding)
            colours = _colours([main.like])
            return self._joined(
                main, video.takes[0].rate, video.intro, sound, colours, written_share=_WRITING
            )

    def prepare(self, take: Media, intro: Media) -> None:
        """Put the intro into the cache, in the format of recordings like this one."""
        with as_not_applicable():
            info = self._stream_info(take)
            sound = info.sound or (USUAL_SOUND if intro.info.has_audio else None)
            maker = self._asset_maker
            with maker.intro(intro, maker.encode_format(take.rate, info, info.sets, sound)):
                pass

    def _joined(
        self,
        main: MainVideo,
        rate: Fraction,
        intro: Media | None,
        sound: SoundForm | None,
        colours: index.Colours | None,
        *,
        written_share: float,
    ) -> JoinResult:
        """Put the intro first, write the video, and verify it."""
        with contextlib.ExitStack() as kept:
            parts, sources, sets, how = main.parts, main.sources, main.sets, "none"
            if intro:
                maker = self._asset_maker
                encode_format = maker.encode_format(rate, main.like, sets, sound)
                path, is_new = kept.enter_context(maker.intro(intro, encode_format))
                made, how = maker.checked(path, encode_format), "made" if is_new else "cached"
                parts = [Part.whole(0, made.tables.picture, made.tables.sound if sound else None), *parts]
                sources, sets = {0: path, **sources}, sets | made.sets
            silence = kept.enter_context(self._asset_maker.silence(sound)) if sound else b""
            picture, begins = timeline.picture(parts, timeline.picture_scale(parts))
            sps = main.like.sps
            avcc = h264.write_avcc(sets)
            picture_track = index.PictureTrack(picture, sps.width, sps.height, avcc, colours)
            sound_track = None
            if sound:
                packets = timeline.sound(parts, begins, picture, sound.rate, len(silence))
                sound_track = index.SoundTrack(packets, sound.channels)

            def written(done: float) -> None:
                self.token.check()
                self.tools.throttle.pause(self.token.check)
                self.progress(1 - written_share + done * written_share)

            writer.write(self.output, picture_track, sound_track, sources, silence, written)
            joins = _joins(parts, each_span=main.each_span)
            CopyVerifier(self.tools, self.output, self.token, self.log).verify(
                picture, sound_track.timeline if sound_track else None, joins
            )
        seconds = picture.end / picture.scale
        return JoinResult(len(picture), seconds, bool(sound), len(joins), tuple(_gaps(picture)), how)

    @property
    def _asset_maker(self) -> AssetMaker:
        return AssetMaker(self.tools, self.output, self.cache, self.token, self.log)

    def _stream_info(self, take: Media) -> StreamInfo:
        self.token.check()
        if take.stream_info:
            return take.stream_info
        try:
            return copyable.read(take.path)
        except ValueError as fault:
            raise NotApplicable(f"{take.path.name}: {fault}") from None

    def _report_encoding(self, done: float) -> None:
        self.progress(done * (1 - _WRITING))


def _agreed(stream_infos: Sequence[StreamInfo]) -> tuple[h264.Sets, SoundForm | None]:
    """The parameter sets and the sound of all takes; their pictures and their sound have to be alike."""
    first = stream_infos[0]
    sets = first.sets
    for other in stream_infos[1:]:
        sets |= other.sets
        if (other.sps.width, other.sps.height, other.sps.full_range) != (
            first.sps.width, first.sps.height, first.sps.full_range,
        ):  # fmt: skip
            raise NotApplicable("the takes differ in size")
    forms = {stream_info.sound for stream_info in stream_infos if stream_info.sound}
    if len(forms) > 1:
        raise NotApplicable("the takes differ in their kind of sound")
    return sets, forms.pop() if forms else None


def _colours(stream_infos: Sequence[StreamInfo]) -> index.Colours | None:
    """For the header, complete: browsers pass over what a camera says in part. None where takes differ."""
    found = {(resolved(one.sps.colours, one.sps.height), one.sps.full_range) for one in stream_infos}
    return index.Colours(*found.pop()) if len(found) == 1 else None


def _joins(parts: Sequence[Part], *, each_span: bool) -> list[int]:
    """The number of the first frame after each join."""
    found, at = list[int](), 0
    for part in parts:
        for number, span in enumerate(part.spans):
            if at and (each_span or not number):
                found.append(at)
            at += span.count
    return found


def _gaps(picture: timeline.TrackTimeline) -> Iterator[dict[str, object]]:
    """Where the picture stands still because the camera sent no frames; at most `_MOST_GAPS`.

    A gap is longer than 60 ms and than one and a half usual frames: a slow camera's frames are no gaps.
    """
    lengths = sorted(after - start for start, after in pairwise(picture.starts[:_RATE_FROM]))
    usual = lengths[len(lengths) // 2] if lengths else 0
    limit = max(int(_LONGEST_GAP_S * picture.scale), usual * 3 // 2)
    gaps = ((start, after - start) for start, after in pairwise(picture.starts) if after - start > limit)
    for start, lasts in islice(gaps, _MOST_GAPS):
        yield {
            "at_s": round(start / picture.scale, 3),
            "lasts_s": round(lasts / picture.scale, 3),
        }
