"""The full encode, part by part: for a video of which nothing can be copied.

Each part is kept in a folder beside the takes, under a name that says all that went into it, so that a kill
costs one part at most. Where two parts meet, both have to tell of the same pictures (`segment_plan`).
Otherwise, and where nobody knows where to cut a take, `NotApplicable` is raised: then one pass makes it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

from ezrec.domain.encoders import SOFTWARE
from ezrec.media.ffmpeg import arguments, filters
from ezrec.media.ffmpeg.probe import Media
from ezrec.media.ffmpeg.runner import FfmpegFailed, Limits, run
from ezrec.media.ffmpeg.tools import Meter, NotApplicable
from ezrec.media.mp4 import copyable, h264, keyframes, samples
from ezrec.media.mp4.copyable import StreamInfo
from ezrec.media.mp4.keyframes import Keys
from ezrec.media.mp4.samples import Track
from ezrec.media.mp4.timeline import Part, Stretch
from ezrec.media.render import segment_plan
from ezrec.media.render.assets import PLACEHOLDER, AssetMaker
from ezrec.media.render.logo_segments import MOST_PARTS, PART_S
from ezrec.media.render.segment_plan import Recipe
from ezrec.system import durable, plain_files

_WALL_BASE_S, _WALL_FACTOR = 120.0, 12.0
_LONGEST_IN_ONE_S = 2 * PART_S
_SPARE_BYTES = 64 << 20
_HEAD = 1 << 16
_TOLD = ".told"
_MOST_TOLD = 64 << 20
_SOUND_SHARE = 0.02


@dataclass(slots=True)
class EncodedVideo:
    """The main part of a video, encoded; `stream_info` is its first part, whose measure the others share."""

    part: Part
    sources: dict[int, Path]
    sets: h264.Sets
    stream_info: StreamInfo


@dataclass(slots=True)
class SegmentEncoder:
    """Makes the parts of one video, or finds them made. The caller holds `folder`."""

    maker: AssetMaker
    video: filters.Video
    folder: Path
    encoder: str = SOFTWARE
    part_s: float = PART_S
    found: int = 0
    made: int = 0
    made_s: float = 0.0
    forgiven: list[str] = field(default_factory=list)
    _used: list[Path] = field(default_factory=list)

    def whole(self, number: int, tell: Callable[[float], None]) -> EncodedVideo:
        """All takes as one piece of video; `number` is the next free number of a source."""
        planned = self._planned()
        self._check_room(planned)
        target, total, at = self.video.target, sum(recipe.cut.count for recipe, _ in planned), 0
        times = _even(target.rate, total)
        stretches, sources, sets = list[Stretch](), dict[int, Path](), None
        first: StreamInfo | None = None
        before: _Made | None = None
        for recipe, keys in planned:
            share = recipe.cut.count / total * (1 - _SOUND_SHARE)
            begun = at / total * (1 - _SOUND_SHARE)

            def hear(done: float, share: float = share, begun: float = begun) -> None:
                tell(begun + share * done)

            one = self._have(recipe, keys, hear)
            self._used.append(one.path)
            _check_meeting(before, one)
            picture = one.stream_info.tables.picture
            sets = one.stream_info.sets if sets is None else sets | one.stream_info.sets
            first, before, sources[number] = first or one.stream_info, one, one.path
            stretches.append(Stretch(number, picture, 0, len(picture), times, at))
            number, at = number + 1, at + len(picture)
            hear(1.0)
        assert first
        assert sets
        heard = None
        if target.sound:
            sources[number] = path = self._sound()
            self._used.append(path)
            heard = number, _sound_track(path)
        return EncodedVideo(Part(times, tuple(stretches), heard), sources, sets, first)

    def forget(self) -> None:
        """Remove what was found and made."""
        for path in self._used:
            path.unlink(missing_ok=True)
            _told_of(path).unlink(missing_ok=True)

    def _planned(self) -> list[tuple[Recipe, Keys]]:
        target, found, before = self.video.target, list[tuple[Recipe, Keys]](), 0
        tools = self.maker.tools
        measure = arguments.segment_format(target, tools.bitrate, tools.preset, self.encoder)
        for take in self.video.takes:
            if take.is_cut and take.offset_s:
                raise NotApplicable(f"{take.path.name}: its owner cut its beginning off")
            if take.varies:
                raise NotApplicable(f"{take.path.name}: its picture changes in size")
            keys = _keys(take)
            planned = segment_plan.plan_segments(keys.shown, take, target, self.part_s)
            seconds = float(take.info.duration_s)
            if len(planned) == 1 and seconds > max(_LONGEST_IN_ONE_S, 2 * self.part_s):
                few = "no key frame" if len(keys.numbers) < 2 else "no key frame where it could be cut"
                raise NotApplicable(f"{take.path.name}: {few} behind its first in {seconds:.0f} s")
            found += [
                (
                    Recipe(
                        take, cut, keys.track.scale, measure, self.video.logo, self.video.show, before,
                        cut is planned[-1],
                    ),
                    keys,
                )
                for cut in planned
            ]  # fmt: skip
            before += planned[-1].last
        if len(found) > MOST_PARTS:
            raise NotApplicable(f"more than {MOST_PARTS} parts of {self.part_s:.0f} s")
        return found

    def _check_room(self, planned: Sequence[tuple[Recipe, Keys]]) -> None:
        """LogoSegments and video stand beside each other at the end."""
        seconds = sum(recipe.cut.count for recipe, _ in planned) / self.video.target.rate
        one = int(seconds * self.maker.tools.bitrate / 8)
        kept = sum(path.stat().st_size for path in self.folder.glob("*.mp4"))
        space = os.statvfs(self.folder)
        if space.f_bavail * space.f_frsize < max(0, one - kept) + one + _SPARE_BYTES:
            raise NotApplicable("there is no room for parts beside the video")

    def _have(self, recipe: Recipe, keys: Keys, hear: Callable[[float], None]) -> _Made:
        """One part: made already, by whatever would be tried, or made now."""
        ways = self._ways(recipe)
        for way in ways:
            with contextlib.suppress(FileNotFoundError, ValueError):
                one = self._checked(self._path(way, keys), way)
                self.found += 1
                self._forgive(way)
                return one
        for number, way in enumerate(ways):
            try:
                return self._make(way, keys, hear)
            except (FfmpegFailed, NotApplicable) as fault:
                if number + 1 == len(ways) or (isinstance(fault, FfmpegFailed) and fault.passing):
                    raise
                self.maker.log.note(f"frames {way.cut.first} to {way.cut.last} once more: {fault}")
                if way.measure.encoder != SOFTWARE:
                    self.maker.tools.encoders.distrust(self.encoder, str(fault))
                    self.encoder = SOFTWARE
        raise AssertionError

    def _ways(self, recipe: Recipe) -> list[Recipe]:
        """With the encoder that is best, with the usual one, and passing over what cannot be decoded."""
        usual = replace(recipe, measure=replace(recipe.measure, encoder=SOFTWARE))
        best = replace(recipe, measure=replace(recipe.measure, encoder=self.encoder))
        return [*([best] if self.encoder != SOFTWARE else []), usual, replace(usual, tolerant=True)]

    def _forgive(self, way: Recipe) -> None:
        if way.tolerant:
            at = way.before + way.cut.first
            self.forgiven.append(f"{float(at / way.measure.target.rate):.0f} s")

    def _make(self, way: Recipe, keys: Keys, hear: Callable[[float], None]) -> _Made:
        path, new, told = self._path(way, keys), self.folder / ".new", self.folder / f".new{_TOLD}"
        seconds = float(way.cut.count / way.measure.target.rate)
        try:
            self._run(way.argv(self.maker.tools.ffmpeg, new, told), new, seconds, hear)
            self._checked(new, way)
            durable.sync_file(told)
            durable.rename(told, _told_of(path))
            durable.sync_file(new)
            durable.rename(new, path)
        finally:
            new.unlink(missing_ok=True)
            told.unlink(missing_ok=True)
        self.made += 1
        self.made_s += seconds
        self._forgive(way)
        return self._checked(path, way)

    def _checked(self, path: Path, way: Recipe) -> _Made:
        stream_info = self.maker.checked(path, way.measure)
        if len(stream_info.tables.picture) != way.cut.count:
            raise NotApplicable(f"{len(stream_info.tables.picture)} frames came of {way.cut.count}")
        text = plain_files.read(_told_of(path), _MOST_TOLD).decode()
        return _Made(path, way, stream_info, text)

    def _path(self, way: Recipe, keys: Keys) -> Path:
        recipe, logo = "\0".join(way.argv("", PLACEHOLDER, PLACEHOLDER)), self.video.logo
        if logo:
            digest = self.maker.tools.probe_cache.digest(logo.picture.path)
            recipe = recipe.replace(str(logo.picture.path.absolute()), digest)
        recipe = recipe.replace(str(way.take.path.absolute()), way.take.path.name)
        return self.folder / f"{_name(recipe, way, keys)}.mp4"

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
            argv = segment_plan.sound(self.maker.tools.ffmpeg, takes, target, new, tolerant=tolerant)
            self._run(argv, new, float(seconds), lambda done: None)

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

    def _run(self, argv: list[str], output: Path, seconds: float, hear: Callable[[float], None]) -> None:
        tools = self.maker.tools
        meter = Meter(lambda done_s: hear(min(1.0, done_s / seconds)))

        def pulse() -> Hashable:
            with contextlib.suppress(OSError):
                return meter.done_s, output.stat().st_size
            return meter.done_s

        limits = Limits(_WALL_BASE_S + _WALL_FACTOR * seconds, tools.idle_s)
        run(
            argv, limits, nice=tools.nice, on_output=meter.hear, log=self.maker.log, token=self.maker.token,
            pulse=pulse, throttle=tools.throttle,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Made:
    """A part, and what it tells of the pictures around its ends."""

    path: Path
    way: Recipe
    stream_info: StreamInfo
    text: str


def _check_meeting(before: _Made | None, after: _Made) -> None:
    """Two parts of one take tell of the same pictures where they meet."""
    if before is None or before.way.is_end:
        return
    theirs, ours = before.way.told(before.text, before.way.cut.count), after.way.told(after.text, 0)
    if not ours or theirs != ours:
        at = float(after.way.cut.first / after.way.measure.target.rate)
        raise NotApplicable(
            f"{after.way.take.path.name}: what is seen at {at:.1f} s depends on where decoding begins"
        )


def _keys(take: Media) -> Keys:
    try:
        return keyframes.read(take.path).keys(take.video)
    except ValueError as fault:
        raise NotApplicable(f"{take.path.name}: {fault}") from None


def _name(recipe: str, way: Recipe, keys: Keys) -> str:
    """What tells these frames from all others, without reading them: their sizes, and the first one."""
    digest = hashlib.blake2b(recipe.encode(), digest_size=12)
    track, (begin, end) = keys.track, way.cut.keys
    first = keys.numbers[begin]
    last = keys.numbers[end] if end < len(keys.numbers) else len(track)
    digest.update(f"{first}\0{last}".encode())
    digest.update(track.sizes[first:last].tobytes())
    with plain_files.opened(way.take.path, shared=True) as file:
        file.seek(track.offsets[first])
        digest.update(file.read(min(track.sizes[first], _HEAD)))
    return digest.hexdigest()


def _told_of(path: Path) -> Path:
    return path.with_name(path.name + _TOLD)


def _even(rate: Fraction, frames: int) -> Track:
    """Frames one like the other in length."""
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
