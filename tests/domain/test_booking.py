"""Rows of `bookings`, in every shape that the field has seen and some that it should not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ezrec.domain.booking import BadBooking, Booking, Window, parse_booking

MADRID = ZoneInfo("Europe/Madrid")
NEW_YORK = ZoneInfo("America/New_York")


def row(
    start: str = "18:00", end: str = "19:00", date: str | None = "2026-07-01", **more: Any
) -> dict[str, Any]:
    return {"id": "b1", "date": date, "start_time": start, "end_time": end, **more}


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type,misc]


def window(*args: Any, zone: Any = MADRID, **more: Any) -> tuple[datetime, datetime]:
    booking = parse_booking(row(*args, **more), zone)
    return booking.start, booking.end


SUMMER = (utc(2026, 7, 1, 16), utc(2026, 7, 1, 17))


@pytest.mark.parametrize(
    ("start", "end", "date"),
    [
        ("18:00", "19:00", "2026-07-01"),
        ("18:00:00", "19:00:00", "2026-07-01"),
        ("18:00:00.000000", "19:00:00.000", "2026-07-01"),
        ("2026-07-01T18:00:00+02:00", "2026-07-01T19:00:00+02:00", "2026-07-01"),
        ("2026-07-01T16:00:00Z", "2026-07-01T17:00:00Z", None),
        # neighbours of the five
        ("2026-07-01T18:00", "2026-07-01T19:00", None),
        ("2026-07-01 16:00:00+00", "2026-07-01 17:00:00+00", None),
        ("2026-07-01T16:00:00.000Z", "2026-07-01T17:00:00.000000Z", "1999-01-01"),
        ("16:00Z", "19:00+02:00", "2026-07-01"),
        (" 18:00 ", "19:00\n", " 2026-07-01 "),
        ("18:00", "19:00", "2026-07-01T00:00:00+00:00"),
        ("2026-07-01T16:00:00Z", "19:00", "2026-07-01"),
    ],
)
def test_every_form_of_time_gives_the_same_instants(start: str, end: str, date: str | None) -> None:
    assert window(start, end, date) == SUMMER


def test_microseconds_are_kept() -> None:
    start, end = window("18:00:00.123456", "18:00:00.123457")
    assert end - start == timedelta(microseconds=1)


def test_every_instant_is_utc() -> None:
    booking = parse_booking(row(), MADRID)
    assert booking.start.tzinfo is UTC
    assert booking.end.tzinfo is UTC


def test_a_late_match_ends_after_midnight() -> None:
    assert window("23:00", "00:30") == (utc(2026, 7, 1, 21), utc(2026, 7, 1, 22, 30))
    assert window("23:00", "00:00")[1] == utc(2026, 7, 1, 22)
    assert window("17:00", "00:00")[1] == utc(2026, 7, 1, 22), "the end of the day, however long the match"
    assert window("23:00", "24:00")[1] == utc(2026, 7, 1, 22)
    assert window("23:00", "24:00:00", "2026-12-31")[1] == utc(2026, 12, 31, 23)


def test_an_hour_may_have_one_digit() -> None:
    assert window("9:00", "10:30") == window("09:00", "10:30")


def test_an_end_far_before_the_start_is_a_typing_error() -> None:
    for start, end in (("20:00", "19:00"), ("18:00", "18:00"), ("12:00", "06:00"), ("00:00", "00:00")):
        with pytest.raises(BadBooking, match="before it starts"):
            window(start, end)


def test_a_leap_day_is_a_day() -> None:
    assert window("23:30", "00:30", "2028-02-29") == (utc(2028, 2, 29, 22, 30), utc(2028, 2, 29, 23, 30))
    with pytest.raises(BadBooking, match="not YYYY-MM-DD"):
        window(date="2026-02-29")


class TestNightInWhichSummerTimeBegins:
    """Madrid, 29 March 2026: after 01:59:59 comes 03:00:00."""

    DAY = "2026-03-29"

    def test_a_match_across_the_gap_is_as_long_as_the_clock_on_the_wall_says_not(self) -> None:
        assert window("01:30", "03:30", self.DAY) == (utc(2026, 3, 29, 0, 30), utc(2026, 3, 29, 1, 30))

    def test_a_time_that_does_not_exist_means_the_hour_after_the_gap(self) -> None:
        assert window("02:30", "03:45", self.DAY) == (utc(2026, 3, 29, 1, 30), utc(2026, 3, 29, 1, 45))

    def test_a_late_match_ends_in_the_gap(self) -> None:
        assert window("23:30", "02:30", "2026-03-28") == (utc(2026, 3, 28, 22, 30), utc(2026, 3, 29, 1, 30))


class TestNightInWhichSummerTimeEnds:
    """Madrid, 25 October 2026: after 02:59:59 summer time comes 02:00:00 winter time."""

    DAY = "2026-10-25"

    def test_a_match_across_the_repeated_hour_lasts_an_hour_more(self) -> None:
        assert window("01:30", "03:30", self.DAY) == (utc(2026, 10, 24, 23, 30), utc(2026, 10, 25, 2, 30))

    def test_a_start_that_occurs_twice_is_the_first_so_that_nothing_is_missed(self) -> None:
        assert window("02:30", "03:30", self.DAY) == (utc(2026, 10, 25, 0, 30), utc(2026, 10, 25, 2, 30))

    def test_an_end_before_its_start_in_that_hour_is_the_second(self) -> None:
        assert window("02:45", "02:15", self.DAY) == (utc(2026, 10, 25, 0, 45), utc(2026, 10, 25, 1, 15))

    def test_an_offset_tells_the_two_apart(self) -> None:
        start, end = window(f"{self.DAY}T02:30:00+02:00", f"{self.DAY}T02:30:00+01:00", None)
        assert end - start == timedelta(hours=1)

    def test_other_zones_change_on_other_nights(self) -> None:
        start, end = window("01:30", "02:30", "2026-11-01", zone=NEW_YORK)
        assert (start, end) == (utc(2026, 11, 1, 5, 30), utc(2026, 11, 1, 7, 30))


GARBAGE: list[Any] = [
    None,
    5,
    1.5,
    True,
    [],
    {},
    "",
    "soon",
    "25:00",
    "18:60",
    "18-00",
    "1",
    "24:01",
    "x" * 300,
]


@pytest.mark.parametrize("value", GARBAGE)
@pytest.mark.parametrize("field", ["start_time", "end_time"])
def test_what_is_no_time_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(BadBooking, match=field):
        parse_booking(row() | {field: value}, MADRID)


@pytest.mark.parametrize(
    "value", [5, True, [], "", "today", "2026-13-01", "2026-07-01garbage", "01/07/2026", "2026-07-011"]
)
def test_what_is_no_date_is_refused(value: Any) -> None:
    with pytest.raises(BadBooking, match="date"):
        parse_booking(row() | {"date": value}, MADRID)


@pytest.mark.parametrize("value", [None, 5, "", "../a", "-a", "a\n", "x" * 10_240, ["a"], "ü"])
def test_what_is_no_id_is_refused(value: Any) -> None:
    with pytest.raises(BadBooking, match="id"):
        parse_booking(row() | {"id": value}, MADRID)


def test_a_row_without_id_or_times_says_what_is_missing() -> None:
    for field in ("id", "start_time", "end_time"):
        short = row()
        del short[field]
        with pytest.raises(BadBooking, match=f"no {field}"):
            parse_booking(short, MADRID)
    with pytest.raises(BadBooking, match="needs a date"):
        parse_booking(row(date=None), MADRID)


@pytest.mark.parametrize("thing", [None, 5, "b1", [], [row()], True])
def test_what_is_no_object_is_no_booking(thing: Any) -> None:
    with pytest.raises(BadBooking, match="JSON object"):
        parse_booking(thing, MADRID)


@pytest.mark.parametrize(
    ("start", "end", "date"),
    [
        ("23:00", "22:00", "9999-12-31"),
        ("23:00", "24:00", "9999-12-31"),
        ("00:00", "01:00", "0001-01-01"),
        ("18:00", "19:00", "1970-01-01"),
        ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:01+14:00", None),
    ],
)
def test_the_ends_of_the_calendar_are_refused_and_do_not_break_it(
    start: str, end: str, date: str | None
) -> None:
    with pytest.raises(BadBooking):
        window(start, end, date)
    with pytest.raises(BadBooking):
        window(start, end, date, zone=timezone(timedelta(hours=-12)))


def test_nothing_lasts_longer_than_a_day() -> None:
    with pytest.raises(BadBooking, match="longer"):
        window("2026-07-01T10:00Z", "2026-07-02T10:01Z", None)


@pytest.mark.parametrize("field", ["user_id", "camera_id", "status"])
def test_other_fields_are_text_of_some_length_or_absent(field: str) -> None:
    assert parse_booking(row() | {field: None}, MADRID) == parse_booking(row(), MADRID)
    bad: list[Any] = [5, [], "x" * 201]
    for value in bad:
        with pytest.raises(BadBooking, match=field):
            parse_booking(row() | {field: value}, MADRID)


@pytest.mark.parametrize(
    ("status", "cancelled", "finished"),
    [
        (None, False, False), ("confirmed", False, False), ("scheduled", False, False), ("", False, False),
        ("Cancelled ", True, False), ("canceled", True, False),
        ("completed", False, True), ("video_processed", False, True), ("video_uploaded", False, True),
    ],
)  # fmt: skip
def test_a_status_says_whether_there_is_anything_to_do(
    status: str | None, cancelled: bool, finished: bool
) -> None:
    booking = parse_booking(row(status=status), MADRID)
    assert (booking.is_cancelled, booking.is_finished) == (cancelled, finished)


def test_a_window_is_padded_at_both_edges() -> None:
    plain = Window(*SUMMER)
    assert plain.length_s == 3600
    assert plain.padded(5, 7) == Window(SUMMER[0] - timedelta(seconds=5), SUMMER[1] + timedelta(seconds=7))


def test_back_to_back_bookings_share_an_instant_that_belongs_to_the_second_alone() -> None:
    first = parse_booking(row("18:00", "19:00"), MADRID).window
    second = parse_booking(row("19:00", "20:00"), MADRID).window
    assert first.end == second.start
    assert first.start in first
    assert first.end not in first
    assert second.start in second


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.sampled_from(
    ["18:00", "23:59:59.999999", "2026-10-25", "9999-12-31", "0001-01-01", "0001-01-01T00:00Z", "b1", "02:30"]
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.too_slow])  # how busy the machine is, is no fault of ours
@given(
    st.dictionaries(st.sampled_from(["id", "date", "start_time", "end_time", "status", "user_id"]), VALUES),
    st.sampled_from([MADRID, NEW_YORK, UTC, timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))]),
)
def test_any_row_gives_a_sound_booking_or_one_line(given_row: dict[str, Any], zone: Any) -> None:
    try:
        booking = parse_booking(given_row, zone)
    except BadBooking as fault:
        said = str(fault)
    else:
        said = ""
    assert "\n" not in said
    if said:
        return
    assert isinstance(booking, Booking)
    assert timedelta() < booking.end - booking.start <= timedelta(hours=24)
    assert booking.window.padded(3600, 3600).length_s > 0
