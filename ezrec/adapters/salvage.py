"""What a dead recorder left: cut the torn tail off a take, and measure the rest by its own fragments.

Pure Python: the recorder needs no FFmpeg to know what it has.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ezrec import plain
from ezrec.adapters import mp4boxes
from ezrec.adapters.fragments import BadStream, FragmentReader
from ezrec.adapters.mp4samples import NotSimple, read_tracks
from ezrec.adapters.unwritten import cut_unwritten

_PIECE = 1 << 20


def salvage(path: Path) -> float:
    """Cut a fragmented file behind its last fragment that is whole and written, durably.

    Returns the seconds that it holds; 0: nothing.

    A file that is no fragmented MP4 is left as it is, and 0 is returned: FFmpeg has to say what it holds.
    So is whatever lies elsewhere too (a link): cutting it would cut somebody else's file.
    """
    try:
        info = path.lstat()
        if not stat.S_ISREG(info.st_mode) or info.st_nlink > 1 or not mp4boxes.is_fragmented(path):
            return 0.0
        mp4boxes.cut_torn_tail(path)
        cut_unwritten(path)
        return _length_s(path)
    except (OSError, mp4boxes.TornFile):
        return 0.0


def _length_s(path: Path) -> float:
    """By the tables alone: an hour's media is gigabytes, and they are about to be read again."""
    try:
        return float(
            next(track.length_s for track in read_tracks(path) if track.kind == b"vide" and len(track))
        )
    except (NotSimple, StopIteration):
        return _read_through(path)


def _read_through(path: Path) -> float:
    reader, seconds = FragmentReader(), 0.0
    with plain.opened(path, shared=True) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        while data := file.read(_PIECE):
            try:
                seconds += sum(fragment.duration_s for fragment in reader.feed(data, 0.0))
            except BadStream:
                break
    return seconds
