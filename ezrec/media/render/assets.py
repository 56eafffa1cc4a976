"""Encodes what stands between copied frames: the intro in the takes' format, frames with a logo, silence.

What other videos can use is kept in the media cache. Everything is checked before it is used; `NotApplicable`
is raised for what is not as it has to be.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from ezrec.domain.branding import LogoLayout, around, arrange
from ezrec.domain.encoders import SOFTWARE
from ezrec.domain.errors import Busy, Reject, is_full
from ezrec.media.ffmpeg import arguments, filters
from ezrec.media.ffmpeg.colours import resolved
from ezrec.media.ffmpeg.inputs import LOGO
from ezrec.media.ffmpeg.probe import Media
from ezrec.media.ffmpeg.runner import Log
from ezrec.media.ffmpeg.tools import NotApplicable, Tools
from ezrec.media.mp4 import copyable, h264, samples
from ezrec.media.mp4.copyable import SoundForm, StreamInfo
from ezrec.media.render.asset_cache import AssetCache, key_of
from ezrec.system import plain_files
from ezrec.system.task import CancelToken

USUAL_SOUND = SoundForm(filters.SOUND_RATE, 2)
PLACEHOLDER = Path("/made")
_LOGO_EFFORT = 4.0  # how much longer a cut may last than its size says: quiet scenes take few bytes


@contextlib.contextmanager
def as_not_applicable() -> Iterator[None]:
    """Turns every `ValueError` of the readers below into `NotApplicable`."""
    try:
        yield
    except NotApplicable:
        raise
    except ValueError as fault:
        raise NotApplicable(str(fault)) from None


@dataclass(frozen=True, slots=True)
class AssetMaker:
    """`beside`: what is made for one video only is put beside this file. `cache` None: everything is."""

    tools: Tools
    beside: Path
    cache: Path | None
    token: CancelToken
    log: Log

    def encode_format(
        self, rate: Fraction, like: StreamInfo, sets: h264.Sets, sound: SoundForm | None, sets_above: int = 0
    ) -> arguments.EncodeFormat:
        """The format of frames that stand beside those of `like`.

        Their parameter sets get an id that `sets` does not use, above `sets_above`.
        """
        sps, form = like.sps, sound or USUAL_SOUND
        if sps.width % 2 or sps.height % 2:
            raise NotApplicable("a picture of odd size")
        colours = resolved(sps.colours, sps.height)
        found = arguments.EncodeFormat(
            filters.Target(sps.width, sps.height, rate, sound is not None, sps.full_range, colours),
            sps.profile, sets.free_id(sets_above), form.rate, form.channels,
            self.tools.bitrate, self.tools.preset,
        )  # fmt: skip
        if found.profile_name is None:
            raise NotApplicable(f"H.264 in profile {sps.profile}")
        return found

    @contextlib.contextmanager
    def intro(self, intro: Media, encode_format: arguments.EncodeFormat) -> Iterator[tuple[Path, bool]]:
        """The intro in this format, and whether it had to be made."""
        frames, rate = encode_format.target.frames(intro), encode_format.target.rate

        def make(path: Path) -> None:
            self._run(arguments.intro(self.tools.ffmpeg, intro, encode_format, path), path, frames / rate)

        def check(path: Path) -> None:
            made = len(self.checked(path, encode_format).tables.picture)
            if made != frames:
                raise NotApplicable(f"the intro was made with {made} frames, not {frames}")

        recipe = arguments.intro("", intro, encode_format, PLACEHOLDER)
        made_by = "\0".join(recipe).replace(str(intro.path.absolute()), "")
        with self._kept(intro.path, made_by, make, check) as kept:
            yield kept

    def checked(self, path: Path, encode_format: arguments.EncodeFormat) -> StreamInfo:
        """Read a file; raises `NotApplicable`, or another `ValueError`, if it has not this format."""
        found = copyable.read(path)
        target = encode_format.target
        if (found.sps.width, found.sps.height) != (target.width, target.height):
            raise NotApplicable("the encoder has made another size")
        ids = {encode_format.sets_id}
        if encode_format.encoder == SOFTWARE and (set(found.sets.sps) != ids or set(found.sets.pps) != ids):
            raise NotApplicable("the encoder does not number its parameter sets as asked")
        if found.sps.full_range != target.full_range:
            raise NotApplicable("the encoder has made another range of brightness")
        return found

    def encode_with_logo(
        self,
        cut: Path,
        output: Path,
        logo: filters.PlacedLogo,
        encode_format: arguments.EncodeFormat,
        shown: tuple[int, int],
    ) -> None:
        """Encode the frames of `cut`; those from `shown[0]` to `shown[1]` (not included) get the logo."""
        argv = arguments.with_logo(self.tools.ffmpeg, cut, output, logo, encode_format, shown)
        self._run(argv, output, _LOGO_EFFORT * cut.stat().st_size * 8 / self.tools.bitrate)

    def aside(self, name: str) -> Path:
        return self.beside.with_name(f"{self.beside.name}.{name}")

    @contextlib.contextmanager
    def silence(self, sound: SoundForm) -> Iterator[bytes]:
        """One packet of silence, from FFmpeg's own encoder."""

        def make(path: Path) -> None:
            self._run(arguments.silence(self.tools.ffmpeg, sound.rate, sound.channels, path), path)

        def check(path: Path) -> None:
            _silent_packet(path)

        made_by = "\0".join(arguments.silence("", sound.rate, sound.channels, PLACEHOLDER))
        with self._kept(None, made_by, make, check) as (path, _):
            yield _silent_packet(path)

    @contextlib.contextmanager
    def overlay(self, logos: Sequence[filters.PlacedLogo]) -> Iterator[filters.PlacedLogo]:
        """All logos as one picture; a single logo as it is."""
        if len(logos) == 1:
            yield logos[0]
            return
        place = around([logo.place for logo in logos])

        def make(path: Path) -> None:
            self._run(arguments.composed(self.tools.ffmpeg, logos, place, path), path)

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
        """The file, and whether it is new: in the cache, or beside the video if there is none."""
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

    def _run(self, argv: list[str], output: Path, seconds: float | Fraction = 0.0) -> None:
        self.tools.run(argv, output, float(seconds), self.token, self.log)


def _silent_packet(path: Path) -> bytes:
    """A packet from the middle: the first ones carry the encoder's name, the last one is incomplete."""
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
    """Each logo with its place in a frame of `frame` pixels (width, height)."""
    pictures = [tools.inspect(LOGO, path, token) for path in (*((logo,) if logo else ()), *sponsors)]
    sizes = [(picture.info.width, picture.info.height) for picture in pictures]
    first, rest = (sizes[0], sizes[1:]) if logo else (None, sizes)
    places = arrange(frame, first, rest, layout)
    return [filters.PlacedLogo(*both) for both in zip(pictures, places, strict=True)]
