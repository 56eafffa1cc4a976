"""`processing.json`: how a video was made, for people and the command line."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ezrec.system import durable

REPORT = "processing.json"


class RenderReport(msgspec.Struct):
    """`why`: no cheaper strategy was used. `seconds`: of each step. `left_out`: of the branding."""

    strategy: str = msgspec.field(default="", name="rung")  # as the file has always called it
    encoder: str = "none"
    why: list[str] = msgspec.field(default_factory=list)
    seconds: dict[str, float] = msgspec.field(default_factory=dict)
    checks: dict[str, object] = msgspec.field(default_factory=dict)
    gaps: list[dict[str, object]] = msgspec.field(default_factory=list)
    intro: str = "none"
    left_out: list[str] = msgspec.field(default_factory=list)
    artefacts: dict[str, object] = msgspec.field(default_factory=dict)

    @contextlib.contextmanager
    def timed(self, step: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[step] = round(self.seconds.get(step, 0.0) + time.monotonic() - began, 3)

    def write(self, path: Path) -> None:
        durable.write(path, msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")
