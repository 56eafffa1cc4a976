"""The facts about one box at one moment, collected once. Values only.

The heartbeat, `status.json`, the metrics, the alerts and `ezrec status` are made of the same `Snapshot`, so
they agree. Judgements are in `alerts.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ezrec.domain.booking import Instant
from ezrec.domain.cloud_state import Cloud
from ezrec.domain.disk_policy import WITH_VIDEO, FreeRoom, OtherDisk
from ezrec.domain.health import Health
from ezrec.domain.incidents import Day, Incident
from ezrec.domain.machine import Machine
from ezrec.domain.proof_of_life import Life, Starter

_NEWEST_SHARE = 0.3  # of the newest sample in the measured rate of uploads


@dataclass(frozen=True, slots=True)
class Recorder:
    """The recorder's health, and whether it is up to date.

    `expected`: bookings whose window is now. `recording`: those whose files grow. `is_alive` None: there is
    no `health.json`.
    """

    is_alive: bool | None = None
    expected: tuple[str, ...] = ()
    recording: tuple[str, ...] = ()
    health: Health | None = None
    life: Life | None = None
    expected_since: dict[str, Instant] = field(default_factory=dict)

    @property
    def proof(self) -> Life:
        return self.life or {True: Life.LIVES, False: Life.ENDED, None: Life.NEVER}[self.is_alive]

    @property
    def missing(self) -> tuple[str, ...]:
        """The bookings that should be recorded and are not."""
        return tuple(sorted(set(self.expected) - set(self.recording)))

    @property
    def frame_age_s(self) -> float | None:
        """Seconds since the last frame when the health was written; None if the recorder is not alive."""
        if not self.is_alive or self.health is None:
            return None
        return self.health.frame_age_s(self.health.at)


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
    """Jobs that wait for a correction in the cloud: how many, and the newest."""

    jobs: int
    newest: FailedJob


@dataclass(frozen=True, slots=True)
class Upcoming:
    """The next booking to be recorded."""

    booking: str
    start: Instant
    end: Instant


@dataclass(frozen=True, slots=True)
class HeldBooking:
    """A booking that a person holds: its window, and why it is held."""

    booking: str
    start: Instant
    end: Instant
    why: str


@dataclass(frozen=True, slots=True)
class ServicesLife:
    """Whether the worker and the periodic tasks live, when they last said so, and the process that runs them
    (0: a timer starts one for each run). `stopped_supervisor`: the process that should start them again, and
    is stopped; 0: it is not."""

    life: Life = Life.LIVES
    said_at: Instant | None = None
    pid: int = 0
    stopped_supervisor: int = 0


@dataclass(frozen=True, slots=True)
class Uploads:
    """The finished videos that are not in the cloud yet.

    `job`, `job_bytes`, `sent_bytes` and `expires_at` are of the upload under way; `moved_at`: when any upload
    last made progress.
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
    """Bytes a second of uploads, smoothed: the newest sample counts for 0.3."""
    sent = now.sent_bytes - before.sent_bytes
    if not now.job or now.job != before.job or sent <= 0 or seconds <= 0:
        return before.bytes_a_second
    sample = sent / seconds
    if before.bytes_a_second is None:
        return sample
    return before.bytes_a_second + _NEWEST_SHARE * (sample - before.bytes_a_second)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All facts. `jobs`: how many are in each directory. `booked_s`: seconds of bookings within the next day.

    `failed`: the newest failed jobs; `jobs` has their number. `to_process_bytes`: the largest footage that
    waits to be processed. `recording_bytes_a_minute`: measured, or by the set bitrate. `cloud_reached_at`:
    when a heartbeat last arrived; `cloud_fault`: why the last one did not. `cloud`: how the cloud treats this
    box. `forecast_short`: why the disk is too small, empty if it is not; `disk_measure`: what is done about
    it. `blocked`: what waits for a correction in the cloud. `longest_booking`: of those to come or in hand.
    `other_disks`: disks beside the spool's that hold files of EZREC. `booking_cache_at`: when the bookings
    were last fetched, exact to five minutes. `last_error`: the newest of all jobs and of the recorder.
    `under_way`: the bookings that the recorder has in hand. `branding_faults`: what of the branding cannot be
    used. `films_no_court`: what is wrong when an installed box films the test picture; empty otherwise.
    `held`: the next booking that a person holds. `unjudged`: bookings that are over and wait for a clock that
    can be trusted. `incidents`: the newest of those that nobody has put away; `day`: what became of the jobs
    of the last 24 hours. `has_cloud`: the backend is over a network.
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
    under_way: tuple[Upcoming, ...] = ()
    films_no_court: str = ""
    services: ServicesLife = ServicesLife()
    starter: Starter = Starter()
    has_cloud: bool = False
    held: HeldBooking | None = None
    unjudged: int = 0
    incidents: tuple[Incident, ...] = ()
    day: Day = Day()

    @property
    def is_recording(self) -> bool:
        return bool(self.recorder.recording)

    @property
    def free_room(self) -> FreeRoom | None:
        """What the free disk takes of what the camera makes."""
        if self.machine.disk_free_bytes is None or self.recording_bytes_a_minute <= 0:
            return None
        return FreeRoom(self.machine.disk_free_bytes, self.recording_bytes_a_minute)

    @property
    def recording_hours(self) -> float | None:
        return self.free_room.hours if self.free_room else None

    @property
    def booked_bytes(self) -> float:
        """Bytes that the next day's bookings take: footage and video, and a little more."""
        return self.booked_s / 60 * self.recording_bytes_a_minute * WITH_VIDEO

    @property
    def is_busy(self) -> bool:
        """True while something is in hand, so that the figures change."""
        hands = ("recording", "processing")
        return self.is_recording or bool(self.uploads.job) or any(self.jobs.get(name) for name in hands)
