"""Times and durations as people type them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from ezrec.cli.times import BadTime, parse_end, parse_time, whole_second_after
from ezrec.domain.durations import parse_duration

MADRID = ZoneInfo("Europe/Madrid")
DAY = date(2026, 6, 1)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5s", 5), ("90s", 90), ("0.5s", 0.5), ("5m", 300), ("1h", 3600), ("1h30m", 5400), ("1h0m5s", 3605),
        ("2d", 172800), ("1w", 604800), ("1.5h", 5400), ("1d1h1m1s", 90061), (" 10S ", 10),
    ],
)  # fmt: skip
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "5",
        "90",
        "s",
        "-5s",
        "5 s",
        "5m1h",
        "1h 30m",
        "5s\n5s",
        "five",
        "1e3s",
        "9" * 30 + "s",
        "٥s",
    ],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="length of time"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("18:00", "2026-06-01T16:00:00"),
        ("18:00:30", "2026-06-01T16:00:30"),
        ("18:00:30.250000", "2026-06-01T16:00:30.250000"),
        ("2026-06-02 18:00", "2026-06-02T16:00:00"),
        ("2026-06-02 18:00:30", "2026-06-02T16:00:30"),
        ("2026-06-02T18:00", "2026-06-02T16:00:00"),
        ("2026-06-02T18:00:00Z", "2026-06-02T18:00:00"),
        ("2026-06-02T18:00:00+00:00", "2026-06-02T18:00:00"),
        ("2026-06-02T18:00:00.5-05:00", "2026-06-02T23:00:00.500000"),
        ("2026-01-02 18:00", "2026-01-02T17:00:00"),
        (" 18:00 ", "2026-06-01T16:00:00"),
        ("2026-10-25 02:30", "2026-10-25T00:30:00"),  # comes twice: the first is meant
    ],
)
def test_a_time_is_read(text: str, instant: str) -> None:
    assert parse_time(text, DAY, MADRID) == datetime.fromisoformat(instant).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    ["", "soon", "25:00", "18", "6pm", "18:60", "2026-06-31 18:00", "2026-13-01 18:00", "01.06.2026 18:00",
     "18:00\n19:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"],
)  # fmt: skip
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(BadTime):
        parse_time(text, DAY, MADRID)


def test_a_time_that_the_clock_jumps_over_is_refused() -> None:
    with pytest.raises(BadTime, match="never on the clock"):
        parse_time("2026-03-29 02:30", DAY, MADRID)


@pytest.mark.parametrize(
    ("start", "end", "ends"),
    [
        ("18:00", "19:30", "2026-06-01 19:30"),
        ("23:00", "00:30", "2026-06-02 00:30"),
        ("23:00", "05:00", "2026-06-02 05:00"),
        ("20:00", "19:00", "2026-06-01 19:00"),  # a typing error, and left one: the caller refuses it
        ("2026-06-05 18:00", "19:00", "2026-06-05 19:00"),
        ("18:00", "2026-06-02 01:00", "2026-06-02 01:00"),
        ("18:00", "2026-05-31 19:00", "2026-05-31 19:00"),
    ],
)
def test_an_end_belongs_to_its_start(start: str, end: str, ends: str) -> None:
    begins = parse_time(start, DAY, MADRID)
    expected = datetime.fromisoformat(ends).replace(tzinfo=MADRID)
    assert parse_end(end, begins, MADRID) == expected.astimezone(UTC)


def test_a_start_is_never_moved_into_the_past() -> None:
    moment = datetime(2026, 6, 1, 12, 0, 0, 1, tzinfo=UTC)
    assert whole_second_after(moment) == datetime(2026, 6, 1, 12, 0, 1, tzinfo=UTC)
    assert whole_second_after(moment.replace(microsecond=0)) == moment.replace(microsecond=0)
