"""The strategy *smart render*: only the groups of pictures that are to show the logo are encoded anew.

For each of them
1. its frames are copied out into a small file of their own, so that no seeking can hit beside them
2. that file is decoded, overlaid and encoded, frame for frame
3. the frames made stand in for the old ones, each at the very time of the frame it replaces
"""

from __future__ import annotations

import bisect
import contextlib
import hashlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from ezrec.media.ffmpeg import arguments
from ezrec.media.ffmpeg.filters import PlacedLogo
from ezrec.media.ffmpeg.tools import NotApplicable
from ezrec.media.mp4 import h264, timeline, writer
from ezrec.media.mp4.copyable import StreamInfo
from ezrec.media.mp4.samples import Track
from ezrec.media.mp4.timeline import Part, Stretch
from ezrec.media.render.assets import PLACEHOLDER, AssetMaker
from ezrec.system import durable, plain_files
from ezrec.system.task import CancelToken

_MOST_RUNS = 400  # each is a file kept open
_MOST_OF_IT = 0.7  # beyond that one pass over the whole is as cheap, and simpler


@dataclass(frozen=True, slots=True)
class Overlay:
    """A picture to be laid over the recording, and from when to when (in seconds of all takes together).

    `kept` is a folder for what was encoded, so that a try that is ended in the middle is gone on with; its
    owner empties it. None: what was encoded goes with this try.
    """

    logo: PlacedLogo
    spans: Sequence[tuple[float, float]]
    kept: Path | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """Frames `first` to `last` of a take, from one IDR picture to another; the logo from `on` to `off`."""

    first: int
    last: int
    on: int
    off: int


def plan_runs(stream_info: StreamInfo, spans: Sequence[tuple[float, float]]) -> list[Run]:
    """Which frames have to be encoded so that the logo shows in these spans (in seconds of this take)."""
    track, found = stream_info.tables.picture, list[Run]()
    begins = [Fraction(start - track.starts[0], track.scale) for start in track.starts]
    for begin, end in spans:
        on, off = bisect.bisect_left(begins, begin), bisect.bisect_left(begins, end)
        if on >= off:
            continue
        first = stream_info.idrs[bisect.bisect_right(stream_info.idrs, on) - 1]
        after = bisect.bisect_left(stream_info.idrs, off)
        last = stream_info.idrs[after] if after < len(stream_info.idrs) else len(track)
        if found and first < found[-1].last:
            raise NotApplicable("the logo comes back within one group of pictures")
        found.append(Run(first, last, on - first, off - first))
    return found


