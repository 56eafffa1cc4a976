"""The pulse `status`: the heartbeat."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ezrec.domain.stages import State
from ezrec.handlers.record import OPEN
from ezrec.ports import Backend, Clock, Gauges
from ezrec.settings import Settings
from ezrec.spool import Entry, Spool


@dataclass(slots=True)
class Status:
    """The heartbeat: this camera's one row in `system_status`."""

    backend: Backend
    gauges: Gauges
    spool: Spool
    clock: Clock
    settings: Settings

    def __call__(self) -> None:
        now = self.clock.now().isoformat()
        failed = sorted(self.spool.entries(State.FAILED), key=_arrived)
        self.backend.heartbeat(
            {
                "user_id": self.settings.user_id,
                "camera_id": self.settings.camera_id,
                "pi_active": True,
                "last_heartbeat": now,
                "updated_at": now,
                "is_recording": any(map(_is_writing, self.spool.entries(State.RECORDING))),
                "last_error": failed[-1].job.reason if failed else None,
                **self.gauges.read(),
            }
        )


def _is_writing(entry: Entry) -> bool:
    return any(take.ended_by == OPEN for take in entry.job.takes)


def _arrived(entry: Entry) -> datetime:
    return entry.job.arrivals[-1].at if entry.job.arrivals else entry.job.created
