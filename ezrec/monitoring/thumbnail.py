"""The thumbnail: a small picture of what is being recorded, to see from afar if the camera is well aimed.

Sent after a heartbeat, every 5 minutes while something is recorded, when EZREC_STATUS_STILL is on. One object
a camera, replaced each time; the last one stays.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ezrec.domain.errors import Reject, Retry
from ezrec.domain.job import OPEN
from ezrec.domain.ports import Backend
from ezrec.domain.stages import State
from ezrec.settings import Settings
from ezrec.spool.spool import Spool
from ezrec.system import durable

FILE = "still.jpg"  # in EZREC_STATE; its mtime tells any process when the next one is due
EVERY_S = 300.0
_SLACK_S = 5.0


@dataclass(slots=True)
class Thumbnail:
    """`draw` writes a small JPEG of the newest picture in a take: `draw(take, target)`."""

    backend: Backend
    spool: Spool
    settings: Settings
    draw: Callable[[Path, Path], None]
    log: logging.Logger
    _fault: str = ""

    @property
    def key(self) -> str:
        return f"status/{self.settings.camera_id}.jpg"

    def __call__(self) -> None:
        """Send one if it is due. A fault is logged once; the next try is when the next one is due."""
        target = self.settings.state / FILE
        take = self._newest_take() if self._is_due(target) else None
        if take is None:
            return
        fresh = durable.beside(target)
        try:
            fresh.parent.mkdir(parents=True, exist_ok=True)
            fresh.unlink(missing_ok=True)
            self.draw(take, fresh)
            fresh.rename(target)
            self.backend.store(self.settings.log_bucket, self.key, target, lambda _: None)
            self._fault = ""
        except (Retry, Reject, OSError) as fault:
            if str(fault) != self._fault:
                self.log.warning("no thumbnail was sent: %s", fault)
            self._fault = str(fault)
            with suppress(OSError):
                fresh.unlink(missing_ok=True)
            with suppress(OSError):
                target.touch()

    def _is_due(self, target: Path) -> bool:
        try:
            return abs(time.time() - target.stat().st_mtime) >= EVERY_S - _SLACK_S
        except OSError:
            return True

    def _newest_take(self) -> Path | None:
        found: list[tuple[float, Path]] = []
        for entry in self.spool.entries(State.RECORDING):
            for take in entry.job.takes:
                if take.ended_by == OPEN:
                    with suppress(OSError):
                        path = entry.path / take.file
                        found.append((os.lstat(path).st_mtime, path))
        return max(found, default=(0.0, None))[1]