@dataclass(slots=True)
class LogoRunEncoder:
    """Makes the stretches with the logo. `number` is the next free number of a source."""

    maker: AssetMaker
    overlay: Overlay
    measure: arguments.EncodeFormat
    number: int
    tell: Callable[[float], None]
    sources: dict[int, Path]
    sets: h264.Sets | None = None
    found: int = 0
    made: int = 0

    def parts(self, takes: Sequence[tuple[int, StreamInfo]], with_sound: bool) -> list[Part]:
        planned, begin, total, shown = list[tuple[int, StreamInfo, list[Run]]](), 0.0, 0, 0
        for source, stream_info in takes:
            length = float(stream_info.tables.picture.length_s)
            spans = [(on - begin, off - begin) for on, off in self.overlay.spans]
            runs = plan_runs(
                stream_info, [(max(0.0, on), off) for on, off in spans if off > 0 and on < length]
            )
            planned.append((source, stream_info, runs))
            begin += length
            total += len(stream_info.tables.picture)
            shown += sum(run.last - run.first for run in runs)
        if shown > total * _MOST_OF_IT:
            raise NotApplicable(f"the logo is wanted in {shown} of {total} frames")
        if sum(len(runs) for _, _, runs in planned) > _MOST_RUNS:
            raise NotApplicable(f"the logo comes more than {_MOST_RUNS} times")
        made, done = list[Part](), 0
        for source, stream_info, runs in planned:
            stretches = list[Stretch]()
            for run in runs:
                stretches.append(self._encoded(stream_info, run))
                done += run.last - run.first
                self.tell(done / shown)
            sound = stream_info.tables.sound if with_sound else None
            picture = stream_info.tables.picture
            made.append(
                Part(picture, _woven(source, picture, runs, stretches), (source, sound) if sound else None)
            )
        return made

    def _encoded(self, stream_info: StreamInfo, run: Run) -> Stretch:
        track, number = stream_info.tables.picture, self.number
        path, is_kept = self._place(stream_info, run), self.overlay.kept is not None
        found = self._found(path, run) if is_kept else None
        if found:
            self.found += 1
        else:
            found = self._made(stream_info, run, path)
            self.made += 1
        self.sources[number] = path
        self.sets = found.sets if self.sets is None else self.sets | found.sets
        self.number += 1
        return Stretch(number, found.tables.picture, 0, run.last - run.first, track, run.first)

    def _place(self, stream_info: StreamInfo, run: Run) -> Path:
        if self.overlay.kept is None:
            return self.maker.aside(f"logo{self.number}")
        shown = (run.on, run.off)
        name = called(self.maker, self.overlay.logo, self.measure, stream_info, (run.first, run.last), shown)
        return self.overlay.kept / f"{name}.mp4"

    def _found(self, path: Path, run: Run) -> StreamInfo | None:
        """What an earlier try, ended in the middle, has made already."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            return self._checked(path, run)
        return None

    def _made(self, stream_info: StreamInfo, run: Run, path: Path) -> StreamInfo:
        plain_files.folder(path.parent)
        cut, new = self.maker.aside("cut"), path.with_name(f".{path.name}.new")
        try:
            write_cut(cut, stream_info, run.first, run.last, self.maker.token)
            self.maker.encode_with_logo(cut, new, self.overlay.logo, self.measure, (run.on, run.off))
            self._checked(new, run)
            durable.sync_file(new)
            durable.rename(new, path)
        finally:
            cut.unlink(missing_ok=True)
            new.unlink(missing_ok=True)
        return self._checked(path, run)

    def _checked(self, path: Path, run: Run) -> StreamInfo:
        found, count = self.maker.checked(path, self.measure), run.last - run.first
        if len(found.tables.picture) != count:
            raise NotApplicable(f"{len(found.tables.picture)} frames with the logo came of {count}")
        return found


def called(
    maker: AssetMaker,
    logo: PlacedLogo,
    measure: arguments.EncodeFormat,
    take: StreamInfo,
    frames: tuple[int, int],
    shown: tuple[int, int],
) -> str:
    """A name for some frames of a take with the logo over them that says all that goes into it."""
    recipe = arguments.with_logo("", PLACEHOLDER, PLACEHOLDER, logo, measure, shown)
    picture = logo.picture.path
    made_by = "\0".join(recipe).replace(str(picture.absolute()), maker.tools.probe_cache.digest(picture))
    digest = hashlib.blake2b(made_by.encode(), digest_size=12)
    first, last = frames
    digest.update(f"{take.path.name}\0{first}\0{last}".encode())
    # What tells these frames from all others, without reading them: their sizes, and the first one.
    track = take.tables.picture
    digest.update(array("I", track.sizes[first:last]).tobytes())
    with plain_files.opened(take.path, shared=True) as file:
        file.seek(track.offsets[first])
        digest.update(file.read(min(track.sizes[first], 1 << 16)))
    return digest.hexdigest()


def write_cut(path: Path, stream_info: StreamInfo, first: int, last: int, token: CancelToken) -> None:
    """These frames alone, in a file of their own, so that no seeking can hit beside them."""
    track = stream_info.tables.picture
    part = Part(track, (Stretch(0, track, first, last - first, track, first),))
    frames = timeline.cut(part, first, last)
    shown = writer.PictureTrack(
        frames, stream_info.sps.width, stream_info.sps.height, h264.write_avcc(stream_info.sets)
    )
    writer.write(path, shown, None, {0: stream_info.path}, b"", lambda _: token.check())


def _woven(source: int, track: Track, runs: Sequence[Run], made: Sequence[Stretch]) -> tuple[Stretch, ...]:
    """The stretches of a take in order: copied, with the logo, copied, …"""

    def pieces_of() -> Iterator[Stretch]:
        at = 0
        for run, stretch in zip(runs, made, strict=True):
            if run.first > at:
                yield Stretch(source, track, at, run.first - at, track, at)
            yield stretch
            at = run.last
        if at < len(track):
            yield Stretch(source, track, at, len(track) - at, track, at)

    return tuple(pieces_of())
