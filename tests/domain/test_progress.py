"""How far a job is: only its own stage's note counts, and only while it is fresh."""

from __future__ import annotations

from typing import Any

import pytest

from ezrec.domain.clock_words import clock_words
from ezrec.domain.disk_policy import FreeRoom
from ezrec.domain.progress import FRESH_S, of_place, words

NOTE: dict[str, Any] = {"stage": "process", "part": 0.5, "eta_s": 90, "speed": 2.44}


@pytest.mark.parametrize(
    ("place", "stage", "is_its_own"),
    [
        ("processing", "process", True),
        ("processed", "upload", True),
        ("processed", "process", False),
        ("processing", "upload", False),
        ("deferred", "upload", False),
        ("raw", "process", False),
    ],
)
def test_a_note_of_another_stage_says_nothing(place: str, stage: str, is_its_own: bool) -> None:
    assert bool(of_place({**NOTE, "stage": stage}, place)) is is_its_own


def test_an_old_note_promises_no_end_and_says_so() -> None:
    assert words(of_place(NOTE, "processing", FRESH_S)) == "50 %, 2.4× real time, 90 s left"
    assert words(of_place(NOTE, "processing", 600.0)) == "50 %, no progress for 10 min"


@pytest.mark.parametrize(
    ("note", "said"),
    [
        ({"part": 0.9999, "eta_s": 0}, "99 %, 1 s left"),
        ({"part": 1.0, "eta_s": 0}, "100 %"),
        ({"part": 0.29, "eta_s": None}, "29 %"),
        ({"part": "half"}, ""),
        ({}, ""),
    ],
)
def test_all_of_it_is_said_of_what_is_done_alone(note: dict[str, Any], said: str) -> None:
    assert words(note) == said


def test_a_clock_is_called_the_same_everywhere_and_bookings_wait_for_it_where_they_do() -> None:
    assert clock_words(is_synchronised=True) == "synchronised"
    assert "wait" not in clock_words(is_synchronised=False)
    assert clock_words(is_synchronised=False, waiting=1).endswith("1 booking that is over waits for it")
    assert clock_words(is_synchronised=False, waiting=2).endswith("2 bookings that are over wait for it")


@pytest.mark.parametrize(
    ("free", "said", "is_little"),
    [
        (60_000_000_000, "60.0 GB free, 13 h of recording", False),
        (58_499_999_999, "58.5 GB free, 12 h of recording", False),
        (9_000_000_000, "9.0 GB free, 2 h 00 of recording", True),
    ],
)
def test_the_free_disk_is_told_in_hours_that_are_never_rounded_up(
    free: int, said: str, is_little: bool
) -> None:
    room = FreeRoom(free, 75e6)
    assert (room.words, room.is_little) == (said, is_little)
