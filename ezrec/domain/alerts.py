"""The alerts: one table of rules, and the one function that says which are raised, and which are over.

Rule 1: a rule looks at the facts alone and says in one line what is wrong, or nothing. When that has to be
said (not at the first twitch, once, and once more when it is over) is decided here for all of them alike.

Durations are counted by the machine's uptime: the wall clock of a Pi steps by years when it is synchronised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from ezrec.domain.booking import Instant
from ezrec.domain.cloud_state import HIDDEN_REMEDY, REFUSED_REMEDY, TOO_LARGE_REMEDY
from ezrec.domain.snapshot import Snapshot

NO_FRAME_S = 10.0
UNSYNCHRONISED_S = 600.0
UPLOAD_SILENT_S = 1800.0  # an upload that gets on somewhere is no stopped lane
REACHED_S = 900.0  # a heartbeat that recently arrived: the network is there
UNREACHED_S = 3600.0
KEY_EVERY_S = 5.0  # a take cannot begin between two key frames, and a video cannot be cut there
NEVER_REACHED_S = 300.0  # time for a new box to come into its network


class Severity(StrEnum):
    """How bad it is; `ezrec status` ends with 5 or 6 for them."""

    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class AlertRule:
    """`looks` answers what is wrong, or nothing; it is raised when that has held for `after_s`, and over
    when nothing has been wrong for `calm_s`.
    """

    name: str
    severity: Severity
    looks: Callable[[Snapshot, float], str]
    remedy: str
    after_s: float = 0.0
    calm_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Alert:
    """One rule that found something. `raised_at` None: not yet for long enough.

    `seen_s` and `gone_s` are uptimes of the machine's run `boot_id`: when it was first seen, and since when
    it has been away again.
    """

    name: str
    severity: Severity
    message: str
    remedy: str
    boot_id: str
    seen_s: float
    raised_at: Instant | None = None
    gone_s: float | None = None

    @property
    def is_raised(self) -> bool:
        return self.raised_at is not None


# ---- what the rules see


def _not_recording(facts: Snapshot, _: float) -> str:
    missing = sorted(set(facts.recorder.expected) - set(facts.recorder.recording))
    if not missing:
        return ""
    health = facts.recorder.health
    if facts.recorder.is_alive is False:
        why = "the recorder is gone"
    elif facts.recorder.is_alive is None:
        why = "no recorder runs"
    else:
        why = (
            health.last_error if health else ""
        ) or f"the camera is {health.camera_state if health else '?'}"
    return f"booking {', '.join(missing)} should be recorded and is not: {why}"


def _no_frame(facts: Snapshot, _: float) -> str:
    age_s = facts.recorder.frame_age_s
    if not facts.is_recording or age_s is None or age_s <= NO_FRAME_S:
        return ""
    return f"no frame came from the camera for {age_s:.0f} s"


def _keys_far_apart(facts: Snapshot, _: float) -> str:
    health = facts.recorder.health
    if not facts.recorder.is_alive or health is None or (health.key_every_s or 0.0) < KEY_EVERY_S:
        return ""
    return f"the camera sends a key frame every {health.key_every_s:.0f} s: set it to 1–2 s"


def _upload_stopped(facts: Snapshot, stall_s: float) -> str:
    oldest, moved = facts.uploads.oldest, facts.uploads.moved_at
    if oldest is None or not _network_is_there(facts):
        return ""
    waits_s = (facts.at - oldest.since).total_seconds()
    if waits_s <= stall_s or (moved and (facts.at - moved).total_seconds() < UPLOAD_SILENT_S):
        return ""
    return f"uploads do not get on: job {oldest.job} has waited for {waits_s / 3600:.1f} h; the cloud answers"


def _network_is_there(facts: Snapshot) -> bool:
    reached = facts.cloud_reached_at
    return reached is not None and (facts.at - reached).total_seconds() <= REACHED_S


def _refused(facts: Snapshot, _: float) -> str:
    return facts.cloud.refusal if facts.cloud else ""


def _shut_out(facts: Snapshot, _: float) -> str:
    return facts.cloud.shutting_out if facts.cloud else ""


def _unreachable(facts: Snapshot, _: float) -> str:
    reached = facts.cloud_reached_at
    if _refused(facts, 0):
        return ""  # it is there, and another alert says what it wants
    if reached is None or (facts.at - reached).total_seconds() <= UNREACHED_S:
        return ""
    return f"the cloud was last reached {(facts.at - reached).total_seconds() / 3600:.1f} h ago"


def _never_reached(facts: Snapshot, _: float) -> str:
    if facts.cloud_reached_at is not None or facts.cloud is not None or not facts.cloud_fault:
        return ""  # it has answered: where that was a refusal, another alert says what it wants
    return f"the cloud was never reached: {facts.cloud_fault}"


def _upload_blocked(facts: Snapshot, _: float) -> str:
    if facts.blocked is None:
        return ""
    newest, others = facts.blocked.newest, facts.blocked.jobs - 1
    more = f" (and {others} more)" if others else ""
    return f"job {newest.job} cannot be uploaded{more}: {newest.reason}: {newest.remedy}"


def _too_large(facts: Snapshot, _: float) -> str:
    most, booking = facts.cloud.most_bytes if facts.cloud else 0, facts.longest_booking
    if not most or booking is None:
        return ""
    size = (booking.end - booking.start).total_seconds() / 60 * facts.recording_bytes_a_minute
    if size <= most:
        return ""
    return (
        f"the video of booking {booking.booking} will have about {size / 1e6:.0f} MB, and the cloud takes "
        f"{most / 1e6:.0f} MB a file"
    )


def _expires_too_soon(facts: Snapshot, _: float) -> str:
    uploads = facts.uploads
    if uploads.expires_at is None or uploads.job_left_s is None:
        return ""
    lasts_s = (uploads.expires_at - facts.at).total_seconds()
    if uploads.job_left_s <= lasts_s:
        return ""
    return (
        f"the upload of job {uploads.job} needs {uploads.job_left_s / 60:.0f} minutes more at this pace, and "
        f"the cloud forgets what was sent in {max(0.0, lasts_s) / 60:.0f}: it will begin anew"
    )


def _disk_short(facts: Snapshot, _: float) -> str:
    return facts.forecast_short


def _other_disk(facts: Snapshot, _: float) -> str:
    return "; ".join(disk.wrong for disk in facts.other_disks if disk.wrong)


def _branding_unusable(facts: Snapshot, _: float) -> str:
    if not facts.branding_faults:
        return ""
    others = len(facts.branding_faults) - 1
    more = f" (and {others} more)" if others else ""
    return f"videos are {facts.branding_faults[0]}{more}"


def _unsynchronised(facts: Snapshot, _: float) -> str:
    return "" if facts.clock_synchronised else "the clock is not synchronised: no booking can be judged"


def _under_voltage(facts: Snapshot, _: float) -> str:
    throttling = facts.machine.throttling
    if throttling is None or "under_voltage" not in throttling.now:
        return ""
    return "the supply's voltage is too low"


def _failed_jobs(facts: Snapshot, _: float) -> str:
    if not facts.failed:
        return ""
    newest = facts.failed[-1]
    others = max(len(facts.failed), facts.jobs.get("failed", 0)) - 1
    more = f" (and {others} more)" if others else ""
    return f"job {newest.job} needs a person{more}: {newest.reason or 'no reason is recorded'}"


RULES = (
    AlertRule("not_recording", Severity.CRITICAL, _not_recording, "ezrec doctor", after_s=15),
    AlertRule(
        "no_frame", Severity.CRITICAL, _no_frame, "look at the camera's cable: ezrec doctor", calm_s=20
    ),
    AlertRule("disk_short", Severity.CRITICAL, _disk_short, "ezrec spool ls"),
    AlertRule(
        "clock_unsynchronised", Severity.CRITICAL, _unsynchronised,
        "connect the network, or fit a battery for the clock: ezrec doctor", after_s=UNSYNCHRONISED_S,
    ),
    AlertRule("cloud_refused", Severity.CRITICAL, _refused, REFUSED_REMEDY),
    AlertRule("bookings_hidden", Severity.CRITICAL, _shut_out, HIDDEN_REMEDY),
    AlertRule(
        "upload_stopped", Severity.WARNING, _upload_stopped, "ezrec spool ls processed deferred",
        after_s=300, calm_s=900,
    ),
    AlertRule(
        "upload_blocked", Severity.WARNING, _upload_blocked,
        "once that is done it goes on within a quarter of an hour; sooner: ezrec spool retry ID", calm_s=900,
    ),
    AlertRule("video_too_large", Severity.WARNING, _too_large, TOO_LARGE_REMEDY, calm_s=300),
    AlertRule(
        "upload_expires", Severity.WARNING, _expires_too_soon,
        "a faster line, or a lower RECORDING_BITRATE; on a server of your own a longer life of uploads "
        "(TUS_URL_EXPIRY_MS)", after_s=120, calm_s=900,
    ),
    AlertRule("cloud_unreachable", Severity.WARNING, _unreachable, "look at the network: ezrec doctor"),
    AlertRule(
        "cloud_never_reached", Severity.WARNING, _never_reached,
        "look at SUPABASE_URL and the network: ezrec doctor", after_s=NEVER_REACHED_S,
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


@dataclass(frozen=True, slots=True)
class Judged:
    """`alerts` is what to remember; `raised` and `cleared` are to be told now, each once."""

    alerts: tuple[Alert, ...]
    raised: tuple[Alert, ...] = ()
    cleared: tuple[Alert, ...] = ()


def judge(
    facts: Snapshot, before: Sequence[Alert], stall_s: float, rules: Sequence[AlertRule] = RULES
) -> Judged:
    """What the rules make of these facts, after what they made of earlier ones. `stall_s`: for how long an
    upload may wait."""
    known: Mapping[str, Alert] = {alert.name: alert for alert in before}
    kept, raised, cleared = [], [], []
    for rule in rules:
        alert = _look(rule, facts, known.get(rule.name), stall_s)
        was_raised = rule.name in known and known[rule.name].is_raised
        if alert is None:
            if was_raised:
                cleared.append(known[rule.name])
            continue
        if alert.is_raised and not was_raised:
            raised.append(alert)
        kept.append(alert)
    gone = [alert for name, alert in known.items() if name not in {rule.name for rule in rules}]
    return Judged(tuple(kept), tuple(raised), (*cleared, *(alert for alert in gone if alert.is_raised)))


def _look(rule: AlertRule, facts: Snapshot, before: Alert | None, stall_s: float) -> Alert | None:
    """The alert that a rule has now: begun, raised, calming down, or none."""
    message, uptime_s = rule.looks(facts, stall_s), facts.machine.uptime_s or 0.0
    if before is not None and before.boot_id != facts.boot_id:  # its uptimes are of another run
        gone_s = None if before.gone_s is None else 0.0
        again = replace(before, boot_id=facts.boot_id, seen_s=0.0, gone_s=gone_s)
        before = again if before.is_raised else None
    if message:
        alert = before or Alert(rule.name, rule.severity, message, rule.remedy, facts.boot_id, uptime_s)
        if alert.raised_at is None and uptime_s - alert.seen_s >= rule.after_s:
            alert = replace(alert, raised_at=facts.at)
        return replace(alert, message=message, severity=rule.severity, remedy=rule.remedy, gone_s=None)
    if before is None or not before.is_raised:
        return None
    gone_s = uptime_s if before.gone_s is None else before.gone_s
    return None if uptime_s - gone_s >= rule.calm_s else replace(before, gone_s=gone_s)


def is_same(one: Sequence[Alert], other: Sequence[Alert]) -> bool:
    """True when they differ by nothing but words, which count the hours."""
    wordless = ([replace(alert, message="") for alert in alerts] for alerts in (one, other))
    return next(wordless) == next(wordless)


def worst_first(alerts: Sequence[Alert]) -> list[Alert]:
    """The raised ones, critical before warning, the rules' order within."""
    order = list(Severity)[::-1]
    return sorted(
        (alert for alert in alerts if alert.is_raised), key=lambda alert: order.index(alert.severity)
    )
