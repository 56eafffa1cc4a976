"""The recorder's health: what it can show for itself, as it stands in `health.json`. Values only.

Evidence, not opinion: when the last frame came, how many packets left the encoder, how far the files
grew. Whoever reads it (the heartbeat, the CLI, the alerts) judges by the ages, because the writer may be
dead and its last word then stays. All counts run since the recorder's start.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import msgspec

from ezrec.domain.booking import Instant

FILE = "health.json"  # in EZREC_STATE


class CameraState(StrEnum):
    """What the camera does."""

    OFF = "off"  # no booking near: it need not run
    ARMING = "arming"  # a booking is near, the first frame has not come yet
    RUNNING = "running"
    RESTARTING = "restarting"  # it broke off, or cannot be had: the ladder's next try is due
    HUNG = "hung"  # it would not stop: a fresh recorder takes over


@dataclass(frozen=True, slots=True)
class Health:
    """One look at the recorder. Instants are UTC; `bytes_a_minute` is measured over the newest minutes."""

    at: Instant
    pid: int
    boot_id: str
    camera: str  # as set: `software`, `picamera2`, `rtsp://…` (without its password)
    camera_state: CameraState
    expected_to_record: bool = False
    recording: tuple[str, ...] = ()  # ids of the bookings whose files grow
    last_frame_at: Instant | None = None
    frames_in: int = 0
    packets_out: int = 0
    bytes_written: int = 0
    dropped: int = 0
    restarts: int = 0
    fps: float | None = None
    bytes_a_minute: int | None = None
    last_error: str = ""
    v: int = 1

    @property
    def is_recording(self) -> bool:
        return bool(self.recording)

    def frame_age_s(self, now: datetime) -> float | None:
        """Seconds since the last frame, by the wall clock; None before the first."""
        return None if self.last_frame_at is None else max(0.0, (now - self.last_frame_at).total_seconds())


def encode(health: Health) -> bytes:
    """The bytes of `health.json`, indented for the person who opens it."""
    return msgspec.json.format(msgspec.json.encode(health), indent=1) + b"\n"


def decode(data: bytes) -> Health:
    """Read a `health.json`; raises `ValueError` (msgspec's) for anything else."""
    return msgspec.json.decode(data, type=Health)
