"""The doctor's checks of life: who runs here, whether what should be recorded is, and what went wrong lately.

The same facts and the same judgement as `ezrec status` shows (`domain/proof_of_life.py`,
`domain/alert_rules.py`), with systemd and without.
"""

from __future__ import annotations

from ezrec.app import common
from ezrec.domain.alerts import Alert, Severity
from ezrec.domain.durations import span
from ezrec.domain.findings import Finding, Findings, fault, ok, warning
from ezrec.domain.incidents import Day
from ezrec.domain.snapshot import Snapshot
from ezrec.monitoring.collect import look
from ezrec.settings import Settings

_RECORDER = ("no_recorder", "not_recording", "no_frame", "held_booking")
_SERVICES = ("services_silent", "supervisor_stopped")


def lives(settings: Settings) -> Findings:
    """The recorder, and the services beside it."""
    snapshot, alerts = look(settings, common.clock(settings))
    yield from _of(alerts, _RECORDER, "recorder") or [_recorder(snapshot)]
    yield from _of(alerts, _SERVICES, "services") or [_services(snapshot)]


def outcomes(settings: Settings) -> Findings:
    """What became of the last day's bookings, and what nobody has put away."""
    snapshot, alerts = look(settings, common.clock(settings))
    incidents = [alert for alert in alerts if alert.job]
    told = "last 24 h: " + (snapshot.day.words if snapshot.day != Day() else "nothing was due")
    if not incidents:
        yield ok("bookings", told)
        return
    others = f" (and {len(incidents) - 1} more)" if len(incidents) > 1 else ""
    said = f"{told}; to be looked at: {incidents[-1].message}{others}"
    yield warning("bookings", said, "list them: ezrec alerts; once you know: ezrec alerts clear --all")


def _of(alerts: list[Alert], names: tuple[str, ...], check: str) -> list[Finding]:
    verdict = {Severity.CRITICAL: fault, Severity.WARNING: warning}
    return [verdict[one.severity](check, one.message, one.remedy) for one in alerts if one.name in names]


def _recorder(snapshot: Snapshot) -> Finding:
    recorder, health = snapshot.recorder, snapshot.recorder.health
    does = f"records {', '.join(recorder.recording)}" if recorder.recording else "nothing is due"
    said = ""
    if health is not None:
        age_s = (snapshot.at - health.at).total_seconds()
        said = f"; process {health.pid}, camera {health.camera_state}, said so {span(age_s)} ago"
    return ok("recorder", f"lives, {does}{said}")


def _services(snapshot: Snapshot) -> Finding:
    services = snapshot.services
    age_s = (snapshot.at - services.said_at).total_seconds() if services.said_at else 0.0
    process = f"; process {services.pid}" if services.pid else ""
    return ok("services", f"live, and wrote their status {span(age_s)} ago{process}")
