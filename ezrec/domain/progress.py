"""How far the work on a job is, by the note that its stage leaves: the same words in every command. Pure.

A note says nothing of another stage's work, and one that is old says nothing of how long the rest will take:
whoever wrote it may be waiting for a service, or be dead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ezrec.domain.durations import span

FRESH_S = 120.0  # a stage at work writes its note twice a second, a slow uplink with each piece
_OF_PLACE = {"processing": "process", "processed": "upload"}  # in whose hands a job lies there


def of_place(note: Mapping[str, Any], place: str, age_s: float = 0.0) -> dict[str, Any]:
    """What a note says of the work that is done on a job in the directory `place`; empty when it is another
    stage's. `age_s`: since it was written."""
    if place not in _OF_PLACE or note.get("stage", _OF_PLACE[place]) != _OF_PLACE[place]:
        return {}
    if age_s <= FRESH_S:
        return dict(note)
    return {**note, "eta_s": None, "speed": None, "silent_s": round(age_s)}


def part_done(progress: Mapping[str, Any]) -> float | None:
    """The finished part, 0 to 1; None when the note does not say."""
    part = progress.get("part")
    return min(1.0, max(0.0, float(part))) if isinstance(part, int | float) else None


def number_in(progress: Mapping[str, Any], name: str) -> float | None:
    """A number of the note; None for anything else, and outside 0 to 1e9."""
    value = progress.get(name)
    return value if isinstance(value, int | float) and 0 <= value < 1e9 else None


def percent(part: float) -> str:
    """Never rounded up: 100 % is said of what is done."""
    return f"{math.floor(part * 100 + 1e-9)} %"


def words(progress: Mapping[str, Any], rests: str = "") -> str:
    """`43 %, 12× real time, 5 min left`; empty when the note says nothing. `rests`: why the work pauses."""
    part = part_done(progress)
    if part is None:
        return ""
    parts = [percent(part)]
    if rests:  # nobody knows how long
        return parts[0]
    left_s, speed = number_in(progress, "eta_s"), number_in(progress, "speed")
    silent_s = number_in(progress, "silent_s")
    if silent_s is not None and part < 1:
        return f"{parts[0]}, no progress for {span(silent_s)}"
    if speed:
        parts.append(f"{speed:.{0 if speed >= 10 else 1}f}× real time")
    if left_s is not None and part < 1:
        parts.append(f"{span(max(1.0, left_s))} left")
    return ", ".join(parts)
