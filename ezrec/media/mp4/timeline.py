"""Joins parts of several files end to end: which sample comes when, in the picture and in the sound.

Pure: tables in, tables out. The picture leads. The sound of each part is aligned with its own picture, so
that no drift adds up from part to part; parts without sound get silence.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from ezrec.media.mp4.samples import NotSimple, Track

PACKET = 1024  # samples of sound in one packet of AAC
SILENCE = 65535  # the number of the source that holds one silent packet


@dataclass(frozen=True, slots=True)
class SampleSpan:
    """`count` samples of a source, from number `first` of `data` on.

    Their times are those of `times` from number `at` on: a frame that was encoded again keeps its time.
    """

    source: int
    data: Track
    first: int
    count: int
    times: Track
    at: int


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a video (an intro, a take): its picture, and the sound that was recorded with it.

    `sound`: the number of its source, and the track.
    """

    times: Track
    spans: Sequence[SampleSpan]
    sound: tuple[int, Track] | None = None

    @classmethod
    def whole(cls, source: int, picture: Track, sound: Track | None) -> Part:
        span = SampleSpan(source, picture, 0, len(picture), picture, 0)
        return cls(picture, (span,), (source, sound) if sound else None)


@dataclass(slots=True)
class TrackTimeline:
    """One track of the video to be written. Times in ticks, `scale` of them a second.

    The first `lead` ticks are decoded and not shown. The track begins `late` ticks after the video.
    """

    scale: int
    sources: array[int] = field(default_factory=lambda: array("H"))
    offsets: array[int] = field(default_factory=lambda: array("Q"))
    sizes: array[int] = field(default_factory=lambda: array("I"))
    starts: array[int] = field(default_factory=lambda: array("q"))
    keys: bytearray = field(default_factory=bytearray)
    end: int = 0
    lead: int = 0
    late: int = 0

    def __len__(self) -> int:
        return len(self.sizes)

    def check_order(self) -> None:
        """Raise `NotSimple` unless each sample begins later than the one before it."""
        last = self.starts[0] - 1
        for start in self.starts:
            if start <= last:
                raise NotSimple("its time stands still")
            last = start
        if self.end <= last:
            raise NotSimple("its time stands still")


def as_it_is(track: Track, zero_s: Fraction) -> TrackTimeline:
    """The track with the times that it has in its file; the video begins at `zero_s` of the file."""
    timeline, first = TrackTimeline(track.scale), track.starts[0]
    timeline.offsets, timeline.sizes, timeline.keys = track.offsets, track.sizes, track.keys
    timeline.starts = array("q", (start - first for start in track.starts))
    timeline.end = track.length
    after = round((track.begin_s - zero_s) * track.scale)
    timeline.lead, timeline.late = max(0, -after), max(0, after)
    timeline.check_order()
    return timeline


def picture_scale(parts: Sequence[Part]) -> int:
    """Ticks a second that represent the recording's times exactly, and those of an intro to 0.1 ms."""
    scale = parts[-1].times.scale
    while scale < 10_000:
        scale *= 2
    return scale


def picture(parts: Sequence[Part], scale: int) -> tuple[TrackTimeline, list[int]]:
    """The picture's timeline, and the tick at which each part begins."""
    timeline, begins = TrackTimeline(scale), list[int]()
    for part in parts:
        begin = timeline.end
        begins.append(begin)
        for span in part.spans:
            _add(timeline, span, begin, part.times)
        timeline.end = begin + _scaled(part.times.length, part.times.scale, scale)
    timeline.check_order()
    return timeline, begins


def _add(timeline: TrackTimeline, span: SampleSpan, begin: int, times: Track) -> None:
    data, first, last = span.data, span.first, span.first + span.count
    timeline.sources.extend(array("H", (span.source,)) * span.count)
    timeline.offsets.extend(data.offsets[first:last])
    timeline.sizes.extend(data.sizes[first:last])
    timeline.keys.extend(data.keys[first:last])
    starts, zero, own = span.times.starts, times.starts[0], times.scale
    wanted = starts[span.at : span.at + span.count]
    if own == timeline.scale:
        timeline.starts.extend(array("q", (begin + start - zero for start in wanted)))
    else:
        timeline.starts.extend(
            array("q", (begin + _scaled(start - zero, own, timeline.scale) for start in wanted))
        )


