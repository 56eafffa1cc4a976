"""Media whose pages never reached the disk: a power cut can leave zeros in a fragment whose boxes are whole.

The file system may have written down a file's new length before the data (ext4 does, in what it calls delayed
allocation). H.264 tells such zeros apart without decoding: three zero bytes in a row stand in no unit.
"""

from __future__ import annotations

import os

from ezrec.adapters.mp4tracks import Track

LOOKED_AT_S = 5.0  # at the end: more than is ever written between two syncs
_LENGTH = 4  # bytes in front of each unit


def can_tell(track: Track) -> bool:
    """True for H.264 in the form in which cameras write it."""
    return track.kind == b"vide" and len(track.header) > 4 and track.header[4] & 3 == _LENGTH - 1


def is_written(fd: int, track: Track) -> bool:
    """True when all samples of the track are there."""
    places = zip(track.sizes, track.offsets, strict=True)
    return all(_is_written(os.pread(fd, size, offset)) for size, offset in places)


def _is_written(sample: bytes) -> bool:
    at = 0
    while at < len(sample):
        body = at + _LENGTH
        end = body + int.from_bytes(sample[at:body], "big")
        if end <= body or end > len(sample) or sample.find(b"\0\0\0", body, end) >= 0:
            return False
        at = end
    return bool(sample)
