"""The rung *copy*: intro and takes joined sample by sample, without encoding a frame of the recording.

1. read the takes' own tables and parameter sets
2. have the intro made to their measure, once (it is kept in the media cache)
3. lay all parts end to end and write the film in one pass
4. show that the joins decode, frame for frame

Raises `Unfit` for a film that this cannot make rightly: the next rung does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from ezrec.adapters import ffmpeg_graph as graph
from ezrec.adapters import ffmpeg_pieces as pieces
from ezrec.adapters import footage, h264, mp4lanes, mp4samples, mp4write
from ezrec.adapters.ffmpeg_probe import Media
from ezrec.adapters.ffmpeg_run import Limits, Log, Switch, run
from ezrec.adapters.ffmpeg_tools import Tools, Unfaithful, Unfit
from ezrec.adapters.footage import Material, SoundForm
from ezrec.adapters.media_cache import MediaCache, key_of
from ezrec.domain.errors import Busy

_USUAL_SOUND = SoundForm(graph.SOUND_RATE, 2)
_LONGEST_GAP_S = Fraction(60, 1000)
_MOST_GAPS = 1000
_WALL_BASE_S, _WALL_FACTOR = 120.0, 12.0
_WINDOW = 8  # frames decoded on either side of a join
_PLACEHOLDER = Path("/made")


@dataclass(frozen=True, slots=True)
class Joined:
    """What was written, for those who check it."""

    frames: int
    seconds: float
    sound: bool
    joins: int
    gaps: Sequence[dict[str, object]]
    intro: str = "none"


@dataclass(slots=True)
class Joiner:
    """Makes one film by copying. `cache` None: an intro is made for this film alone, beside it."""

    tools: Tools
    part: Path
    cache: Path | None
    switch: Switch
    log: Log
    tell: Callable[[float], None] = field(default=lambda done: None)

    def join(self, takes: Sequence[Media], intro: Media | None) -> Joined:
        with _named(), contextlib.ExitStack() as kept:
            materials = [self._material(take) for take in takes]
            sets, form = _agreed(materials)
            has_sound = any(media.info.has_audio for media in (*takes, *((intro,) if intro else ())))
            sound = (form or _USUAL_SOUND) if has_sound else None
            made, how = None, "none"
            if intro:
                measure = self._measure(takes[0], materials[0], sets, sound)
                path, fresh = kept.enter_context(self._piece(intro, measure))
                made, how = self._checked(path, measure), "made" if fresh else "cached"
                sets |= made.sets
            silence = kept.enter_context(self._silence(sound)) if sound else b""
            parts = [*([made] if made else []), *materials]
            return self._write(parts, sets, sound, silence, how)

    def prepare(self, take: Media, intro: Media) -> None:
        """Have the intro ready for recordings like this one."""
        with _named():
            material = self._material(take)
            sound = material.sound or (_USUAL_SOUND if intro.info.has_audio else None)
            with self._piece(intro, self._measure(take, material, material.sets, sound)):
                pass

    def _material(self, take: Media) -> Material:
        self.switch.check()
        try:
            return footage.read(take.path)
        except ValueError as fault:
            raise Unfit(f"{take.path.name}: {fault}") from None

    def _measure(
        self, take: Media, like: Material, sets: h264.Sets, sound: SoundForm | None
    ) -> pieces.Measure:
        sps, form = like.sps, sound or _USUAL_SOUND
        if sps.width % 2 or sps.height % 2:
            raise Unfit("a picture of odd size")
        measure = pieces.Measure(
            graph.Target(sps.width, sps.height, take.rate, sound is not None, sps.full_range),
            sps.profile, sps.colours, sets.free_id(), form.rate, form.channels,
            self.tools.bitrate, self.tools.preset,
        )  # fmt: skip
        if measure.profile_name is None:
            raise Unfit(f"H.264 in profile {sps.profile}")
        return measure

    @contextlib.contextmanager
    def _piece(self, intro: Media, measure: pieces.Measure) -> Iterator[tuple[Path, bool]]:
        """The intro made to measure."""
        seconds = measure.target.frames(intro) / measure.target.rate

        def make(path: Path) -> None:
            argv = pieces.intro(self.tools.ffmpeg, intro, measure, path)
            limits = Limits(_WALL_BASE_S + _WALL_FACTOR * float(seconds), self.tools.idle_s)
            self._run(argv, limits, path)

        def check(path: Path) -> None:
            found = self._checked(path, measure)
            if len(found.footage.picture) != measure.target.frames(intro):
                raise Unfit(f"the intro has {len(found.footage.picture)} frames after its making")

        recipe = pieces.intro("", intro, measure, _PLACEHOLDER)
        made_by = "\0".join(recipe).replace(str(intro.path.absolute()), "")
        with self._kept(intro.path, made_by, make, check) as kept:
            yield kept

    def _checked(self, path: Path, measure: pieces.Measure) -> Material:
        found = footage.read(path)
        target = measure.target
        if (found.sps.width, found.sps.height) != (target.width, target.height):
            raise Unfit("the intro was made in another size")
        if set(found.sets.sps) != {measure.sets_id} or set(found.sets.pps) != {measure.sets_id}:
            raise Unfit("the encoder does not number its parameter sets as asked")
        if found.sps.full_range != target.full_range:
            raise Unfit("the intro was made in another range of brightness")
        return found

    @contextlib.contextmanager
    def _silence(self, sound: SoundForm) -> Iterator[bytes]:
        """One packet of silence, as FFmpeg's own encoder writes it."""

        def make(path: Path) -> None:
            self._run(pieces.silence(self.tools.ffmpeg, sound.rate, sound.channels, path), Limits(60.0), path)

        def check(path: Path) -> None:
            _silent_packet(path)

        made_by = "\0".join(pieces.silence("", sound.rate, sound.channels, _PLACEHOLDER))
        with self._kept(None, made_by, make, check) as (path, _):
            yield _silent_packet(path)

    @contextlib.contextmanager
    def _kept(
        self, content: Path | None, made_by: str, make: Callable[[Path], None], check: Callable[[Path], None]
    ) -> Iterator[tuple[Path, bool]]:
        key = key_of(content, made_by)
        if self.cache:
            try:
                yield MediaCache(self.cache).have(key, make, check)
            except Busy as fault:
                raise Unfit(str(fault)) from None
            return
        path = self.part.with_name(f"{self.part.name}.{key[:8]}")
        try:
            make(path)
            check(path)
            yield path, True
        finally:
            path.unlink(missing_ok=True)

    def _write(
        self,
        parts: Sequence[Material],
        sets: h264.Sets,
        sound: SoundForm | None,
        silence: bytes,
        intro: str,
    ) -> Joined:
        laid = [
            mp4lanes.Part.whole(number, part.footage.picture, part.footage.sound if sound else None)
            for number, part in enumerate(parts)
        ]
        lane, begins = mp4lanes.picture(laid, mp4lanes.picture_scale(laid))
        heard = None
        if sound:
            heard = mp4write.Sound(
                mp4lanes.sound(laid, begins, lane, sound.rate, len(silence)), sound.channels
            )
        sps = parts[-1].sps
        shown = mp4write.Picture(lane, sps.width, sps.height, h264.write_avcc(sets))
        sources = {number: part.path for number, part in enumerate(parts)}
        mp4write.write(self.part, shown, heard, sources, silence, self._told)
        joins = _firsts(laid)
        self._check_joins(lane, joins)
        return Joined(
            len(lane), lane.end / lane.scale, sound is not None, len(joins), tuple(_gaps(lane)), intro
        )

    def _told(self, done: float) -> None:
        self.switch.check()
        self.tell(done)

    def _check_joins(self, lane: mp4lanes.Lane, joins: Sequence[int]) -> None:
        """Decode some frames on either side of each join, and count them."""
        for join in joins:
            first, last = max(0, join - _WINDOW), min(len(lane), join + _WINDOW)
            begin_s, end_s = _between(lane, first), _between(lane, last)
            argv = graph.decode_between(self.tools.ffmpeg, self.part, begin_s, end_s - begin_s)
            shown = self.tools.decoded(argv, 120.0, self.switch, self.log)
            if shown != last - first:
                raise Unfaithful(f"at a join {shown} frames are shown where {last - first} were copied")

    def _run(self, argv: list[str], limits: Limits, path: Path) -> None:
        def pulse() -> int:
            with contextlib.suppress(OSError):
                return path.stat().st_size
            return 0

        run(
            argv, limits, nice=self.tools.nice, hear=lambda data: None, log=self.log, switch=self.switch,
            pulse=pulse,
        )  # fmt: skip


