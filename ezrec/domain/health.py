"""The recorder's health: what it can show for itself, as it stands in `health.json`. Values only.

Evidence, not opinion: when the last frame came, how many packets left the encoder, how far the files
grew. Whoever reads it (the heartbeat, the CLI, the alerts) judges by the ages, because the writer may be
dead and its last word then stays. All counts run since the recorder's start.

`alarm` is the one judgement that is made here: whether the recorder may still call itself alive. It is
made of deadlines (whoever does something that could hang says by when it will report again) and of what
moved: frames, packets, bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import msgspec

from ezrec.domain import json_decode
from ezrec.domain.booking import Instant
from ezrec.domain.redaction import cleaned

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
    """One look at the recorder. Instants are UTC; `bytes_a_minute` is measured over the newest minutes.
    `key_every_s`: seconds between the camera's key frames.
    """

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
    alarm: str = ""  # why it does not call itself alive any more; whoever keeps it will end it
    key_every_s: float | None = None
    monotonic: float | None = None  # the same moment as `at`, by the clock that no step moves
    v: int = 1

    @property
    def is_recording(self) -> bool:
        return bool(self.recording)

    def frame_age_s(self, now: datetime) -> float | None:
        """Seconds since the last frame, by the wall clock; None before the first."""
        return None if self.last_frame_at is None else max(0.0, (now - self.last_frame_at).total_seconds())


def encode(health: Health) -> bytes:
    """The bytes of `health.json`, indented for the person who opens it."""
    return msgspec.json.format(msgspec.json.encode(cleaned(health)), indent=1) + b"\n"


def decode(data: bytes) -> Health:
    """Read a `health.json`; raises `ValueError` (msgspec's) for anything else."""
    return json_decode.decode(data, Health)


# ---- the judgement


class Activity(StrEnum):
    """What a booking in hand has to do with the camera."""

    WAITS = "waits"  # it need not run yet
    ARMS = "arms"  # it has to run; nothing need be written yet
    LACKS = "lacks"  # a file should grow and does not: the ladder's next try, a take that begins
    WRITES = "writes"
    CLOSES = "closes"


@dataclass(frozen=True, slots=True)
class Deadline:
    """`doing` ends, or is reported again, `by` this monotonic moment. `since`: when the activity began."""

    doing: str
    by: float
    since: float
    activity: Activity | None = None


@dataclass(frozen=True, slots=True)
class Moved:
    """The monotonic moments at which the evidence last moved."""

    frames: float
    packets: float
    written: float


@dataclass(frozen=True, slots=True)
class Patience:
    """How long what may last, in seconds. The silence of a camera is noticed, and the camera started anew,
    after 3 s: what is allowed here is for the case that noticing itself hangs.
    """

    late_s: float = 10.0  # behind a deadline; a loaded machine is no hung one
    flow_s: float = 10.0  # without frames or packets
    # Bytes may wait for a disk that takes its time: as long as the queue in memory lasts at least.
    growth_s: float = 30.0


def alarm(deadlines: Mapping[str, Deadline], moved: Moved, now: float, patience: Patience) -> str:
    """Why the recorder must not call itself alive at the monotonic `now`; empty while it may."""
    for who, deadline in deadlines.items():
        if now > deadline.by + patience.late_s:
            return f"{who}: {deadline.doing} should have ended {now - deadline.by:.0f} s ago"
    writing = [deadline.since for deadline in deadlines.values() if deadline.activity is Activity.WRITES]
    if not writing:
        return ""
    since = min(writing)
    for what, moment, limit_s in (
        ("frames come", moved.frames, patience.flow_s),
        ("packets leave the encoder", moved.packets, patience.flow_s),
        ("bytes are written", moved.written, patience.growth_s),
    ):
        age_s = now - max(moment, since)
        if age_s > limit_s:
            return f"recording, but no {what} for {age_s:.0f} s"
    return ""


def camera_state(
    activities: tuple[Activity, ...], *, running: bool, hung: bool, broke_off: bool
) -> CameraState:
    """What to call it that the camera does."""
    if hung:
        return CameraState.HUNG
    if running:
        return CameraState.RUNNING
    if not any(activity in (Activity.ARMS, Activity.LACKS, Activity.WRITES) for activity in activities):
        return CameraState.OFF
    return CameraState.RESTARTING if broke_off else CameraState.ARMING
