"""The rung *copy*: intro and takes joined sample by sample, without encoding a frame of the recording.

1. read the takes' own tables and parameter sets
2. have the intro made to their measure, once (it is kept in the media cache)
3. lay all parts end to end and write the film in one pass
4. show that it is what was planned, and decodes at its joins (`proof`)

Raises `NotApplicable` for a film that this cannot make rightly: the next rung does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path

from ezrec.media.ffmpeg import filters
from ezrec.media.ffmpeg.probe import Media
from ezrec.media.ffmpeg.runner import Log
from ezrec.media.ffmpeg.tools import NotApplicable, Tools
from ezrec.media.mp4 import copyable, h264, timeline, writer
from ezrec.media.mp4.copyable import SoundForm, StreamInfo
from ezrec.media.mp4.timeline import Part
from ezrec.media.render.assets import USUAL_SOUND, AssetMaker, named
from ezrec.media.render.encode_segments import Encode
from ezrec.media.render.logo_segments import Parts
from ezrec.media.render.smart_render import LogoRuns, Overlay
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
    """Makes one film by copying. `cache` None: an intro is made for this film alone, beside it."""

    tools: Tools
    part: Path
    cache: Path | None
    switch: CancelToken
    log: Log
    tell: Callable[[float], None] = field(default=lambda done: None)
    _share: float = 1.0

    def join(
        self,
        takes: Sequence[Media],
        intro: Media | None,
        overlay: Overlay | None = None,
        anew: Parts | None = None,
    ) -> Joined:
        with named(), contextlib.ExitStack() as kept:
            shop, materials = self._workshop, [self._material(take) for take in takes]
            sets, form = _agreed(materials)
            has_sound = any(media.info.has_audio for media in (*takes, *((intro,) if intro else ())))
            sound = (form or USUAL_SOUND) if has_sound else None
            sources = {number: material.path for number, material in enumerate(materials, 1)}
            parts, how = list[Part](), "none"
            made_anew, anew_of = None, (0, 0)
            if anew:
                numbered = list(enumerate(materials, 1))
                made_anew = anew.encoded(numbered, len(sources) + 1, sound is not None, self._tell_runs)
                assert made_anew.sets
                sets, sources = made_anew.sets, sources | made_anew.sources
            if intro:
                measure = shop.measure(takes[0], materials[0], sets, sound)
                sources[0], fresh = kept.enter_context(shop.intro(intro, measure))
                made, how = shop.checked(sources[0], measure), "made" if fresh else "cached"
                sets |= made.sets
                parts.append(Part.whole(0, made.footage.picture, made.footage.sound if sound else None))
            if made_anew:
                parts += made_anew.parts
            elif overlay:
                measure = shop.measure(takes[0], materials[0], sets, None)
                runs = LogoRuns(shop, overlay, measure, len(sources) + 1, self._tell_runs, {})
                if overlay.kept is None:
                    kept.callback(_remove, runs.sources)
                parts += runs.parts(list(enumerate(materials, 1)), sound is not None)
                sets, sources = sets | runs.sets if runs.sets else sets, sources | runs.sources
                anew_of = (runs.found, runs.made)
            else:
                parts += [
                    Part.whole(number, material.footage.picture, material.footage.sound if sound else None)
                    for number, material in enumerate(materials, 1)
                ]
            self._share = _WRITING if overlay or anew else 1.0
            joined = self._written(
                parts, sources, sets, materials[0].sps, sound,
                each_stretch=not anew,  # what one encoder made of a take goes together
            )  # fmt: skip
            return replace(joined, intro=how, runs_found=anew_of[0], runs_made=anew_of[1])

    def join_encoded(self, film: filters.Video, encode: Encode) -> Joined:
        """A film of which nothing is copied: the intro, and the parts that `encode` makes or finds."""
        with named(), contextlib.ExitStack() as kept:
            shop, sound = self._workshop, USUAL_SOUND if film.target.sound else None
            whole = encode.whole(1, self._tell_runs)
            parts, sources, sets, how = [whole.part], whole.sources, whole.sets, "none"
            if film.intro:
                measure = shop.measure(film.takes[0], whole.material, sets, sound)
                sources[0], fresh = kept.enter_context(shop.intro(film.intro, measure))
                made, how = shop.checked(sources[0], measure), "made" if fresh else "cached"
                sets |= made.sets
                parts.insert(0, Part.whole(0, made.footage.picture, made.footage.sound if sound else None))
            self._share = _WRITING
            joined = self._written(parts, sources, sets, whole.material.sps, sound, each_stretch=True)
            return replace(joined, intro=how, gaps=())  # its frames are all of one length

    def _written(
        self,
        parts: Sequence[Part],
        sources: Mapping[int, Path],
        sets: h264.Sets,
        sps: h264.Sps,
        sound: SoundForm | None,
        *,
        each_stretch: bool,
    ) -> Joined:
        """Laid end to end, written, and shown to be what was planned."""
        with self._workshop.silence(sound) if sound else contextlib.nullcontext(b"") as silence:
            film = timeline.picture(parts, timeline.picture_scale(parts))
            shown = writer.PictureTrack(film[0], sps.width, sps.height, h264.write_avcc(sets))
            heard = self._heard(parts, film, sound, silence)
            writer.write(self.part, shown, heard, sources, silence, self._told)
        lane, joins = film[0], _firsts(parts, each_stretch=each_stretch)
        CopyVerifier(self.tools, self.part, self.switch, self.log).show(
            lane, heard.lane if heard else None, joins
        )
        return Joined(len(lane), lane.end / lane.scale, sound is not None, len(joins), tuple(_gaps(lane)))

    def prepare(self, take: Media, intro: Media) -> None:
        """Have the intro ready for recordings like this one."""
        with named():
            material = self._material(take)
            sound = material.sound or (USUAL_SOUND if intro.info.has_audio else None)
            with self._workshop.intro(intro, self._workshop.measure(take, material, material.sets, sound)):
                pass

    @property
    def _workshop(self) -> AssetMaker:
        return AssetMaker(self.tools, self.part, self.cache, self.switch, self.log)

    def _material(self, take: Media) -> StreamInfo:
        self.switch.check()
        if take.material:
            return take.material
        try:
            return copyable.read(take.path)
        except ValueError as fault:
            raise NotApplicable(f"{take.path.name}: {fault}") from None

    def _heard(
        self,
        parts: Sequence[Part],
        film: tuple[timeline.TrackTimeline, list[int]],
        sound: SoundForm | None,
        silence: bytes,
    ) -> writer.SoundTrack | None:
        if not sound:
            return None
        lane = timeline.sound(parts, film[1], film[0], sound.rate, len(silence))
        return writer.SoundTrack(lane, sound.channels)

    def _tell_runs(self, done: float) -> None:
        self.tell(done * (1 - _WRITING))

    def _told(self, done: float) -> None:
        self.switch.check()
        self.tools.pace.rest(self.switch.check)
        self.tell(1 - self._share + done * self._share)


def _agreed(materials: Sequence[StreamInfo]) -> tuple[h264.Sets, SoundForm | None]:
    """What all takes have in common: it has to be one picture and one kind of sound."""
    first = materials[0]
    sets = first.sets
    for other in materials[1:]:
        sets |= other.sets
        if (other.sps.width, other.sps.height, other.sps.full_range) != (
            first.sps.width, first.sps.height, first.sps.full_range,
        ):  # fmt: skip
            raise NotApplicable("the takes differ in size")
    forms = {material.sound for material in materials if material.sound}
    if len(forms) > 1:
        raise NotApplicable("the takes differ in their kind of sound")
    return sets, forms.pop() if forms else None


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


def _gaps(lane: timeline.TrackTimeline) -> Iterator[dict[str, object]]:
    """Where the picture stands still because the camera gave no frames; a slow camera's own pace is none."""
    lengths = sorted(after - start for start, after in pairwise(lane.starts[:_PACE_FROM]))
    usual = lengths[len(lengths) // 2] if lengths else 0
    limit = max(int(_LONGEST_GAP_S * lane.scale), usual * 3 // 2)
    gaps = ((start, after - start) for start, after in pairwise(lane.starts) if after - start > limit)
    for start, lasts in islice(gaps, _MOST_GAPS):
        yield {"at_s": round(start / lane.scale, 3), "lasts_s": round(lasts / lane.scale, 3)}
