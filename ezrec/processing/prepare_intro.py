"""Encodes the intro in the camera's format before the first video needs it.

When the intro has changed, and at the first take of a camera with another format. At the lowest priority,
like all prerendering. The result is in the media cache; if it is missing, the process stage makes it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ezrec.domain.branding import Assets
from ezrec.domain.errors import Reject, Retry
from ezrec.domain.ports import Transcoder
from ezrec.domain.stages import State
from ezrec.spool.spool import Spool

_WITH_TAKES = (State.RECORDING, State.RAW)


@dataclass(slots=True)
class IntroPreparer:
    """`cache`: the folder that render plans name, too."""

    spool: Spool
    transcoder: Transcoder
    assets: Callable[[], Assets]
    cache: Path
    log: logging.Logger
    _done: tuple[Path, str] | None = None

    def __call__(self, may_go_on: Callable[[], bool]) -> None:
        intro = self.assets().intro
        if intro is None:
            return
        take = self._newest()
        now = (intro, take.name if take else "")
        if now == self._done:
            return
        try:
            if self.transcoder.prepare(take, intro, self.cache, may_go_on):
                self._done = now
        except (Reject, Retry) as fault:  # the process stage will fail too, and note it in the job
            self.log.warning("the intro cannot be prepared: %s", fault)
            self._done = now

    def _newest(self) -> Path | None:
        """The latest take, of the jobs that are recorded or wait to be processed."""
        found = [
            (take.started, entry.path / take.file)
            for state in _WITH_TAKES
            for entry in self.spool.look(state)[0]
            for take in entry.job.takes
        ]
        paths = [path for _, path in sorted(found) if path.is_file()]
        return paths[-1] if paths else None
