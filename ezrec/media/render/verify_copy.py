"""Verifies that a video joined by copying is the video that was planned.

1. its index, read back from the file, is the planned one, sample for sample
2. the frames around each join decode, copied out of the finished file under its own header
3. FFmpeg, given the finished file, finds its end and decodes it

Raises `VerificationError` when one of them fails. Changes nothing.
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
from ezrec.media.mp4 import h264, index, timeline, writer
from ezrec.media.mp4.copyable import StreamInfo
from ezrec.media.mp4.samples import Track
from ezrec.media.mp4.timeline import Part, SampleSpan, TrackTimeline
from ezrec.system.task import CancelToken

_BEFORE, _AFTER = 4, 8  # frames decoded before a join and after it
_AT_ONCE = 16  # joins decoded by one process: their frames are in a file beside the video
_CHECK_S = 300.0
_LONGEST_READ = 1 << 24  # bytes read of a sample, to find its units


@dataclass(frozen=True, slots=True)
class CopyVerifier:
    """Verifies one video, `output`."""

    tools: Tools
    output: Path
    token: CancelToken
    log: Log

    def verify(self, picture: TrackTimeline, sound: TrackTimeline | None, joins: Sequence[int]) -> None:
        """`joins`: the number of the first frame after each join."""
        video = self._read_back()
        found = video.tables
        if not _agree(found.picture, picture) or bool(found.sound) != bool(sound):
            raise VerificationError("its index is not what was to be written")
        if sound and found.sound and not _agree(found.sound, sound):
            raise VerificationError("the index of its sound is not what was to be written")
        self._check_last_group(video)
        windows = list(_windows(video, joins))
        for some in [windows[at : at + _AT_ONCE] for at in range(0, len(windows), _AT_ONCE)] or [[]]:
            self._decode(video, some, with_end=some[-1:] == windows[-1:])

    def _read_back(self) -> StreamInfo:
        media = self.tools.inspect(RESULT, self.output, self.token)
        if media.stream_info is None:
            raise VerificationError("it cannot be read back")
        return media.stream_info

    def _check_last_group(self, video: StreamInfo) -> None:
        """Every sample of the last group of pictures consists of whole units; those of a torn tail do not."""
        track = video.tables.picture
        with self.output.open("rb") as file:
            for number in range(video.idrs[-1], len(track)):
                size = track.sizes[number]
                file.seek(track.offsets[number])
                data = file.read(min(size, _LONGEST_READ))
                try:
                    collections.deque(h264.unit_ranges(data, size), maxlen=0)
                except h264.NotH264:
                    raise VerificationError(f"frame {number} of {len(track)} is damaged") from None

    def _decode(self, video: StreamInfo, windows: Sequence[tuple[int, int]], *, with_end: bool) -> None:
        beside = self.output.with_name(f"{self.output.name}.joins")
        sources, wanted = list[tuple[Path, tuple[float, float]]](), 0
        try:
            if windows:
                count = self._copy_out(video, windows, beside)
                sources.append((beside, (0.0, count + 1.0)))
                wanted += count
            if with_end:
                first, last = _end(video)
                sources.append((self.output, (_between(video, first), _between(video, last))))
                wanted += last - first
            argv = decoding.decode_windows(self.tools.ffmpeg, sources)
            shown = self.tools.decoded(argv, _CHECK_S, self.token, self.log)
        finally:
            beside.unlink(missing_ok=True)
        if shown != wanted:
            raise VerificationError(f"around the joins {shown} frames are shown where {wanted} were copied")

    def _copy_out(self, video: StreamInfo, windows: Sequence[tuple[int, int]], beside: Path) -> int:
        """Copy these frames into a video of their own, one a second; returns their number."""
        track, count = video.tables.picture, sum(last - first for first, last in windows)
        times = Track(kind=b"vide", end=count)
        times.starts.extend(range(count))
        spans, at = list[SampleSpan](), 0
        for first, last in windows:
            spans.append(SampleSpan(0, track, first, last - first, times, at))
            at += last - first
        planned, _ = timeline.picture([Part(times, spans)], 1)
        picture = index.PictureTrack(planned, video.sps.width, video.sps.height, track.header)
        writer.write(beside, picture, None, {0: self.output}, b"", lambda done: self.token.check())
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
    """The frames around the joins (first, last not included); each window begins at an IDR picture."""
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
    """Some frames right after the last IDR picture: a seek to them has little to decode."""
    length, idr = len(video.tables.picture), video.idrs[-1]
    first = min(idr + 1, length - 1)
    return first, min(length, first + _AFTER)


def _idr_before(video: StreamInfo, number: int) -> int:
    return video.idrs[bisect.bisect_right(video.idrs, number) - 1]


def _between(video: StreamInfo, number: int) -> float:
    """A time in seconds between a frame and the one before it."""
    track = video.tables.picture
    if number == 0:
        return 0.0
    if number == len(track):
        return track.end / track.scale + 1
    return (track.starts[number - 1] + track.starts[number]) / 2 / track.scale
