"""What a job at work tells of itself is true, and told seldom enough."""

from __future__ import annotations

from pathlib import Path

import pytest

from ezrec.domain.stages import State
from ezrec.spool.progress import ProgressMeter
from ezrec.spool.spool import Entry, Spool
from tests.support.jobs import laid


class Hand:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    spool = Spool(tmp_path / "spool")
    spool.prepare()
    return laid(spool, State.PROCESSING, "j")


def test_it_tells_the_part_the_pace_and_what_is_left(entry: Entry) -> None:
    hand = Hand()
    meter = ProgressMeter(entry, "process", "making the video", video_s=600, clock=hand)
    meter(0.0)
    assert entry.progress() == {
        "stage": "process", "doing": "making the video", "part": 0.0, "eta_s": None, "speed": None,
    }  # fmt: skip
    hand.at += 30
    meter(0.25)
    assert entry.progress()["eta_s"] == 90
    assert entry.progress()["speed"] == 5.0


def test_what_an_earlier_try_has_done_is_not_counted_as_pace(entry: Entry) -> None:
    hand = Hand()
    meter = ProgressMeter(entry, "upload", "uploading", video_s=100, clock=hand)
    meter(0.5)
    hand.at += 10
    meter(0.6)
    assert (entry.progress()["eta_s"], entry.progress()["speed"]) == (40, 1.0)


def test_a_rest_is_told_at_once_and_counts_towards_no_pace(entry: Entry) -> None:
    hand = Hand()
    meter = ProgressMeter(entry, "process", "making the video", video_s=600, clock=hand)
    meter(0.0)
    hand.at += 30
    meter(0.25)
    hand.at += 0.1
    meter.rest("a recording")
    assert entry.progress() == {
        "stage": "process", "doing": "making the video", "part": 0.25, "eta_s": None, "speed": None,
        "rests": "a recording",
    }  # fmt: skip
    hand.at += 3600
    meter.rest("")
    assert "rests" not in entry.progress()
    assert entry.progress()["eta_s"] == 90
    hand.at += 29.9
    meter(0.5)
    assert (entry.progress()["eta_s"], entry.progress()["speed"]) == (60, 5.0)


def test_a_rest_before_anything_was_done_is_told_too(entry: Entry) -> None:
    hand = Hand()
    meter = ProgressMeter(entry, "process", "making the video", video_s=600, clock=hand)
    meter.rest("a recording")
    assert (entry.progress()["part"], entry.progress()["rests"]) == (0.0, "a recording")


def test_it_writes_at_most_twice_a_second_and_the_end_always(entry: Entry) -> None:
    hand = Hand()
    meter = ProgressMeter(entry, "process", "x", clock=hand)
    for part, at, told in ((0.1, 0.0, 0.1), (0.2, 0.3, 0.1), (0.3, 0.6, 0.3), (1.0, 0.7, 1.0)):
        hand.at = 100 + at
        meter(part)
        assert entry.progress()["part"] == told


def test_work_that_goes_by_bytes_has_no_pace_in_real_time(entry: Entry) -> None:
    hand = Hand()
    meter = ProgressMeter(entry, "upload", "uploading", clock=hand)
    meter(0.0)
    hand.at += 1
    meter(0.5)
    assert (entry.progress()["eta_s"], entry.progress()["speed"]) == (1, None)


@pytest.mark.parametrize(
    ("told_by", "begins", "stays"),
    [("process", "upload", False), ("process", "process", False), ("upload", "upload", True)],
)
def test_what_begins_is_not_as_far_as_what_was_before(
    entry: Entry, told_by: str, begins: str, stays: bool
) -> None:
    """An upload began with "100 %, 0 s left", which was the video's; one that was interrupted goes on."""
    entry.report(stage=told_by, doing="x", part=1.0, eta_s=0, speed=None)
    entry.forget_progress(begins)
    assert bool(entry.progress()) is stays


def test_what_a_page_shows_of_a_claimed_upload_is_not_the_part_of_its_video(entry: Entry) -> None:
    entry.report(stage="process", doing="making the video", part=1.0, eta_s=0, speed=None)
    assert entry.progress_now("processed") == {}
    assert entry.progress_now("processing")["part"] == 1.0
