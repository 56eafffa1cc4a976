"""Describes a camera's file by its own tables, as ffprobe would, which takes longer to start.

Only for H.264 and AAC-LC that can be copied, in takes and in our own results. Everything else is left to
ffprobe, because this decodes nothing.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from statistics import median

from ezrec.domain.ports import MediaInfo
from ezrec.media.ffmpeg.colours import Appearance, resolved
from ezrec.media.ffmpeg.probe import Media, fits
from ezrec.media.ffmpeg.rates import rate_of
from ezrec.media.mp4 import copyable
from ezrec.media.mp4.copyable import StreamInfo
from ezrec.media.mp4.samples import Track

_ENTRIES = ((b"avc1", b"avc3"), (b"mp4a",))
_RATE_FROM = 1 << 12  # frames in the middle that decide the rate


def described(path: Path) -> Media | None:
    """None for a file that ffprobe has to look at."""
    try:
        return _media(path, copyable.read(path))
    except ValueError:
        return None


def _media(path: Path, found: StreamInfo) -> Media | None:
    picture, sound = found.tables.picture, found.tables.sound
    seconds = float(picture.length_s)
    tracks = (picture, *((sound,) if sound else ()))
    if picture.is_cut or (sound and sound.is_cut):
        return None  # FFmpeg sees what was cut off, too
    if not fits(found.sps.width, found.sps.height, seconds):
        return None
    if any(track.entry[4:8] not in names for track, names in zip(tracks, _ENTRIES, strict=False)):
        return None
    rate = rate_of(_base(picture), Fraction(len(picture)) / picture.length_s)
    begins = [max(Fraction(0), track.begin_s) for track in tracks]
    return Media(
        path=path,
        demuxer="mov",
        info=MediaInfo(
            seconds, found.sps.width, found.sps.height, float(rate), "h264", sound is not None, len(picture)
        ),
        rate=rate,
        video=picture.index,
        audio=sound.index if sound else None,
        audio_codec="aac" if sound else "",
        pix_fmt="yuvj420p" if found.sps.full_range else "yuv420p",
        full_range=found.sps.full_range,
        offset_s=float(begins[0] - min(begins)),
        appearance=Appearance(resolved(found.sps.colours, found.sps.height)),
        stream_info=found,
    )


def _base(picture: Track) -> Fraction | None:
    """Frames a second by the usual time between two frames; dropped frames do not change it."""
    first = max(0, (len(picture) - _RATE_FROM) // 2)
    starts = picture.starts[first : first + _RATE_FROM + 1]
    steps = [after - before for before, after in pairwise(starts)]
    step = median(steps) if steps else 0
    return Fraction(picture.scale) / Fraction(step) if step > 0 else None
