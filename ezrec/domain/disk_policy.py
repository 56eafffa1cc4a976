"""Room on the disk: whether the bookings will fit, what may be deleted, and what else to do. Pure.

Sizes are bytes and minutes of recording, never a share of the disk: 1 % of a large disk is an evening, of a
small card a quarter of an hour.

Rule 1: video that was not uploaded is not in the list of what may be deleted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

import msgspec

from ezrec.domain import json_decode
from ezrec.domain.booking import Instant
from ezrec.domain.durations import span

FILE = "room.json"  # in EZREC_STATE
# What a job takes, as a multiple of its footage: with the finished video, and without.
WITH_VIDEO = 2.2
FOOTAGE_ALONE = 1.05
VIDEO_TO_MAKE = 1.3  # the same as processing asks for before it begins
LEAST_BITRATE = 0.4  # of the set one: below it the ball cannot be seen
LEAST_INODES = 256
_LEAST_SPARE = 64 << 20
_CALM = 1.1  # a measure is relaxed only with so much more room, so that it does not change to and fro
_DAY_S, _AT_ONCE_S = 86400.0, 7200.0
_STEP = 100_000  # bits a second


class Goes(StrEnum):
    """What may be deleted, the first to go first."""

    TRASH = "trash"
    LEFTOVER = "leftover"
    KEPT = "kept"
    LOG = "log"


@dataclass(frozen=True, slots=True)
class Evictable:
    """One file or directory that may be deleted. `size` in bytes; `since`: how old it is."""

    goes: Goes
    path: Path
    size: int
    since: datetime

    @property
    def name(self) -> str:
        return self.path.name


def in_order(found: Iterable[Evictable]) -> list[Evictable]:
    """In the order of `Goes`, and of each kind the oldest first."""
    order = list(Goes)
    return sorted(found, key=lambda one: (order.index(one.goes), one.since, one.name))


def until(found: Iterable[Evictable], short: float) -> list[Evictable]:
    """The first of them that together free `short` bytes; all when they do not."""
    chosen: list[Evictable] = []
    for one in in_order(found):
        if short <= 0:
            break
        chosen.append(one)
        short -= one.size
    return chosen


def expired(
    found: Iterable[Evictable], now: datetime, limits: dict[Goes, timedelta], *, is_synchronised: bool
) -> list[Evictable]:
    """What is older than the limit of its kind. Nothing while the clock is not synchronised: by a wrong one
    everything looks old.
    """
    if not is_synchronised:
        return []
    return in_order(one for one in found if one.goes in limits and now - one.since > limits[one.goes])


class DiskMeasure(StrEnum):
    """What is done on a short disk once nothing more may be deleted; each includes those before it."""

    AMPLE = "ample"
    UNBRANDED = "unbranded"
    LOWER_BITRATE = "lower_bitrate"
    ALARM = "alarm"


_ORDER = list(DiskMeasure)
# By measure: the factor on the footage of the bookings, and the seconds of recording to spare.
_NEEDS = {
    DiskMeasure.AMPLE: (WITH_VIDEO, 600),
    DiskMeasure.UNBRANDED: (FOOTAGE_ALONE, 300),
    DiskMeasure.LOWER_BITRATE: (FOOTAGE_ALONE * LEAST_BITRATE, 120),
}


@dataclass(frozen=True, slots=True)
class Demand:
    """What the disk has to hold: a day's bookings, and a video of the largest footage that waits.

    `upload_rate`: measured bytes a second of uploads; 0 when they make no progress.
    """

    booked_s: float
    bytes_a_minute: float
    to_process_bytes: int = 0
    upload_rate: float = 0.0

    @property
    def footage_bytes(self) -> float:
        return self.booked_s / 60 * self.bytes_a_minute

    @property
    def held_bytes(self) -> float:
        """The most footage there will be at once: what is uploaded meanwhile need not fit.

        Half of the measured rate is counted, and never less than two hours of footage.
        """
        at_least = min(self.footage_bytes, _AT_ONCE_S / 60 * self.bytes_a_minute)
        return max(at_least, self.footage_bytes - self.upload_rate * _DAY_S / 2)

    @property
    def wanted(self) -> float:
        """Free bytes below which things are deleted. Uploads are not counted."""
        return self.footage_bytes * WITH_VIDEO + self._to_make + self.spare(DiskMeasure.AMPLE)

    @property
    def _to_make(self) -> float:
        return self.to_process_bytes * VIDEO_TO_MAKE

    def needed(self, measure: DiskMeasure) -> float:
        """Free bytes for which `measure` is enough."""
        factor, _ = _NEEDS[measure]
        made = self._to_make if measure is DiskMeasure.AMPLE else 0
        return self.held_bytes * factor + made + self.spare(measure)

    def spare(self, measure: DiskMeasure) -> float:
        return max(_LEAST_SPARE, _NEEDS[measure][1] / 60 * self.bytes_a_minute)


_LITTLE_H, _NOTHING_H, _WHOLE_H = 4.0, 0.5, 10.0


@dataclass(frozen=True, slots=True)
class FreeRoom:
    """What is free on the spool's disk, in hours of recording: the same figure and words in every command."""

    free_bytes: int
    bytes_a_minute: float

    @property
    def hours(self) -> float:
        return self.free_bytes / self.bytes_a_minute / 60 if self.bytes_a_minute > 0 else 0.0

    @property
    def words(self) -> str:
        """`60.0 GB free, 13 h of recording`. Never rounded up."""
        shown = f"{int(self.hours)} h" if self.hours >= _WHOLE_H else span(self.hours * 3600)
        return f"{self.free_bytes / 1e9:.1f} GB free, {shown} of recording"

    @property
    def is_little(self) -> bool:
        return self.hours < _LITTLE_H

    @property
    def is_nothing(self) -> bool:
        return self.hours < _NOTHING_H


