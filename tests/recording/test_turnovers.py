"""Twenty turnovers through the real recorder, half of them back to back and half of them overlapping.

Proven frame by frame, by the numbers in the software camera's picture: a booking over the whole time says
which frame was taken when.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ezrec.app import common
from ezrec.domain.booking import Booking
from ezrec.domain.job import Job, JobOutcome, Kind, Take
from ezrec.domain.names import safe_id
from ezrec.domain.stages import State
from tests.support.daemon import Box
from tests.support.recording import are_in_a_row, frame_numbers

FPS = 30
PADDING = timedelta(seconds=0.4)
TURNOVERS = 20
_EDGE_FRAMES = 2  # two takes place the same frame on the clock with this much doubt


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    padding = f"{PADDING.total_seconds():g}"
    box = Box(tmp_path, EZREC_PRE_ROLL=padding, EZREC_POST_ROLL=padding, EZREC_ARM="3")
    yield box
    box.close()


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def book(box: Box, name: str, start: datetime, end: datetime) -> str:
    booking = Booking(safe_id(name), start, end)
    box.spool.create(State.INCOMING, Job(booking.id, Kind.BOOKING, start, booking))
    return name


def the_one_take(box: Box, name: str) -> tuple[Take, list[int]]:
    entry = box.spool.read(State.RAW, name)
    (take,) = entry.job.takes
    return take, frame_numbers(entry.path / take.file)


def recorded(box: Box, name: str) -> tuple[Job, Take, list[int]]:
    job = box.spool.read(State.RAW, name).job
    assert job.recording is JobOutcome.RECORDED, (name, job.gaps)
    assert job.gaps == ()
    assert job.coverage_pct == 100
    return job, *the_one_take(box, name)


def test_twenty_turnovers_miss_no_frame_and_each_file_has_its_own_padding(box: Box) -> None:
    box.run("--only", "record")
    clock = common.clock(box.settings)
    everything = book(box, "everything", clock.now(), clock.now() + seconds(3600))
    box.wait_for(lambda: box.is_writing(everything), "the recorder does not begin")
    begin = clock.now() + seconds(4)
    edges = [begin + seconds(0.5 * n) for n in range(TURNOVERS + 2)]
    names = [
        book(box, f"b{n:02}", start, end + seconds(0.3 * (n % 2)))  # every second one overlaps the next
        for n, (start, end) in enumerate(itertools.pairwise(edges))
    ]
    box.amend(everything, edges[-1] + seconds(1.5))
    wanted = sorted([everything, *names])
    box.wait_for(lambda: sorted(box.spool.names(State.RAW)) == wanted, "not all are recorded")

    whole, numbers = the_one_take(box, everything)
    assert are_in_a_row(numbers)

    def number_at(moment: datetime) -> float:
        return numbers[0] + (moment - whole.started).total_seconds() * FPS

    missing = set(range(round(number_at(begin)), round(number_at(edges[-1]))))
    for name in names:
        job, take, own = recorded(box, name)
        assert job.booking is not None
        padded = job.booking.window.padded(PADDING.total_seconds(), PADDING.total_seconds())
        assert are_in_a_row(own), name
        assert own[0] <= number_at(padded.start) + _EDGE_FRAMES, name
        assert own[-1] >= number_at(padded.end) - 1 - _EDGE_FRAMES, name
        assert own[0] == pytest.approx(number_at(take.started), abs=_EDGE_FRAMES), name
        missing -= set(own)
    assert missing == set()
