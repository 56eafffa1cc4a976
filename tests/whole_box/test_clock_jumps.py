"""The clock of a box is set while it records, and before: the real recorder, with a wall clock of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ezrec.domain.booking import Booking
from ezrec.domain.job import Job, JobOutcome, Kind
from ezrec.domain.names import safe_id
from ezrec.domain.stages import State
from ezrec.recording.session_clock import SessionClock
from ezrec.system.clock import SystemClock
from tests.support.daemon import Box
from tests.support.recording import SteppingClock, are_in_a_row, frame_numbers
from tests.whole_box.clockstep import Wall

NAME, FOR_S = "match", 7.0


def box_with(folder: Path, wall: Wall, **changes: str) -> Box:
    return Box(folder / "home", **wall.environ, **changes)


@pytest.fixture
def wall(tmp_path: Path) -> Wall:
    return Wall(tmp_path)


@pytest.fixture
def box(tmp_path: Path, wall: Wall) -> Iterator[Box]:
    box = box_with(tmp_path, wall)
    yield box
    box.close()


@pytest.fixture
def lost(tmp_path: Path) -> Iterator[tuple[Box, Wall]]:
    """A box that woke up without knowing the time."""
    if SystemClock().is_synchronised():
        pytest.skip(
            "this machine's own marks say that its clock is right, and cannot be moved away for a test"
        )
    wall = Wall(tmp_path, is_synchronised=False)
    box = box_with(tmp_path, wall, EZREC_ASSUME_CLOCK="no")
    yield box, wall
    box.close()


def book(box: Box, start: datetime, for_s: float) -> None:
    booking = Booking(safe_id(NAME), start, start + timedelta(seconds=for_s))
    waits = start - timedelta(seconds=1)
    box.spool.create(State.INCOMING, Job(booking.id, Kind.BOOKING, datetime.now(UTC), booking, waits))


def is_put_off(box: Box) -> bool:
    entry = box.find(NAME)
    return entry is not None and entry.state is State.INCOMING and "not synchronised" in entry.job.reason


def lies_in(box: Box, state: State) -> bool:
    return box.spool.names(state) == [NAME]


@pytest.mark.parametrize("step", [timedelta(hours=2), timedelta(days=-1)], ids=["two hours on", "a day back"])
def test_a_running_recording_goes_on_to_its_end_whatever_the_clock_does(
    box: Box, wall: Wall, step: timedelta
) -> None:
    box.run("--only", "record")
    box.wait_for(lambda: "begins" in box.talk(), "the recorder does not begin")
    start = datetime.now(UTC) + timedelta(seconds=1)
    book(box, start, FOR_S)
    box.wait_for(lambda: box.is_writing(NAME), "nothing is recorded")
    wall.step(step)
    box.wait_for(lambda: lies_in(box, State.RAW), "the recording does not end")
    assert datetime.now(UTC) >= start + timedelta(seconds=FOR_S), "it ended before its time"
    entry = box.spool.read(State.RAW, NAME)
    (take,) = entry.job.takes
    assert take.ended_by == ""
    assert take.ended >= start + timedelta(seconds=FOR_S)
    assert abs((take.ended - start).total_seconds() - FOR_S - 0.5) < 1, "as the clock stood at its beginning"
    numbers = frame_numbers(entry.path / take.file)
    assert are_in_a_row(numbers)
    assert len(numbers) / 30 == pytest.approx(take.duration_s, abs=0.01)
    assert not [gap for gap in entry.job.gaps if gap.start > take.started]


@pytest.mark.parametrize("step", [timedelta(hours=2), timedelta(days=-1)], ids=["two hours on", "a day back"])
def test_a_recorder_that_is_killed_after_the_clock_was_set_goes_on_to_the_bookings_end(
    box: Box, wall: Wall, step: timedelta
) -> None:
    daemon = box.run("--only", "record")
    box.wait_for(lambda: "begins" in box.talk(), "the recorder does not begin")
    start = datetime.now(UTC) + timedelta(seconds=1)
    for_s = 25.0
    book(box, start, for_s)
    box.wait_for(lambda: box.is_writing(NAME), "nothing is recorded")
    wall.step(step)
    for take in (1, 2, 3, 4):  # more often than a recorder may die once its booking is over
        box.wait_for(lambda: box.is_writing(NAME, take), "it is not recorded on")  # noqa: B023 - called at once
        box.kill_all(daemon)
        daemon = box.run("--only", "record")
    box.wait_for(lambda: lies_in(box, State.RAW), "the recording does not end")
    assert datetime.now(UTC) >= start + timedelta(seconds=for_s), "it ended before its time"
    job = box.spool.read(State.RAW, NAME).job
    assert len(job.takes) == 5, job.takes
    assert abs((job.takes[-1].ended - start).total_seconds() - for_s - 0.5) < 1, "as the clock stood before"
    assert job.coverage_pct is not None
    assert not [gap for gap in job.gaps if gap.start > job.takes[-1].started]
    assert sum(take.duration_s for take in job.takes) == pytest.approx(for_s * job.coverage_pct / 100, abs=2)


def test_a_booking_begins_when_the_clock_is_set_into_its_window(box: Box, wall: Wall) -> None:
    book(box, datetime.now(UTC) + timedelta(hours=3, seconds=-10), 3600)
    box.run("--only", "record")
    box.wait_for(lambda: "begins" in box.talk(), "the recorder does not begin")
    assert lies_in(box, State.INCOMING)
    wall.step(timedelta(hours=3))
    box.wait_for(lambda: box.is_writing(NAME), "nothing is recorded")


def test_before_the_clock_is_right_nothing_is_judged_and_everybody_is_told_why(
    lost: tuple[Box, Wall],
) -> None:
    box, wall = lost
    book(box, datetime.now(UTC) - timedelta(hours=2), 3600)
    box.run("--only", "record")
    box.wait_for(lambda: is_put_off(box), "not put off")
    assert "the clock is not synchronised yet" in box.once("spool", "ls").stdout
    assert "clock: NOT synchronised" in box.once("spool", "ls").stdout
    wall.synchronise()
    wall.step(timedelta(minutes=1))
    box.wait_for(lambda: box.spool.finished(NAME) is not None, "it is not judged")
    job = box.spool.finished(NAME)
    assert job is not None
    assert job.outcome is JobOutcome.MISSED


def test_a_booking_put_off_in_a_wrong_future_is_recorded_when_the_clock_is_set_back(
    lost: tuple[Box, Wall],
) -> None:
    """The box woke up five hours ahead and put the booking off, for some seconds of that time."""
    box, wall = lost
    wall.step(timedelta(hours=5))
    book(box, datetime.now(UTC), 3600)
    box.run("--only", "record")
    box.wait_for(lambda: is_put_off(box), "not put off")
    wall.synchronise()
    wall.step(timedelta(hours=-5))
    box.wait_for(lambda: box.is_writing(NAME), "nothing is recorded")


# ---- the clock that a recording goes by


class Wavering(SteppingClock):
    """May not be known to be right yet."""

    def __init__(self) -> None:
        super().__init__()
        self.trusted = True

    def is_synchronised(self) -> bool:
        return self.trusted


def near(one: datetime, other: datetime) -> bool:
    return abs(one - other) < timedelta(seconds=5)


def test_before_the_first_take_a_step_counts() -> None:
    wall = Wavering()
    steady = SessionClock(wall)
    wall.step = timedelta(hours=2)
    assert near(steady.now(), wall.now())


def test_from_the_first_take_on_a_step_moves_nothing() -> None:
    wall = Wavering()
    steady = SessionClock(wall)
    steady.hold_fast()
    wall.step = timedelta(days=-1)
    assert near(steady.now(), datetime.now(UTC))
    assert near(steady.on_the_wall(datetime.now(UTC)), wall.now())
    steady.hold_fast()  # another take, under the clock as it is now
    assert near(steady.now(), datetime.now(UTC))
    assert near(steady.as_held(wall.now()), datetime.now(UTC))


def test_a_successor_goes_by_the_time_of_the_one_that_died() -> None:
    wall = Wavering()
    first = SessionClock(wall)
    first.hold_fast()
    began = datetime.now(UTC)
    wall.step = timedelta(days=-1)
    second = SessionClock(wall)
    assert first.reckoning is not None
    second.resume(first.reckoning, began - timedelta(seconds=30))
    assert near(second.now(), began)
    assert near(second.on_the_wall(began), wall.now())
    second.hold_fast()
    assert second.reckoning == first.reckoning
    assert near(second.as_held(wall.now()), began)


@pytest.mark.parametrize("begins_in", [timedelta(seconds=10), timedelta(days=1)])
def test_a_booking_that_was_moved_ahead_begins_by_the_wall(begins_in: timedelta) -> None:
    wall = Wavering()
    first = SessionClock(wall)
    first.hold_fast()
    wall.step = timedelta(hours=2)
    second = SessionClock(wall)
    assert first.reckoning is not None
    second.resume(first.reckoning, datetime.now(UTC) + begins_in)
    assert near(second.now(), wall.now())
    assert second.reckoning is None


@pytest.mark.parametrize("boot_id", ["another", ""])
def test_what_was_known_of_the_clock_counts_until_the_machine_is_started_anew(boot_id: str) -> None:
    wall = Wavering()
    first = SessionClock(wall)
    first.hold_fast()
    assert first.reckoning is not None
    wall.step = timedelta(hours=-3)
    second = SessionClock(wall)
    second.resume(replace(first.reckoning, boot_id=boot_id), datetime.now(UTC) - timedelta(hours=1))
    assert near(second.now(), wall.now())


def test_a_successor_believes_the_clock_as_soon_as_it_is_right() -> None:
    wall = Wavering()
    wall.trusted = False
    first = SessionClock(wall)
    first.hold_fast()
    assert first.reckoning is not None
    wall.step, wall.trusted = timedelta(minutes=20), True
    second = SessionClock(wall)
    second.resume(first.reckoning, datetime.now(UTC) - timedelta(hours=1))
    assert near(second.now(), wall.now())
    assert second.reckoning != first.reckoning


def test_a_step_that_makes_the_clock_right_counts_at_once() -> None:
    wall = Wavering()
    wall.trusted = False
    steady = SessionClock(wall)
    steady.hold_fast()
    began = wall.now()
    wall.step = timedelta(minutes=20)
    assert near(steady.now(), began), "it may be another guess"
    wall.trusted = True
    assert near(steady.now(), wall.now())
    assert near(steady.as_held(began), wall.now()), "the take began later than was thought"
    wall.step = timedelta(hours=9)
    assert near(steady.now(), datetime.now(UTC) + timedelta(minutes=20))
