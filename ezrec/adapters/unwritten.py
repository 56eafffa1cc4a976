"""Media whose pages never reached the disk: a power cut can leave zeros in a fragment whose boxes are whole.

The file system may have written down a file's new length before the data (ext4 does, in what it calls delayed
allocation). H.264 tells such zeros apart without decoding: three zero bytes in a row stand in no unit.
"""

from __future__ import annotations

import os
from pathlib import Path

from ezrec import plain
from ezrec.adapters.mp4boxes import Boxes, TornFile
from ezrec.adapters.mp4samples import NotSimple, Track, read_tracks

_LOOKED_AT = 64 << 20  # bytes at the end: far more than is ever written between two syncs
_MOST_CUT_S = 5.0  # zeros with more footage behind them are no torn tail, and not cut off
_LENGTH = 4  # bytes in front of each unit


def cut_unwritten(path: Path) -> int:
    """Cut a fragmented H.264 file in front of its first unwritten fragment; returns the bytes cut."""
    try:
        track = next((one for one in read_tracks(path) if one.kind == b"vide" and one.header), None)
    except (NotSimple, TornFile):
        return 0
    if track is None or not len(track) or not _is_four_bytes(track):
        return 0
    with plain.opened_to_change(path) as file:
        bad = _first_unwritten(file.fileno(), track)
        if bad is None or (track.end - track.starts[bad]) / track.scale > _MOST_CUT_S:
            return 0
        boxes = Boxes(file)
        begin = max(
            box.offset for box in boxes.top() if box.type == b"moof" and box.offset < track.offsets[bad]
        )
        file.truncate(begin)
        os.fsync(file.fileno())
        return boxes.length - begin


def _is_four_bytes(track: Track) -> bool:
    return len(track.header) > 4 and track.header[4] & 3 == _LENGTH - 1


def _first_unwritten(fd: int, track: Track) -> int | None:
    """The number of the first such sample among the last ones."""
    ends = os.fstat(fd).st_size
    first = next(n for n, offset in enumerate(track.offsets) if offset >= ends - _LOOKED_AT)
    for number in range(first, len(track)):
        if not _is_written(os.pread(fd, track.sizes[number], track.offsets[number])):
            return number
    return None


def _is_written(sample: bytes) -> bool:
    at = 0
    while at < len(sample):
        body = at + _LENGTH
        end = body + int.from_bytes(sample[at:body], "big")
        if end <= body or end > len(sample) or sample.find(b"\0\0\0", body, end) >= 0:
            return False
        at = end
    return bool(sample)
