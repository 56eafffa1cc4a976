"""Where the pieces are made that stand between copied frames: the intro to measure, stretches with the logo.

Pieces of use to other videos are kept in the media cache. What was made is looked at before it is used, and
where it is not as it has to be, `NotApplicable` says so.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ezrec.domain.branding import LogoLayout, around, arrange
from ezrec.domain.encoders import SOFTWARE
from ezrec.domain.errors import Busy, Reject, is_full
from ezrec.media.ffmpeg import arguments, filters
from ezrec.media.ffmpeg.colours import resolved
from ezrec.media.ffmpeg.inputs import LOGO
from ezrec.media.ffmpeg.probe import Media
from ezrec.media.ffmpeg.runner import Limits, Log, run
from ezrec.media.ffmpeg.tools import NotApplicable, Tools
from ezrec.media.mp4 import copyable, h264, samples
from ezrec.media.mp4.copyable import SoundForm, StreamInfo
from ezrec.media.render.asset_cache import AssetCache, key_of
from ezrec.system import plain_files
from ezrec.system.task import CancelToken

USUAL_SOUND = SoundForm(filters.SOUND_RATE, 2)
_WALL_BASE_S, _WALL_FACTOR = 120.0, 12.0
PLACEHOLDER = Path("/made")


@contextlib.contextmanager
def named() -> Iterator[None]:
    """What makes a video unfit for copying has many names below."""
    try:
        yield
    except NotApplicable:
        raise
    except ValueError as fault:
        raise NotApplicable(str(fault)) from None


@dataclass(frozen=True, slots=True)
class AssetMaker:
    """`beside`: what is made for one video only lies beside this file. `cache` None: all of it does."""

    tools: Tools
    beside: Path
    cache: Path | None
    token: CancelToken
    log: Log

    def measure(
        self, take: Media, like: StreamInfo, sets: h264.Sets, sound: SoundForm | None, *taken: int
    ) -> arguments.EncodeFormat:
        sps, form = like.sps, sound or USUAL_SOUND
        if sps.width % 2 or sps.height % 2:
            raise NotApplicable("a picture of odd size")
        colours = resolved(sps.colours, sps.height)
        measure = arguments.EncodeFormat(
            filters.Target(sps.width, sps.height, take.rate, sound is not None, sps.full_range, colours),
            sps.profile, sets.free_id(*taken), form.rate, form.channels,
            self.tools.bitrate, self.tools.preset,
        )  # fmt: skip
        if measure.profile_name is None:
            raise NotApplicable(f"H.264 in profile {sps.profile}")
        return measure

    @contextlib.contextmanager
    def intro(self, intro: Media, measure: arguments.EncodeFormat) -> Iterator[tuple[Path, bool]]:
        """The intro made to measure."""
        seconds = measure.target.frames(intro) / measure.target.rate

        def make(path: Path) -> None:
            argv = arguments.intro(self.tools.ffmpeg, intro, measure, path)
            limits = Limits(_WALL_BASE_S + _WALL_FACTOR * float(seconds), self.tools.idle_s)
            self._run(argv, limits, path)

        def check(path: Path) -> None:
            found = self.checked(path, measure)
            if len(found.tables.picture) != measure.target.frames(intro):
                raise NotApplicable(f"the intro has {len(found.tables.picture)} frames after its making")

        recipe = arguments.intro("", intro, measure, PLACEHOLDER)
        made_by = "\0".join(recipe).replace(str(intro.path.absolute()), "")
        with self._kept(intro.path, made_by, make, check) as kept:
            yield kept

    def checked(self, path: Path, measure: arguments.EncodeFormat) -> StreamInfo:
        found = copyable.read(path)
        target = measure.target
        if (found.sps.width, found.sps.height) != (target.width, target.height):
            raise NotApplicable("the intro was made in another size")
        ids = {measure.sets_id}
        if measure.encoder == SOFTWARE and (set(found.sets.sps) != ids or set(found.sets.pps) != ids):
            raise NotApplicable("the encoder does not number its parameter sets as asked")
        if found.sps.full_range != target.full_range:
            raise NotApplicable("the intro was made in another range of brightness")
        return found

    def encode_with_logo(
        self,
        cut: Path,
        output: Path,
        logo: filters.PlacedLogo,
        measure: arguments.EncodeFormat,
        shown: tuple[int, int],
    ) -> None:
        """Frames of a take, one for one, with the logo over those from the first to the second of `shown`."""
        argv = arguments.with_logo(self.tools.ffmpeg, cut, output, logo, measure, shown)
        seconds = cut.stat().st_size * 8 / self.tools.bitrate
        self._run(argv, Limits(_WALL_BASE_S + 4 * _WALL_FACTOR * seconds, self.tools.idle_s), output)

    def aside(self, name: str) -> Path:
        return self.beside.with_name(f"{self.beside.name}.{name}")

    @contextlib.contextmanager
    def silence(self, sound: SoundForm) -> Iterator[bytes]:
        """One packet of silence, as FFmpeg's own encoder writes it."""

        def make(path: Path) -> None:
            self._run(
                arguments.silence(self.tools.ffmpeg, sound.rate, sound.channels, path), Limits(60.0), path
            )

        def check(path: Path) -> None:
            _silent_packet(path)

        made_by = "\0".join(arguments.silence("", sound.rate, sound.channels, PLACEHOLDER))
        with self._kept(None, made_by, make, check) as (path, _):
            yield _silent_packet(path)

    @contextlib.contextmanager
    def overlaid(self, logos: Sequence[filters.PlacedLogo]) -> Iterator[filters.PlacedLogo]:
        """One logo as it is, several as one picture."""
        if len(logos) == 1:
            yield logos[0]
            return
        with self.overlay(logos) as one:
            yield one

    @contextlib.contextmanager
    def overlay(self, logos: Sequence[filters.PlacedLogo]) -> Iterator[filters.PlacedLogo]:
        """All logos as one picture, so that no strategy lays more than one over the video."""
        place = around([logo.place for logo in logos])

        def make(path: Path) -> None:
            argv = arguments.composed(self.tools.ffmpeg, logos, place, path)
            self._run(argv, Limits(_WALL_BASE_S, self.tools.idle_s), path)

        def check(path: Path) -> None:
            found = self._picture(path)
            if (found.info.width, found.info.height) != (place.width, place.height):
                raise NotApplicable("the overlay was made in another size")

        made_by = "\0".join(arguments.composed("", logos, place, PLACEHOLDER))
        for logo in logos:
            made_by = made_by.replace(
                str(logo.picture.path.absolute()), self.tools.probe_cache.digest(logo.picture.path)
            )
        with self._kept(None, made_by, make, check) as (path, _):
            yield filters.PlacedLogo(self._picture(path), place)

    def _picture(self, path: Path) -> Media:
        try:
            return self.tools.inspect(LOGO, path, self.token)
        except Reject as fault:
            raise NotApplicable(fault.reason) from None

    @contextlib.contextmanager
    def _kept(
        self, content: Path | None, made_by: str, make: Callable[[Path], None], check: Callable[[Path], None]
    ) -> Iterator[tuple[Path, bool]]:
        """What is made, from the cache, or beside the video where there is none that can be written to."""
        key = key_of(self.tools.probe_cache.digest(content) if content else "", made_by)
        if self.cache:
            kept = None
            try:
                kept = AssetCache(self.cache).have(key, make, check)
            except Busy as fault:
                raise NotApplicable(str(fault)) from None
            except OSError as fault:
                if is_full(fault):
                    raise
                self.log.note(f"the media cache cannot be used: {fault}")
            if kept:
                yield kept
                return
        path = self.aside(key[:8])
        try:
            make(path)
            check(path)
            yield path, True
        finally:
            path.unlink(missing_ok=True)

    def _run(self, argv: list[str], limits: Limits, path: Path) -> None:
        def pulse() -> int:
            with contextlib.suppress(OSError):
                return path.stat().st_size
            return 0

        run(
            argv, limits, nice=self.tools.nice, on_output=lambda data: None, log=self.log, token=self.token,
            pulse=pulse, throttle=self.tools.throttle,
        )  # fmt: skip


def _silent_packet(path: Path) -> bytes:
    """A packet from the middle: the first ones carry the encoder's name, the last its end."""
    (track,) = samples.read_tracks(path)
    middle = len(track) // 2
    with plain_files.opened(path, shared=True) as file:
        file.seek(track.offsets[middle])
        packet = file.read(track.sizes[middle])
    if not 4 <= len(packet) <= 1024:
        raise NotApplicable(f"silence takes {len(packet)} bytes a packet")
    return packet


def placed(
    tools: Tools,
    frame: tuple[int, int],
    logo: Path | None,
    sponsors: Sequence[Path],
    layout: LogoLayout,
    token: CancelToken | None = None,
) -> list[filters.PlacedLogo]:
    """Each logo with its place in a frame of that size."""
    pictures = [tools.inspect(LOGO, path, token) for path in (*((logo,) if logo else ()), *sponsors)]
    sizes = [(picture.info.width, picture.info.height) for picture in pictures]
    first, rest = (sizes[0], sizes[1:]) if logo else (None, sizes)
    places = arrange(frame, first, rest, layout)
    return [filters.PlacedLogo(*both) for both in zip(pictures, places, strict=True)]
