"""Bookings that are cancelled while they are recorded: whole ways through the spool."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ezrec.cli.next_step import next_step
from ezrec.domain.booking import Booking
from ezrec.domain.job import Job, JobOutcome, Kind, Take
from ezrec.domain.names import safe_id
from ezrec.domain.stages import State
from ezrec.spool.spool import Entry
from tests.fakes.camera import FOOTAGE
from tests.support.daemon import Box


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    box = Box(tmp_path / "home")
    yield box
    box.close()


def test_a_cancelled_booking_leaves_the_camera_within_seconds_and_its_footage_can_still_be_published(
    box: Box,
) -> None:
    daemon = box.run()
    booking = box.book(1, 120)
    box.wait_for(lambda: box.is_writing(booking), "nothing is recorded")
    assert box.store.cancel(booking)
    cancelled = time.monotonic()
    box.wait_for(lambda: box.is_there(booking, State.DEFERRED), "the footage is not kept")
    assert time.monotonic() - cancelled < 8, "two seconds, the sync before, and what a loaded machine adds"
    entry = box.find(booking)
    assert entry is not None
    assert next_step(entry.job, "deferred", datetime.now(UTC)).text.startswith("removed ")
    box.once("spool", "retry", booking, "--from", "process")
    job = box.published(booking)
    assert job.recording is JobOutcome.CANCELLED
    assert box.video(booking)[0]["duration_seconds"] > 1
    assert box.status(booking) == "cancelled"
    assert box.end(daemon) == 0


def kept(box: Box, until: datetime) -> Entry:
    """A job as a cancellation leaves it, with its footage."""
    start = datetime.now(UTC) - timedelta(days=2)
    booking = Booking(safe_id("b1"), start, start + timedelta(hours=1), status="cancelled")
    take = Take(FOOTAGE.name, start, 2.0, FOOTAGE.stat().st_size)
    job = Job(booking.id, Kind.BOOKING, start, booking, due=until, return_to="incoming", kept_until=until)
    entry = box.spool.create(State.DEFERRED, job)
    (entry.path / FOOTAGE.name).write_bytes(FOOTAGE.read_bytes())
    entry.update(takes=(take,))
    return entry


def test_after_its_day_the_footage_of_a_cancelled_booking_leaves_by_rename_and_history_tells(
    box: Box,
) -> None:
    kept(box, datetime.now(UTC) - timedelta(seconds=1))
    box.once("run-stage", "retry", "--once")
    assert box.is_there("b1", State.INCOMING)
    box.once("run-stage", "record", "--once")
    done = box.spool.finished(safe_id("b1"))
    assert done is not None
    assert done.outcome is JobOutcome.CANCELLED
    assert "kept for a day" in done.reason
    assert box.find("b1") is None
    assert box.spool.is_tidy()


def test_what_a_person_holds_is_not_removed(box: Box) -> None:
    entry = kept(box, datetime.now(UTC) + timedelta(hours=3))
    box.once("spool", "hold", "b1")
    assert entry.path.is_dir()
    held = box.find("b1")
    assert held is not None
    assert held.job.held
    assert held.job.due is None
    box.once("run-stage", "retry", "--once")
    assert box.is_there("b1", State.DEFERRED)
