"""Whatever was said, no file that is written and no row that is sent holds a secret: each edge by itself.

Whoever says something takes its secrets out as well; here nobody did.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ezrec.domain import cloud_state, health, heartbeat, job, redaction, status_file
from ezrec.domain.alerts import Alert, Severity
from ezrec.domain.cloud_state import Access, Cloud
from ezrec.domain.health import CameraState, Health
from ezrec.domain.job import Fault, Job, Kind
from ezrec.domain.machine import Machine
from ezrec.domain.names import safe_id
from ezrec.domain.snapshot import Blocked, FailedJob, Recorder, Snapshot
from ezrec.domain.status_file import StatusFile

NOW = datetime(2026, 6, 1, 18, 0, tzinfo=UTC)
SAID = "refused canary-Pass/w0rd at RTSP://admin:canary-too@cam/1?token=canary-also"


@pytest.fixture(autouse=True)
def one_is_known() -> Iterator[None]:
    redaction.hide(["canary-Pass/w0rd"])
    yield
    redaction.forget()


def facts(said: str) -> Snapshot:
    ill = Health(NOW, 7, "boot", "software", CameraState.RESTARTING, last_error=said, alarm=said)
    failed = FailedJob("b8", NOW, said, said)
    return replace(
        Snapshot(NOW, "boot", Machine(), Recorder(True, health=ill)),
        last_error=said,
        cloud_fault=said,
        failed=(failed,),
        blocked=Blocked(1, failed),
        cloud=Cloud(Access.REFUSED, NOW, said),
    )


def record(said: str) -> bytes:
    fault = Fault(NOW, "upload", "waits", said, said)
    return job.encode(
        Job(safe_id("b1"), Kind.CLIP, NOW, reason=said, remedy=said, held=said, errors=(fault,))
    )


def status(said: str) -> bytes:
    alert = Alert("failed_jobs", Severity.WARNING, said, said, "boot", 0.0, NOW)
    return status_file.encode(StatusFile(facts(said), (alert,)))


EDGES: dict[str, Callable[[str], bytes]] = {
    "job.json": record,
    "health.json": lambda said: health.encode(facts(said).recorder.health or pytest.fail("no health")),
    "status.json": status,
    "cloud.json": lambda said: cloud_state.encode(Cloud(Access.REFUSED, NOW, said)),
    "the heartbeat": lambda said: json.dumps(heartbeat.row(facts(said), "u1", "0")).encode(),
}


@pytest.mark.parametrize("edge", list(EDGES))
def test_no_edge_lets_a_secret_out(edge: str) -> None:
    written = EDGES[edge](SAID)
    assert b"***" in written
    assert b"canary" not in written
