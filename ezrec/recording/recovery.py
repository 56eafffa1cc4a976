"""Taking stock of what a recorder that died, or lost power, left in its takes: cuts torn tails, measures.

A take goes only when it is sure that no picture is in it. One that cannot be read now is kept as it is, still
open, and looked at again: at the end of its recording, and before its video is made.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from ezrec.domain.booking import Window
from ezrec.domain.job import OPEN, UNANSWERED, Take
from ezrec.domain.ports import Salvage, Salvaged
from ezrec.domain.recording_outcome import bounded
from ezrec.recording.audio import DIED, measured
from ezrec.spool.spool import Entry

_MOST_TOLD = 5


def take_stock(
    entry: Entry, salvage: Salvage, log: logging.Logger, remember: Callable[..., Any] | None = None
) -> None:
    """Measure the takes that nobody closed: the recorder died, or lost power, while it wrote them.

    `remember` writes the record, where that need not succeed at once.
    """
    known = entry.job.takes
    takes = tuple(found for take in known if (found := _looked_into(take, entry, salvage, log)))
    if takes != known:
        (remember or entry.update)(takes=takes)


def _looked_into(take: Take, entry: Entry, salvage: Salvage, log: logging.Logger) -> Take | None:
    if take.ended_by != OPEN:
        return take
    path = entry.path / take.file
    found = salvage(path)
    if found.is_nothing:
        log.warning("booking %s: %s was cut off before its first picture", entry.id, take.file)
        with suppress(OSError):
            path.unlink(missing_ok=True)  # no whole picture in it: there is nothing to lose
        return None
    if found.seconds is None:
        log.error("booking %s: %s is kept as it is: %s", entry.id, take.file, found.why)
        return take
    log.warning("booking %s: %s was cut off after %.1f s", entry.id, take.file, found.seconds)
    if any(hole.is_damage for hole in found.holes):
        log.error("booking %s: %s is damaged: %s", entry.id, take.file, "; ".join(told(found)))
    take = closed(take, found)
    with suppress(OSError):
        take = replace(take, size=path.stat().st_size)
    return measured(take, entry.path, salvage)


def without_length(take: Take, entry: Entry, salvage: Salvage, log: logging.Logger) -> tuple[Take, bool]:
    """A take of which its writer knows no picture; and whether it is sure that none is in it."""
    if take.ended_by == UNANSWERED:
        return replace(take, ended_by=OPEN), False  # its writer may still be at it: it is measured later
    found = salvage(entry.path / take.file)
    if found.seconds is None:
        log.error("booking %s: %s is kept as it is: %s", entry.id, take.file, found.why)
        return replace(take, ended_by=OPEN), False
    return closed(take, found, take.ended_by), found.is_nothing


def closed(take: Take, found: Salvaged, ended_by: str = DIED) -> Take:
    """The take as it was found, with its holes on the clock."""
    assert found.seconds is not None
    sound = tuple(replace(one, offset_s=round(one.offset_s - found.lead_s, 6)) for one in take.sound)
    started = take.started + timedelta(seconds=found.lead_s)
    take = replace(take, started=started, duration_s=round(found.seconds, 6), ended_by=ended_by, sound=sound)
    return with_holes(take, found)


def as_found(take: Take, found: Salvaged, folder: Path, salvage: Salvage) -> Take:
    """A take that is known already, looked into again: what its recorder could not know is added."""
    assert found.seconds is not None
    if take.ended_by == OPEN or take.duration_s - found.seconds > found.lead_s / 2 > 0:
        take = closed(take, found, DIED if take.ended_by == OPEN else take.ended_by)
    return measured(with_holes(take, found), folder, salvage)


def with_holes(take: Take, found: Salvaged) -> Take:
    """The take with those holes that its record does not know yet."""
    at = [
        Window(take.started + timedelta(seconds=hole.begin_s), take.started + timedelta(seconds=hole.end_s))
        for hole in found.holes
    ]
    new = [
        hole
        for hole in at
        if not any(hole.start < known.end and known.start < hole.end for known in take.holes)
    ]
    return (
        bounded(replace(take, holes=tuple(sorted((*take.holes, *new), key=lambda hole: hole.start))))
        if new
        else take
    )


def told(found: Salvaged) -> list[str]:
    """What damage has cost, for people: the first places by name."""
    said = [
        f"damaged on the disk: {hole.end_s - hole.begin_s:.1f} s missing at {timedelta(0, int(hole.begin_s))}"
        for hole in found.holes
        if hole.is_damage
    ]
    more = len(said) - _MOST_TOLD
    return said if more <= 0 else [*said[:_MOST_TOLD], f"and at {more} more places"]
