"""The recorder's health file: what is written is read again, and anything else is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ezrec.domain.health import CameraState, Health, decode, encode

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
