"""The periodic task `status`: collects one snapshot and passes it on to everything that reports the box.

In this order, because the last may fail for hours and the first must not wait for it:

1. the snapshot, from files and gauges
2. the alerts that follow: each is logged and given to the hooks once
3. `status.json` and the metrics, for people at this machine
4. the heartbeat to the cloud, sent in a thread of its own
"""

from __future__ import annotations

import logging
import os
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
from ezrec.monitoring.collect import IDLE_S, collect, with_disk_measure
from ezrec.monitoring.latest_sender import LatestSender
from ezrec.monitoring.outcomes import History
from ezrec.monitoring.state_files import ALERTS, read_alerts, read_status_file
from ezrec.runtime.hooks import Hooks
from ezrec.runtime.periodic import PeriodicWork
from ezrec.settings import Settings
from ezrec.spool.spool import Spool
from ezrec.system import durable

METRICS = "metrics"
_SHOWN = 300  # characters of why a heartbeat did not arrive
_SLACK_S = 2.0  # runs are jittered: the fourth of four 15 s intervals may end a little early


@dataclass(slots=True)
class StatusReporter(PeriodicWork):
    """The heartbeat: this camera's one row in `system_status`, and the files in EZREC_STATE."""

    backend: Backend
    gauges: Gauges
    spool: Spool
    clock: Clock
    settings: Settings
    hooks: Hooks
    log: logging.Logger
    versions: Callable[[], Mapping[str, str]] = dict
    send_thumbnail: Callable[[], None] = lambda: None  # after each heartbeat; raises nothing
    forecast: Callable[[Snapshot], str] = lambda _: ""  # why the disk is too small for what is booked, or ""
    pid: int = 0  # of a process that does this again and again: by it people see whether that lives
    heartbeat_rest_s: float = 0.0  # while nothing happens: for a backend that is a file on the same card
    _before: Snapshot | None = None
    _alerts: tuple[Alert, ...] = ()
    _written: tuple[float, object] | None = None
    _sent: tuple[float, object] | None = None
    _versions: Mapping[str, str] = field(default_factory=dict)
    _sender: LatestSender = field(init=False)
    _is_loaded: bool = False
    _history: History = field(init=False)

    def __post_init__(self) -> None:
        self._history = History(self.spool.done)
        self._sender = LatestSender(self._send, self.clock, self.log)

    def __call__(self) -> None:
        self._load_state()
        machine = self.gauges.read()
        snapshot = collect(
            self.spool, self.settings, self.clock, machine, self._before, self._versions, self._history
        )
        snapshot = self._with_cloud(snapshot)
        snapshot = replace(snapshot, forecast_short=self.forecast(snapshot))
        snapshot = with_disk_measure(snapshot, self.settings.state)
        judged = judge(snapshot, self._alerts)
        self._raise_and_clear(judged)
        self._before, self._alerts = snapshot, judged.alerts
        with suppress(OSError):  # a full disk must not silence the heartbeat
            self._write(StatusFile(snapshot, judged.alerts, self.pid))
        last_error = "; ".join(alert.message for alert in worst_first(judged.alerts))
        heartbeat = row(snapshot, self.settings.user_id, self.settings.camera_id, last_error)
        if self._is_worth_sending(heartbeat):
            self._sender.offer(heartbeat)

    def stay(self) -> None:
        self.pid = os.getpid()

    def finish(self, limit_s: float) -> None:
        """Wait for the heartbeat and the hooks: for a process that a timer starts for one run."""
        self._sender.finish(limit_s)
        if self._sender.fault is not None and self._before:
            self._before = self._with_cloud(self._before)
            with suppress(OSError):
                self._replace(
                    status_file.FILE, status_file.encode(StatusFile(self._before, self._alerts, self.pid))
                )
        self.hooks.finish(limit_s)

    def _with_cloud(self, snapshot: Snapshot) -> Snapshot:
        fault = snapshot.cloud_fault if self._sender.fault is None else self._sender.fault
        reached = self._sender.reached_at or snapshot.cloud_reached_at
        return replace(snapshot, cloud_reached_at=reached, cloud_fault=fault[:_SHOWN])

    def _is_worth_sending(self, heartbeat: Row) -> bool:
        if self._sent is None or not self.heartbeat_rest_s:
            return True
        sent_s, sent = self._sent
        return _news(heartbeat) != sent or self.clock.monotonic() - sent_s >= self.heartbeat_rest_s

    def _send(self, heartbeat: Row) -> None:
        self.backend.heartbeat(heartbeat)
        self._sent = (self.clock.monotonic(), _news(heartbeat))
        self.send_thumbnail()

    def _load_state(self) -> None:
        """Load what an earlier process knew: a timer may start a new one for each run."""
        if self._is_loaded:
            return
        self._is_loaded = True
        self._versions = self.versions()
        last = read_status_file(self.settings.state)
        self._before = last.facts if last else None
        self._alerts = read_alerts(self.settings.state)

    # ---- alerts

    def _raise_and_clear(self, judged: Judged) -> None:
        """Remember first, then log and call hooks: a kill in between repeats nothing."""
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

    def _write(self, status: StatusFile) -> None:
        """Write when something that matters has changed, while something is in hand, and every `IDLE_S`."""
        snapshot, recorder, now_s = status.facts, status.facts.recorder, self.clock.monotonic()
        worth = (
            snapshot.jobs, recorder.is_alive, recorder.recording, recorder.expected,
            snapshot.clock_synchronised, snapshot.next_booking, snapshot.last_error, snapshot.disk_measure,
            [(alert.id, alert.raised_at) for alert in status.alerts],
        )  # fmt: skip
        if self._written and not snapshot.is_busy:
            written_s, written = self._written
            if worth == written and now_s - written_s < IDLE_S - _SLACK_S:
                return
        (self.settings.state / METRICS).mkdir(parents=True, exist_ok=True)
        self._replace(status_file.FILE, status_file.encode(status))
        text = prometheus.text(snapshot, status.alerts, self.settings.camera_id)
        self._replace(f"{METRICS}/{prometheus.FILE}", text.encode(), mode=0o644)
        self._written = (now_s, worth)

    def _replace(self, name: str, data: bytes, mode: int = 0o640) -> None:
        """Whole or not at all, but not synced: what a power cut takes is written again after the start."""
        durable.swap(self.settings.state / name, data, mode=mode)


def _news(heartbeat: Row) -> object:
    return heartbeat["is_recording"], heartbeat["last_error"]


def _fields(alert: Alert) -> dict[str, Any]:
    alert = cleaned(alert)
    return {
        "alert": alert.name,
        "severity": str(alert.severity),
        "message": alert.message,
        "remedy": alert.remedy,
        "since": alert.since or alert.raised_at,
        "job": alert.job or None,
    }


def _as_json(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"
