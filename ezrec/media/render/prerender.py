"""Works ahead: encodes the parts of a recording that is still being written, with what it leaves of the CPU.

Reads the take as it lies on disk and disturbs nobody: writes into the folder of parts and nowhere else.
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
from ezrec.media.render.assets import AssetMaker, named
from ezrec.media.render.logo_segments import PART_S, LogoSegments, plan_spans
from ezrec.system.task import CancelToken

LOWEST = 19
_ASK_S = 1.0
_EARLY = 0.9  # of the bytes that a part is expected to take: a camera's bitrate swings
_MOST_TAKES = 1000


class PollingCancelToken(CancelToken):
    """A token that asks, about once a second, whether the work may go on."""

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
            raise Stopped("it has to make way")


@dataclass(slots=True)
class EncodingPause:
    """Knows how large a growing take has to be before there can be another part in it.

    To look into it takes longer the longer it is: at the end of an hour, seconds.
    """

    _wanted: dict[tuple[int, int, bool], int] = field(default_factory=dict)

    def is_due(self, take: os.stat_result, *, growing: bool) -> bool:
        return take.st_size >= self._wanted.get((take.st_dev, take.st_ino, growing), 0)

    def wait(self, take: os.stat_result, stream_info: StreamInfo | None, *, growing: bool) -> None:
        """There is no part to be made now; without `stream_info` the take is of a kind that has none."""
        if len(self._wanted) >= _MOST_TAKES:
            self._wanted.clear()
        more = take.st_size
        if stream_info and growing:
            track, spans = stream_info.tables.picture, plan_spans(stream_info, growing=True)
            begun = track.starts[spans[-1].last] if spans else track.starts[0]
            missing_s = max(0.0, PART_S - (track.end - begun) / track.scale)
            more = int(missing_s * take.st_size / max(1.0, float(track.length_s)) * _EARLY)
        self._wanted[take.st_dev, take.st_ino, growing] = take.st_size + more + 1


@dataclass(slots=True)
class SegmentPrerenderer:
    """One step of working ahead."""

    tools: Tools
    plan: RenderPlan
    token: CancelToken
    log: Log
    pause: EncodingPause

    def work(self) -> bool:
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
                with named(), maker.overlaid(self._logos(stream_info)) as logo:
                    parts = LogoSegments(maker, logo, plan.parts)
                    with parts.held(0):
                        if parts.ahead(stream_info, growing=growing):
                            return True
            except TornFile:
                return False  # a fragment is being written at this very moment
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
