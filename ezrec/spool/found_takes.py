"""Makes a take's record say what the file really holds. Asks the port `Repair`, and writes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from ezrec.domain.booking import Window
from ezrec.domain.job import OPEN, Sound, Take
from ezrec.domain.ports import Repair, Repaired
from ezrec.domain.recording_outcome import bounded

DIED = "the recorder died"
_MOST_NAMED = 5


def closed(take: Take, found: Repaired, ended_by: str = DIED) -> Take:
    """An open take closed with what `Repair` found: its length, its start, its holes as times of day."""
    assert found.seconds is not None
    sound = tuple(replace(one, offset_s=round(one.offset_s - found.lead_s, 6)) for one in take.sound)
    started = take.started + timedelta(seconds=found.lead_s)
    take = replace(
        take, started=started, duration_s=round(found.seconds, 6), ended_by=ended_by, sound=sound,
        early_s=round(max(0.0, take.early_s - found.lead_s), 6),
    )  # fmt: skip
    return with_holes(take, found)


def as_found(take: Take, found: Repaired, folder: Path, repair: Repair) -> Take:
    """A take that was read again: what its recorder could not know is added."""
    assert found.seconds is not None
    if take.ended_by == OPEN or take.duration_s - found.seconds > found.lead_s / 2 > 0:
        take = closed(take, found, DIED if take.ended_by == OPEN else take.ended_by)
    return measured(with_holes(take, found), folder, repair)


def with_holes(take: Take, found: Repaired) -> Take:
    """The take with those holes that its record lacks."""
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


def damage_notes(found: Repaired) -> list[str]:
    """What is missing because of damage, in words: the first five places, and how many more."""
    said = [
        f"damaged on the disk: {hole.end_s - hole.begin_s:.1f} s missing at {timedelta(0, int(hole.begin_s))}"
        for hole in found.holes
        if hole.is_damage
    ]
    more = len(said) - _MOST_NAMED
    return said if more <= 0 else [*said[:_MOST_NAMED], f"and at {more} more places"]


def measured(take: Take, folder: Path, repair: Repair) -> Take:
    """A take whose sounds a dead recorder left open: each cut, and measured by its own fragments.

    How fast the microphone's clock ran is then not known.
    """
    return replace(take, sound=tuple(_measured(take.sound, folder, repair)))


def _measured(sounds: Iterable[Sound], folder: Path, repair: Repair) -> Iterable[Sound]:
    """A sound that cannot be read now stays open; it is read again before the video is made."""
    for sound in sounds:
        if sound.ended_by != OPEN:
            yield sound
            continue
        found = repair(folder / sound.file)
        if found.seconds is None:
            yield sound
        elif not found.is_nothing:
            size = (folder / sound.file).stat().st_size
            offset_s = round(sound.offset_s + found.lead_s, 6)
            yield replace(sound, offset_s=offset_s, duration_s=found.seconds, size=size, ended_by=DIED)
