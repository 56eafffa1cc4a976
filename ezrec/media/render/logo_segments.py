"""Encodes the frames of takes that show the logo, segment by segment; each segment is kept on disk.

1. the frames are copied into a small file of their own, so that no seeking can miss them
2. that file is decoded, overlaid and encoded, frame for frame
3. the new frames replace the old ones, each at the time of the frame it replaces

So segments can be made while the recording grows, and a kill costs one at most. A segment's name is a digest
of everything that goes into it: one that is there is right.
"""

from __future__ import annotations

import contextlib
import hashlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ezrec.domain.encoders import SOFTWARE
from ezrec.media.ffmpeg import arguments
from ezrec.media.ffmpeg.arguments import EncodeFormat
from ezrec.media.ffmpeg.colours import resolved
from ezrec.media.ffmpeg.filters import PlacedLogo, Target
from ezrec.media.ffmpeg.runner import FfmpegFailed
from ezrec.media.ffmpeg.tools import NotApplicable
from ezrec.media.mp4 import h264, index, timeline, writer
from ezrec.media.mp4.copyable import StreamInfo
from ezrec.media.mp4.samples import Track
from ezrec.media.mp4.timeline import Part, SampleSpan
from ezrec.media.render import logo_plan
from ezrec.media.render.assets import PLACEHOLDER, AssetMaker
from ezrec.media.render.logo_plan import LogoSegment
from ezrec.system import durable, plain_files
from ezrec.system.locks import Lock
from ezrec.system.task import CancelToken

_LOCK = ".lock"


@contextlib.contextmanager
def held(folder: Path, wait_s: float, token: CancelToken) -> Iterator[None]:
    """One process at a time works in the folder. Raises `Busy` after `wait_s`, `Stopped` when cancelled."""
    plain_files.folder(folder)
    plain_files.clear(folder / _LOCK)
    with Lock(folder / _LOCK).held(wait_s, "makes parts", lambda: token.cancelled):
        token.check()
        yield


@dataclass(slots=True)
class MainVideo:
    """All that follows the intro. `sources`: files by their number; `sets`: all parameter sets in use.

    `like`: its size, profile and pixel range are the video's. `each_span`: each span begins with a join that
    has to be verified; else only each part does, because one encoder made all of it.
    """

    parts: list[Part]
    sources: dict[int, Path]
    sets: h264.Sets
    like: StreamInfo
    each_span: bool = True


