"""How bookings end, and what their takes cover. Values only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ezrec.domain.booking import Booking, Window
from ezrec.domain.coverage import gaps_in, share_covered
from ezrec.domain.ending import KEPT, OnCancel, of_a_cancelled, of_a_missed, of_a_recorded
from ezrec.domain.job import Job, JobOutcome, Kind, Take
from ezrec.domain.names import JobId
from ezrec.domain.outcomes import Closed, Done, Kept

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
BOOKING = Booking(JobId("b1"), NOW, NOW + timedelta(seconds=100))


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def take(start: float, length: float, *holes: tuple[float, float]) -> Take:
    gone = tuple(Window(at(begin), at(end)) for begin, end in holes)
    return Take("raw_b1.mp4", at(start), length, 1, holes=gone)


def job(*takes: Take, kept_until: datetime | None = None) -> Job:
    return Job(JobId("b1"), Kind.BOOKING, NOW, BOOKING, takes=takes, kept_until=kept_until)


@pytest.mark.parametrize(
    ("takes", "gaps", "share"),
    [
        ([take(-5, 110)], [], 1.0),
        ([take(-5, 110, (20, 30))], [(20, 30)], 0.9),
        ([take(-5, 110, (20, 30), (50, 60))], [(20, 30), (50, 60)], 0.8),
        ([take(-5, 110, (20, 30)), take(22, 5)], [(20, 22), (27, 30)], 0.95),
        ([take(-5, 110, (-4, -2))], [], 1.0),
        ([take(10, 80)], [(0, 10), (90, 100)], 0.8),
        ([], [(0, 100)], 0.0),
    ],
)
def test_a_hole_in_a_take_is_a_gap_of_the_booking_unless_another_take_fills_it(
    takes: list[Take], gaps: list[tuple[float, float]], share: float
) -> None:
    assert gaps_in(BOOKING.window, takes) == tuple(Window(at(begin), at(end)) for begin, end in gaps)
    assert share_covered(BOOKING.window, takes) == pytest.approx(share)


def test_a_recording_with_gaps_is_partial() -> None:
    assert of_a_recorded(job(take(0, 100)))["recording"] is JobOutcome.RECORDED
    assert of_a_recorded(job(take(0, 50), take(50.4, 49.6)))["recording"] is JobOutcome.RECORDED
    assert of_a_recorded(job(take(0, 50), take(50.6, 49.4)))["recording"] is JobOutcome.PARTIAL
    noted = of_a_recorded(job(take(0, 75)))
    assert noted["recording"] is JobOutcome.PARTIAL
    assert noted["coverage_pct"] == 75


def test_a_missed_booking_says_why() -> None:
    assert "no such device" in of_a_missed("no such device").reason
    assert "was over" in of_a_missed("").reason


@pytest.mark.parametrize("on_cancel", list(OnCancel))
def test_without_footage_every_cancellation_ends_the_job(on_cancel: OnCancel) -> None:
    outcome, _ = of_a_cancelled(job(), on_cancel, NOW, is_synchronised=False)
    assert isinstance(outcome, Closed)
    assert outcome.outcome is JobOutcome.CANCELLED


DAY = NOW + KEPT


@pytest.mark.parametrize(
    ("on_cancel", "kept_until", "now", "is_synchronised", "outcome", "until"),
    [
        (OnCancel.KEEP, None, NOW, True, Kept, DAY),
        (OnCancel.KEEP, DAY, at(60), True, Kept, DAY),
        (OnCancel.KEEP, DAY, DAY, True, Closed, None),
        (OnCancel.KEEP, DAY, DAY, False, Kept, None),
        (OnCancel.KEEP, None, NOW, False, Kept, None),
        (OnCancel.TRIM, None, NOW, True, Done, None),
        (OnCancel.DISCARD, None, NOW, True, Closed, None),
    ],
)
def test_what_becomes_of_a_cancelled_bookings_footage(
    on_cancel: OnCancel,
    kept_until: datetime | None,
    now: datetime,
    is_synchronised: bool,
    outcome: type,
    until: datetime | None,
) -> None:
    made, noted = of_a_cancelled(
        job(take(0, 10), kept_until=kept_until), on_cancel, now, is_synchronised=is_synchronised
    )
    assert isinstance(made, outcome)
    assert noted.get("kept_until") == until
    if isinstance(made, Kept):
        assert made.until == (until or now + timedelta(hours=1))
    if not isinstance(made, Closed):
        assert noted["recording"] is JobOutcome.CANCELLED
        assert noted["coverage_pct"] == 10
