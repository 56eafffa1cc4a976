"""Edit lists: which part of a track is shown. A clip trimmed on a phone still holds what its owner cut off.

That must not be in a published video. Its samples are left out if a decoder can begin after them; else
`NotSimple` says that the video has to be decoded.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from fractions import Fraction

from ezrec.media.mp4.sample_tables import NotSimple, Track

_NORMAL_SPEED = 1 << 16
_MOST_EDITS = 16
_PRIMING_S = Fraction(1, 4)  # audio encoders add some packets before the first sound and after the last


class Edited(NotSimple):
    """The track is put together of several edits, or shown at another speed."""


def read(track: Track, elst: bytes, movie_scale: int) -> None:
    """Read an `elst`: an empty edit at most, then one edit that is shown; else raises `Edited`."""
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
        if rate != _NORMAL_SPEED:
            raise Edited("parts of it are shown at another speed")
    if played > 1:
        raise Edited("parts of it are left out")


def is_shown(track: Track, time: int) -> bool:
    """True when FFmpeg and browsers show a picture whose time is `time`."""
    return track.begin <= time and (track.until is None or time < track.until)


def has_whole_end(track: Track, last: int) -> bool:
    """True when the last picture, whose time is `last`, was not cut off.

    FFmpeg 7 writes a last sample of length 0, and an edit that ends where that sample begins.
    """
    return track.until is None or (track.until >= last and track.end == track.starts[-1])


def is_trimmed(track: Track) -> bool:
    """True when more of a sound track is left out than the packets that its encoder added."""
    most, end = _PRIMING_S * track.scale, track.end + track.delay
    return track.begin - track.starts[0] > most or (track.until is not None and end - track.until > most)


def apply(track: Track) -> None:
    """Remove the samples that are not shown. Raises `NotSimple` when no decoder can begin after them."""
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
    """The number of the sample shown when the track begins, or of the next one if that is nearly over.

    For sound, one packet earlier: the decoder needs it, and no player plays it.
    """
    time = track.begin - track.delay
    number = max(0, bisect_right(track.starts, time) - 1)
    if track.kind == b"soun":
        return max(0, number - 1)
    after = track.starts[number + 1] if number + 1 < len(track) else track.end
    return number + (2 * time > track.starts[number] + after)


def _last(track: Track) -> int:
    """The number after the last sample shown. Trimmed sound loses the packet in which it ends."""
    if track.until is None:
        return len(track)
    if track.kind == b"vide" and has_whole_end(track, track.starts[-1] + track.delay):
        return len(track)
    last = bisect_left(track.starts, track.until - track.delay)
    return last - 1 if track.kind == b"soun" and last < len(track) and is_trimmed(track) else last
