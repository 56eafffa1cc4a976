"""When the uplink may be used, and for what first."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezrec.domain.booking import Booking
from ezrec.domain.job import Job, Kind, Result
from ezrec.domain.names import safe_id
from ezrec.domain.upload_schedule import UploadDeadline, Wait, hold, read_hours, upload_order

MADRID = ZoneInfo("Europe/Madrid")
NIGHT = read_hours("22:00-07:00")


def at(text: str, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=MADRID, fold=fold).astimezone(UTC)


OPENINGS = {
    "before a night": ("22:00-07:00", "2026-06-01 12:00", "2026-06-01 22:00"),
    "in it": ("22:00-07:00", "2026-06-01 23:10", "2026-06-01 23:10"),
    "in it after midnight": ("22:00-07:00", "2026-06-02 06:59", "2026-06-02 06:59"),
    "at its end": ("22:00-07:00", "2026-06-02 07:00", "2026-06-02 22:00"),
    "between two": ("01:00-07:00,13:00-15:00", "2026-06-01 09:00", "2026-06-01 13:00"),
    "after the last of two": ("01:00-07:00, 13:00-15:00", "2026-06-01 15:00", "2026-06-02 01:00"),
    "always": ("", "2026-06-01 12:00", "2026-06-01 12:00"),
    "both equal": ("08:00-08:00", "2026-06-01 12:00", "2026-06-01 12:00"),
    "to midnight": ("20:00-24:00", "2026-06-01 23:59", "2026-06-01 23:59"),
    "midnight is its end": ("20:00-24:00", "2026-06-02 00:00", "2026-06-02 20:00"),
    "opens in the hour that is missing": ("02:30-06:00", "2026-03-29 01:00", "2026-03-29 03:00"),
    "lies in the hour that is missing": ("02:00-02:30", "2026-03-29 01:00", "2026-03-30 02:00"),
}


@pytest.mark.parametrize(("hours", "now", "opens"), OPENINGS.values(), ids=OPENINGS.keys())
def test_uploads_wait_for_the_next_opening(hours: str, now: str, opens: str) -> None:
    assert read_hours(hours).next_opening(at(now), MADRID) == at(opens)


def test_an_hour_that_comes_twice_is_open_twice() -> None:
    hours = read_hours("02:00-02:30")
    first, second = at("2026-10-25 02:10"), at("2026-10-25 02:10", fold=1)
    assert second - first == timedelta(hours=1)
    assert hours.are_open(first, MADRID)
    assert not hours.are_open(at("2026-10-25 02:40"), MADRID)
    assert hours.next_opening(at("2026-10-25 02:40"), MADRID) == at("2026-10-25 02:00", fold=1)
    assert hours.are_open(second, MADRID)


@given(
    st.integers(0, 730 * 24 * 60).map(lambda minutes: at("2026-01-01 00:00") + timedelta(minutes=minutes)),
    st.times(),
    st.times(),
)
def test_whenever_one_asks_the_next_opening_is_open_and_within_two_days(
    now: datetime, opens: time, closes: time
) -> None:
    hours = read_hours(f"{opens:%H:%M}-{closes:%H:%M}")
    found = hours.next_opening(now, MADRID)
    assert hours.are_open(found, MADRID)
    assert timedelta() <= found - now <= timedelta(days=2)


@pytest.mark.parametrize("text", ["22-7", "22:00", "25:00-07:00", "22:00-07:60", "night", "22:00-07:00;"])
def test_hours_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        read_hours(text)


def test_hours_are_shown_as_they_are_set() -> None:
    assert str(read_hours("22:00-7:00, 13:00-15:00")) == "22:00-07:00,13:00-15:00"
    assert str(read_hours("always")) == str(read_hours("")) == "always"


def test_outside_the_hours_uploads_are_held_until_they_open() -> None:
    found = hold(at("2026-06-01 12:00"), MADRID, NIGHT, while_recording=True, recorded_until=None)
    assert found is not None
    assert (found.what, found.until) == (Wait.HOURS, at("2026-06-01 22:00"))
    assert "22:00-07:00" in found.reason


def test_a_recording_holds_uploads_only_where_that_is_set() -> None:
    now, end = at("2026-06-01 23:00"), at("2026-06-01 23:30")
    assert hold(now, MADRID, NIGHT, while_recording=True, recorded_until=end) is None
    assert hold(now, MADRID, NIGHT, while_recording=False, recorded_until=None) is None
    found = hold(now, MADRID, NIGHT, while_recording=False, recorded_until=end)
    assert found is not None
    assert (found.what, found.until) == (Wait.RECORDING, end)
    late = hold(end, MADRID, NIGHT, while_recording=False, recorded_until=now)
    assert late is not None
    assert late.until > end, "a recording that ends late is no reason to ask again at once"


def job(name: str, hour: int, size: int = 10, **known: object) -> Job:
    start = at(f"2026-06-01 {hour:02}:00")
    made = Job(safe_id(name), Kind.BOOKING, at("2026-06-01 00:00"))
    booking = Booking(safe_id(name), start, start + timedelta(hours=1), "user-1", "0")
    return replace(made, booking=booking, result=Result("a.mp4", 1.0, size, ()), **known)  # type: ignore[arg-type]


def ordered() -> list[str]:
    jobs = [
        job("morning", 9, 50),
        job("evening", 20, 70),
        job("short", 20, 5),
        Job(safe_id("logs"), Kind.LOGS, at("2026-06-01 23:00")),
        Job(safe_id("clip"), Kind.CLIP, at("2026-06-01 12:00"), result=Result("b.mp4", 1.0, 60, ())),
    ]
    return [str(found.id) for found in sorted(jobs, key=upload_order)]


def test_the_newest_match_goes_first_the_small_before_the_large_and_logs_last() -> None:
    assert ordered() == ["short", "evening", "clip", "morning", "logs"]


@pytest.mark.parametrize(
    ("lasts_s", "part", "bytes_s", "presses"),
    [
        (3 * 3600, 0.5, 1e6, False),  # there is time for others
        (2500, 0.5, 1e6, True),  # 2,000 s are needed
        (1900, 0.5, 1e6, False),  # it will be late, whatever is done
        (1200, 0.5, None, True),
        (3600, 0.5, None, False),
        (-5, 0.999, 1e6, False),
        (2500, 0.0, 1e6, False),  # nothing was sent that could be lost
    ],
)
def test_an_upload_presses_when_what_was_sent_would_be_lost(
    lasts_s: float, part: float, bytes_s: float | None, presses: bool
) -> None:
    now = at("2026-06-01 12:00")
    deadline = UploadDeadline(now + timedelta(seconds=lasts_s), 4_000_000_000)
    assert deadline.is_urgent(now, part, bytes_s) is presses
    assert not UploadDeadline(None, 10).is_urgent(now, part, bytes_s)


def test_an_upload_that_presses_goes_before_the_newest_match_and_the_first_to_expire_before_all() -> None:
    until = {"morning": at("2026-06-02 02:00"), "noon": at("2026-06-02 01:00")}
    jobs = [job("evening", 20), job("morning", 9), job("noon", 12)]
    found = sorted(jobs, key=lambda each: upload_order(each, until.get(str(each.id))))
    assert [str(each.id) for each in found] == ["noon", "morning", "evening"]
