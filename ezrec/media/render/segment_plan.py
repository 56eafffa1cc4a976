"""Where a full encode is cut into segments, and the command lines that make them. Pure: nothing is run.

A segment is a range of the *finished* video's frames within one take. It is decoded from a key frame that is
shown no later than its first frame, so pictures that refer to what comes before that key frame (open groups,
leading pictures) are never part of it. Times are counted in ticks that represent both the take's and the
video's times, and FFmpeg seeks to whole seconds only: so each picture has the same time in every segment.

Each segment also lists the pictures decoded around its two ends, by time and digest. The lists of two
neighbours must be equal: then no picture was lost, doubled or decoded differently where they meet.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import ffmpeg  # type: ignore[import-untyped]  # ffmpeg-python ships no types

from ezrec.domain.branding import LogoShow, LogoSpans
from ezrec.media.ffmpeg import arguments, filters
from ezrec.media.ffmpeg.inputs import file_url
from ezrec.media.ffmpeg.probe import Media

SHARED = 8  # frames at each end that the neighbour lists too
_LEAST_TAIL_S = 2
_MOST_TICKS = (1 << 31) - 1
_FINE = 1_000_000
_NEVER = Fraction(10**9)


@dataclass(frozen=True, slots=True)
class Segment:
    """Frames of the video, within one take; `last` is not among them.

    `seek_s`: the second that FFmpeg seeks to; `keys`: its key frames, the second one not included.
    """

    first: int
    last: int
    seek_s: int = 0
    keys: tuple[int, int] = (0, 0)

    @property
    def count(self) -> int:
        return self.last - self.first


def plan_segments(
    keys: Sequence[Fraction], take: Media, target: filters.Target, part_s: float
) -> list[Segment]:
    """`keys`: when each key frame is shown, in seconds after the first picture."""
    frames, rate, found = target.frames(take), target.rate, list[Segment]()
    first, seek, key = 0, 0, 0
    least = math.ceil(_LEAST_TAIL_S * rate)
    for number, shown in enumerate(keys):
        at = _nearest(shown * rate)
        if at - first >= part_s * rate and frames - at >= least:
            found.append(Segment(first, at, seek, (key, number)))
            following = keys[number + 1] if number + 1 < len(keys) else _NEVER
            first, key = at, number
            seek = _seek(shown + Fraction(take.offset_s), following + Fraction(take.offset_s))
    found.append(Segment(first, frames, seek, (key, len(keys))))
    return found


def _seek(key: Fraction, following: Fraction) -> int:
    """A whole second from which a seek leads to this key frame, or to an earlier one.

    FFmpeg seeks by decode times, to some frames and 0.13 s earlier than asked.
    """
    behind = math.ceil(key + Fraction(1, 4))
    return behind if behind < following - 1 else math.floor(key)


def ticks(scale: int, rate: Fraction) -> int:
    """Ticks a second that represent the take's and the video's times exactly, or else nearly."""
    exact = math.lcm(scale, rate.numerator)
    return exact if exact <= _MOST_TICKS else rate.numerator * -(-_FINE // rate.numerator)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to make the segment `cut` of `take`; all that goes into it except the take's own pictures.

    `before`: frames of the video in the takes before this one. `is_end`: the take ends with this segment.
    """

    take: Media
    cut: Segment
    scale: int
    encode_format: arguments.EncodeFormat
    logo: filters.PlacedLogo | None
    show: LogoShow | LogoSpans
    before: int
    is_end: bool
    tolerant: bool = False

    def argv(self, program: str, output: Path, digests: Path) -> list[str]:
        shown, around = self._decoded()
        target, count = self.encode_format.target, self.cut.count
        shown = filters.fitted(
            shown.filter("fps", fps=filters.ratio(target.rate), start_time=0), self.take, target
        )
        if self.is_end:
            shown = filters.lengthened(shown, target)
        shown = shown.filter("trim", end_frame=count)
        if self.logo:
            shown = shown.filter("setpts", f"N+{self.before + self.cut.first}")
            shown = filters.with_logo(shown, self.logo, target, **filters.when(self.show))
        shown = shown.filter("setpts", "PTS-STARTPTS")
        made = ffmpeg.output(shown, file_url(output), **self._picture())
        here = ffmpeg.output(
            around, file_url(digests), f="framemd5", fps_mode="passthrough", enc_time_base=f"1/{self.ticks}"
        )
        return filters.compiled(program, ffmpeg.merge_outputs(made, here), tolerant=self.tolerant)

    @property
    def ticks(self) -> int:
        return ticks(self.scale, self.encode_format.target.rate)

    def _decoded(self) -> tuple[filters.Stream, filters.Stream]:
        """The take's pictures, with the segment's first frame at 0, and again those around its two ends."""
        each, count = self._each, self.cut.count
        seek: dict[str, str | None] = {}
        if self.cut.seek_s:
            seek = {"ss": str(self.cut.seek_s), "noaccurate_seek": None}
        stream = filters.opened(self.take, 0, **seek)[str(self.take.video)].filter("settb", f"1/{self.ticks}")
        shift = self.cut.first * each + round(Fraction(self.take.offset_s) * self.ticks)
        stream = stream.filter("setpts", f"PTS-({shift - self.cut.seek_s * self.ticks})")
        stream = stream.filter("trim", end_pts=(count + SHARED + 1) * each)
        node = stream.split()
        wanted = "+".join(f"between(pts,{begin},{end})" for begin, end in self._ends())
        return node[0], node[1].filter("select", wanted)

    def _ends(self) -> Iterator[tuple[int, int]]:
        each = self._each
        for at in (0, *([] if self.is_end else [self.cut.count])):
            yield at * each - each, (at + SHARED) * each

    @property
    def _each(self) -> int:
        rate = self.encode_format.target.rate
        return self.ticks * rate.denominator // rate.numerator

    def _picture(self) -> dict[str, object]:
        target, encode_format = self.encode_format.target, self.encode_format
        size_limit = int(self.cut.count / target.rate * encode_format.bitrate / 8 * 3) + (16 << 20)
        # `cfr` says how long each picture lasts: behind `setpts` FFmpeg 7 does not know it, and the last one
        # of a part would never be shown.
        return {
            **arguments.picture(encode_format), "g": max(1, round(2 * target.rate)),
            "r": filters.ratio(target.rate), "fps_mode": "cfr", "f": "mp4", "map_metadata": -1,
            "map_chapters": -1, "fs": size_limit,
        }  # fmt: skip

    def frame_digests(self, text: str, at: int) -> list[tuple[int, str]]:
        """Reads `framemd5` output: the pictures around frame `at`, each with its ticks after that frame.

        Begins with the picture that is shown at that frame.
        """
        each, found = self._each, list[tuple[int, str]]()
        for line in text.splitlines():
            if line.startswith("#"):
                continue
            _, _, time, *_, digest = (word.strip() for word in line.split(","))
            after = int(time) - at * each
            if -each <= after <= SHARED * each:
                found.append((after, digest))
        seen = [number for number, (after, _) in enumerate(found) if _nearest(Fraction(after, each)) <= 0]
        return found[seen[-1] :] if seen else found


def sound(
    program: str, takes: Sequence[Media], target: filters.Target, output: Path, *, tolerant: bool
) -> list[str]:
    """The sound of all takes in one file, each as long as its picture; it is not cut into segments."""
    sounds = [filters.Measured(take, target, number).sound for number, take in enumerate(takes)]
    joined = sounds[0] if len(sounds) == 1 else ffmpeg.concat(*sounds, v=0, a=1)
    options = {**filters.SOUND, "f": "mp4", "map_metadata": -1, "map_chapters": -1}
    return filters.compiled(program, ffmpeg.output(joined, file_url(output), **options), tolerant=tolerant)


def _nearest(value: Fraction) -> int:
    """Rounds as FFmpeg does: halves away from zero."""
    return math.floor(value + Fraction(1, 2)) if value >= 0 else -math.floor(-value + Fraction(1, 2))
