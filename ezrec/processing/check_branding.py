"""Tries new branding as soon as it was fetched: not only when a video has gone out without it.

Comes with what is prepared ahead, at the lowest priority. What cannot be used is written down for the alert
`branding_unusable`; a video that needs it meanwhile is made without it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ezrec import __version__
from ezrec.domain import json_decode
from ezrec.domain.branding import Assets
from ezrec.domain.errors import Retry
from ezrec.domain.ports import Transcoder
from ezrec.processing.branding_fallback import usable
from ezrec.system import durable


class _Found(msgspec.Struct):
    """`of` names the branding that was tried, and by whom."""

    of: tuple[str, ...]
    faults: tuple[str, ...] = ()


@dataclass(slots=True)
class BrandingChecker:
    """`record` holds what was found last, also for a process that is started anew for each look."""

    transcoder: Transcoder
    assets: Callable[[], Assets]
    record: Path
    log: logging.Logger

    def prepare(self, may_go_on: Callable[[], bool]) -> None:
        if may_go_on():
            self()

    def __call__(self) -> None:
        branding = self.assets()
        paths = (branding.intro, branding.logo, *branding.sponsors)
        of = (__version__, *branding.notes, *(path.name if path else "" for path in paths))
        if not branding.is_known or ((before := self._before()) is not None and before.of == of):
            return
        try:
            _, notes = usable(self.transcoder, branding)
        except Retry as fault:  # the machine is in trouble: it is tried again at the next look
            self.log.warning("the branding is not tried: %s", fault)
            return
        for note in notes:
            self.log.warning("videos are %s", note)
        self.record.parent.mkdir(parents=True, exist_ok=True)
        durable.write(self.record, msgspec.json.encode(_Found(of, notes)))

    def _before(self) -> _Found | None:
        try:
            return json_decode.decode(self.record.read_bytes(), _Found)
        except (OSError, msgspec.DecodeError):
            return None