@contextlib.contextmanager
def _named() -> Iterator[None]:
    """What makes a film unfit for copying has many names below."""
    try:
        yield
    except Unfit:
        raise
    except ValueError as fault:
        raise Unfit(str(fault)) from None


def _agreed(materials: Sequence[Material]) -> tuple[h264.Sets, SoundForm | None]:
    """What all takes have in common: it has to be one picture and one kind of sound."""
    first = materials[0]
    sets = first.sets
    for other in materials[1:]:
        sets |= other.sets
        if (other.sps.width, other.sps.height, other.sps.full_range) != (
            first.sps.width, first.sps.height, first.sps.full_range,
        ):  # fmt: skip
            raise Unfit("the takes differ in size")
    forms = {material.sound for material in materials if material.sound}
    if len(forms) > 1:
        raise Unfit("the takes differ in their kind of sound")
    return sets, forms.pop() if forms else None


def _firsts(parts: Sequence[mp4lanes.Part]) -> list[int]:
    """The number of the first frame behind each join."""
    found, at = list[int](), 0
    for part in parts:
        for stretch in part.stretches:
            if at:
                found.append(at)
            at += stretch.count
    return found


def _between(lane: mp4lanes.Lane, number: int) -> float:
    """A time between a frame and the one before it."""
    if number == 0:
        return 0.0
    behind = lane.starts[number] if number < len(lane) else lane.end
    return (lane.starts[number - 1] + behind) / 2 / lane.scale


def _gaps(lane: mp4lanes.Lane) -> Iterator[dict[str, object]]:
    """Where the picture stands still because the camera gave no frames."""
    limit, told = _LONGEST_GAP_S * lane.scale, 0
    for number in range(len(lane) - 1):
        lasts = lane.starts[number + 1] - lane.starts[number]
        if lasts > limit and told < _MOST_GAPS:
            told += 1
            yield {
                "at_s": round(lane.starts[number] / lane.scale, 3),
                "lasts_s": round(lasts / lane.scale, 3),
            }


def _silent_packet(path: Path) -> bytes:
    """A packet from the middle: the first ones carry the encoder's name, the last its end."""
    (track,) = mp4samples.read_tracks(path)
    middle = len(track) // 2
    with path.open("rb") as file:
        file.seek(track.offsets[middle])
        packet = file.read(track.sizes[middle])
    if not 4 <= len(packet) <= 1024:
        raise Unfit(f"silence takes {len(packet)} bytes a packet")
    return packet
