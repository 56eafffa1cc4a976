"""The metrics: read by Prometheus's own parser, and named by its rules."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from ezrec.domain.alerts import INCIDENTS, RULES, judge
from ezrec.domain.disk_policy import OtherDisk
from ezrec.domain.health import CameraState, Health
from ezrec.domain.machine import Machine, Throttling
from ezrec.domain.snapshot import FailedJob, Recorder, Snapshot, Upcoming, Uploads, Waiting
from ezrec.monitoring.prometheus import text

NOW = datetime(2026, 6, 1, 18, 0, tzinfo=UTC)
HEALTH = Health(
    NOW, 77, "boot-1", "software", CameraState.RUNNING, True, ("b1",), NOW,
    900, 899, 1 << 30, 2, 1, 29.97, 75_000_000,
)  # fmt: skip
FULL = Snapshot(
    NOW,
    "boot-1",
    Machine(
        5000.5, (1.0, 0.5, 0.25), 12.5, 40.0, 4 << 30, 2 << 30, 50.0, 32 << 30, 16 << 30, 51.5, 1000, 2000,
        Throttling(("throttled",), ("under_voltage", "throttled")),
    ),
    Recorder(True, ("b1",), ("b1",), HEALTH),
    {"incoming": 3, "raw": 0, "processed": 2},
    Waiting("b0", "processed", NOW - timedelta(hours=1)),
    (FailedJob("b9", NOW, "no picture", "copy it again"),),
    Uploads(2, 1000, job="b0", sent_bytes=400, bytes_a_second=20.0),
    5000,
    75_000_000.0,
    True,
    NOW - timedelta(minutes=1),
    Upcoming("b2", NOW + timedelta(hours=2), NOW + timedelta(hours=3)),
    3600.0,
    {"ezrec": "1.0", "ffmpeg": '5.1 "odd" \\ build\nline'},
    NOW,
    other_disks=(OtherDisk(("EZREC_STATE", "LOGS_DIR"), "/mnt/ram disk", 1 << 30),),
)  # fmt: skip
UNITS = ("seconds", "bytes", "ratio", "celsius", "hertz", "info", "second")
UNITLESS = {
    "ezrec_clock_synchronised", "ezrec_recorder_up", "ezrec_recording", "ezrec_recording_expected",
    "ezrec_camera_state", "ezrec_jobs", "ezrec_upload_jobs", "ezrec_load1", "ezrec_load5", "ezrec_load15",
    "ezrec_throttling", "ezrec_throttling_since_boot", "ezrec_alert", "ezrec_camera_frames",
    "ezrec_camera_dropped_frames", "ezrec_camera_restarts", "ezrec_encoder_packets",
}  # fmt: skip
FOREIGN = ("_ms", "_kb", "_mb", "_gb", "_percent", "_minutes", "_hours", "_milliseconds", "_kilobytes")


def families(facts: Snapshot) -> dict[str, Metric]:
    alerts = judge(facts, ()).alerts
    return {found.name: found for found in text_string_to_metric_families(text(facts, alerts, "court-7"))}


def test_prometheus_reads_every_line_and_finds_what_was_told() -> None:
    found = families(FULL)
    assert found["ezrec_recording"].samples[0].value == 1
    assert found["ezrec_recorded_bytes"].samples[0].value == 1 << 30
    assert found["ezrec_upload_estimated_seconds"].samples[0].value == 30
    assert found["ezrec_camera_last_frame_timestamp_seconds"].samples[0].value == NOW.timestamp()
    states = {sample.labels["state"]: sample.value for sample in found["ezrec_camera_state"].samples}
    assert states == {str(state): float(state is CameraState.RUNNING) for state in CameraState}
    info = found["ezrec_build_info"].samples[0].labels
    assert info == {"camera": "court-7", "ezrec": "1.0", "ffmpeg": '5.1 "odd" \\ build\nline'}


def test_every_alert_is_there_raised_or_not() -> None:
    found = {sample.labels["alert"]: sample.value for sample in families(FULL)["ezrec_alert"].samples}
    assert set(found) == {rule.name for rule in RULES} | set(INCIDENTS)
    assert [name for name, value in found.items() if value] == ["failed_jobs"]


@pytest.mark.parametrize("facts", [FULL, Snapshot(NOW), replace(FULL, recorder=Recorder())])
def test_names_and_units_follow_prometheus_rules(facts: Snapshot) -> None:
    for name, family in families(facts).items():
        assert re.fullmatch(r"ezrec_[a-z][a-z0-9_]*", name)
        assert family.documentation.endswith(".")
        assert family.type in ("gauge", "counter")
        assert name.rsplit("_", 1)[1] in UNITS or name in UNITLESS, f"{name} has no base unit"
        assert not name.endswith(FOREIGN)
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter"), sample.name
            assert all(re.fullmatch(r"[a-z_]+", label) for label in sample.labels)
        assert len({tuple(sorted(sample.labels.items())) for sample in family.samples}) == len(family.samples)


def test_each_family_is_explained_once_before_its_samples() -> None:
    lines = text(FULL, (), "0").splitlines()
    told = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(told) == len(set(told))
    current = ""
    for line in lines:
        if line.startswith("# HELP"):
            current = line.split()[2]
        elif not line.startswith("#"):
            assert re.split(r"[ {]", line)[0] == current


def test_what_nobody_knows_is_left_out() -> None:
    found = families(Snapshot(NOW))
    for name in ("ezrec_recorder_up", "ezrec_cpu_usage_ratio", "ezrec_camera_frames", "ezrec_throttling"):
        assert name not in found
    assert found["ezrec_recording"].samples[0].value == 0
