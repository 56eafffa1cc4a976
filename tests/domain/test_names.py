"""Names from outside, as the field and ill will write them."""

# ruff: noqa: DTZ001 - file names carry no zone

from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezrec.domain.names import (
    BadName,
    is_litter,
    numbered,
    parse_clip_name,
    published_name,
    raw_name,
    rejected_id,
    safe_id,
    shown,
    stand_in,
)

UUID = "6f9619ff-8b86-d011-b42d-00c04fc964ff"


@pytest.mark.parametrize("text", ["0", "a", UUID, "raspberry_pi_camera", "A-_9", "x" * 64])
def test_an_id_of_letters_digits_dash_and_underscore_is_kept_as_it_is(text: str) -> None:
    assert safe_id(text) == text


@pytest.mark.parametrize(
    "name", ["b1.mp4", "thumbs.mp4", "@b1.mp4", "lost.mp4", "recycle", "icon", "desktop", ""]
)
def test_a_persons_own_names_are_no_litter(name: str) -> None:
    assert not is_litter(name)


@pytest.mark.parametrize(
    "text",
    [
        "", "-rf", "_x", ".x", "..", "a/b", "../a", "a b", "a\n", "\na", "a\0", "a.b", "é", "二", "а", "٣",
        "x" * 65, "x" * 10_000, "\udcff", None, 7, True, 1.5, ["a"], {"a": 1}, b"a",
    ],
)  # fmt: skip
def test_every_other_id_is_refused_in_one_printable_line(text: object) -> None:
    with pytest.raises(BadName) as said:
        safe_id(text)
    line = str(said.value)
    assert "\n" not in line
    assert len(line) < 500
    line.encode()  # a lone surrogate would break the log


@given(st.text() | st.binary().map(os.fsdecode))
def test_whatever_is_accepted_is_one_plain_path_component(text: str) -> None:
    try:
        name = safe_id(text)
    except BadName:
        return
    assert os.path.basename(name) == name
    assert name not in ("", ".", "..")
    assert name.isascii()
    assert not name.startswith(("-", "."))
    assert len(name) <= 64


@pytest.mark.parametrize("n", [2, 10, 999])
def test_a_numbered_id_stays_within_the_limit(n: int) -> None:
    assert numbered(safe_id("a"), n) == f"a-{n}"
    assert len(numbered(safe_id("x" * 64), n)) == 64


@given(st.text(min_size=1) | st.binary(min_size=1).map(os.fsdecode))
def test_every_name_has_an_id_to_wait_under_that_is_no_bookings_id(name: str) -> None:
    found = rejected_id(name)
    assert safe_id(found) == found
    assert found == rejected_id(name)
    assert found != name.rpartition(".")[0]


def test_a_rejected_things_id_still_shows_its_name() -> None:
    assert rejected_id(f"{UUID}.json") == f"{UUID}-rejected"
    assert rejected_id("noending") == "noending-rejected"
    assert rejected_id("x" * 64 + ".mp4").endswith("x-rejected")
    assert rejected_id("-rf.mp4") == stand_in("-rf.mp4")


@pytest.mark.parametrize(
    ("name", "booking", "started"),
    [
        (f"raw_{UUID}_20260314_183000.mp4", UUID, datetime(2026, 3, 14, 18, 30)),
        (f"processed_raw_{UUID}_20260314_183000.mp4", UUID, datetime(2026, 3, 14, 18, 30)),
        (f"recording_20260314_183000_{UUID}.mp4", UUID, datetime(2026, 3, 14, 18, 30)),
        (f"raw_{UUID}_183000.mp4", UUID, None),
        (f"{UUID}.mp4", UUID, None),
        ("a_b_c.MP4", "a_b_c", None),
        ("raw_a_b_20240229_000000.mp4", "a_b", datetime(2024, 2, 29)),
        ("raw_a_19700101_000012.mp4", "a", datetime(1970, 1, 1, 0, 0, 12)),
        ("raw.mp4", "raw", None),
        # digits that are no date or time belong to the id
        ("raw_a_20260229_000000.mp4", "a_20260229", None),
        ("raw_a_00010101_000000.mp4", "a_00010101", None),
        ("raw_a_246060.mp4", "raw_a_246060", None),
    ],
)
def test_dropped_names_of_every_form_tell_their_booking(
    name: str, booking: str, started: datetime | None
) -> None:
    clip = parse_clip_name(name)
    assert (clip.booking_id, clip.started) == (booking, started)


@pytest.mark.parametrize(
    "name",
    [
        ".mp4", "a", "a.avi", "a.mp4.exe", "-rf.mp4", "..mp4", "...mp4", "a b.mp4", "a\nb.mp4", "a.mp4\n",
        "ü.mp4", "比赛.mp4", "raw_/etc/passwd_20260314_183000.mp4", "raw_ü_20260314_183000.mp4",
        "x" * 251 + ".mp4", "\udcff.mp4", "concat:a|b.mp4", "raw_٢_٢٠٢٦٠٣١٤_١٨٣٠٠٠.mp4", "$(id).mp4",
    ],
)  # fmt: skip
def test_a_dropped_name_that_gives_no_safe_id_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(BadName) as said:
        parse_clip_name(name)
    assert "\n" not in str(said.value)
    str(said.value).encode()


def test_the_published_name_follows_from_the_take() -> None:
    take = raw_name(safe_id(UUID), datetime(2026, 3, 4, 8, 5, 9, tzinfo=UTC))
    assert take == f"raw_{UUID}_20260304_080509.mp4"
    assert published_name(take) == f"processed_raw_{UUID}_20260304_080509.mp4"
    assert parse_clip_name(take).booking_id == UUID


@given(st.text() | st.binary().map(os.fsdecode))
def test_what_is_shown_of_a_name_is_one_short_line_of_ascii(name: str) -> None:
    text = shown(name)
    assert text.isascii()
    assert text.isprintable()
    assert len(text) <= 82 * 10
