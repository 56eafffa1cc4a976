"""The pulse `status`: gathers the facts once, and tells them to everybody who asks.

In this order, because the last may fail for hours and the first must not wait for it:

1. the facts, from files and gauges
2. the alerts that follow, told once: log, hooks
3. `status.json` and the metrics, for the machine's own people
4. the heartbeat, the newest alone, in a thread of its own
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from ezrec.domain import status_file
from ezrec.domain.alerts import Alert, Judged, is_same, judge, worst_first
from ezrec.domain.heartbeat import row
from ezrec.domain.ports import Backend, Clock, Gauges, Row
from ezrec.domain.redaction import cleaned
from ezrec.domain.snapshot import Snapshot
from ezrec.domain.status_file import StatusFile
from ezrec.monitoring import prometheus
from ezrec.monitoring.collect import (
    ALERTS,
    IDLE_S,
    collect,
    read_alerts,
    read_status_file,
    with_disk_measure,
)
from ezrec.monitoring.latest_sender import LatestSender
from ezrec.runtime.hooks import Hooks
from ezrec.settings import Settings
from ezrec.spool.spool import Spool
from ezrec.system import durable

METRICS = "metrics"
_SHOWN = 300  # characters of why a heartbeat did not arrive
_SLACK_S = 2.0  # the pulse is jittered; the fourth of four 15 s beats may come a little early


@dataclass(slots=True)
class StatusReporter:
    """The heartbeat: this camera's one row in `system_status`, and the files in EZREC_STATE."""

    backend: Backend
    gauges: Gauges
    spool: Spool
    clock: Clock
    settings: Settings
    hooks: Hooks
    log: logging.Logger
    versions: Callable[[], Mapping[str, str]] = dict
    still: Callable[[], None] = lambda: None  # whatever goes beside the heartbeat; keeps its faults to itself
    forecast: Callable[[Snapshot], str] = lambda _: ""  # why the disk will not do for what is booked, or ""
    heartbeat_rest_s: float = 0.0  # while nothing happens: for a backend that is a file on the same card
    _before: Snapshot | None = None
    _alerts: tuple[Alert, ...] = ()
    _written: tuple[float, object] | None = None
    _told: tuple[float, object] | None = None
    _versions: Mapping[str, str] = field(default_factory=dict)
    _newest: LatestSender = field(init=False)
    _has_begun: bool = False

    def __post_init__(self) -> None:
        self._newest = LatestSender(self._send, self.clock, self.log)

    def __call__(self) -> None:
        self._begin()
        machine = self.gauges.read()
        facts = collect(self.spool, self.settings, self.clock, machine, self._before, self._versions)
        facts = self._with_cloud(facts)
        facts = replace(facts, forecast_short=self.forecast(facts))
        facts = with_disk_measure(facts, self.settings.state)
        judged = judge(facts, self._alerts, self.settings.upload_stall_h * 3600)
        self._keep(judged)
        self._before, self._alerts = facts, judged.alerts
        with suppress(OSError):  # a full disk must not silence the heartbeat
            self._write(StatusFile(facts, judged.alerts))
        last_error = "; ".join(alert.message for alert in worst_first(judged.alerts))
        newest = row(facts, self.settings.user_id, self.settings.camera_id, last_error)
        if self._is_worth_telling(newest):
            self._newest.offer(newest)

    def finish(self, limit_s: float) -> None:
        """Let the heartbeat and the hooks come to their end: for a process that lives for one beat."""
        self._newest.finish(limit_s)
        if self._newest.fault is not None and self._before:
            self._before = self._with_cloud(self._before)
            with suppress(OSError):
                self._replace(status_file.FILE, status_file.encode(StatusFile(self._before, self._alerts)))
        self.hooks.finish(limit_s)

    def _with_cloud(self, facts: Snapshot) -> Snapshot:
        fault = facts.cloud_fault if self._newest.fault is None else self._newest.fault
        reached = self._newest.reached_at or facts.cloud_reached_at
        return replace(facts, cloud_reached_at=reached, cloud_fault=fault[:_SHOWN])

    def _is_worth_telling(self, newest: Row) -> bool:
        if self._told is None or not self.heartbeat_rest_s:
            return True
        told_s, told = self._told
        return _news(newest) != told or self.clock.monotonic() - told_s >= self.heartbeat_rest_s

    def _send(self, newest: Row) -> None:
        self.backend.heartbeat(newest)
        self._told = (self.clock.monotonic(), _news(newest))
        self.still()

    def _begin(self) -> None:
        """What an earlier process knew: it may have been one that a timer starts for every beat."""
        if self._has_begun:
            return
        self._has_begun = True
        self._versions = self.versions()
        last = read_status_file(self.settings.state)
        self._before = last.facts if last else None
        self._alerts = read_alerts(self.settings.state)

    # ---- alerts

    def _keep(self, judged: Judged) -> None:
        """Remember first, tell then: who is killed in between tells nobody twice."""
        if not is_same(judged.alerts, self._alerts):
            with suppress(OSError):
                self.settings.state.mkdir(parents=True, exist_ok=True)
                durable.write(self.settings.state / ALERTS, _as_json(cleaned(judged.alerts)))
        for alert in judged.raised:
            self.log.error("ALERT %s: %s – %s", alert.name, alert.message, alert.remedy)
            self.hooks.alert(alert.name, "raised", _as_json({"state": "raised", **_fields(alert)}))
        for alert in judged.cleared:
            self.log.warning("alert %s is over: %s", alert.name, alert.message)
            self.hooks.alert(alert.name, "cleared", _as_json({"state": "cleared", **_fields(alert)}))

    # ---- files

    def _write(self, report: StatusFile) -> None:
        """When something has changed that matters, while something is in hand, and now and then."""
        facts, now_s = report.facts, self.clock.monotonic()
        worth = (
            facts.jobs, facts.recorder.is_alive, facts.recorder.recording, facts.recorder.expected,
            facts.clock_synchronised, facts.next_booking, facts.last_error, facts.disk_measure,
            [(alert.name, alert.raised_at) for alert in report.alerts],
        )  # fmt: skip
        if self._written and not facts.is_busy:
            written_s, written = self._written
            if worth == written and now_s - written_s < IDLE_S - _SLACK_S:
                return
        (self.settings.state / METRICS).mkdir(parents=True, exist_ok=True)
        self._replace(status_file.FILE, status_file.encode(report))
        text = prometheus.text(facts, report.alerts, self.settings.camera_id)
        self._replace(f"{METRICS}/{prometheus.FILE}", text.encode(), mode=0o644)
        self._written = (now_s, worth)

    def _replace(self, name: str, data: bytes, mode: int = 0o640) -> None:
        """Whole or not at all, but not synced: what a power cut takes is told anew after the start."""
        durable.swap(self.settings.state / name, data, mode=mode)


def _news(newest: Row) -> object:
    return newest["is_recording"], newest["last_error"]


def _fields(alert: Alert) -> dict[str, Any]:
    alert = cleaned(alert)
    return {
        "alert": alert.name,
        "severity": str(alert.severity),
        "message": alert.message,
        "remedy": alert.remedy,
        "since": alert.raised_at,
    }


def _as_json(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"
