"""The recorder's health file: what is written is read again, and anything else is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ezrec.domain import camera_address
from ezrec.domain.health import (
    Activity,
    CameraState,
    Deadline,
    Health,
    Moved,
    Patience,
    alarm,
    camera_state,
    decode,
    encode,
)

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def test_a_health_is_read_as_it_was_written() -> None:
    health = Health(NOW, 7, "boot", "software", CameraState.RUNNING, recording=("b1",), last_frame_at=NOW)
    assert decode(encode(health)) == health
    assert health.is_recording


def test_the_age_of_a_frame_is_never_below_zero_after_the_clock_went_back() -> None:
    health = Health(NOW, 7, "boot", "software", CameraState.RUNNING, last_frame_at=NOW)
    assert health.frame_age_s(NOW + timedelta(seconds=4)) == 4.0
    assert health.frame_age_s(NOW - timedelta(hours=1)) == 0.0
    assert Health(NOW, 7, "boot", "software", CameraState.OFF).frame_age_s(NOW) is None


@pytest.mark.parametrize("data", [b"", b"[]", b'{"at": "yesterday"}', b"\xff\xfe"])
def test_what_is_no_health_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever msgspec says of it
        decode(data)


@pytest.mark.parametrize(
    ("camera", "shown"),
    [
        ("software", "software"),
        ("auto", "auto"),
        ("v4l2:/dev/video0", "v4l2:/dev/video0"),
        ("rtsp://court.local/main", "rtsp://court.local/main"),
        ("rtsp://admin:p%40ss@10.0.0.5:554/main?token=secret#x", "rtsp://10.0.0.5:554/main"),
        ("rtsps://a:b@c@host/p", "rtsps://host/p"),
    ],
)
def test_a_camera_is_named_without_its_secrets(camera: str, shown: str) -> None:
    assert camera_address.shown(camera) == shown


# ---- the judgement, at the monotonic time 100

FRESH = Moved(100, 100, 100)
PATIENCE = Patience(late_s=10, flow_s=10, growth_s=30)


def deadline(activity: Activity | None, by: float = 105, since: float = 0) -> Deadline:
    return Deadline("the start of the camera", by, since, activity)


@pytest.mark.parametrize(
    ("deadlines", "moved", "said"),
    [
        ({}, Moved(0, 0, 0), ""),
        ({"b": deadline(Activity.WAITS)}, Moved(0, 0, 0), ""),
        ({"b": deadline(Activity.LACKS)}, Moved(0, 0, 0), ""),
        ({"b": deadline(Activity.WRITES)}, FRESH, ""),
        ({"b": deadline(Activity.LACKS, by=91)}, FRESH, ""),
        (
            {"b": deadline(Activity.LACKS, by=89)},
            FRESH,
            "b: the start of the camera should have ended 11 s ago",
        ),
        ({"record stage": deadline(None, by=50)}, FRESH, "record stage: the start of the camera should"),
        ({"record stage": deadline(None, by=float("inf"))}, FRESH, ""),
        ({"b": deadline(Activity.WRITES)}, Moved(89, 100, 100), "no frames come for 11 s"),
        ({"b": deadline(Activity.WRITES)}, Moved(100, 89, 100), "no packets leave the encoder for 11 s"),
        ({"b": deadline(Activity.WRITES)}, Moved(100, 100, 71), ""),
        ({"b": deadline(Activity.WRITES)}, Moved(100, 100, 69), "no bytes are written for 31 s"),
        ({"b": deadline(Activity.WRITES, since=95)}, Moved(0, 0, 0), ""),
        (
            {"a": deadline(Activity.WRITES, since=95), "b": deadline(Activity.WRITES)},
            Moved(0, 0, 0),
            "no frames come",
        ),
    ],
)
def test_the_recorder_may_call_itself_alive_only_on_evidence(
    deadlines: dict[str, Deadline], moved: Moved, said: str
) -> None:
    found = alarm(deadlines, moved, 100, PATIENCE)
    assert said in found
    assert bool(found) == bool(said)


@pytest.mark.parametrize(
    ("activities", "running", "hung", "broke_off", "state"),
    [
        ((), False, False, False, CameraState.OFF),
        ((Activity.WAITS,), False, False, True, CameraState.OFF),
        ((Activity.ARMS,), False, False, False, CameraState.ARMING),
        ((Activity.LACKS,), False, False, False, CameraState.ARMING),
        ((Activity.LACKS, Activity.WAITS), False, False, True, CameraState.RESTARTING),
        ((Activity.WRITES,), True, False, False, CameraState.RUNNING),
        ((Activity.LACKS,), True, False, True, CameraState.RUNNING),
        ((), False, True, True, CameraState.HUNG),
    ],
)
def test_the_state_of_the_camera_has_a_name(
    activities: tuple[Activity, ...], running: bool, hung: bool, broke_off: bool, state: CameraState
) -> None:
    assert camera_state(activities, running=running, hung=hung, broke_off=broke_off) is state
