"""Taking stock of what a recorder that died, or lost power, left in its takes: cuts torn tails, measures."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ezrec.domain.job import OPEN
from ezrec.handlers.sound import DIED, measured
from ezrec.spool import Entry


def take_stock(entry: Entry, salvage: Callable[[Path], float], log: logging.Logger) -> None:
    """Measure the takes that nobody closed: the recorder died, or lost power, while it wrote them."""
    if not any(take.ended_by == OPEN for take in entry.job.takes):
        return
    takes = []
    for take in entry.job.takes:
        path = entry.path / take.file
        if take.ended_by == OPEN:
            seconds = salvage(path) if path.exists() else 0.0
            log.warning("booking %s: %s was cut off after %.1f s", entry.id, take.file, seconds)
            if not seconds:
                path.unlink(missing_ok=True)  # no whole picture in it: there is nothing to lose
                continue
            take = measured(take, entry.path, salvage)
            take = replace(take, duration_s=seconds, size=path.stat().st_size, ended_by=DIED)
        takes.append(take)
    entry.update(takes=tuple(takes))
