"""Edit lists: what of a track is shown. A clip trimmed on a phone still holds what its owner cut off.

That must not be shown again, nor lie in a video that is published: its samples are left out where a decoder
can begin behind them; else `NotSimple` says that the video has to be decoded.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from fractions import Fraction

from ezrec.media.mp4.sample_tables import NotSimple, Track

_AS_FILMED = 1 << 16
_MOST_EDITS = 16
_PRIMING_S = Fraction(1, 4)  # an encoder of sound has some packets before its first one, and behind its last


class Edited(NotSimple):
    """Put together of several pieces, or shown at another speed."""


def read(track: Track, elst: bytes, movie_scale: int) -> None:
    """An empty stretch before a track, and one piece of it that is shown; else raises `Edited`."""
    if not elst:
        return
    form, size = (">QqI", 20) if elst[0] else (">IiI", 12)
    count = struct.unpack_from(">I", elst, 4)[0]
    if count > _MOST_EDITS:
        raise Edited("it is cut into many parts")
    played = 0
    for number in range(count):
        length, begin, rate = struct.unpack_from(form, elst, 8 + number * size)
        if begin == -1:
            track.shift += Fraction(length, movie_scale)
        else:
            track.shift -= Fraction(begin, track.scale)
            track.begin, played = begin, played + 1
            track.until = begin + round(Fraction(length * track.scale, movie_scale)) if length else None
        if rate != _AS_FILMED:
            raise Edited("parts of it are shown at another speed")
    if played > 1:
        raise Edited("parts of it are left out")


def is_shown(track: Track, time: int) -> bool:
    """Whether a picture that is due at `time` was left in, as FFmpeg and browsers decide it."""
    return track.begin <= time and (track.until is None or time < track.until)


def has_whole_end(track: Track, last: int) -> bool:
    """Whether the last picture, due at `last`, ends the track and was not cut off.

    FFmpeg 7 writes a last sample without a length, and shows the track up to where that sample begins.
    """
    return track.until is None or (track.until >= last and track.end == track.starts[-1])


def is_trimmed(track: Track) -> bool:
    """Of sound: whether more is left out than the encoder's own packets."""
    most, end = _PRIMING_S * track.scale, track.end + track.delay
    return track.begin - track.starts[0] > most or (track.until is not None and end - track.until > most)


def apply(track: Track) -> None:
    """Leave out the samples that are not shown."""
    if not len(track):
        return
    first, last = _first(track), _last(track)
    if first >= last:
        raise NotSimple("nothing of it is shown")
    if (first, last) == (0, len(track)):
        return
    if track.kind == b"vide" and not track.keys[first]:
        raise NotSimple("it was cut where no decoder can begin")
    track.is_cut = track.kind == b"vide" or is_trimmed(track)
    if last < len(track):
        track.end = track.starts[last]
    track.offsets, track.sizes = track.offsets[first:last], track.sizes[first:last]
    track.starts, track.keys = track.starts[first:last], track.keys[first:last]


def _first(track: Track) -> int:
    """The sample that is shown when the track begins, or the next one where that is nearly over.

    Of sound the packet before it as well: a decoder needs it, and no player plays it.
    """
    time = track.begin - track.delay
    number = max(0, bisect_right(track.starts, time) - 1)
    if track.kind == b"soun":
        return max(0, number - 1)
    after = track.starts[number + 1] if number + 1 < len(track) else track.end
    return number + (2 * time > track.starts[number] + after)


def _last(track: Track) -> int:
    """Of trimmed sound without the packet in which it ends: half of that was cut off."""
    if track.until is None:
        return len(track)
    if track.kind == b"vide" and has_whole_end(track, track.starts[-1] + track.delay):
        return len(track)
    last = bisect_left(track.starts, track.until - track.delay)
    return last - 1 if track.kind == b"soun" and last < len(track) and is_trimmed(track) else last