@dataclass(frozen=True, slots=True)
class Space:
    """The spool's disk. `inodes` None: the file system does not count them."""

    free: int
    inodes: int | None = None

    @property
    def lacks_inodes(self) -> bool:
        return self.inodes is not None and self.inodes < LEAST_INODES


@dataclass(frozen=True, slots=True)
class DiskMeasures:
    """The measure in force, and why. `bitrate`: bits a second of the next booking."""

    at: Instant
    measure: DiskMeasure = DiskMeasure.AMPLE
    bitrate: int = 0
    free_bytes: int = 0
    short: str = ""

    @property
    def is_unbranded(self) -> bool:
        return self.measure is not DiskMeasure.AMPLE

    @property
    def shown(self) -> str:
        """The measure, for a person; empty while there is room."""
        lower = f"the next booking is recorded at {self.bitrate / 1e6:.1f} Mbit/s"
        return {
            DiskMeasure.AMPLE: "",
            DiskMeasure.UNBRANDED: "videos are published without branding",
            DiskMeasure.LOWER_BITRATE: f"videos are published without branding; {lower}",
            DiskMeasure.ALARM: f"videos are published without branding; {lower}, and even that is not enough",
        }[self.measure]


def decide(
    demand: Demand, space: Space, bitrate: int, before: DiskMeasures | None, now: datetime
) -> DiskMeasures:
    """What to do with this much room, when nothing more may be deleted. `bitrate`: the set one."""
    held = _ORDER.index(before.measure) if before else 0
    measure = next(
        (
            one
            for rank, one in enumerate(_NEEDS)
            if space.free >= demand.needed(one) * (_CALM if rank < held else 1.0)
        ),
        DiskMeasure.ALARM,
    )
    if space.lacks_inodes:
        measure = DiskMeasure.ALARM
    chosen = _bitrate(demand, space, bitrate, measure, before)
    return DiskMeasures(now, measure, chosen, space.free, _short(demand, space, measure))


def _bitrate(
    demand: Demand, space: Space, bitrate: int, measure: DiskMeasure, before: DiskMeasures | None
) -> int:
    if measure in (DiskMeasure.AMPLE, DiskMeasure.UNBRANDED):
        return bitrate
    least = min(bitrate, max(_STEP, int(bitrate * LEAST_BITRATE)))
    if measure is DiskMeasure.ALARM or demand.footage_bytes <= 0:
        return least
    share = (space.free - demand.spare(measure)) / (demand.held_bytes * FOOTAGE_ALONE)
    wanted = max(least, int(bitrate * min(1.0, share)) // _STEP * _STEP)
    if before and before.measure is measure and wanted <= before.bitrate * _CALM and wanted >= before.bitrate:
        return before.bitrate  # no change for a little more room
    return wanted


def _short(demand: Demand, space: Space, measure: DiskMeasure) -> str:
    """Why the room is too small whatever is done; empty when it is not."""
    if measure is not DiskMeasure.ALARM:
        return ""
    if space.lacks_inodes:
        return f"the disk takes only {space.inodes} more files, whatever their size"
    minutes = space.free / demand.bytes_a_minute if demand.bytes_a_minute else 0
    if demand.booked_s:
        return (
            f"{demand.booked_s / 60:.0f} min are booked within 24 h, and the disk has room for "
            f"{minutes:.0f} min of footage ({space.free / 1e9:.1f} GB); nothing more may be removed"
        )
    return f"the disk has room for {minutes:.0f} min of footage ({space.free / 1e9:.1f} GB)"


def encode(room: DiskMeasures) -> bytes:
    return msgspec.json.format(msgspec.json.encode(room), indent=1) + b"\n"


def decode(data: bytes) -> DiskMeasures:
    """Raises `ValueError`."""
    return json_decode.decode(data, DiskMeasures)


def is_news(room: DiskMeasures, before: DiskMeasures | None) -> bool:
    """True when the measure or the bitrate changed; the other figures do not count."""
    return before is None or (room.measure, room.bitrate) != (before.measure, before.bitrate)


NEARLY_FULL = 32 << 20  # bytes: some hours of logs, and far more than the state files


@dataclass(frozen=True, slots=True)
class OtherDisk:
    """A disk beside the spool's. `holds`: the settings that point to it. `inodes` None: it does not
    count them.
    """

    holds: tuple[str, ...]
    place: str
    free_bytes: int
    inodes: int | None = None
    is_read_only: bool = False

    @property
    def is_short(self) -> bool:
        return self.free_bytes < NEARLY_FULL or (self.inodes is not None and self.inodes < LEAST_INODES)

    @property
    def wrong(self) -> str:
        """What is wrong with it; empty while nothing is."""
        named = f"the disk of {', '.join(self.holds)} ({self.place})"
        if self.is_read_only:
            return f"{named} is read-only"
        if not self.is_short:
            return ""
        if self.free_bytes < NEARLY_FULL:
            return f"{named} is nearly full: {self.free_bytes / 1e6:.0f} MB free"
        return f"{named} takes only {self.inodes} more files"
