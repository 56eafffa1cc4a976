"""The alerts: which are raised, which are over, and which of them have to be told now.

Rule 1: a rule (`alert_rules.py`) looks at the facts alone. When that has to be said (not at the first twitch,
once, and once more when it is over) is decided here for all of them alike.

An incident (`incidents.py`) is an alert as well: it is told once, and stays until a person puts it away.

Durations are counted by the machine's uptime: a Pi's wall clock steps by years when it is synchronised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from ezrec.domain.alert_rules import RULES as RULES
from ezrec.domain.alert_rules import AlertRule as AlertRule
from ezrec.domain.alert_rules import Severity as Severity
from ezrec.domain.booking import Instant
from ezrec.domain.incidents import Incident, IncidentKind
from ezrec.domain.snapshot import Snapshot

INCIDENTS = tuple(str(kind) for kind in IncidentKind)  # the names of alerts that a person puts away
_NEWS = timedelta(
    days=1
)  # an older incident is listed, and told to nobody: a new version finds a month of them


@dataclass(frozen=True, slots=True)
class Alert:
    """One rule that found something, or one incident. `raised_at` None: not yet for long enough to be told.

    `seen_s` and `gone_s` are uptimes of the machine's run `boot_id`: when it was first seen, and since when
    it has been away again. `at_once`: whoever looks is shown it as raised all the same. `since`: since when
    it is so, where that is known. `job`: of an incident.
    """

    name: str
    severity: Severity
    message: str
    remedy: str
    boot_id: str
    seen_s: float
    raised_at: Instant | None = None
    gone_s: float | None = None
    at_once: bool = False
    since: Instant | None = None
    job: str = ""

    @property
    def is_raised(self) -> bool:
        return self.raised_at is not None

    @property
    def counts(self) -> bool:
        """Whether it is as bad as it says, for whoever looks now."""
        return self.is_raised or self.at_once

    @property
    def id(self) -> str:
        """Its name; that of an incident with the job it is about."""
        return f"{self.name}-{self.job}" if self.job else self.name


@dataclass(frozen=True, slots=True)
class Judged:
    """`alerts`: to remember for the next call. `raised` and `cleared`: to report now, each once."""

    alerts: tuple[Alert, ...]
    raised: tuple[Alert, ...] = ()
    cleared: tuple[Alert, ...] = ()


def judge(facts: Snapshot, before: Sequence[Alert], rules: Sequence[AlertRule] = RULES) -> Judged:
    """What the rules make of these facts, after what they made of earlier ones."""
    known: Mapping[str, Alert] = {alert.id: alert for alert in before}
    kept: list[Alert] = []
    for rule in rules:
        alert = _look(rule, facts, known.get(rule.name))
        kept += [] if alert is None else [alert]
    kept += [known.get(incident.id) or _of_incident(incident, facts) for incident in facts.incidents]
    told = {alert.id for alert in before if alert.is_raised}
    raised = [alert for alert in kept if alert.is_raised and alert.id not in told and _is_news(alert, facts)]
    gone = told - {alert.id for alert in kept}
    return Judged(tuple(kept), tuple(raised), tuple(alert for alert in before if alert.id in gone))


def _of_incident(incident: Incident, facts: Snapshot) -> Alert:
    return Alert(
        incident.kind, Severity.WARNING, incident.text, incident.remedy, facts.boot_id, 0.0, facts.at,
        since=incident.at, job=incident.job,
    )  # fmt: skip


def _is_news(alert: Alert, facts: Snapshot) -> bool:
    return not alert.job or alert.since is None or facts.at - alert.since <= _NEWS


def _look(rule: AlertRule, facts: Snapshot, before: Alert | None) -> Alert | None:
    """The alert that a rule has now: pending, raised, calming down, or none."""
    message, uptime_s = rule.looks(facts), facts.machine.uptime_s or 0.0
    if before is not None and before.boot_id != facts.boot_id:  # its uptimes are of another run
        gone_s = None if before.gone_s is None else 0.0
        again = replace(before, boot_id=facts.boot_id, seen_s=0.0, gone_s=gone_s)
        before = again if before.is_raised else None
    if message:
        alert = before or Alert(rule.name, rule.severity, message, "", facts.boot_id, uptime_s)
        since = rule.since(facts)
        lasts_s = uptime_s - alert.seen_s
        if since is not None and not rule.at_once:  # who is shown it at once is told it by its own time
            lasts_s = max(lasts_s, (facts.at - since).total_seconds())
        if alert.raised_at is None and lasts_s >= rule.after_s:
            alert = replace(alert, raised_at=facts.at)
        return replace(
            alert, message=message, severity=rule.severity, remedy=rule.cure(facts), gone_s=None,
            at_once=rule.at_once, since=since,
        )  # fmt: skip
    if before is None or not before.is_raised:
        return None
    gone_s = uptime_s if before.gone_s is None else before.gone_s
    return None if uptime_s - gone_s >= rule.calm_s else replace(before, gone_s=gone_s)


def is_same(one: Sequence[Alert], other: Sequence[Alert]) -> bool:
    """True when they differ by nothing but words and times, which count the hours."""
    wordless = (
        [replace(alert, message="", remedy="", since=None) for alert in alerts] for alerts in (one, other)
    )
    return next(wordless) == next(wordless)


def as_seen(judged: Judged, facts: Snapshot) -> list[Alert]:
    """What is wrong now, for somebody who looks: the worst first, then what counts, in the rules' order.

    What counts at once is raised, whether or not the periodic task that tells of it still lives.
    """
    found = [alert for alert in judged.alerts if alert.gone_s is None]
    shown = [
        replace(alert, raised_at=alert.raised_at or alert.since or facts.at) if alert.at_once else alert
        for alert in found
    ]
    order = list(Severity)[::-1]
    return sorted(shown, key=lambda alert: (order.index(alert.severity), not alert.is_raised))


def worst_first(alerts: Sequence[Alert]) -> list[Alert]:
    """Those that count, critical before warning, the rules' order within."""
    order = list(Severity)[::-1]
    return sorted((alert for alert in alerts if alert.counts), key=lambda alert: order.index(alert.severity))
