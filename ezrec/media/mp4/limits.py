"""Checks the figures in a file against its size and against a day.

One wrong bit turns a minute into 77 days. Silence of that length, or a sample of 4 GB, would take all memory
of the machine, and the recorder would be killed. Reads nothing.
"""

from __future__ import annotations

from itertools import chain, islice
from operator import add, sub

from ezrec.media.mp4.boxes import TornFile
from ezrec.media.mp4.sample_tables import Track

LONGEST_S = 24 * 3600
MOST_SAMPLES = 10_000_000  # a day at 60 frames a second, with sound; 21 bytes are kept of each
MOST_IN_FRAGMENT = 1_000_000
MOST_TRACKS = 64
LARGEST_SAMPLE = 64 << 20  # a picture of 8K, hardly compressed, has 30 MB
_LONGEST_PICTURE_S = 3600  # a picture that stands for longer is a clock that jumped
# A dark picture that never changes, once a second, takes more than 20 bytes a second with its index.
_FREE_S, _LEAST_BYTES_A_S = 600, 8
# A track's length is in the file twice. The figures often differ a little, by this much in damaged files.
_MOST_RATIO, _MOST_DIFFERENCE_S = 2, 60


class Beyond(TornFile):
    """A figure in the file cannot be true."""


def check(track: Track, size: int) -> None:
    """Raise `Beyond` unless a file of `size` bytes, and a day, can hold this track."""
    if not len(track):
        return
    if max(track.sizes) > LARGEST_SAMPLE:
        raise Beyond(f"damaged: a sample of {max(track.sizes)} bytes")
    if max(map(add, track.offsets, track.sizes)) > size:
        raise TornFile("its index points beyond its end")
    if sum(track.sizes) > size:
        raise Beyond(f"damaged: its samples take {sum(track.sizes)} bytes, the file has {size}")
    if abs(track.shift) > LONGEST_S:
        raise Beyond(f"damaged: it begins {float(track.shift):.0f} s late")
    check_length(float(track.length_s), size)
    if track.length_s > _LONGEST_PICTURE_S and (longest := _longest_s(track)) > _LONGEST_PICTURE_S:
        raise Beyond(f"damaged: one of its samples lasts {longest:.0f} s")
    _check_agreed(track)


def check_length(seconds: float, size: int) -> None:
    """Raise `Beyond` for more seconds than a day has, or than `size` bytes can hold."""
    if seconds > LONGEST_S:
        raise Beyond(f"it says it lasts {seconds:.0f} s; at most {LONGEST_S}")
    if seconds > _FREE_S + size / _LEAST_BYTES_A_S:
        raise Beyond(f"damaged: it says it lasts {seconds:.0f} s, in {size} bytes")


def most_s(seconds: float) -> float:
    """The most that another figure may say of a track that lasts `seconds`."""
    return max(seconds * _MOST_RATIO, seconds + _MOST_DIFFERENCE_S)


def check_count(count: int, most: int, size: int) -> None:
    """Raise `Beyond` for more samples than `most`, or than the file has bytes."""
    if count > min(most, size):
        raise Beyond(f"damaged: {count} samples; at most {most}, and no more than it has bytes")


def _longest_s(track: Track) -> float:
    ends = chain(islice(track.starts, 1, None), (track.end,))
    longest: int = max(map(sub, ends, track.starts))
    return longest / track.scale


def _check_agreed(track: Track) -> None:
    """Compare the track's samples with the length that its header names."""
    if track.header_length is None:
        return
    seconds, header_s = float(track.length_s), track.header_length / track.scale
    if max(seconds, header_s) > most_s(min(seconds, header_s)):
        raise Beyond(f"damaged: its samples last {seconds:.0f} s, its header says {header_s:.0f} s")
