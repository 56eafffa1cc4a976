"""A camera box for the tests of what tells of it: real files, a fake cloud, a clock moved by hand."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ezrec import settings
from ezrec.domain import health as healths
from ezrec.domain.booking import Booking
from ezrec.domain.health import CameraState, Health
from ezrec.domain.names import safe_id
from ezrec.domain.snapshot import Snapshot
from ezrec.monitoring.collect import collect
from ezrec.monitoring.status import StatusReporter
from ezrec.runtime.hooks import Hooks
from ezrec.settings import Settings
from ezrec.spool.spool import Spool
from tests.fakes.backend import FakeBackend
from tests.fakes.clock import StandingClock
from tests.fakes.gauges import FakeGauges

LOG = logging.getLogger("ezrec.test")


@dataclass(repr=False)
class CourtBox:
    """`home` is its EZREC_HOME."""

    def __repr__(self) -> str:
        return f"a box in {self.home}"  # else hypothesis prints all of its settings

    home: Path
    settings: Settings
    spool: Spool
    cloud: FakeBackend = field(default_factory=FakeBackend)
    clock: StandingClock = field(default_factory=StandingClock)
    gauges: FakeGauges = field(default_factory=FakeGauges)

    @property
    def now(self) -> datetime:
        return self.clock.now()

    def pass_time(self, seconds: float) -> None:
        self.clock.pass_time(seconds)
        self.gauges.pass_time(seconds)

    def status(self) -> StatusReporter:
        """A fresh reporter, as a timer or a new process starts it."""
        hooks = Hooks(self.settings.hooks, 60, LOG)
        versions = {"ezrec": "1.0", "ffmpeg": "5.1"}
        return StatusReporter(
            self.cloud, self.gauges, self.spool, self.clock, self.settings, hooks, LOG, lambda: versions
        )

    def collect(self, before: Snapshot | None = None) -> Snapshot:
        return collect(self.spool, self.settings, self.clock, self.gauges.read(), before)

    def healthy(self, **changes: Any) -> Health:
        """Leave a `health.json` as a recorder that lives would, now."""
        known: dict[str, Any] = {"pid": os.getpid(), "boot_id": "boot-1", "last_frame_at": self.now}
        known |= {"camera": "software", "camera_state": CameraState.RUNNING, **changes}
        health = Health(at=known.pop("at", self.now), **known)
        self.settings.state.mkdir(exist_ok=True)
        (self.settings.state / healths.FILE).write_bytes(healths.encode(health))
        return health

    def rests(self) -> Health:
        """The same of a recorder that lives and has nothing to do, for as long as the test lasts."""
        return self.healthy(
            camera_state=CameraState.OFF, last_frame_at=None, at=self.now + timedelta(days=365)
        )

    def booking(self, job_id: str = "b1", starts_in_s: float = -600, lasts_s: float = 3600) -> Booking:
        start = self.now + timedelta(seconds=starts_in_s)
        return Booking(safe_id(job_id), start, start + timedelta(seconds=lasts_s), "user-1")


def a_box(home: Path, **changes: str) -> CourtBox:
    given = {"EZREC_HOME": str(home), "USER_ID": "user-1", "TZ": "UTC", **changes}
    wishes = settings.load(given)
    spool = Spool(wishes.spool)
    spool.prepare()
    wishes.logs.mkdir()
    return CourtBox(home, wishes, spool)
