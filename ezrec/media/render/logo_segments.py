"""The strategy *parts*: a logo that is always shown, encoded part by part; each part is kept on disk.

A part begins at a key frame and has the very frames of the take, one for one, each at its own time. So parts
can be made while the recording still grows, a kill costs one part at most, and in the end they are joined
like anything that is copied. What a part is called says all that went into it: one that is there is right.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from ezrec.domain.encoders import SOFTWARE
from ezrec.media.ffmpeg import arguments
from ezrec.media.ffmpeg.colours import resolved
from ezrec.media.ffmpeg.filters import PlacedLogo, Target
from ezrec.media.ffmpeg.rates import usual_rate
from ezrec.media.ffmpeg.runner import FfmpegFailed
from ezrec.media.ffmpeg.tools import NotApplicable
from ezrec.media.mp4 import h264
from ezrec.media.mp4.copyable import StreamInfo
from ezrec.media.mp4.samples import Track
from ezrec.media.mp4.timeline import Part, Stretch
from ezrec.media.render.assets import AssetMaker
from ezrec.media.render.smart_render import called, write_cut
from ezrec.system import durable, plain_files
from ezrec.system.locks import Lock
from ezrec.system.task import CancelToken

PART_S = 30  # what a kill may cost, and what is left to be done when a recording ends
MOST_PARTS = 800  # each is a file kept open while the video is joined
_RATE_FROM = 300  # frames at the beginning of a take that tell its rate
_LOCK = ".lock"


@dataclass(frozen=True, slots=True)
class FrameSpan:
    """Frames of a take, from a key frame on; `last` is not among them."""

    first: int
    last: int


def plan_spans(stream_info: StreamInfo, *, growing: bool = False, part_s: float = PART_S) -> list[FrameSpan]:
    """Where a take is cut. What is said of its beginning stays true while it grows."""
    track, found, begin = stream_info.tables.picture, list[FrameSpan](), 0
    for idr in stream_info.idrs:
        if track.starts[idr] - track.starts[begin] >= part_s * track.scale:
            found.append(FrameSpan(begin, idr))
            begin = idr
    if not growing:
        found.append(FrameSpan(begin, len(track)))
    return found


def rate_of(track: Track) -> Fraction:
    """Frames a second, by the beginning alone, so that it is the same whenever it is asked."""
    starts = track.starts[: _RATE_FROM + 1]
    lengths = sorted(after - before for before, after in itertools.pairwise(starts))
    if not lengths:
        raise NotApplicable("a take of one frame")
    rate = Fraction(track.scale, max(1, lengths[len(lengths) // 2]))
    return usual_rate(rate) or Fraction(min(120, max(1, round(rate))))


@contextlib.contextmanager
def held(folder: Path, wait_s: float, token: CancelToken) -> Iterator[None]:
    """Raises `Busy` where another process works in the folder for longer, `Stopped` when told to end."""
    plain_files.folder(folder)
    plain_files.clear(folder / _LOCK)
    with Lock(folder / _LOCK).held(wait_s, "makes parts", lambda: token.cancelled):
        token.check()
        yield


@dataclass(slots=True)
class LogoSegments:
    """Makes the parts of one video, or finds them made. One process at a time works in `folder`."""

    maker: AssetMaker
    logo: PlacedLogo
    folder: Path
    encoder: str = SOFTWARE
    part_s: float = PART_S
    made: int = 0
    found: int = 0
    made_s: float = 0.0

    @contextlib.contextmanager
    def held(self, wait_s: float) -> Iterator[None]:
        with held(self.folder, wait_s, self.maker.token):
            yield

    def encoded(
        self,
        takes: Sequence[tuple[int, StreamInfo]],
        number: int,
        with_sound: bool,
        tell: Callable[[float], None],
    ) -> EncodedTakes:
        """All parts of these takes; `number` is the next free number of a source."""
        planned = [(source, take, plan_spans(take, part_s=self.part_s)) for source, take in takes]
        if sum(len(spans) for _, _, spans in planned) > MOST_PARTS:
            raise NotApplicable(f"more than {MOST_PARTS} parts of {self.part_s} s")
        anew, done = EncodedTakes([], {}, None), 0
        total = sum(len(take.tables.picture) for _, take, _ in planned)
        for source, take, spans in planned:
            track, stretches = take.tables.picture, list[Stretch]()
            for span in spans:
                part = self.have(take, span)
                anew.sets = part.sets if anew.sets is None else anew.sets | part.sets
                anew.sources[number] = part.path
                count = span.last - span.first
                stretches.append(Stretch(number, part.tables.picture, 0, count, track, span.first))
                number, done = number + 1, done + count
                tell(done / total)
            sound = take.tables.sound if with_sound else None
            anew.parts.append(Part(track, tuple(stretches), (source, sound) if sound else None))
        return anew

    def ahead(self, take: StreamInfo, *, growing: bool) -> bool:
        """Make the next part of a take that is not there yet; False where there is none to be made."""
        measure = self._measure(take, self.encoder)
        for span in plan_spans(take, growing=growing, part_s=self.part_s):
            if not self._path(take, measure, span).exists():
                self.have(take, span)
                return True
        return False

    def have(self, take: StreamInfo, span: FrameSpan) -> StreamInfo:
        """One part: as this encoder or x264 has made it already, else made now."""
        for encoder in dict.fromkeys((self.encoder, SOFTWARE)):
            measure = self._measure(take, encoder)
            with contextlib.suppress(FileNotFoundError, ValueError):
                part = self._checked(self._path(take, measure, span), measure, span)
                self.found += 1
                return part
        try:
            return self._make(take, self._measure(take, self.encoder), span)
        except (FfmpegFailed, NotApplicable) as fault:
            if self.encoder == SOFTWARE or (isinstance(fault, FfmpegFailed) and fault.passing):
                raise
            self.maker.tools.encoders.distrust(self.encoder, str(fault))
            self.maker.log.note(f"not by {self.encoder}: {fault}")
            self.encoder = SOFTWARE
            return self._make(take, self._measure(take, SOFTWARE), span)

    def _make(self, take: StreamInfo, measure: arguments.EncodeFormat, span: FrameSpan) -> StreamInfo:
        path = self._path(take, measure, span)
        cut, new = self.folder / ".cut", self.folder / ".new"
        count = span.last - span.first
        try:
            write_cut(cut, take, span.first, span.last, self.maker.token)
            self.maker.encode_with_logo(cut, new, self.logo, measure, (0, count))
            cut.unlink()
            self._checked(new, measure, span)
            durable.sync_file(new)
            durable.rename(new, path)
        finally:
            cut.unlink(missing_ok=True)
            new.unlink(missing_ok=True)
        self.made += 1
        track = take.tables.picture
        end = track.starts[span.last] if span.last < len(track) else track.end
        self.made_s += (end - track.starts[span.first]) / track.scale
        return self._checked(path, measure, span)

    def _measure(self, take: StreamInfo, encoder: str) -> arguments.EncodeFormat:
        """Of the camera's own frames none is left, so their parameter sets need no room beside these."""
        sps = take.sps
        if sps.width % 2 or sps.height % 2:
            raise NotApplicable("a picture of odd size")
        colours = resolved(sps.colours, sps.height)
        rate = rate_of(take.tables.picture)
        target = Target(sps.width, sps.height, rate, False, sps.full_range, colours)
        tools = self.maker.tools
        return arguments.segment_format(target, tools.bitrate, tools.preset, encoder)

    def _checked(self, path: Path, measure: arguments.EncodeFormat, span: FrameSpan) -> StreamInfo:
        part = self.maker.checked(path, measure)
        if len(part.tables.picture) != span.last - span.first:
            raise NotApplicable(f"{len(part.tables.picture)} frames came of {span.last - span.first}")
        return part

    def _path(self, take: StreamInfo, measure: arguments.EncodeFormat, span: FrameSpan) -> Path:
        name = called(
            self.maker, self.logo, measure, take, (span.first, span.last), (0, span.last - span.first)
        )
        return self.folder / f"{name}.mp4"


@dataclass(slots=True)
class EncodedTakes:
    """What takes the place of the recording's own frames."""

    parts: list[Part]
    sources: dict[int, Path]
    sets: h264.Sets | None
