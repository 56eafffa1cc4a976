"""Encodes segments of a recording that is still being written, with the CPU time that the recorder leaves.

Reads the take on disk, and writes into the folder of segments only.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ezrec.domain.errors import Stopped
from ezrec.domain.ports import RenderPlan
from ezrec.media.ffmpeg.filters import PlacedLogo
from ezrec.media.ffmpeg.runner import Log
from ezrec.media.ffmpeg.tools import NotApplicable, Tools
from ezrec.media.mp4 import copyable
from ezrec.media.mp4.boxes import TornFile
from ezrec.media.mp4.copyable import StreamInfo
from ezrec.media.render import assets
from ezrec.media.render.assets import AssetMaker, as_not_applicable
from ezrec.media.render.logo_plan import PART_S, whole_take
from ezrec.media.render.logo_segments import LogoSegments, held
from ezrec.system.task import CancelToken

LOWEST = 19  # priority (nice)
_ASK_S = 1.0
_EARLY = 0.9  # of the bytes that a segment probably takes: a camera's bitrate varies
_MOST_TAKES = 1000


class PollingCancelToken(CancelToken):
    """Cancelled when `may_go_on`, which it calls about once a second, answers False."""

    def __init__(self, may_go_on: Callable[[], bool]) -> None:
        super().__init__()
        self._may_go_on, self._asked = may_go_on, -1e9

    def check(self) -> None:
        now = time.monotonic()
        if not self.cancelled and now - self._asked >= _ASK_S:
            self._asked = now
            if not self._may_go_on():
                self.cancel()
        if self.cancelled:
            raise Stopped("something more important needs the machine")


@dataclass(slots=True)
class EncodingPause:
    """Remembers how large a growing take has to be before it can have another segment.

    Reading its tables takes longer the longer it is: seconds at the end of an hour.
    """

    _wanted: dict[tuple[int, int, bool], int] = field(default_factory=dict)

    def is_due(self, take: os.stat_result, *, growing: bool) -> bool:
        return take.st_size >= self._wanted.get((take.st_dev, take.st_ino, growing), 0)

    def wait(self, take: os.stat_result, stream_info: StreamInfo | None, *, growing: bool) -> None:
        """No segment can be made now; `stream_info` None: nor ever of a take of this kind."""
        if len(self._wanted) >= _MOST_TAKES:
            self._wanted.clear()
        more = take.st_size
        if stream_info and growing:
            track, segments = stream_info.tables.picture, whole_take(stream_info, growing=True)
            begun = track.starts[segments[-1].last] if segments else track.starts[0]
            missing_s = max(0.0, PART_S - (track.end - begun) / track.scale)
            more = int(missing_s * take.st_size / max(1.0, float(track.length_s)) * _EARLY)
        self._wanted[take.st_dev, take.st_ino, growing] = take.st_size + more + 1


@dataclass(slots=True)
class SegmentPrerenderer:
    """Makes the next segment of one video."""

    tools: Tools
    plan: RenderPlan
    token: CancelToken
    log: Log
    pause: EncodingPause

    def work(self) -> bool:
        """True when a segment was made, False when there is none to make now."""
        plan = self.plan
        if plan.parts is None or not plan.wants_logo_always:
            return False
        maker = AssetMaker(self.tools, plan.output, plan.options.cache, self.token, self.log)
        for take in plan.takes:
            self.token.check()
            growing, size = take == plan.takes[-1], take.stat()
            if not self.pause.is_due(size, growing=growing):
                continue
            stream_info = None
            try:
                stream_info = copyable.read(take)
                with (
                    as_not_applicable(),
                    maker.overlay(self._logos(stream_info)) as logo,
                    held(plan.parts, 0, self.token),
                ):
                    if LogoSegments(maker, logo, plan.parts).prerender(stream_info, growing=growing):
                        return True
            except TornFile:
                return False  # a fragment is being written at this moment
            except ValueError as fault:
                self.log.note(f"{take.name}: {fault}")
                stream_info = None
            self.pause.wait(size, stream_info, growing=growing)
        return False

    def _logos(self, stream_info: StreamInfo) -> list[PlacedLogo]:
        frame = (stream_info.sps.width, stream_info.sps.height)
        logos = assets.placed(
            self.tools, frame, self.plan.logo, self.plan.sponsors, self.plan.options.logo_layout, self.token
        )
        if not logos:
            raise NotApplicable("no logo")
        return logos
