"""Verifies a video that FFmpeg has made, before it gets its name: is it as expected, and does it decode?

FFmpeg 5.1 ends with exit code 0 after a missing input, a full size limit and more, so its exit code proves
nothing. Raises `VerificationError`, or `FfmpegFailed` when decoding fails. Changes nothing.
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
_AT_ONCE = 16  # joins decoded by one process: each is a file opened
_SLACK_S = 0.1


@dataclass(frozen=True, slots=True)
class ExpectedVideo:
    """What the video should be like. `rate`: frames a second; None when each frame was verified already."""

    seconds: float
    frames: int | None
    sound: bool
    rate: Fraction | None = None
    joins: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class OutputVerifier:
    """Verifies one video, `output`."""

    tools: Tools
    output: Path
    token: CancelToken
    log: Log

    def check_tables(self, expected: ExpectedVideo) -> MediaInfo:
        """Check the video's tables only; `verify_copy` has decoded it."""
        return self._inspected(expected).info

    def check_decoding(self, expected: ExpectedVideo) -> MediaInfo:
        """Check the video's tables, and decode its end and the frames around each join."""
        made = self._inspected(expected)
        if not self._decoded(decoding.decode_end(self.tools.ffmpeg, made)):
            raise VerificationError("the video made shows no picture at its end")
        if expected.joins and expected.rate and made.info.frames:
            self._decode_joins(made.path, decoding.windows(expected.joins, made.info.frames, expected.rate))
        return made.info

    def _inspected(self, expected: ExpectedVideo) -> Media:
        try:
            made = self.tools.inspect(RESULT, self.output, self.token)
        except Reject as fault:
            raise VerificationError(f"the video made is not sound: {fault.reason}") from None
        info = made.info
        if abs(info.duration_s - expected.seconds) > (1 / expected.rate if expected.rate else 0) + _SLACK_S:
            raise VerificationError(
                f"the video made lasts {info.duration_s:.2f} s where {expected.seconds:.2f} s were expected"
            )
        if not info.frames or (expected.frames is not None and info.frames != expected.frames):
            raise VerificationError(
                f"the video made has {info.frames or 0} frames where {expected.frames} were expected"
            )
        if info.has_audio != expected.sound:
            raise VerificationError(f"the video made has {'a' if info.has_audio else 'no'} sound track")
        return made

    def _decode_joins(self, path: Path, windows: Sequence[tuple[int, tuple[float, float]]]) -> None:
        for some in [windows[at : at + _AT_ONCE] for at in range(0, len(windows), _AT_ONCE)]:
            wanted = sum(count for count, _ in some)
            argv = decoding.decode_windows(self.tools.ffmpeg, [(path, window) for _, window in some])
            shown = self._decoded(argv)
            if shown != wanted:
                raise VerificationError(f"around the joins {shown} frames are shown where {wanted} were made")

    def _decoded(self, argv: list[str]) -> int:
        return self.tools.decoded(argv, _CHECK_S, self.token, self.log)
