"""Lays parts of several files end to end: which sample comes when, in the picture and in the sound.

Pure: tables in, tables out. The picture leads; each part's sound is set against its own picture anew, so that
no drift adds up from part to part, and what has no sound is filled with silence.
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
class Stretch:
    """`count` samples of a source. Another track may lend the times: encoded anew, a frame keeps its own."""

    source: int
    data: Track
    first: int
    count: int
    times: Track
    at: int


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of film: its picture, and the sound that was recorded with it."""

    times: Track
    stretches: Sequence[Stretch]
    sound: tuple[int, Track] | None = None

    @classmethod
    def whole(cls, source: int, picture: Track, sound: Track | None) -> Part:
        stretch = Stretch(source, picture, 0, len(picture), picture, 0)
        return cls(picture, (stretch,), (source, sound) if sound else None)


@dataclass(slots=True)
class TrackTimeline:
    """One track of the film to be written.

    The first `lead` ticks are decoded and not shown; all of it is shown `late` ticks later than it says.
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
        """A film whose time stands still or runs backwards is no film."""
        last = self.starts[0] - 1
        for start in self.starts:
            if start <= last:
                raise NotSimple("its time stands still")
            last = start
        if self.end <= last:
            raise NotSimple("its time stands still")


def as_it_is(track: Track, zero_s: Fraction) -> TrackTimeline:
    """A track for itself, as its file has it; the film begins at `zero_s` of the file."""
    lane, first = TrackTimeline(track.scale), track.starts[0]
    lane.offsets, lane.sizes, lane.keys = track.offsets, track.sizes, track.keys
    lane.starts = array("q", (start - first for start in track.starts))
    lane.end = track.length
    after = round((track.begin_s - zero_s) * track.scale)
    lane.lead, lane.late = max(0, -after), max(0, after)
    lane.check_order()
    return lane


def picture_scale(parts: Sequence[Part]) -> int:
    """Ticks a second that hold the recording's own times exactly, an intro's to 0.1 ms."""
    scale = parts[-1].times.scale
    while scale < 10_000:
        scale *= 2
    return scale


def picture(parts: Sequence[Part], scale: int) -> tuple[TrackTimeline, list[int]]:
    """The picture's lane, and where in it each part begins."""
    lane, begins = TrackTimeline(scale), list[int]()
    for part in parts:
        begin = lane.end
        begins.append(begin)
        for stretch in part.stretches:
            _add(lane, stretch, begin, part.times)
        lane.end = begin + _scaled(part.times.length, part.times.scale, scale)
    lane.check_order()
    return lane, begins


def _add(lane: TrackTimeline, stretch: Stretch, begin: int, times: Track) -> None:
    data, first, last = stretch.data, stretch.first, stretch.first + stretch.count
    lane.sources.extend(array("H", (stretch.source,)) * stretch.count)
    lane.offsets.extend(data.offsets[first:last])
    lane.sizes.extend(data.sizes[first:last])
    lane.keys.extend(data.keys[first:last])
    starts, zero, own = stretch.times.starts, times.starts[0], times.scale
    wanted = starts[stretch.at : stretch.at + stretch.count]
    if own == lane.scale:
        lane.starts.extend(array("q", (begin + start - zero for start in wanted)))
    else:
        lane.starts.extend(array("q", (begin + _scaled(start - zero, own, lane.scale) for start in wanted)))


def cut(part: Part, first: int, last: int) -> TrackTimeline:
    """Frames of a part alone, from its beginning on."""
    lane, times = TrackTimeline(part.times.scale), part.times
    for stretch in part.stretches:
        _add(lane, stretch, -(times.starts[first] - times.starts[0]), times)
    lane.end = (times.starts[last] if last < len(times) else times.end) - times.starts[first]
    lane.check_order()
    return lane


def sound(
    parts: Sequence[Part], begins: Sequence[int], picture_lane: TrackTimeline, rate: int, silent: int
) -> TrackTimeline:
    """The sound's lane; `silent` is the size of a silent packet."""
    filler = _Sound(TrackTimeline(rate), silent)
    ends = (*begins[1:], picture_lane.end)
    for part, begin, end in zip(parts, begins, ends, strict=True):
        if part.sound:
            ticks = [_scaled(place, picture_lane.scale, rate) for place in (begin, end)]
            filler.add(part, ticks[0], ticks[1])
    return filler.finished(_scaled(picture_lane.end, picture_lane.scale, rate))


class _Sound:
    """Fills a lane with packets and, between them, with silence."""

    def __init__(self, lane: TrackTimeline, silent: int) -> None:
        self._lane, self._silent = lane, silent

    def add(self, part: Part, begin: int, end: int) -> None:
        assert part.sound
        source, track = part.sound
        lane = self._lane
        zero = begin + round((track.begin_s - part.times.begin_s) * lane.scale)
        shift: int | None = None
        first = track.starts[0]
        for number, start in enumerate(track.starts):
            time = zero + _scaled(start - first, track.scale, lane.scale)
            if shift is None:
                # What was heard before the picture began is left out, but for the packet with which the
                # very first sound begins: the decoder needs it, and no player plays it.
                if time + PACKET <= begin and (len(lane) or time + PACKET < begin):
                    continue
                if len(lane) and time + PACKET // 2 < lane.end:
                    continue
                shift = max(0, lane.end - time) if len(lane) else 0
            if time >= end:
                break
            self._fill(time + shift)
            self._put(source, track.offsets[number], track.sizes[number], time + shift)
            following = track.starts[number + 1] if number + 1 < len(track) else track.end
            lane.end = time + shift + min(2 * PACKET, _scaled(following - start, track.scale, lane.scale))

    def finished(self, end: int) -> TrackTimeline:
        lane = self._lane
        self._fill(end)
        lane.lead = max(0, -lane.starts[0])
        if lane.lead:
            lane.starts = array("q", (start + lane.lead for start in lane.starts))
            lane.end += lane.lead
        lane.check_order()
        return lane

    def _fill(self, until: int) -> None:
        """Silence up to the next packet: at the very beginning rather too much, else rather too little."""
        lane = self._lane
        if not len(lane):
            lane.end = until - -(-max(0, until) // PACKET) * PACKET
        count = max(0, until - lane.end) // PACKET
        end = lane.end + count * PACKET
        lane.sources.extend(array("H", (SILENCE,)) * count)
        lane.offsets.extend(array("Q", (0,)) * count)
        lane.sizes.extend(array("I", (self._silent,)) * count)
        lane.starts.extend(range(lane.end, end, PACKET))
        lane.keys.extend(b"\1" * count)
        lane.end = end

    def _put(self, source: int, offset: int, size: int, time: int) -> None:
        lane = self._lane
        lane.sources.append(source)
        lane.offsets.append(offset)
        lane.sizes.append(size)
        lane.starts.append(time)
        lane.keys.append(1)


def _scaled(ticks: int, of: int, to: int) -> int:
    return ticks if of == to else round(Fraction(ticks * to, of))
