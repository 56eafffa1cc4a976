"""What can be wrong between this box and the cloud, as the rules of the alerts look at it. Pure.

One cause is one line: where it is known why the cloud does not do what it should, nothing else is said of it.
"""

from __future__ import annotations

from ezrec.domain.durations import span
from ezrec.domain.snapshot import Snapshot

UPLOAD_WAITS_S = 3 * 3600.0  # so long an upload may wait while the cloud answers
UPLOAD_SILENT_S = 1800.0  # when any upload made progress so recently, none has stopped
REACHED_S = 900.0  # after a heartbeat so recent, the network is there
UNREACHED_S = 3600.0


def upload_stopped(facts: Snapshot) -> str:
    oldest, moved = facts.uploads.oldest, facts.uploads.moved_at
    if oldest is None or not _network_is_there(facts):
        return ""
    waits_s = (facts.at - oldest.since).total_seconds()
    if waits_s <= UPLOAD_WAITS_S or (moved and (facts.at - moved).total_seconds() < UPLOAD_SILENT_S):
        return ""
    return (
        f"uploads make no progress: job {oldest.job} has waited for {waits_s / 3600:.1f} h; the cloud answers"
    )


def _network_is_there(facts: Snapshot) -> bool:
    reached = facts.cloud_reached_at
    return reached is not None and (facts.at - reached).total_seconds() <= REACHED_S


def refused(facts: Snapshot) -> str:
    return facts.cloud.refusal if facts.cloud else ""


def shut_out(facts: Snapshot) -> str:
    return facts.cloud.shutting_out if facts.cloud else ""


def does_not_answer(facts: Snapshot) -> str:
    return facts.cloud.silence if facts.cloud else ""


def over_quota(facts: Snapshot) -> str:
    return facts.cloud.quota if facts.cloud else ""


def _has_its_own(facts: Snapshot) -> bool:
    """True where another alert says what the cloud wants, or what keeps it from answering."""
    return bool(refused(facts) or does_not_answer(facts) or over_quota(facts))


def unreachable(facts: Snapshot) -> str:
    reached = facts.cloud_reached_at
    if _has_its_own(facts) or reached is None:
        return ""
    age_s = (facts.at - reached).total_seconds()
    if age_s <= UNREACHED_S and not facts.cloud_fault:
        return ""
    because = f": {facts.cloud_fault}" if facts.cloud_fault else ""
    return f"the cloud was last reached {span(age_s)} ago{because}"


def never_reached(facts: Snapshot) -> str:
    if facts.cloud_reached_at is not None or _has_its_own(facts):
        return ""
    if facts.cloud is not None:  # it answers: this is about the heartbeat alone
        return f"no heartbeat has arrived yet: {facts.cloud_fault}" if facts.cloud_fault else ""
    if facts.cloud_fault:
        return f"the cloud was never reached: {facts.cloud_fault}"
    return "the cloud was never reached" if facts.has_cloud else ""


def upload_blocked(facts: Snapshot) -> str:
    if facts.blocked is None:
        return ""
    newest, others = facts.blocked.newest, facts.blocked.jobs - 1
    more = f" (and {others} more)" if others else ""
    return f"job {newest.job} cannot be uploaded{more}: {newest.reason}: {newest.remedy}"


def too_large(facts: Snapshot) -> str:
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


def expires_too_soon(facts: Snapshot) -> str:
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
