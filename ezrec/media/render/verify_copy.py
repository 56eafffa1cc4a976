"""Shows that a video joined by copying is the video that was planned, before anybody sees it.

1. its index, read back from the file, names sample for sample what was to be written
2. the frames around each join, taken out of the finished file under the finished file's own header, decode
3. FFmpeg, opening the video by itself, finds its end and decodes it

Raises `VerificationError` where one of them fails. Changes nothing.
"""

from __future__ import annotations

import bisect
import collections
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ezrec.media.ffmpeg import decoding
from ezrec.media.ffmpeg.inputs import RESULT
from ezrec.media.ffmpeg.runner import Log
from ezrec.media.ffmpeg.tools import Tools, VerificationError
from ezrec.media.mp4 import h264, timeline, writer
from ezrec.media.mp4.copyable import StreamInfo
from ezrec.media.mp4.samples import Track
from ezrec.media.mp4.timeline import Part, Stretch, TrackTimeline
from ezrec.system.task import CancelToken

_BEFORE, _AFTER = 4, 8  # frames decoded before a join and behind it
_AT_ONCE = 16  # joins shown by one process: their frames lie in a file beside the video
_CHECK_S = 300.0
_LONGEST_SAMPLE = 1 << 24  # of which the units are read


@dataclass(frozen=True, slots=True)
class CopyVerifier:
    """Of one video, `part`."""

    tools: Tools
    part: Path
    token: CancelToken
    log: Log

    def show(self, picture: TrackTimeline, sound: TrackTimeline | None, joins: Sequence[int]) -> None:
        video = self._read_back()
        found = video.tables
        if not _agree(found.picture, picture) or bool(found.sound) != bool(sound):
            raise VerificationError("its index is not what was to be written")
        if sound and found.sound and not _agree(found.sound, sound):
            raise VerificationError("the index of its sound is not what was to be written")
        self._walk_end(video)
        windows = list(_windows(video, joins))
        for some in [windows[at : at + _AT_ONCE] for at in range(0, len(windows), _AT_ONCE)] or [[]]:
            self._decode(video, some, with_end=some[-1:] == windows[-1:])

    def _read_back(self) -> StreamInfo:
        media = self.tools.inspect(RESULT, self.part, self.token)
        if media.stream_info is None:
            raise VerificationError("it cannot be read back")
        return media.stream_info

    def _walk_end(self, video: StreamInfo) -> None:
        """Every sample of the last group of pictures is made of whole units: what a torn tail is not."""
        track = video.tables.picture
        with self.part.open("rb") as file:
            for number in range(video.idrs[-1], len(track)):
                size = track.sizes[number]
                file.seek(track.offsets[number])
                data = file.read(min(size, _LONGEST_SAMPLE))
                try:
                    collections.deque(h264.unit_ranges(data, size), maxlen=0)
                except h264.NotH264:
                    raise VerificationError(f"frame {number} of {len(track)} is damaged") from None

    def _decode(self, video: StreamInfo, windows: Sequence[tuple[int, int]], *, with_end: bool) -> None:
        beside = self.part.with_name(f"{self.part.name}.joins")
        sources, wanted = list[tuple[Path, tuple[float, float]]](), 0
        try:
            if windows:
                count = self._copy_out(video, windows, beside)
                sources.append((beside, (0.0, count + 1.0)))
                wanted += count
            if with_end:
                first, last = _end(video)
                sources.append((self.part, (_between(video, first), _between(video, last))))
                wanted += last - first
            argv = decoding.decode_windows(self.tools.ffmpeg, sources)
            shown = self.tools.decoded(argv, _CHECK_S, self.token, self.log)
        finally:
            beside.unlink(missing_ok=True)
        if shown != wanted:
            raise VerificationError(f"around the joins {shown} frames are shown where {wanted} were copied")

    def _copy_out(self, video: StreamInfo, windows: Sequence[tuple[int, int]], beside: Path) -> int:
        """The windows as a video of their own, a frame a second."""
        track, count = video.tables.picture, sum(last - first for first, last in windows)
        times = Track(kind=b"vide", end=count)
        times.starts.extend(range(count))
        stretches, at = list[Stretch](), 0
        for first, last in windows:
            stretches.append(Stretch(0, track, first, last - first, times, at))
            at += last - first
        planned, _ = timeline.picture([Part(times, stretches)], 1)
        shown = writer.PictureTrack(planned, video.sps.width, video.sps.height, track.header)
        writer.write(beside, shown, None, {0: self.part}, b"", lambda done: self.token.check())
        return count


def _agree(track: Track, planned: TrackTimeline) -> bool:
    return (
        track.scale == planned.scale
        and track.sizes == planned.sizes
        and track.keys == planned.keys
        and track.end == planned.end
        and track.starts.tolist() == planned.starts.tolist()
    )


def _windows(video: StreamInfo, joins: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Frames around the joins, each stretch from a picture at which a decoder can begin."""
    length, begin, end = len(video.tables.picture), -1, -1
    for join in joins:
        first, last = _idr_before(video, max(0, join - _BEFORE)), min(length, join + _AFTER)
        if first <= end:
            end = max(end, last)
            continue
        if end > 0:
            yield begin, end
        begin, end = first, last
    if end > 0:
        yield begin, end


def _end(video: StreamInfo) -> tuple[int, int]:
    """Frames near the end that come at once when one seeks there: the last key frame leads to them."""
    length, idr = len(video.tables.picture), video.idrs[-1]
    first = min(idr + 1, length - 1)
    return first, min(length, first + _AFTER)


def _idr_before(video: StreamInfo, number: int) -> int:
    return video.idrs[bisect.bisect_right(video.idrs, number) - 1]


def _between(video: StreamInfo, number: int) -> float:
    """A time between a frame and the one before it."""
    track = video.tables.picture
    if number == 0:
        return 0.0
    if number == len(track):
        return track.end / track.scale + 1
    return (track.starts[number - 1] + track.starts[number]) / 2 / track.scale
