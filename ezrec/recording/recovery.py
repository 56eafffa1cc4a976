"""Recovers the takes of a recorder that died or lost power: cuts torn tails and measures what is left.

A take is deleted only when it certainly holds no picture. One that cannot be read now is kept unchanged and
open; it is tried again at the end of its recording, and before its video is made.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ezrec.domain.job import OPEN, UNANSWERED, Take
from ezrec.domain.ports import Repair
from ezrec.spool.found_takes import closed, damage_notes, measured
from ezrec.spool.spool import Entry


def recover_takes(
    entry: Entry,
    repair: Repair,
    log: logging.Logger,
    remember: Callable[..., Any] | None = None,
    in_writing: Collection[str] = (),
) -> None:
    """Measure the takes that nobody closed: the recorder died, or lost power, while it wrote them.

    `remember` writes the record, where that need not succeed at once. `in_writing`: files whose writer was
    not waited for any longer; one that is empty now may be filled later.
    """
    known = entry.job.takes
    takes = tuple(found for take in known if (found := _recovered(take, entry, repair, log, in_writing)))
    if takes != known:
        (remember or entry.update)(takes=takes)


def _recovered(
    take: Take, entry: Entry, repair: Repair, log: logging.Logger, in_writing: Collection[str]
) -> Take | None:
    if take.ended_by != OPEN:
        return take
    path = entry.path / take.file
    found = repair(path)
    if found.is_nothing and take.file in in_writing:
        log.error("booking %s: %s is empty still: the disk does not answer", entry.id, take.file)
        return take
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
        log.error("booking %s: %s is damaged: %s", entry.id, take.file, "; ".join(damage_notes(found)))
    take = closed(take, found)
    with suppress(OSError):
        take = replace(take, size=path.stat().st_size)
    return measured(take, entry.path, repair)


def without_length(take: Take, entry: Entry, repair: Repair, log: logging.Logger) -> tuple[Take, bool]:
    """The take, measured, of which the writer reports no picture; and whether it certainly holds none."""
    if take.ended_by == UNANSWERED:
        return replace(take, ended_by=OPEN), False  # its writer may still be at it: it is measured later
    found = repair(entry.path / take.file)
    if found.seconds is None:
        log.error("booking %s: %s is kept as it is: %s", entry.id, take.file, found.why)
        return replace(take, ended_by=OPEN), False
    return closed(take, found, take.ended_by), found.is_nothing
