"""How bookings end, and what their takes cover. Values only."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ezrec.domain.booking import Booking, Window
from ezrec.domain.job import Job, JobOutcome, Kind, Take, decode, encode
from ezrec.domain.names import JobId
from ezrec.domain.outcomes import Closed, Done, Preserved
from ezrec.domain.recording_outcome import (
    KEPT,
    OnCancel,
    bounded,
    gaps_in,
    missing_in,
    of_a_cancelled,
    of_a_missed,
    of_a_recorded,
    share_covered,
)

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


@pytest.mark.parametrize("count", [150, 201, 5_600, 40_000])
def test_however_many_gaps_there_are_the_record_is_small_and_their_number_and_sum_are_right(
    count: int,
) -> None:
    step_s = 10_800 / count
    holes = tuple(Window(at(n * step_s), at(n * step_s + step_s / (2 + n % 3))) for n in range(1, count))
    booking = replace(BOOKING, end=at(10_800))
    taken = bounded(Take("raw_b1.mp4", at(0), 10_800, 1, holes=holes))
    recorded = replace(job(taken), booking=booking)
    recorded = replace(recorded, **of_a_recorded(recorded))
    assert len(taken.holes) <= 200
    assert len(recorded.gaps) <= 200
    assert len(encode(recorded)) < 100_000
    missing_s = sum(hole.length_s for hole in holes)
    assert recorded.missing_s == pytest.approx(missing_s, abs=0.1)
    assert recorded.coverage_pct == pytest.approx(100 - missing_s / 108, abs=0.01)
    assert recorded.gap_count == sum(hole.length_s > 0.5 for hole in holes)
    assert recorded.recording is (JobOutcome.PARTIAL if recorded.gap_count else JobOutcome.RECORDED)
    assert decode(encode(recorded)) == recorded
    assert bounded(taken) == taken


def test_holes_that_are_found_later_are_counted_on_top() -> None:
    holes = tuple(Window(at(n), at(n + 0.6)) for n in range(0, 600, 2))
    taken = bounded(Take("raw_b1.mp4", at(0), 1000, 1, holes=holes[:250]))
    taken = bounded(replace(taken, holes=(*taken.holes, *holes[250:])))
    assert (len(taken.holes), taken.unlisted) == (200, 100)
    assert taken.unlisted_s == pytest.approx(60)


def test_the_longest_gaps_are_those_with_a_name() -> None:
    takes = [take(n, 0.2 + n % 7 / 100) for n in range(900)]
    found = missing_in(Window(at(0), at(1000)), [*takes, take(930, 70)])
    assert max(gap.length_s for gap in found.gaps) == found.gaps[-1].length_s
    assert found.gaps[-1].end == at(930)
    assert list(found.gaps) == sorted(found.gaps, key=lambda gap: gap.start)
    assert (len(found.gaps), found.count) == (200, 900)


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
        (OnCancel.KEEP, None, NOW, True, Preserved, DAY),
        (OnCancel.KEEP, DAY, at(60), True, Preserved, DAY),
        (OnCancel.KEEP, DAY, DAY, True, Closed, None),
        (OnCancel.KEEP, DAY, DAY, False, Preserved, None),
        (OnCancel.KEEP, None, NOW, False, Preserved, None),
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
    if isinstance(made, Preserved):
        assert made.until == (until or now + timedelta(hours=1))
    if not isinstance(made, Closed):
        assert noted["recording"] is JobOutcome.CANCELLED
        assert noted["coverage_pct"] == 10
