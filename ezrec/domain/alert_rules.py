"""The rules of the alerts: each looks at the facts alone, and says in one line what is wrong, or nothing.

When that has to be said, and to whom, is decided for all of them alike in `alerts.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ezrec.domain import cloud_alerts, trial_picture
from ezrec.domain.clock_words import clock_words
from ezrec.domain.cloud_state import (
    HIDDEN_REMEDY,
    QUOTA_REMEDY,
    REFUSED_REMEDY,
    SILENT_REMEDY,
    TOO_LARGE_REMEDY,
)
from ezrec.domain.durations import span
from ezrec.domain.proof_of_life import Life, recorder_words, services_words
from ezrec.domain.snapshot import Snapshot

NO_FRAME_S = 10.0
UNSYNCHRONISED_S = 600.0
KEY_EVERY_S = 5.0  # a take cannot begin between two key frames, and a video cannot be cut there
NEVER_REACHED_S = 300.0  # time for a new box to come into its network
STARTS_S = 5.0  # a take of a recorder that lives begins so soon after its window
NEAR_S = 2 * 3600.0  # before its start a held booking is worth a word


class Severity(StrEnum):
    """How bad it is; `ezrec status` ends with 5 or 6 for them."""

    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class AlertRule:
    """`looks` answers what is wrong, or nothing; it is raised when that has held for `after_s`, and over
    when nothing has been wrong for `calm_s`.

    `at_once`: whoever looks is shown it as raised from the first moment; only the telling (log, hooks) waits.
    `since`: since when it is so, where the facts say: then it is raised by that, whoever has seen it before.
    """

    name: str
    severity: Severity
    looks: Callable[[Snapshot], str]
    remedy: str | Callable[[Snapshot], str]
    after_s: float = 0.0
    calm_s: float = 0.0
    at_once: bool = False
    since: Callable[[Snapshot], datetime | None] = lambda _: None

    def cure(self, facts: Snapshot) -> str:
        """What a person can do now."""
        return self.remedy if isinstance(self.remedy, str) else self.remedy(facts)


# ---- who should be at work


def _no_recorder(facts: Snapshot) -> str:
    words = recorder_words(facts.recorder.proof, facts.recorder.health, facts.at)
    coming = facts.next_booking
    if words and coming is not None:
        return (
            f"{words}; booking {coming.booking} starts in {span((coming.start - facts.at).total_seconds())}"
        )
    return words


def _recorder_said_at(facts: Snapshot) -> datetime | None:
    return facts.recorder.health.at if facts.recorder.health else None


def _not_recording(facts: Snapshot) -> str:
    recorder = facts.recorder
    missing = [booking for booking in recorder.missing if not _only_begins(facts, booking)]
    if not missing:
        return ""
    named = f"booking {', '.join(missing)} should be recorded and is not"
    if not recorder.is_alive:
        return f"{named}: {_BARELY[recorder.proof]}"
    health = recorder.health
    why = (health.last_error if health else "") or f"the camera is {health.camera_state if health else '?'}"
    return f"{named}: {why}"


_BARELY = {
    Life.NEVER: "no recorder runs",
    Life.ENDED: "the recorder is gone",
    Life.STOPPED: "the recorder is stopped",
    Life.SILENT: "the recorder hangs",
}


def _only_begins(facts: Snapshot, booking: str) -> bool:
    """True while a recorder that lives may still be at its beginning."""
    since = facts.recorder.expected_since.get(booking)
    is_young = since is not None and 0 <= (facts.at - since).total_seconds() < STARTS_S
    return is_young and bool(facts.recorder.is_alive)


def _missing_since(facts: Snapshot) -> datetime | None:
    recorder = facts.recorder
    return min((at for name, at in recorder.expected_since.items() if name in recorder.missing), default=None)


def _start_or_look(facts: Snapshot) -> str:
    return "ezrec doctor" if facts.recorder.is_alive else facts.starter.command


def _services_silent(facts: Snapshot) -> str:
    return services_words(facts.services.life, facts.services.pid)


def _supervisor_stopped(facts: Snapshot) -> str:
    if not (pid := facts.services.stopped_supervisor):
        return ""
    return f"the supervisor (process {pid}) is stopped: nobody starts the recorder again when it ends"


def _held_booking(facts: Snapshot) -> str:
    held = facts.held
    if held is None or (held.start - facts.at).total_seconds() > NEAR_S or held.end <= facts.at:
        return ""
    left_s = (held.start - facts.at).total_seconds()
    when = f"starts in {span(left_s)}" if left_s > 0 else f"began {span(-left_s)} ago"
    return f"booking {held.booking} {when} and is held, so it is not recorded: {held.why}"


def _held_remedy(facts: Snapshot) -> str:
    booking = facts.held.booking if facts.held else "ID"
    return f"record it: ezrec spool release {booking}; it is not wanted: ezrec spool rm {booking}"


# ---- the camera


def _no_frame(facts: Snapshot) -> str:
    age_s = facts.recorder.frame_age_s
    if not facts.is_recording or age_s is None or age_s <= NO_FRAME_S:
        return ""
    return f"no frame came from the camera for {age_s:.0f} s"


def _keys_far_apart(facts: Snapshot) -> str:
    health = facts.recorder.health
    if not facts.recorder.is_alive or health is None or (health.key_every_s or 0.0) < KEY_EVERY_S:
        return ""
    return f"the camera sends a key frame every {health.key_every_s:.0f} s: set it to 1–2 s"


# ---- the machine, and the jobs


def _branding_unusable(facts: Snapshot) -> str:
    if not facts.branding_faults:
        return ""
    others = len(facts.branding_faults) - 1
    more = f" (and {others} more)" if others else ""
    return f"videos are {facts.branding_faults[0]}{more}"


def _films_no_court(facts: Snapshot) -> str:
    return facts.films_no_court


def _disk_short(facts: Snapshot) -> str:
    return facts.forecast_short


def _other_disk(facts: Snapshot) -> str:
    return "; ".join(disk.wrong for disk in facts.other_disks if disk.wrong)


def _unsynchronised(facts: Snapshot) -> str:
    if facts.clock_synchronised:
        return ""
    return f"the clock is {clock_words(is_synchronised=False, waiting=facts.unjudged)}"


def _under_voltage(facts: Snapshot) -> str:
    throttling = facts.machine.throttling
    if throttling is None or "under_voltage" not in throttling.now:
        return ""
    return "the supply's voltage is too low"


def _failed_jobs(facts: Snapshot) -> str:
    if not facts.failed:
        return ""
    newest = facts.failed[-1]
    others = max(len(facts.failed), facts.jobs.get("failed", 0)) - 1
    more = f" (and {others} more)" if others else ""
    return f"job {newest.job} needs a person{more}: {newest.reason or 'no reason is recorded'}"


RULES = (
    AlertRule(
        "not_recording", Severity.CRITICAL, _not_recording, _start_or_look, after_s=15, at_once=True,
        since=_missing_since,
    ),
    AlertRule(
        "no_recorder", Severity.CRITICAL, _no_recorder, lambda facts: facts.starter.command, after_s=30,
        at_once=True, since=_recorder_said_at,
    ),
    AlertRule(
        "no_frame", Severity.CRITICAL, _no_frame, "look at the camera's cable: ezrec doctor", calm_s=20
    ),
    AlertRule(
        "services_silent", Severity.CRITICAL, _services_silent, lambda facts: facts.starter.command,
        at_once=True, since=lambda facts: facts.services.said_at,
    ),
    AlertRule("test_picture", Severity.CRITICAL, _films_no_court, trial_picture.REMEDY),
    AlertRule("disk_short", Severity.CRITICAL, _disk_short, "ezrec spool ls"),
    AlertRule(
        "clock_unsynchronised", Severity.CRITICAL, _unsynchronised,
        "connect the network, or fit a battery for the clock: ezrec doctor", after_s=UNSYNCHRONISED_S,
    ),
    AlertRule("cloud_refused", Severity.CRITICAL, cloud_alerts.refused, REFUSED_REMEDY),
    AlertRule("cloud_over_quota", Severity.CRITICAL, cloud_alerts.over_quota, QUOTA_REMEDY),
    AlertRule("bookings_hidden", Severity.CRITICAL, cloud_alerts.shut_out, HIDDEN_REMEDY),
    AlertRule(
        "upload_stopped", Severity.WARNING, cloud_alerts.upload_stopped, "ezrec spool ls processed deferred",
        after_s=300, calm_s=900,
    ),
    AlertRule(
        "upload_blocked", Severity.WARNING, cloud_alerts.upload_blocked,
        "once that is done it goes on within a quarter of an hour; sooner: ezrec spool retry ID", calm_s=900,
    ),
    AlertRule("video_too_large", Severity.WARNING, cloud_alerts.too_large, TOO_LARGE_REMEDY, calm_s=300),
    AlertRule(
        "upload_expires", Severity.WARNING, cloud_alerts.expires_too_soon,
        "a faster line, or a lower RECORDING_BITRATE; on a server of your own a longer life of uploads "
        "(TUS_URL_EXPIRY_MS)", after_s=120, calm_s=900,
    ),
    AlertRule(
        "cloud_silent", Severity.WARNING, cloud_alerts.does_not_answer, SILENT_REMEDY,
        after_s=60, at_once=True, since=lambda facts: facts.cloud.since if facts.cloud else None,
    ),
    AlertRule(
        "cloud_unreachable", Severity.WARNING, cloud_alerts.unreachable, "look at the network: ezrec doctor",
        after_s=cloud_alerts.UNREACHED_S, since=lambda facts: facts.cloud_reached_at,
    ),
    AlertRule(
        "cloud_never_reached", Severity.WARNING, cloud_alerts.never_reached,
        "look at SUPABASE_URL and the network: ezrec doctor", after_s=NEVER_REACHED_S,
    ),
    AlertRule("held_booking", Severity.WARNING, _held_booking, _held_remedy),
    AlertRule(
        "supervisor_stopped", Severity.WARNING, _supervisor_stopped, lambda facts: facts.starter.command,
        after_s=30, at_once=True,
    ),
    AlertRule(
        "under_voltage", Severity.WARNING, _under_voltage, "use the Pi's own supply and cable", calm_s=300
    ),
    AlertRule(
        "other_disk", Severity.WARNING, _other_disk,
        "make room there (df -h), or have it checked (dmesg); recording goes on without it", calm_s=300,
    ),
    AlertRule(
        "key_frames", Severity.WARNING, _keys_far_apart,
        "in the camera's settings: I-frame interval (GOP) of 1–2 s, smart codec (H.264+, H.265+) off",
        calm_s=300,
    ),
    AlertRule(
        "branding_unusable", Severity.WARNING, _branding_unusable,
        "upload it again in the front end, or: ezrec local set-branding",
    ),
    AlertRule("failed_jobs", Severity.WARNING, _failed_jobs, "ezrec spool ls --failed"),
)  # fmt: skip
