"""The full encode, segment by segment: for takes of which nothing can be copied.

Each segment is kept in a folder beside the takes; its name is a digest of all that goes into it, so a kill
costs one segment at most. Where two segments meet, both must have decoded the same pictures (`segment_plan`).
If they have not, or if a take cannot be cut, `NotApplicable` is raised, and the video is encoded in one pass.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import operator
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

from ezrec.domain.encoders import SOFTWARE
from ezrec.media.ffmpeg import arguments, filters
from ezrec.media.ffmpeg.probe import Media
from ezrec.media.ffmpeg.runner import FfmpegFailed
from ezrec.media.ffmpeg.tools import NotApplicable
from ezrec.media.mp4 import copyable, keyframes, samples
from ezrec.media.mp4.copyable import StreamInfo
from ezrec.media.mp4.keyframes import Keys
from ezrec.media.mp4.samples import Track
from ezrec.media.mp4.timeline import Part, SampleSpan
from ezrec.media.render import segment_plan
from ezrec.media.render.assets import PLACEHOLDER, AssetMaker
from ezrec.media.render.logo_plan import MOST_PARTS, PART_S
from ezrec.media.render.logo_segments import MainVideo, frames_digest
from ezrec.media.render.segment_plan import Recipe
from ezrec.system import durable, plain_files

_LONGEST_IN_ONE_S = 2 * PART_S
_SPARE_BYTES = 64 << 20
_DIGESTS = ".told"  # the ending of a segment's frame digests
_LARGEST_DIGESTS = 64 << 20
_SOUND_SHARE = 0.02  # of the work


@dataclass(slots=True)
class SegmentEncoder:
    """Makes the segments of one video, or finds them. The caller holds `folder`.

    `forgiven`: at which seconds of the takes a segment passes over what cannot be decoded.
    """

    maker: AssetMaker
    video: filters.Video
    folder: Path
    encoder: str = SOFTWARE
    found: int = 0
    made: int = 0
    made_s: float = 0.0
    forgiven: list[str] = field(default_factory=list)
    _used: list[Path] = field(default_factory=list)

    def main_video(self, progress: Callable[[float], None]) -> MainVideo:
        """All takes as one part. The first segment decides on size and profile: the others are like it."""
        planned = self._planned()
        self._check_room(planned)
        target, total, at = self.video.target, sum(recipe.cut.count for recipe, _ in planned), 0
        times = _even(target.rate, total)
        spans, made = list[SampleSpan](), list[_Segment]()
        for number, (recipe, keys) in enumerate(planned, 1):
            share = recipe.cut.count / total * (1 - _SOUND_SHARE)
            begun = at / total * (1 - _SOUND_SHARE)

            def report(done: float, begun: float = begun, share: float = share) -> None:
                progress(begun + share * done)

            one = self._have(recipe, keys, report)
            self._used.append(one.path)
            if made:
                _check_meeting(made[-1], one)
            made.append(one)
            picture = one.stream_info.tables.picture
            spans.append(SampleSpan(number, picture, 0, len(picture), times, at))
            at += len(picture)
            progress(begun + share)
        sources = {number: one.path for number, one in enumerate(made, 1)}
        sound = None
        if target.sound:
            number = len(made) + 1
            sources[number] = path = self._sound()
            self._used.append(path)
            sound = number, _sound_track(path)
        sets = functools.reduce(operator.or_, (one.stream_info.sets for one in made))
        return MainVideo([Part(times, tuple(spans), sound)], sources, sets, made[0].stream_info)

    def forget(self) -> None:
        """Remove what was found and made."""
        for path in self._used:
            path.unlink(missing_ok=True)
            _digests_of(path).unlink(missing_ok=True)

    def _planned(self) -> list[tuple[Recipe, Keys]]:
        target, found, before = self.video.target, list[tuple[Recipe, Keys]](), 0
        tools = self.maker.tools
        encode_format = arguments.segment_format(target, tools.bitrate, tools.preset, self.encoder)
        for take in self.video.takes:
            if take.is_cut and take.offset_s:
                raise NotApplicable(f"{take.path.name}: its owner cut its beginning off")
            if take.varies:
                raise NotApplicable(f"{take.path.name}: its picture changes in size")
            keys = _keys(take)
            planned = segment_plan.plan_segments(keys.shown, take, target, PART_S)
            seconds = float(take.info.duration_s)
            if len(planned) == 1 and seconds > _LONGEST_IN_ONE_S:
                few = "no key frame" if len(keys.numbers) < 2 else "no key frame where it could be cut"
                raise NotApplicable(f"{take.path.name}: {few} after its first in {seconds:.0f} s")
            found += [
                (
                    Recipe(
                        take, cut, keys.track.scale, encode_format, self.video.logo, self.video.show, before,
                        cut is planned[-1],
                    ),
                    keys,
                )
                for cut in planned
            ]  # fmt: skip
            before += planned[-1].last
        if len(found) > MOST_PARTS:
            raise NotApplicable(f"more than {MOST_PARTS} parts of {PART_S} s")
        return found

    def _check_room(self, planned: Sequence[tuple[Recipe, Keys]]) -> None:
        """At the end there are the segments and the video."""
        seconds = sum(recipe.cut.count for recipe, _ in planned) / self.video.target.rate
        one = int(seconds * self.maker.tools.bitrate / 8)
        kept = sum(path.stat().st_size for path in self.folder.glob("*.mp4"))
        space = os.statvfs(self.folder)
        if space.f_bavail * space.f_frsize < max(0, one - kept) + one + _SPARE_BYTES:
            raise NotApplicable("there is no room for parts beside the video")

    def _have(self, recipe: Recipe, keys: Keys, progress: Callable[[float], None]) -> _Segment:
        """One segment: found, made by any recipe that would be tried, or made now."""
        recipes = self._alternatives(recipe)
        for one in recipes:
            with contextlib.suppress(FileNotFoundError, ValueError):
                found = self._checked(self._path(one, keys), one)
                self.found += 1
                self._forgive(one)
                return found
        for number, one in enumerate(recipes):
            try:
                return self._make(one, keys, progress)
            except (FfmpegFailed, NotApplicable) as fault:
                if number + 1 == len(recipes) or (isinstance(fault, FfmpegFailed) and fault.passing):
                    raise
                self.maker.log.note(f"frames {one.cut.first} to {one.cut.last} once more: {fault}")
                if one.encode_format.encoder != SOFTWARE:
                    self.maker.tools.encoders.distrust(self.encoder, str(fault))
                    self.encoder = SOFTWARE
        raise AssertionError

    def _alternatives(self, recipe: Recipe) -> list[Recipe]:
        """With the chosen encoder, then with x264, then passing over what cannot be decoded."""
        usual = replace(recipe, encode_format=replace(recipe.encode_format, encoder=SOFTWARE))
        best = replace(recipe, encode_format=replace(recipe.encode_format, encoder=self.encoder))
        return [*([best] if self.encoder != SOFTWARE else []), usual, replace(usual, tolerant=True)]

    def _forgive(self, recipe: Recipe) -> None:
        if recipe.tolerant:
            at = recipe.before + recipe.cut.first
            self.forgiven.append(f"{float(at / recipe.encode_format.target.rate):.0f} s")

    def _make(self, recipe: Recipe, keys: Keys, progress: Callable[[float], None]) -> _Segment:
        path, new, digests = self._path(recipe, keys), self.folder / ".new", self.folder / f".new{_DIGESTS}"
        seconds, maker = float(recipe.cut.count / recipe.encode_format.target.rate), self.maker
        try:
            argv = recipe.argv(maker.tools.ffmpeg, new, digests)
            maker.tools.run(argv, new, seconds, maker.token, maker.log, progress)
            self._checked(new, recipe)
            durable.sync_file(digests)
            durable.rename(digests, _digests_of(path))
            durable.sync_file(new)
            durable.rename(new, path)
        finally:
            new.unlink(missing_ok=True)
            digests.unlink(missing_ok=True)
        self.made += 1
        self.made_s += seconds
        self._forgive(recipe)
        return self._checked(path, recipe)

    def _checked(self, path: Path, recipe: Recipe) -> _Segment:
        stream_info = self.maker.checked(path, recipe.encode_format)
        if len(stream_info.tables.picture) != recipe.cut.count:
            raise NotApplicable(f"{len(stream_info.tables.picture)} frames came of {recipe.cut.count}")
        digests = plain_files.read(_digests_of(path), _LARGEST_DIGESTS).decode()
        return _Segment(path, recipe, stream_info, digests)

    def _path(self, recipe: Recipe, keys: Keys) -> Path:
        made_by, logo, take = (
            "\0".join(recipe.argv("", PLACEHOLDER, PLACEHOLDER)),
            self.video.logo,
            recipe.take,
        )
        if logo:
            digest = self.maker.tools.probe_cache.digest(logo.picture.path)
            made_by = made_by.replace(str(logo.picture.path.absolute()), digest)
        made_by = made_by.replace(str(take.path.absolute()), take.path.name)
        track, (begin, end) = keys.track, recipe.cut.keys
        last = keys.numbers[end] if end < len(keys.numbers) else len(track)
        return self.folder / f"{frames_digest(made_by, take.path, track, keys.numbers[begin], last)}.mp4"

    def _sound(self) -> Path:
        takes, target = self.video.takes, self.video.target
        recipe = "\0".join(segment_plan.sound("", takes, target, PLACEHOLDER, tolerant=False))
        digest = hashlib.blake2b(recipe.encode(), digest_size=12)
        for take in takes:
            if take.audio is not None:
                digest.update(keyframes.read(take.path).tracks[take.audio].sizes.tobytes())
        path, new = self.folder / f"{digest.hexdigest()}.m4a", self.folder / ".new"
        with contextlib.suppress(FileNotFoundError, ValueError):
            _sound_track(path)
            return path
        seconds = sum(target.frames(take) for take in takes) / target.rate

        def make(*, tolerant: bool) -> None:
            maker = self.maker
            argv = segment_plan.sound(maker.tools.ffmpeg, takes, target, new, tolerant=tolerant)
            maker.tools.run(argv, new, float(seconds), maker.token, maker.log)

        try:
            try:
                make(tolerant=False)
            except FfmpegFailed as fault:
                if fault.passing:
                    raise
                self.forgiven.append("the sound")
                make(tolerant=True)
            _sound_track(new)
            durable.sync_file(new)
            durable.rename(new, path)
        finally:
            new.unlink(missing_ok=True)
        return path


@dataclass(frozen=True, slots=True)
class _Segment:
    """A segment, and FFmpeg's list of the frames decoded around its ends (framemd5)."""

    path: Path
    recipe: Recipe
    stream_info: StreamInfo
    digests: str

    def frames_at(self, frame: int) -> list[tuple[int, str]]:
        return self.recipe.frame_digests(self.digests, frame)


