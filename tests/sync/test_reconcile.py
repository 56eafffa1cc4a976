"""No answer of the cloud loses a booking by accident."""

from __future__ import annotations

from datetime import date
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ezrec.sync.reconcile import ANSWERS, needs_witness, reconcile

SINCE = date(2026, 6, 1)


def row(booking_id: str, **changes: Any) -> dict[str, Any]:
    day = {"date": "2026-06-05", "start_time": "10:00", "end_time": "11:00", "status": "confirmed"}
    return {"id": booking_id, **day, **changes}


def ids(rows: Any) -> list[str]:
    return sorted(each["id"] for each in rows)


def test_what_is_new_or_changed_counts_at_once() -> None:
    known = [row("same"), row("moved")]
    found = reconcile(known, [row("same"), row("moved", end_time="12:00"), row("new")], {})
    assert ids(found.changed) == ["moved", "new"]
    assert ids(found.rows) == ["moved", "new", "same"]
    assert found.cancelled == ()


def test_one_empty_answer_erases_nothing() -> None:
    found = reconcile([row("a"), row("b")], [], {})
    assert ids(found.rows) == ["a", "b"]
    assert found.cancelled == ()


def test_a_second_complete_answer_without_it_cancels_a_booking() -> None:
    first = reconcile([row("a"), row("b")], [row("b")], {})
    second = reconcile(first.rows, [row("b")], first.absences)
    assert ids(second.rows) == ["b"]
    assert [(gone["id"], gone["status"]) for gone in second.cancelled] == [("a", "cancelled")]
    third = reconcile(second.rows, [row("b")], second.absences)
    assert third.cancelled == ()


def test_a_booking_that_comes_back_between_is_counted_anew() -> None:
    first = reconcile([row("a")], [], {})
    back = reconcile(first.rows, [row("a")], first.absences)
    assert back.absences == {}
    again = reconcile(back.rows, [], back.absences)
    assert ids(again.rows) == ["a"]


def test_an_empty_answer_needs_a_witness_only_against_what_it_should_have_held() -> None:
    assert needs_witness([row("a")], [])
    assert needs_witness([row("old", date="2026-05-20"), row("a")], [], since=SINCE)
    assert not needs_witness([row("old", date="2026-05-20")], [], since=SINCE)
    assert not needs_witness([row("a")], [row("b")])
    assert not needs_witness([], [])


def test_a_clock_in_the_future_cancels_nothing() -> None:
    """It asks for bookings from 2036 on, and rightly gets none."""
    rows: Any = (row("a"), row("b"))
    absences: Any = {}
    for _ in range(5):
        found = reconcile(rows, [], absences, since=date(2036, 1, 1), may_forget=False)
        assert found.cancelled == ()
        rows, absences = found.rows, found.absences
    assert ids(rows) == ["a", "b"]


def test_a_booking_older_than_the_window_is_forgotten_and_not_cancelled() -> None:
    known = [row("old", date="2026-05-20"), row("edge", date="2026-06-01"), row("now")]
    found = reconcile(known, [row("now")], {}, since=SINCE, may_forget=True)
    assert found.cancelled == ()
    assert ids(found.rows) == ["now"]


def test_a_row_that_carries_its_day_in_its_times_is_judged_by_them() -> None:
    known = [
        row("old", date=None, start_time="2026-05-20T10:00:00Z"),
        row("coming", date=None, start_time="2026-06-20T10:00:00Z"),
        row("unreadable", date="soon", start_time=None),
    ]
    found = reconcile(known, [], {}, since=SINCE, may_forget=True)
    assert "old" not in [row["id"] for row in found.rows]
    assert sorted(found.absences) == ["coming", "unreadable"]


def test_rows_that_are_no_bookings_stay_whole_in_the_cache() -> None:
    odd: list[dict[str, Any]] = [{"id": "../x", "extra": [1, {"a": None}]}, {"no": "id"}]
    assert list(reconcile([], odd, {}).rows) == odd


ANSWER = st.lists(st.sampled_from("abcdef"), unique=True)


@given(st.lists(ANSWER, max_size=8))
def test_a_booking_leaves_only_after_enough_answers_in_a_row_without_it(answers: list[list[str]]) -> None:
    rows: Any = ()
    absences: Any = {}
    for number, answer in enumerate(answers):
        found = reconcile(rows, [row(each) for each in answer], absences)
        recent = answers[max(0, number + 1 - ANSWERS) : number + 1]
        for gone in found.cancelled:
            assert len(recent) == ANSWERS
            assert all(gone["id"] not in each for each in recent)
        assert {each["id"] for each in found.rows} >= {each["id"] for each in rows} - {
            each["id"] for each in found.cancelled
        }
        rows, absences = found.rows, found.absences
