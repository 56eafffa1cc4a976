"""The snapshot for Prometheus: the text format, for node_exporter's textfile collector. Pure.

Names follow Prometheus's rules: base units (seconds, bytes, ratios, celsius) at the end of the name, `_total`
for what only grows, timestamps instead of ages (an age in a file is wrong as soon as it is read).
A figure that is not known is left out, never 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ezrec.domain.alerts import INCIDENTS, RULES, Alert, Severity
from ezrec.domain.health import CameraState, Health
from ezrec.domain.machine import CONDITIONS
from ezrec.domain.snapshot import Snapshot

FILE = "ezrec.prom"
_Value = float | int | bool | datetime | None
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


@dataclass(frozen=True, slots=True)
class Metric:
    """One family: its samples by their labels."""

    name: str
    kind: str
    help: str
    samples: tuple[tuple[Mapping[str, str], _Value], ...]


def text(snapshot: Snapshot, alerts: Sequence[Alert], camera_id: str) -> str:
    """The whole file; ends with a line end, as the format wants."""
    return "".join(f"{line}\n" for metric in metrics(snapshot, alerts, camera_id) for line in _lines(metric))


def metrics(snapshot: Snapshot, alerts: Sequence[Alert], camera_id: str) -> Iterator[Metric]:
    """Every family of which something is known."""
    families = (
        *_box(snapshot, camera_id),
        *_recorder(snapshot),
        *_jobs(snapshot),
        *_machine(snapshot),
        _alerts(alerts),
    )
    for metric in families:
        if any(value is not None for _, value in metric.samples):
            yield metric


def _lines(metric: Metric) -> Iterator[str]:
    yield f"# HELP {metric.name} {metric.help}"
    yield f"# TYPE {metric.name} {metric.kind}"
    for labels, value in metric.samples:
        if value is not None:
            shown = ",".join(f'{name}="{word.translate(_ESCAPES)}"' for name, word in labels.items())
            yield f"{metric.name}{{{shown}}} {_number(value)}" if shown else f"{metric.name} {_number(value)}"


def _number(value: float | int | bool | datetime) -> str:
    if isinstance(value, datetime):
        return f"{value.timestamp():.3f}"
    return str(int(value)) if isinstance(value, bool | int) else f"{value:.10g}"


def _gauge(name: str, help_text: str, value: _Value) -> Metric:
    return Metric(f"ezrec_{name}", "gauge", help_text, (({}, value),))


def _counter(name: str, help_text: str, value: _Value) -> Metric:
    return Metric(f"ezrec_{name}_total", "counter", help_text, (({}, value),))


def _by(label: str, name: str, help_text: str, values: Iterable[tuple[str, _Value]]) -> Metric:
    samples = tuple(({label: word}, value) for word, value in values)
    return Metric(f"ezrec_{name}", "gauge", help_text, samples)


def _box(snapshot: Snapshot, camera_id: str) -> Iterator[Metric]:
    labels = {"camera": camera_id, **{name: snapshot.versions[name] for name in sorted(snapshot.versions)}}
    yield Metric("ezrec_build_info", "gauge", "What runs here; always 1.", ((labels, 1),))
    yield _gauge("status_timestamp_seconds", "When these figures were gathered.", snapshot.at)
    yield _gauge("clock_synchronised", "1 if the wall clock can be trusted.", snapshot.clock_synchronised)
    yield _gauge(
        "cloud_reached_timestamp_seconds",
        "When a heartbeat last arrived in the cloud.",
        snapshot.cloud_reached_at,
    )
    yield _gauge(
        "booking_cache_timestamp_seconds",
        "When the bookings were last fetched, to five minutes.",
        snapshot.booking_cache_at,
    )
    start = snapshot.next_booking.start if snapshot.next_booking else None
    yield _gauge("next_booking_timestamp_seconds", "When the next booking starts.", start)
    yield _gauge("booked_seconds", "Bookings within the next day.", snapshot.booked_s)
    yield _gauge("booked_bytes", "What these will take on the disk at most.", snapshot.booked_bytes)


def _recorder(snapshot: Snapshot) -> Iterator[Metric]:
    recorder, health = snapshot.recorder, snapshot.recorder.health
    yield _gauge("recorder_up", "1 if the recorder writes its health.", recorder.is_alive)
    yield _gauge("recording_expected", "Bookings whose window is now.", len(recorder.expected))
    yield _gauge("recording", "Bookings that are being recorded.", len(recorder.recording))
    if health is None:
        return
    state = health.camera_state if recorder.is_alive else None
    yield _by("state", "camera_state", "1 for the state that the camera is in.",
              [(str(one), one is state) for one in CameraState])  # fmt: skip
    yield from _camera(health)


def _camera(health: Health) -> Iterator[Metric]:
    yield _gauge("camera_last_frame_timestamp_seconds", "When the last frame came.", health.last_frame_at)
    yield _gauge("camera_frame_rate_hertz", "Frames a second, measured.", health.fps)
    yield _counter("camera_frames", "Frames that came from the camera.", health.frames_in)
    yield _counter("camera_dropped_frames", "Frames that were dropped.", health.dropped)
    yield _counter("camera_restarts", "How often the camera was started again.", health.restarts)
    yield _counter("encoder_packets", "Packets that left the encoder.", health.packets_out)
    yield _counter("recorded_bytes", "Bytes written into takes.", health.bytes_written)


def _jobs(snapshot: Snapshot) -> Iterator[Metric]:
    uploads = snapshot.uploads
    yield _by("state", "jobs", "Jobs by the directory they lie in.", snapshot.jobs.items())
    since = snapshot.oldest.since if snapshot.oldest else None
    yield _gauge("oldest_waiting_job_timestamp_seconds", "Since when the oldest job waits.", since)
    yield _gauge(
        "unpublished_bytes", "Footage and videos that are not in the cloud.", snapshot.unpublished_bytes
    )
    yield _gauge("upload_jobs", "Jobs that wait for their upload.", uploads.jobs)
    yield _gauge("upload_waiting_bytes", "Bytes that wait for their upload.", uploads.left_bytes)
    yield _gauge("upload_rate_bytes_per_second", "Rate of uploads, measured.", uploads.bytes_a_second)
    yield _gauge("upload_estimated_seconds", "Time that the waiting uploads will take.", uploads.left_s)


def _machine(snapshot: Snapshot) -> Iterator[Metric]:
    machine = snapshot.machine
    hours = snapshot.recording_hours
    yield _gauge("disk_size_bytes", "Size of the spool's file system.", machine.disk_bytes)
    yield _gauge("disk_free_bytes", "Free bytes on the spool's file system.", machine.disk_free_bytes)
    yield _gauge(
        "disk_recording_seconds", "Recording for which the free disk has room.",
        None if hours is None else hours * 3600,
    )  # fmt: skip
    yield _by("place", "other_disk_free_bytes", "Free bytes on the disks that hold state, logs or caches.",
              [(disk.place, disk.free_bytes) for disk in snapshot.other_disks])  # fmt: skip
    yield _gauge("cpu_usage_ratio", "Processor in use, 0 to 1.", _ratio(machine.cpu_percent))
    yield _gauge("memory_usage_ratio", "Memory in use, 0 to 1.", _ratio(machine.memory_percent))
    yield _gauge("memory_size_bytes", "Memory of the machine.", machine.memory_bytes)
    yield _gauge("memory_available_bytes", "Memory available to programs.", machine.memory_available_bytes)
    yield _gauge("temperature_celsius", "Temperature of the processor.", machine.temperature_c)
    yield _gauge("uptime_seconds", "Time since the machine started.", machine.uptime_s)
    for name, value in zip(("load1", "load5", "load15"), machine.load or (), strict=False):
        yield _gauge(name, f"Load average over {name[4:]} min.", value)
    yield _counter("network_transmit_bytes", "Bytes sent since the start.", machine.sent_bytes)
    yield _counter("network_receive_bytes", "Bytes received since the start.", machine.received_bytes)
    if machine.throttling is not None:
        now, ever = machine.throttling.now, machine.throttling.since_boot
        words = CONDITIONS.values()
        yield _by("condition", "throttling", "1 for what the Pi's firmware holds back now.",
                  [(word, word in now) for word in words])  # fmt: skip
        yield _by("condition", "throttling_since_boot", "1 for what it has held back since the start.",
                  [(word, word in ever) for word in words])  # fmt: skip


def _alerts(alerts: Sequence[Alert]) -> Metric:
    raised = Counter(alert.name for alert in alerts if alert.counts)
    samples: list[tuple[Mapping[str, str], _Value]] = [
        ({"alert": rule.name, "severity": str(rule.severity)}, rule.name in raised) for rule in RULES
    ]
    samples += [({"alert": name, "severity": str(Severity.WARNING)}, raised[name]) for name in INCIDENTS]
    text = "1 for every alert that is raised; of incidents, how many nobody has put away."
    return Metric("ezrec_alert", "gauge", text, tuple(samples))


def _ratio(percent: float | None) -> float | None:
    return None if percent is None else round(percent / 100, 4)
