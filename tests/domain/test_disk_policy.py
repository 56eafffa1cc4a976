"""Room on the disk: the order of what goes, and the measures when nothing more may."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ezrec.domain import disk_policy
from ezrec.domain.disk_policy import Demand, DiskMeasure, DiskMeasures, Evictable, Goes, Space, decide

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
BITRATE = 10_000_000
A_MINUTE = BITRATE * 60 / 8
GB = 1_000_000_000


def lying(goes: Goes, name: str, size: int = 10, hours: float = 1) -> Evictable:
    return Evictable(goes, Path("/spool") / name, size, NOW - timedelta(hours=hours))


ALL = [
    lying(Goes.LOG, "record.log.3"),
    lying(Goes.KEPT, "k-new", hours=1),
    lying(Goes.KEPT, "k-old", hours=9),
    lying(Goes.TRASH, "t"),
    lying(Goes.LEFTOVER, "l"),
]


def test_the_trash_goes_first_then_leftovers_then_the_oldest_kept_copy_then_logs() -> None:
    assert [one.name for one in disk_policy.in_order(ALL)] == ["t", "l", "k-old", "k-new", "record.log.3"]


def test_no_more_goes_than_is_needed() -> None:
    assert [one.name for one in disk_policy.until(ALL, 15)] == ["t", "l"]
    assert disk_policy.until(ALL, 0) == []
    assert len(disk_policy.until(ALL, 1000)) == len(ALL)


def test_by_age_goes_only_what_has_a_limit_and_is_older() -> None:
    limits = {Goes.KEPT: timedelta(hours=5)}
    gone = disk_policy.expired(ALL, NOW, limits, is_synchronised=True)
    assert [one.name for one in gone] == ["k-old"]


def test_nothing_goes_by_age_while_the_clock_is_not_synchronised() -> None:
    limits = dict.fromkeys(Goes, timedelta(0))
    assert disk_policy.expired(ALL, NOW + timedelta(days=9999), limits, is_synchronised=False) == []


# An hour of 10 Mbit/s is 4.5 GB of footage: 9.9 GB with its video, 4.7 GB without, 1.9 GB at 40 %.
@pytest.mark.parametrize(
    ("free_gb", "measure"),
    [
        (11.0, DiskMeasure.AMPLE),
        (10.0, DiskMeasure.UNBRANDED),  # the spare counts
        (5.2, DiskMeasure.UNBRANDED),
        (5.0, DiskMeasure.LOWER_BITRATE),
        (2.1, DiskMeasure.LOWER_BITRATE),
        (1.9, DiskMeasure.ALARM),
        (0.0, DiskMeasure.ALARM),
    ],
)
def test_the_less_room_the_stronger_the_measure(free_gb: float, measure: DiskMeasure) -> None:
    demand = Demand(3600, A_MINUTE)
    assert decide(demand, Space(int(free_gb * GB)), BITRATE, None, NOW).measure is measure


def test_footage_that_waits_for_its_video_wants_room_for_it() -> None:
    space = Space(4 * GB)
    assert decide(Demand(0, A_MINUTE), space, BITRATE, None, NOW).measure is DiskMeasure.AMPLE
    waits = Demand(0, A_MINUTE, to_process_bytes=3 * GB)
    assert decide(waits, space, BITRATE, None, NOW).measure is DiskMeasure.UNBRANDED


def test_only_the_alarm_is_told_as_short_and_says_for_how_long_the_disk_lasts() -> None:
    alarm = decide(Demand(7200, A_MINUTE), Space(GB), BITRATE, None, NOW)
    assert "120 min are booked within 24 h, and the disk has room for 13 min" in alarm.short
    for free in (12 * GB, 100 * GB):
        assert decide(Demand(7200, A_MINUTE), Space(free), BITRATE, None, NOW).short == ""


def test_a_disk_without_names_is_an_alarm_however_much_room_it_has() -> None:
    found = decide(Demand(0, A_MINUTE), Space(100 * GB, inodes=3), BITRATE, None, NOW)
    assert found.measure is DiskMeasure.ALARM
    assert "only 3 more files" in found.short
    assert decide(Demand(0, A_MINUTE), Space(100 * GB, None), BITRATE, None, NOW).measure is DiskMeasure.AMPLE


def test_a_lesser_measure_comes_back_only_with_room_to_spare() -> None:
    demand = Demand(3600, A_MINUTE)
    brink = Space(int(demand.needed(DiskMeasure.AMPLE)) + 1)
    assert decide(demand, brink, BITRATE, None, NOW).measure is DiskMeasure.AMPLE
    held = DiskMeasures(NOW, DiskMeasure.UNBRANDED, BITRATE)
    assert decide(demand, brink, BITRATE, held, NOW).measure is DiskMeasure.UNBRANDED
    roomy = Space(int(brink.free * 1.11))
    assert decide(demand, roomy, BITRATE, held, NOW).measure is DiskMeasure.AMPLE


def test_a_day_that_is_uploaded_as_it_goes_need_not_fit_whole() -> None:
    day = Demand(14 * 3600, A_MINUTE)
    space = Space(30 * GB)
    assert decide(day, space, BITRATE, None, NOW).measure is DiskMeasure.LOWER_BITRATE
    uploaded = replace(day, upload_rate=2_500_000)
    assert decide(uploaded, space, BITRATE, None, NOW).measure is DiskMeasure.AMPLE
    assert uploaded.wanted == day.wanted > space.free, "what may go does go, whatever the uplink does"
    endless = replace(day, upload_rate=1e12)
    assert decide(endless, Space(10 * GB), BITRATE, None, NOW).measure is not DiskMeasure.AMPLE


@given(
    free=some.integers(0, 20 * GB),
    booked_s=some.floats(0, 86400),
    held=some.sampled_from([None, *DiskMeasure]),
)
def test_the_bitrate_is_never_raised_nor_lowered_beyond_what_can_be_watched(
    free: int, booked_s: float, held: DiskMeasure | None
) -> None:
    before = DiskMeasures(NOW, held, 5_000_000) if held else None
    found = decide(Demand(booked_s, A_MINUTE), Space(free), BITRATE, before, NOW)
    assert BITRATE * disk_policy.LEAST_BITRATE <= found.bitrate <= BITRATE
    if found.measure in (DiskMeasure.AMPLE, DiskMeasure.UNBRANDED):
        assert found.bitrate == BITRATE
    assert bool(found.short) is (found.measure is DiskMeasure.ALARM)
    assert bool(found.shown) is found.is_unbranded


def test_the_lower_bitrate_is_one_with_which_the_bookings_fit() -> None:
    demand, space = Demand(7200, A_MINUTE), Space(6 * GB)
    found = decide(demand, space, BITRATE, None, NOW)
    assert found.measure is DiskMeasure.LOWER_BITRATE
    assert 7200 * found.bitrate / 8 < space.free
    a_little_more = replace(space, free=space.free + 100_000_000)
    assert decide(demand, a_little_more, BITRATE, found, NOW).bitrate == found.bitrate


def test_what_is_written_is_read_again_and_junk_is_a_value_error() -> None:
    found = decide(Demand(7200, A_MINUTE), Space(GB), BITRATE, None, NOW)
    assert disk_policy.decode(disk_policy.encode(found)) == found
    with pytest.raises(ValueError, match="malformed"):
        disk_policy.decode(b"junk")