def _check_meeting(before: _Segment, after: _Segment) -> None:
    """Raise `NotApplicable` unless both segments have decoded the same pictures where they meet."""
    if before.recipe.is_end:
        return
    theirs, ours = before.frames_at(before.recipe.cut.count), after.frames_at(0)
    if not ours or theirs != ours:
        at = float(after.recipe.cut.first / after.recipe.encode_format.target.rate)
        raise NotApplicable(
            f"{after.recipe.take.path.name}: the picture at {at:.1f} s depends on where decoding begins"
        )


def _keys(take: Media) -> Keys:
    try:
        return keyframes.read(take.path).keys(take.video)
    except ValueError as fault:
        raise NotApplicable(f"{take.path.name}: {fault}") from None


def _digests_of(path: Path) -> Path:
    return path.with_name(path.name + _DIGESTS)


def _even(rate: Fraction, frames: int) -> Track:
    """The times of frames of equal length."""
    track = Track(kind=b"vide", scale=rate.numerator, end=frames * rate.denominator)
    track.starts.extend(range(0, track.end, rate.denominator))
    return track


def _sound_track(path: Path) -> Track:
    (track,) = samples.read_tracks(path)
    if track.kind != b"soun" or not len(track):
        raise NotApplicable("the sound was not made")
    if copyable.sound_form(track) != copyable.SoundForm(filters.SOUND_RATE, 2):
        raise NotApplicable("the sound was made in another form")
    return track
