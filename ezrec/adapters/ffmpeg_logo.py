"""The rung *smart render*: only the groups of pictures that are to show the logo are encoded anew.

For each of them
1. its frames are copied out into a small file of their own, so that no seeking can hit beside them
2. that file is decoded, overlaid and encoded, frame for frame
3. the frames made stand in for the old ones, each at the very time of the frame it replaces
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from ezrec.adapters import ffmpeg_pieces as pieces
from ezrec.adapters import h264, mp4lanes, mp4write
from ezrec.adapters.ffmpeg_graph import Placed
from ezrec.adapters.ffmpeg_run import Switch
from ezrec.adapters.ffmpeg_tools import Unfit
from ezrec.adapters.ffmpeg_workshop import Workshop
from ezrec.adapters.footage import Material
from ezrec.adapters.mp4lanes import Part, Stretch
from ezrec.adapters.mp4samples import Track

_MOST_RUNS = 400  # each is a file kept open
_MOST_OF_IT = 0.7  # beyond that one pass over the whole is as cheap, and simpler


@dataclass(frozen=True, slots=True)
class Overlay:
    """A picture to be laid over the recording, and from when to when (in seconds of all takes together)."""

    logo: Placed
    spans: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Run:
    """Frames `first` to `last` of a take, from one IDR picture to another; the logo from `on` to `off`."""

    first: int
    last: int
    on: int
    off: int


def runs_of(material: Material, spans: Sequence[tuple[float, float]]) -> list[Run]:
    """Which frames have to be encoded so that the logo shows in these spans (in seconds of this take)."""
    track, found = material.footage.picture, list[Run]()
    begins = [Fraction(start - track.starts[0], track.scale) for start in track.starts]
    for begin, end in spans:
        on, off = bisect.bisect_left(begins, begin), bisect.bisect_left(begins, end)
        if on >= off:
            continue
        first = material.idrs[bisect.bisect_right(material.idrs, on) - 1]
        after = bisect.bisect_left(material.idrs, off)
        last = material.idrs[after] if after < len(material.idrs) else len(track)
        if found and first < found[-1].last:
            raise Unfit("the logo comes back within one group of pictures")
        found.append(Run(first, last, on - first, off - first))
    return found


@dataclass(slots=True)
class LogoRuns:
    """Makes the stretches with the logo. `number` is the next free number of a source."""

    workshop: Workshop
    overlay: Overlay
    measure: pieces.Measure
    number: int
    tell: Callable[[float], None]
    sources: dict[int, Path]
    sets: h264.Sets | None = None

    def parts(self, takes: Sequence[tuple[int, Material]], with_sound: bool) -> list[Part]:
        planned, begin, total, shown = list[tuple[int, Material, list[Run]]](), 0.0, 0, 0
        for source, material in takes:
            length = float(material.footage.picture.length_s)
            spans = [(on - begin, off - begin) for on, off in self.overlay.spans]
            runs = runs_of(material, [(max(0.0, on), off) for on, off in spans if off > 0 and on < length])
            planned.append((source, material, runs))
            begin += length
            total += len(material.footage.picture)
            shown += sum(run.last - run.first for run in runs)
        if shown > total * _MOST_OF_IT:
            raise Unfit(f"the logo is wanted in {shown} of {total} frames")
        if sum(len(runs) for _, _, runs in planned) > _MOST_RUNS:
            raise Unfit(f"the logo comes more than {_MOST_RUNS} times")
        made, done = list[Part](), 0
        for source, material, runs in planned:
            stretches = list[Stretch]()
            for run in runs:
                stretches.append(self._encoded(material, run))
                done += run.last - run.first
                self.tell(done / shown)
            sound = material.footage.sound if with_sound else None
            picture = material.footage.picture
            made.append(
                Part(picture, _woven(source, picture, runs, stretches), (source, sound) if sound else None)
            )
        return made

    def _encoded(self, material: Material, run: Run) -> Stretch:
        track, number = material.footage.picture, self.number
        cut = self.workshop.aside(f"cut{number}")
        count = run.last - run.first
        try:
            write_cut(cut, material, run.first, run.last, self.workshop.switch)
            path = self.workshop.aside(f"logo{number}")
            self.sources[number] = path
            self.workshop.encode_with_logo(cut, path, self.overlay.logo, self.measure, (run.on, run.off))
        finally:
            cut.unlink(missing_ok=True)
        found = self.workshop.checked(path, self.measure)
        if len(found.footage.picture) != count:
            raise Unfit(f"{len(found.footage.picture)} frames with the logo came of {count}")
        self.sets = found.sets if self.sets is None else self.sets | found.sets
        self.number += 1
        return Stretch(number, found.footage.picture, 0, count, track, run.first)


def write_cut(path: Path, material: Material, first: int, last: int, switch: Switch) -> None:
    """These frames alone, in a file of their own, so that no seeking can hit beside them."""
    track = material.footage.picture
    part = Part(track, (Stretch(0, track, first, last - first, track, first),))
    lane = mp4lanes.cut(part, first, last)
    shown = mp4write.Picture(lane, material.sps.width, material.sps.height, h264.write_avcc(material.sets))
    mp4write.write(path, shown, None, {0: material.path}, b"", lambda _: switch.check())


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
