"""`processing.json`: how a video came to be, for people and the command line."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from ezrec.system import durable

REPORT = "processing.json"


@dataclass(slots=True)
class RenderReport:
    """What a person, or the command line, wants to know of how a video came to be."""

    rung: str = ""  # the strategy; files on disk have this name
    encoder: str = "none"
    why: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    checks: dict[str, object] = field(default_factory=dict)
    gaps: list[dict[str, object]] = field(default_factory=list)
    intro: str = "none"
    left_out: list[str] = field(default_factory=list)
    artefacts: dict[str, object] = field(default_factory=dict)

    @contextlib.contextmanager
    def timed(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[what] = round(self.seconds.get(what, 0.0) + time.monotonic() - began, 3)

    def write(self, path: Path) -> None:
        durable.write(path, msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")
