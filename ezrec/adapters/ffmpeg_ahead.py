"""Works ahead: encodes the parts of a recording that is still being written, with what it leaves of the CPU.

Reads the take as it lies on disk and disturbs nobody: writes into the folder of parts and nowhere else.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from ezrec.adapters import ffmpeg_overlay as overlays
from ezrec.adapters import footage
from ezrec.adapters.ffmpeg_graph import Placed
from ezrec.adapters.ffmpeg_parts import Parts
from ezrec.adapters.ffmpeg_run import Log, Switch
from ezrec.adapters.ffmpeg_tools import Tools, Unfit
from ezrec.adapters.ffmpeg_workshop import Workshop, named
from ezrec.adapters.footage import Material
from ezrec.domain.errors import Stopped
from ezrec.ports import RenderPlan

LOWEST = 19
_ASK_S = 1.0


class Doubtful(Switch):
    """A switch that asks, about once a second, whether the work may go on."""

    def __init__(self, may_go_on: Callable[[], bool]) -> None:
        super().__init__()
        self._may_go_on, self._asked = may_go_on, -1e9

    def check(self) -> None:
        now = time.monotonic()
        if not self.pulled and now - self._asked >= _ASK_S:
            self._asked = now
            if not self._may_go_on():
                self.pull()
        if self.pulled:
            raise Stopped("it has to make way")


@dataclass(slots=True)
class Ahead:
    """One step of working ahead."""

    tools: Tools
    plan: RenderPlan
    switch: Switch
    log: Log

    def work(self) -> bool:
        plan = self.plan
        if plan.parts is None or not plan.logo_show.is_always or not (plan.logo or plan.sponsors):
            return False
        shop = Workshop(self.tools, plan.output, plan.cache, self.switch, self.log)
        with named():
            for take in plan.takes:
                self.switch.check()
                material = footage.read(take)
                with shop.overlaid(self._logos(material)) as logo:
                    parts = Parts(shop, logo, plan.parts)
                    with parts.held(0):
                        if parts.ahead(material, growing=take == plan.takes[-1]):
                            return True
        return False

    def _logos(self, material: Material) -> list[Placed]:
        frame = (material.sps.width, material.sps.height)
        logos = overlays.placed(
            self.tools, frame, self.plan.logo, self.plan.sponsors, self.plan.logo_layout, self.switch
        )
        if not logos:
            raise Unfit("no logo")
        return logos
