"""The disk guard: looks ahead, makes room while anything may go, and decides what to do when nothing may.

1. the reserve is made again when there is room for it
2. what is booked within a day is compared with what is free
3. while that is too little: trash, leftovers, kept copies and old logs go one by one, each with a line in the
   log; rotated logs on another disk go only when that disk is nearly full
4. what is left decides the measure (`domain/disk_policy.py`), written to `room.json`

Runs with the periodic task `status`, which also runs when the bookings change. It never touches what was not
uploaded, and raises nothing for a disk that does not answer: the heartbeat must go on.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ezrec.domain import disk_policy
from ezrec.domain.disk_policy import NEARLY_FULL, Demand, DiskMeasure, DiskMeasures, Evictable, Space
from ezrec.domain.ports import Clock
from ezrec.domain.snapshot import Snapshot
from ezrec.monitoring.state_files import read_disk_measures
from ezrec.spool import usage
from ezrec.spool.spool import Spool
from ezrec.system import disk_reserve, durable

_REACHED_S = 900.0  # a cloud that was reached so recently takes uploads
_CONFIRMED_S = 900.0  # a measure in force is written again so often, to stay valid


@dataclass(slots=True)
class DiskGuard:
    """`StatusReporter.forecast`: why the disk is too small for what is booked; empty when it is not."""

    spool: Spool
    clock: Clock
    log: logging.Logger
    state: Path
    logs: Path
    bitrate: int
    reserve_bytes: int
    space: Callable[[Path], Space] = usage.space
    _written_s: float | None = None

    def __call__(self, snapshot: Snapshot) -> str:
        self._trim_logs_elsewhere()
        before = read_disk_measures(self.state, snapshot.at)
        demand = _demand(snapshot, self.bitrate, before)
        try:
            self._keep_reserve(demand)
            self._make_room(demand)
            space = self.space(self.spool.root)
        except OSError as fault:
            self.log.error("the spool's disk does not answer: %s", fault)
            return f"the spool's disk does not answer: {fault.strerror}"
        found = disk_policy.decide(demand, space, self.bitrate, before, snapshot.at)
        self._write(found, before)
        return found.short

    def _keep_reserve(self, demand: Demand) -> None:
        missing = disk_reserve.missing(self.spool.root, self.reserve_bytes)
        room_for_it = self.space(self.spool.root).free >= 2 * missing
        is_made = missing and room_for_it and disk_reserve.make(self.spool.root, self.reserve_bytes)
        if is_made:
            self.log.info("%.0f MB are kept in reserve for a full disk", self.reserve_bytes / 1e6)

    def _make_room(self, demand: Demand) -> None:
        space = self.space(self.spool.root)
        needed = demand.wanted
        if space.free >= needed and not space.lacks_inodes:
            return
        for one in usage.evictables(self.spool, self.logs):
            if space.free >= needed and not space.lacks_inodes:
                break
            self._remove(one, needed, space)
            space = self.space(self.spool.root)

    def _trim_logs_elsewhere(self) -> None:
        """Remove rotated logs that lie on a disk of their own, while that disk is nearly full."""
        with contextlib.suppress(OSError):
            for one in usage.logs_elsewhere(self.spool, self.logs):
                space = self.space(self.logs)
                if space.free >= NEARLY_FULL and not space.lacks_inodes:
                    break
                self._remove(one, NEARLY_FULL, space)

    def _remove(self, one: Evictable, needed: float, space: Space) -> None:
        if usage.remove(self.spool, one):
            self.log.warning(
                "removed %s (%s, %.1f MB): %.1f MB are wanted, %.1f MB were free",
                one.name, one.goes, one.size / 1e6, needed / 1e6, space.free / 1e6,
            )  # fmt: skip

    def _write(self, found: DiskMeasures, before: DiskMeasures | None) -> None:
        is_news = disk_policy.is_news(found, before)
        if before is None and found.measure is DiskMeasure.AMPLE:
            return  # nothing else was ever written
        now_s = self.clock.monotonic()
        is_due = self._written_s is None or now_s - self._written_s >= _CONFIRMED_S
        if not is_news and (found.measure is DiskMeasure.AMPLE or not is_due):
            return
        if is_news:
            self.log.warning("disk: %s", found.shown or "there is room again for what is booked")
        write_disk_measures(self.state, found)
        self._written_s = now_s


def recording_bitrate(state: Path, usual: int, now: datetime, log: logging.Logger) -> int:
    """Bits a second for a camera that starts now: fewer than `usual` while the disk is short."""
    measures = read_disk_measures(state, now)
    if measures is None or not 0 < measures.bitrate < usual:
        return usual
    log.warning("the disk is short: recording at %.1f Mbit/s", measures.bitrate / 1e6)
    return measures.bitrate


def _demand(snapshot: Snapshot, bitrate: int, before: DiskMeasures | None) -> Demand:
    """While a lower bitrate is in force, what was measured is less than the set bitrate takes."""
    measured = snapshot.recording_bytes_a_minute
    if before is not None and before.bitrate < bitrate:
        measured = max(measured, bitrate * 60 / 8)
    uploads = snapshot.uploads
    reached = snapshot.cloud_reached_at
    gets_on = reached is not None and (snapshot.at - reached).total_seconds() < _REACHED_S
    # A video that is uploaded soon makes room for the next one; then nothing is published without branding.
    to_process = 0 if gets_on and uploads.jobs else snapshot.to_process_bytes
    return Demand(
        snapshot.booked_s, measured, to_process, (uploads.bytes_a_second or 0.0) if gets_on else 0.0
    )


def write_disk_measures(state: Path, measures: DiskMeasures) -> None:
    """Write whole or not at all; on a full disk that takes no new file, over the old one."""
    data = disk_policy.encode(measures)
    path = state / disk_policy.FILE
    try:
        state.mkdir(parents=True, exist_ok=True)
        durable.write(path, data)
    except OSError:
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                os.pwrite(fd, data, 0)
                os.ftruncate(fd, len(data))
            finally:
                os.close(fd)
