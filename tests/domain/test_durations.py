"""Lengths of time as people type them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ezrec.domain.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5s", 5), ("90s", 90), ("0.5s", 0.5), ("5m", 300), ("1h", 3600), ("1h30m", 5400), ("1h0m5s", 3605),
        ("2d", 172800), ("1d1h1m1s", 90061), (" 10S ", 10), ("1.5h", 5400),
        ("2w", 1209600),
    ],
)  # fmt: skip
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "h",
        "5 years",
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
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["0", "90s", "30m", "12h", "2d", "1w"])
def test_a_duration_is_written_as_it_is_read(text: str) -> None:
    assert format_duration(timedelta() if text == "0" else parse_duration(text)) == text