def cut(part: Part, first: int, last: int) -> TrackTimeline:
    """The frames `first` to `last` (not included) of a part, as a timeline that begins at 0."""
    timeline, times = TrackTimeline(part.times.scale), part.times
    for span in part.spans:
        _add(timeline, span, -(times.starts[first] - times.starts[0]), times)
    timeline.end = (times.starts[last] if last < len(times) else times.end) - times.starts[first]
    timeline.check_order()
    return timeline


def sound(
    parts: Sequence[Part], begins: Sequence[int], picture_timeline: TrackTimeline, rate: int, silent: int
) -> TrackTimeline:
    """The sound's timeline; `silent` is the size of a silent packet."""
    filler = _Sound(TrackTimeline(rate), silent)
    ends = (*begins[1:], picture_timeline.end)
    for part, begin, end in zip(parts, begins, ends, strict=True):
        if part.sound:
            ticks = [_scaled(place, picture_timeline.scale, rate) for place in (begin, end)]
            filler.add(part, ticks[0], ticks[1])
    return filler.finished(_scaled(picture_timeline.end, picture_timeline.scale, rate))


class _Sound:
    """Fills a timeline with packets of sound, and the time between them with silent packets."""

    def __init__(self, timeline: TrackTimeline, silent: int) -> None:
        self._timeline, self._silent = timeline, silent

    def add(self, part: Part, begin: int, end: int) -> None:
        assert part.sound
        source, track = part.sound
        timeline = self._timeline
        zero = begin + round((track.begin_s - part.times.begin_s) * timeline.scale)
        shift: int | None = None
        first = track.starts[0]
        for number, start in enumerate(track.starts):
            time = zero + _scaled(start - first, track.scale, timeline.scale)
            if shift is None:
                # Sound from before the picture is left out, except for the packet before the video's first
                # sound: the decoder needs it, and no player plays it.
                if time + PACKET <= begin and (len(timeline) or time + PACKET < begin):
                    continue
                if len(timeline) and time + PACKET // 2 < timeline.end:
                    continue
                shift = max(0, timeline.end - time) if len(timeline) else 0
            if time >= end:
                break
            self._fill(time + shift)
            self._put(source, track.offsets[number], track.sizes[number], time + shift)
            following = track.starts[number + 1] if number + 1 < len(track) else track.end
            timeline.end = (
                time + shift + min(2 * PACKET, _scaled(following - start, track.scale, timeline.scale))
            )

    def finished(self, end: int) -> TrackTimeline:
        timeline = self._timeline
        self._fill(end)
        timeline.lead = max(0, -timeline.starts[0])
        if timeline.lead:
            timeline.starts = array("q", (start + timeline.lead for start in timeline.starts))
            timeline.end += timeline.lead
        timeline.check_order()
        return timeline

    def _fill(self, until: int) -> None:
        """Whole silent packets up to `until`: rounded up at the beginning of the video, else rounded down."""
        timeline = self._timeline
        if not len(timeline):
            timeline.end = until - -(-max(0, until) // PACKET) * PACKET
        count = max(0, until - timeline.end) // PACKET
        end = timeline.end + count * PACKET
        timeline.sources.extend(array("H", (SILENCE,)) * count)
        timeline.offsets.extend(array("Q", (0,)) * count)
        timeline.sizes.extend(array("I", (self._silent,)) * count)
        timeline.starts.extend(range(timeline.end, end, PACKET))
        timeline.keys.extend(b"\1" * count)
        timeline.end = end

    def _put(self, source: int, offset: int, size: int, time: int) -> None:
        timeline = self._timeline
        timeline.sources.append(source)
        timeline.offsets.append(offset)
        timeline.sizes.append(size)
        timeline.starts.append(time)
        timeline.keys.append(1)


def _scaled(ticks: int, of: int, to: int) -> int:
    return ticks if of == to else round(Fraction(ticks * to, of))