@dataclass(slots=True)
class LogoSegments:
    """Makes the segments of one video, or finds them. The caller holds `folder`.

    `spans`: when the logo is shown, in seconds of all takes together; None: always.
    """

    maker: AssetMaker
    logo: PlacedLogo
    folder: Path
    spans: Sequence[tuple[float, float]] | None = None
    encoder: str = SOFTWARE
    made: int = 0
    found: int = 0
    made_s: float = 0.0
    _beside: StreamInfo | None = None  # the copied frames, where there are any

    def main_video(
        self,
        takes: Sequence[StreamInfo],
        sets: h264.Sets,
        with_sound: bool,
        progress: Callable[[float], None],
    ) -> MainVideo:
        """The takes with the logo; take 1 is source 1. `sets`: of all takes."""
        planned = logo_plan.plan(takes, self.spans)
        self._beside = None if self.spans is None else replace(takes[0], sets=sets)
        total = sum(segment.count for segments in planned for segment in segments) or 1
        sources, parts, done = {number: take.path for number, take in enumerate(takes, 1)}, list[Part](), 0
        all_sets = sets if self._beside else None
        for source, (take, segments) in enumerate(zip(takes, planned, strict=True), 1):
            track, spans, at = take.tables.picture, list[SampleSpan](), 0
            for segment in segments:
                made = self.have(take, segment)
                all_sets = made.sets if all_sets is None else all_sets | made.sets
                sources[number := len(sources) + 1] = made.path
                if segment.first > at:
                    spans.append(SampleSpan(source, track, at, segment.first - at, track, at))
                spans.append(SampleSpan(number, made.tables.picture, 0, segment.count, track, segment.first))
                at, done = segment.last, done + segment.count
                progress(done / total)
            if at < len(track):
                spans.append(SampleSpan(source, track, at, len(track) - at, track, at))
            sound = take.tables.sound if with_sound else None
            parts.append(Part(track, tuple(spans), (source, sound) if sound else None))
        return MainVideo(parts, sources, all_sets or sets, takes[0], each_span=bool(self._beside))

    def prerender(self, take: StreamInfo, *, growing: bool) -> bool:
        """Make the next segment of a take that is not there yet; False when there is none to make."""
        for segment in logo_plan.whole_take(take, growing=growing):
            if not self._path(take, self._format(take, self.encoder), segment).exists():
                self.have(take, segment)
                return True
        return False

    def have(self, take: StreamInfo, segment: LogoSegment) -> StreamInfo:
        """One segment: found, as this encoder or x264 made it, or made now."""
        for encoder in dict.fromkeys((self.encoder, SOFTWARE)):
            encode_format = self._format(take, encoder)
            with contextlib.suppress(FileNotFoundError, ValueError):
                found = self._checked(self._path(take, encode_format, segment), encode_format, segment)
                self.found += 1
                return found
        try:
            return self._make(take, self._format(take, self.encoder), segment)
        except (FfmpegFailed, NotApplicable) as fault:
            if self.encoder == SOFTWARE or (isinstance(fault, FfmpegFailed) and fault.passing):
                raise
            self.maker.tools.encoders.distrust(self.encoder, str(fault))
            self.maker.log.note(f"not by {self.encoder}: {fault}")
            self.encoder = SOFTWARE
            return self._make(take, self._format(take, SOFTWARE), segment)

    def _make(self, take: StreamInfo, encode_format: EncodeFormat, segment: LogoSegment) -> StreamInfo:
        path = self._path(take, encode_format, segment)
        cut, new = self.folder / ".cut", self.folder / ".new"
        try:
            _write_cut(cut, take, segment, self.maker.token)
            self.maker.encode_with_logo(cut, new, self.logo, encode_format, (segment.on, segment.off))
            cut.unlink()
            self._checked(new, encode_format, segment)
            durable.sync_file(new)
            durable.rename(new, path)
        finally:
            cut.unlink(missing_ok=True)
            new.unlink(missing_ok=True)
        self.made += 1
        track = take.tables.picture
        end = track.starts[segment.last] if segment.last < len(track) else track.end
        self.made_s += (end - track.starts[segment.first]) / track.scale
        return self._checked(path, encode_format, segment)

    def _format(self, take: StreamInfo, encoder: str) -> EncodeFormat:
        rate, tools = logo_plan.rate_of(take.tables.picture), self.maker.tools
        if self._beside:
            sets = self._beside.sets
            # The intro gets the first free id, so it is the same as for a video without a logo.
            return self.maker.encode_format(rate, self._beside, sets, None, sets.free_id())
        sps = take.sps
        if sps.width % 2 or sps.height % 2:
            raise NotApplicable("a picture of odd size")
        target = Target(sps.width, sps.height, rate, False, sps.full_range, resolved(sps.colours, sps.height))
        return arguments.segment_format(target, tools.bitrate, tools.preset, encoder)

    def _checked(self, path: Path, encode_format: EncodeFormat, segment: LogoSegment) -> StreamInfo:
        found = self.maker.checked(path, encode_format)
        if len(found.tables.picture) != segment.count:
            raise NotApplicable(f"{len(found.tables.picture)} frames with the logo came of {segment.count}")
        return found

    def _path(self, take: StreamInfo, encode_format: EncodeFormat, segment: LogoSegment) -> Path:
        recipe = arguments.with_logo(
            "", PLACEHOLDER, PLACEHOLDER, self.logo, encode_format, (segment.on, segment.off)
        )
        logo = self.logo.picture.path
        made_by = "\0".join(recipe).replace(str(logo.absolute()), self.maker.tools.probe_cache.digest(logo))
        track = take.tables.picture
        name = frames_digest(made_by, take.path, track, segment.first, segment.last)
        return self.folder / f"{name}.mp4"


def frames_digest(made_by: str, take: Path, track: Track, first: int, last: int) -> str:
    """A name for what `made_by` makes of these frames of a take.

    Frames are identified by their sizes and the beginning of the first one: they are not read.
    """
    digest = hashlib.blake2b(made_by.encode(), digest_size=12)
    digest.update(f"{take.name}\0{first}\0{last}".encode())
    digest.update(array("I", track.sizes[first:last]).tobytes())
    with plain_files.opened(take, shared=True) as file:
        file.seek(track.offsets[first])
        digest.update(file.read(min(track.sizes[first], 1 << 16)))
    return digest.hexdigest()


def _write_cut(path: Path, take: StreamInfo, segment: LogoSegment, token: CancelToken) -> None:
    """Copy these frames into a file of their own."""
    track, first, last = take.tables.picture, segment.first, segment.last
    part = Part(track, (SampleSpan(0, track, first, segment.count, track, first),))
    picture = index.PictureTrack(
        timeline.cut(part, first, last), take.sps.width, take.sps.height, h264.write_avcc(take.sets)
    )
    writer.write(path, picture, None, {0: take.path}, b"", lambda _: token.check())
