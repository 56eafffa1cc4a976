"""The facts about one camera box at one moment: gathered once, read by all who tell of them. Values only.

The heartbeat, `status.json`, the metrics, the alerts and `ezrec status` say the same because they are
made of the same `Snapshot`. Nothing here is an opinion; those are in `alerts.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from ezrec.domain.booking import Instant
from ezrec.domain.cloud_state import Cloud
from ezrec.domain.disk_policy import WITH_VIDEO, OtherDisk
from ezrec.domain.health import CameraState, Health
from ezrec.domain.machine import Machine

# A recorder that has something to do writes its health far more often than this; one that rests need not.
SILENT_S = 30.0
SILENT_AT_REST_S = 900.0
_NEWEST_SHARE = 0.3  # of the newest sample in the measured rate of uploads


@dataclass(frozen=True, slots=True)
class Recorder:
    """What the recorder shows for itself, and whether that can still be true.

    `expected`: bookings whose window is now. `recording`: those of which files grow. `is_alive` None:
    it never left a word, so nobody knows.
    """

    is_alive: bool | None = None
    expected: tuple[str, ...] = ()
    recording: tuple[str, ...] = ()
    health: Health | None = None

    @property
    def frame_age_s(self) -> float | None:
        """Seconds since the last frame when the health was written; None if it is not to be trusted."""
        if not self.is_alive or self.health is None:
            return None
        return self.health.frame_age_s(self.health.at)


def is_alive(health: Health, now: datetime, boot_id: str, *, has_process: bool) -> bool:
    """True when the writer of a `health.json` still writes. A clock that was set back tells nothing."""
    if not has_process or (health.boot_id and health.boot_id != boot_id):
        return False
    rests = health.camera_state is CameraState.OFF and not health.recording
    return (now - health.at).total_seconds() <= (SILENT_AT_REST_S if rests else SILENT_S)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job that waits, where, and since when."""

    job: str
    state: str
    since: Instant


@dataclass(frozen=True, slots=True)
class FailedJob:
    """A job that waits for a person."""

    job: str
    since: Instant
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Blocked:
    """Jobs that wait for a cure in the cloud: how many, and the newest of them."""

    jobs: int
    newest: FailedJob


@dataclass(frozen=True, slots=True)
class Upcoming:
    """The next booking to be recorded."""

    booking: str
    start: Instant
    end: Instant


@dataclass(frozen=True, slots=True)
class Uploads:
    """What is finished and not in the cloud yet.

    `job`, `job_bytes`, `sent_bytes` and `expires_at` (of its address over there) are of the upload under
    way; `moved_at` is when any upload last got on.
    """

    jobs: int = 0
    bytes: int = 0
    oldest: Waiting | None = None
    job: str = ""
    sent_bytes: int = 0
    bytes_a_second: float | None = None
    moved_at: Instant | None = None
    job_bytes: int = 0
    expires_at: Instant | None = None

    @property
    def job_left_s(self) -> float | None:
        """Seconds until the upload under way is done, at the measured rate; None when none was measured."""
        left = max(0, self.job_bytes - self.sent_bytes)
        return left / self.bytes_a_second if self.bytes_a_second else None

    @property
    def left_bytes(self) -> int:
        return max(0, self.bytes - self.sent_bytes)

    @property
    def left_s(self) -> float | None:
        """Seconds until all of it is uploaded, at the measured rate; None when none was measured."""
        if not self.left_bytes:
            return 0.0
        return self.left_bytes / self.bytes_a_second if self.bytes_a_second else None


def measured_rate(before: Uploads, now: Uploads, seconds: float) -> float | None:
    """Bytes a second of uploads: the newest sample has a share in what was known before."""
    sent = now.sent_bytes - before.sent_bytes
    if not now.job or now.job != before.job or sent <= 0 or seconds <= 0:
        return before.bytes_a_second
    sample = sent / seconds
    if before.bytes_a_second is None:
        return sample
    return before.bytes_a_second + _NEWEST_SHARE * (sample - before.bytes_a_second)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All of it. `jobs`: how many lie in each directory. `booked_s`: seconds of bookings within the next day.

    `failed`: the newest of the failed jobs; `jobs` has their number.
    `to_process_bytes`: the largest footage that waits to be made a video.
    `recording_bytes_a_minute` is measured, or what the set bitrate makes. `cloud_reached_at`: when a
    heartbeat last arrived, `cloud_fault` why the last one did not. `cloud`: how it treated us when it last
    answered. `forecast_short`: why the disk will not do, if it will not, and `disk_measure` what is done so
    that it will. `blocked`: what waits for a cure in the cloud. `longest_booking`: of
    those to come, or in hand. `branding_faults`: what of the branding cannot be used. `other_disks`: those
    beside the spool's that hold something of ours. `booking_cache_at`: when the bookings were last
    fetched, or five minutes before. `last_error` is the newest that any job or the
    recorder has to tell.
    """

    at: Instant
    boot_id: str = ""
    machine: Machine = Machine()
    recorder: Recorder = Recorder()
    jobs: dict[str, int] = field(default_factory=dict)
    oldest: Waiting | None = None
    failed: tuple[FailedJob, ...] = ()
    uploads: Uploads = Uploads()
    unpublished_bytes: int = 0
    recording_bytes_a_minute: float = 0.0
    clock_synchronised: bool = False
    booking_cache_at: Instant | None = None
    next_booking: Upcoming | None = None
    booked_s: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)
    cloud_reached_at: Instant | None = None
    cloud: Cloud | None = None
    forecast_short: str = ""
    last_error: str = ""
    to_process_bytes: int = 0
    disk_measure: str = ""
    other_disks: tuple[OtherDisk, ...] = ()
    blocked: Blocked | None = None
    longest_booking: Upcoming | None = None
    cloud_fault: str = ""
    branding_faults: tuple[str, ...] = ()

    @property
    def is_recording(self) -> bool:
        return bool(self.recorder.recording)

    @property
    def recording_hours(self) -> float | None:
        """For how long the free disk takes what the camera makes."""
        if self.machine.disk_free_bytes is None or self.recording_bytes_a_minute <= 0:
            return None
        return self.machine.disk_free_bytes / self.recording_bytes_a_minute / 60

    @property
    def booked_bytes(self) -> float:
        """What the next day's bookings will take: footage and video at once, and a little more."""
        return self.booked_s / 60 * self.recording_bytes_a_minute * WITH_VIDEO

    @property
    def is_busy(self) -> bool:
        """True while something is in hand: then the figures change, and somebody may want to watch them."""
        hands = ("recording", "processing")
        return self.is_recording or bool(self.uploads.job) or any(self.jobs.get(name) for name in hands)
