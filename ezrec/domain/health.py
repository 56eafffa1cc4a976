"""The recorder's health: the content of `health.json`. Values only.

Evidence: when the last frame came, how many packets left the encoder, how many bytes were written. Readers
(the heartbeat, the CLI, the alerts) judge by its age, because the file stays when its writer dies. All counts
run since the recorder's start.

`alarm` is the only judgement here: whether the recorder may still report that it is alive. It looks at
deadlines, set before each step that could hang, and at whether frames, packets and bytes still come.
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
    ARMING = "arming"  # a booking is near; no frame yet
    RUNNING = "running"
    RESTARTING = "restarting"  # it broke off or did not start, and is tried again
    HUNG = "hung"  # it did not stop: a new recorder takes over


@dataclass(frozen=True, slots=True)
class Health:
    """One look at the recorder. Instants are UTC; `bytes_a_minute` is measured over the newest minutes.
    `key_every_s`: seconds between the camera's key frames.
    """

    at: Instant
    pid: int
    boot_id: str
    camera: str  # as set, without a password
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
    alarm: str = ""  # why it no longer reports that it is alive; the supervisor will end it
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
    """What a booking in hand does with the camera."""

    WAITS = "waits"  # it need not run yet
    ARMS = "arms"  # it has to run; nothing need be written yet
    LACKS = "lacks"  # a file should grow and does not: the camera is tried again, or a take begins
    WRITES = "writes"
    CLOSES = "closes"


@dataclass(frozen=True, slots=True)
class Deadline:
    """`doing` ends, or is reported again, before the monotonic time `by`. `since`: when the
    activity began.
    """

    doing: str
    by: float
    since: float
    activity: Activity | None = None


@dataclass(frozen=True, slots=True)
class Moved:
    """When frames, packets and bytes last came: monotonic seconds."""

    frames: float
    packets: float
    written: float


@dataclass(frozen=True, slots=True)
class Patience:
    """Limits in seconds. A silent camera is started again after 3 s; these are for the case that the code
    which does that hangs itself.
    """

    late_s: float = 10.0  # after a deadline: a loaded machine is not a hung one
    flow_s: float = 10.0  # without frames or packets
    # Bytes may wait for a slow disk, for as long as the queue in memory lasts.
    growth_s: float = 30.0


def alarm(deadlines: Mapping[str, Deadline], moved: Moved, now: float, patience: Patience) -> str:
    """Why the recorder must not report that it is alive; empty while it may. `now` is monotonic."""
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
    """The state of the camera, from what the bookings do with it."""
    if hung:
        return CameraState.HUNG
    if running:
        return CameraState.RUNNING
    if not any(activity in (Activity.ARMS, Activity.LACKS, Activity.WRITES) for activity in activities):
        return CameraState.OFF
    return CameraState.RESTARTING if broke_off else CameraState.ARMING
