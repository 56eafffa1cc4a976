"""Looks at a video that was made, before it gets its name: is it what was promised, and does it decode.

FFmpeg 5.1 ends with 0 on a missing segment, a full size limit and more: its exit code is not believed.
Raises `VerificationError`, or `FfmpegFailed` where a decoder ends in a fault. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from ezrec.domain.errors import Reject
from ezrec.domain.ports import MediaInfo
from ezrec.media.ffmpeg import decoding
from ezrec.media.ffmpeg.inputs import RESULT
from ezrec.media.ffmpeg.probe import Media
from ezrec.media.ffmpeg.runner import Log
from ezrec.media.ffmpeg.tools import Tools, VerificationError
from ezrec.system.task import CancelToken

_CHECK_S = 60.0
_AT_ONCE = 16  # joins shown by one process: each is a file opened
_SLACK_S = 0.1


@dataclass(frozen=True, slots=True)
class ExpectedVideo:
    """What the video is to be like. Without a `rate`, every frame of it is accounted for already."""

    seconds: float
    frames: int | None
    sound: bool
    rate: Fraction | None = None
    joins: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class OutputVerifier:
    """Of one video, `part`."""

    tools: Tools
    part: Path
    token: CancelToken
    log: Log

    def looked_at(self, promised: ExpectedVideo) -> MediaInfo:
        """By its tables: for what was decoded elsewhere."""
        return self._look(promised).info

    def decoded(self, promised: ExpectedVideo) -> MediaInfo:
        """By its tables, and by what is seen at its end and around its joins, one by one."""
        made = self._look(promised)
        if not self._frames_of(decoding.decode_end(self.tools.ffmpeg, made)):
            raise VerificationError("the video made shows no picture at its end")
        if promised.joins and promised.rate and made.info.frames:
            self._show_joins(made.path, decoding.windows(promised.joins, made.info.frames, promised.rate))
        return made.info

    def _look(self, promised: ExpectedVideo) -> Media:
        try:
            made = self.tools.inspect(RESULT, self.part, self.token)
        except Reject as fault:
            raise VerificationError(f"the video made is not sound: {fault.reason}") from None
        info = made.info
        if abs(info.duration_s - promised.seconds) > (1 / promised.rate if promised.rate else 0) + _SLACK_S:
            raise VerificationError(
                f"the video made lasts {info.duration_s:.2f} s where {promised.seconds:.2f} s were expected"
            )
        if not info.frames or (promised.frames is not None and info.frames != promised.frames):
            raise VerificationError(
                f"the video made has {info.frames or 0} frames where {promised.frames} were expected"
            )
        if info.has_audio != promised.sound:
            raise VerificationError(f"the video made has {'a' if info.has_audio else 'no'} sound track")
        return made

    def _show_joins(self, path: Path, windows: Sequence[tuple[int, tuple[float, float]]]) -> None:
        for some in [windows[at : at + _AT_ONCE] for at in range(0, len(windows), _AT_ONCE)]:
            wanted = sum(count for count, _ in some)
            argv = decoding.decode_windows(self.tools.ffmpeg, [(path, window) for _, window in some])
            shown = self._frames_of(argv)
            if shown != wanted:
                raise VerificationError(f"around the joins {shown} frames are shown where {wanted} were made")

    def _frames_of(self, argv: list[str]) -> int:
        return self.tools.decoded(argv, _CHECK_S, self.token, self.log)
