"""The strategy *copy*: intro and takes joined sample by sample, without encoding a frame of the recording.

1. read the takes' own tables and parameter sets
2. have the intro made to their measure, once (it is kept in the media cache)
3. lay all parts end to end and write the video in one pass
4. show that it is what was planned, and decodes at its joins (`verify_copy`)

Raises `NotApplicable` for a video that this cannot make: the next strategy is tried.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path

from ezrec.media.ffmpeg import filters
from ezrec.media.ffmpeg.colours import resolved
from ezrec.media.ffmpeg.probe import Media
from ezrec.media.ffmpeg.runner import Log
from ezrec.media.ffmpeg.tools import NotApplicable, Tools
from ezrec.media.mp4 import copyable, h264, timeline, writer
from ezrec.media.mp4.copyable import SoundForm, StreamInfo
from ezrec.media.mp4.timeline import Part
from ezrec.media.render.assets import USUAL_SOUND, AssetMaker, named
from ezrec.media.render.encode_segments import SegmentEncoder
from ezrec.media.render.logo_segments import LogoSegments
from ezrec.media.render.smart_render import LogoRunEncoder, Overlay
from ezrec.media.render.verify_copy import CopyVerifier
from ezrec.system.task import CancelToken

_LONGEST_GAP_S = Fraction(60, 1000)
_MOST_GAPS = 1000
_PACE_FROM = 300  # frames at the beginning that tell the camera's pace
_WRITING = 0.2  # of the work, where there is a logo to be encoded first


@dataclass(frozen=True, slots=True)
class Joined:
    """What was written, for those who check it."""

    frames: int
    seconds: float
    sound: bool
    joins: int
    gaps: Sequence[dict[str, object]]
    intro: str = "none"
    runs_found: int = 0
    runs_made: int = 0


@dataclass(slots=True)
class Joiner:
    """Makes one video by copying. `cache` None: an intro is made for this video alone, beside it."""

    tools: Tools
    part: Path
    cache: Path | None
    token: CancelToken
    log: Log
    tell: Callable[[float], None] = field(default=lambda done: None)
    _share: float = 1.0

    def join(
        self,
        takes: Sequence[Media],
        intro: Media | None,
        overlay: Overlay | None = None,
        anew: LogoSegments | None = None,
    ) -> Joined:
        with named(), contextlib.ExitStack() as kept:
            maker, stream_infos = self._asset_maker, [self._stream_info(take) for take in takes]
            sets, form = _agreed(stream_infos)
            has_sound = any(media.info.has_audio for media in (*takes, *((intro,) if intro else ())))
            sound = (form or USUAL_SOUND) if has_sound else None
            sources = {number: stream_info.path for number, stream_info in enumerate(stream_infos, 1)}
            parts, how = list[Part](), "none"
            made_anew, anew_of = None, (0, 0)
            if anew:
                numbered = list(enumerate(stream_infos, 1))
                made_anew = anew.encoded(numbered, len(sources) + 1, sound is not None, self._tell_runs)
                assert made_anew.sets
                sets, sources = made_anew.sets, sources | made_anew.sources
            if intro:
                measure = maker.measure(takes[0], stream_infos[0], sets, sound)
                sources[0], fresh = kept.enter_context(maker.intro(intro, measure))
                made, how = maker.checked(sources[0], measure), "made" if fresh else "cached"
                sets |= made.sets
                parts.append(Part.whole(0, made.tables.picture, made.tables.sound if sound else None))
            if made_anew:
                parts += made_anew.parts
            elif overlay:
                measure = maker.measure(takes[0], stream_infos[0], sets, None)
                runs = LogoRunEncoder(maker, overlay, measure, len(sources) + 1, self._tell_runs, {})
                if overlay.kept is None:
                    kept.callback(_remove, runs.sources)
                parts += runs.parts(list(enumerate(stream_infos, 1)), sound is not None)
                sets, sources = sets | runs.sets if runs.sets else sets, sources | runs.sources
                anew_of = (runs.found, runs.made)
            else:
                parts += [
                    Part.whole(
                        number, stream_info.tables.picture, stream_info.tables.sound if sound else None
                    )
                    for number, stream_info in enumerate(stream_infos, 1)
                ]
            self._share = _WRITING if overlay or anew else 1.0
            joined = self._written(
                parts, sources, sets, stream_infos[0].sps, sound, _colours(stream_infos),
                each_stretch=not anew,  # what one encoder made of a take goes together
            )  # fmt: skip
            return replace(joined, intro=how, runs_found=anew_of[0], runs_made=anew_of[1])

    def join_encoded(self, video: filters.Video, encode: SegmentEncoder) -> Joined:
        """A video of which nothing is copied: the intro, and the parts that `encode` makes or finds."""
        with named(), contextlib.ExitStack() as kept:
            maker, sound = self._asset_maker, USUAL_SOUND if video.target.sound else None
            whole = encode.whole(1, self._tell_runs)
            parts, sources, sets, how = [whole.part], whole.sources, whole.sets, "none"
            if video.intro:
                measure = maker.measure(video.takes[0], whole.stream_info, sets, sound)
                sources[0], fresh = kept.enter_context(maker.intro(video.intro, measure))
                made, how = maker.checked(sources[0], measure), "made" if fresh else "cached"
                sets |= made.sets
                parts.insert(0, Part.whole(0, made.tables.picture, made.tables.sound if sound else None))
            self._share = _WRITING
            joined = self._written(
                parts, sources, sets, whole.stream_info.sps, sound, _colours([whole.stream_info]),
                each_stretch=True,
            )  # fmt: skip
            return replace(joined, intro=how, gaps=())  # its frames are all of one length

    def _written(
        self,
        parts: Sequence[Part],
        sources: Mapping[int, Path],
        sets: h264.Sets,
        sps: h264.Sps,
        sound: SoundForm | None,
        colours: writer.Colours | None,
        *,
        each_stretch: bool,
    ) -> Joined:
        """Laid end to end, written, and shown to be what was planned."""
        with self._asset_maker.silence(sound) if sound else contextlib.nullcontext(b"") as silence:
            video = timeline.picture(parts, timeline.picture_scale(parts))
            shown = writer.PictureTrack(video[0], sps.width, sps.height, h264.write_avcc(sets), colours)
            heard = self._heard(parts, video, sound, silence)
            writer.write(self.part, shown, heard, sources, silence, self._told)
        picture, joins = video[0], _firsts(parts, each_stretch=each_stretch)
        CopyVerifier(self.tools, self.part, self.token, self.log).show(
            picture, heard.timeline if heard else None, joins
        )
        return Joined(
            len(picture),
            picture.end / picture.scale,
            sound is not None,
            len(joins),
            tuple(_gaps(picture)),
        )

    def prepare(self, take: Media, intro: Media) -> None:
        """Have the intro ready for recordings like this one."""
        with named():
            stream_info = self._stream_info(take)
            sound = stream_info.sound or (USUAL_SOUND if intro.info.has_audio else None)
            with self._asset_maker.intro(
                intro, self._asset_maker.measure(take, stream_info, stream_info.sets, sound)
            ):
                pass

    @property
    def _asset_maker(self) -> AssetMaker:
        return AssetMaker(self.tools, self.part, self.cache, self.token, self.log)

    def _stream_info(self, take: Media) -> StreamInfo:
        self.token.check()
        if take.stream_info:
            return take.stream_info
        try:
            return copyable.read(take.path)
        except ValueError as fault:
            raise NotApplicable(f"{take.path.name}: {fault}") from None

    def _heard(
        self,
        parts: Sequence[Part],
        video: tuple[timeline.TrackTimeline, list[int]],
        sound: SoundForm | None,
        silence: bytes,
    ) -> writer.SoundTrack | None:
        if not sound:
            return None
        packets = timeline.sound(parts, video[1], video[0], sound.rate, len(silence))
        return writer.SoundTrack(packets, sound.channels)

    def _tell_runs(self, done: float) -> None:
        self.tell(done * (1 - _WRITING))

    def _told(self, done: float) -> None:
        self.token.check()
        self.tools.throttle.pause(self.token.check)
        self.tell(1 - self._share + done * self._share)


def _agreed(stream_infos: Sequence[StreamInfo]) -> tuple[h264.Sets, SoundForm | None]:
    """What all takes have in common: it has to be one picture and one kind of sound."""
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


def _colours(stream_infos: Sequence[StreamInfo]) -> writer.Colours | None:
    """For the header, complete: browsers pass over what a camera says in part. None where takes differ."""
    found = {
        (resolved(one.sps.colours, one.sps.height), one.sps.full_range) for one in stream_infos
    }  # fmt: skip
    return writer.Colours(*found.pop()) if len(found) == 1 else None


def _remove(sources: Mapping[int, Path]) -> None:
    for path in sources.values():
        path.unlink(missing_ok=True)


def _firsts(parts: Sequence[timeline.Part], *, each_stretch: bool) -> list[int]:
    """The number of the first frame behind each join."""
    found, at = list[int](), 0
    for part in parts:
        for number, stretch in enumerate(part.stretches):
            if at and (each_stretch or not number):
                found.append(at)
            at += stretch.count
    return found


def _gaps(picture: timeline.TrackTimeline) -> Iterator[dict[str, object]]:
    """Where the picture stands still because the camera gave no frames; a slow camera's own pace is none."""
    lengths = sorted(after - start for start, after in pairwise(picture.starts[:_PACE_FROM]))
    usual = lengths[len(lengths) // 2] if lengths else 0
    limit = max(int(_LONGEST_GAP_S * picture.scale), usual * 3 // 2)
    gaps = ((start, after - start) for start, after in pairwise(picture.starts) if after - start > limit)
    for start, lasts in islice(gaps, _MOST_GAPS):
        yield {
            "at_s": round(start / picture.scale, 3),
            "lasts_s": round(lasts / picture.scale, 3),
        }
