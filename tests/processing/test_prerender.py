"""The prerenderer, which encodes behind a running recording: what it makes, and when it must do nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ezrec.domain.branding import Assets, read_logo_show
from ezrec.domain.errors import Retry
from ezrec.domain.job import Job, Kind, Take
from ezrec.domain.names import safe_id
from ezrec.domain.ports import PARTS, RenderOptions, RenderPlan
from ezrec.domain.stages import State
from ezrec.processing.prerender import Prerenderer
from ezrec.spool.spool import Entry, Spool
from tests.fakes.clock import StandingClock
from tests.fakes.transcoder import FakeTranscoder, footage

START = datetime(2026, 6, 1, 18, 0, tzinfo=UTC)


@dataclass
class PrerenderBox:
    """A spool, and the prerenderer over it."""

    spool: Spool
    folder: Path
    transcoder: FakeTranscoder = field(default_factory=FakeTranscoder)
    clock: StandingClock = field(default_factory=StandingClock)
    dropped: int | None = 0
    options: RenderOptions = RenderOptions()
    assets: Assets = field(init=False)

    def __post_init__(self) -> None:
        self.assets = Assets(True, None, footage(self.folder / "club.png", 0))

    def pulse(self, spare_bytes: int = 0) -> Prerenderer:
        return Prerenderer(
            self.spool, self.transcoder, lambda: self.assets, self.options, lambda: self.dropped, self.clock,
            logging.getLogger("ezrec.video_worker"), spare_bytes,
        )  # fmt: skip

    def recording(self, *lengths: float, job_id: str = "match") -> Entry:
        takes = tuple(
            Take(f"raw_{job_id}_20260601_18000{number}.mp4", START, 0, 0, "still open")
            for number, _ in enumerate(lengths)
        )
        job = Job(safe_id(job_id), Kind.BOOKING, START, takes=takes)
        entry = self.spool.claim(self.spool.create(State.INCOMING, job), State.RECORDING)
        for take, seconds in zip(takes, lengths, strict=True):
            footage(entry.path / take.file, seconds)
        return entry


@pytest.fixture
def box(tmp_path: Path) -> PrerenderBox:
    spool = Spool(tmp_path / "spool")
    spool.prepare()
    return PrerenderBox(spool, tmp_path)


def made(entry: Entry) -> int:
    return len(list((entry.path / PARTS).glob("*.mp4")))


def test_whole_parts_of_what_is_recorded_are_made_and_the_record_is_left_alone(box: PrerenderBox) -> None:
    entry = box.recording(10, 65)
    record = (entry.path / "job.json").read_bytes()
    pulse = box.pulse()
    assert pulse() == 5
    assert made(entry) == 2
    assert (entry.path / "job.json").read_bytes() == record
    footage(entry.path / entry.job.takes[1].file, 95)
    pulse()
    assert made(entry) == 3


def test_where_nothing_is_recorded_it_waits_for_something_to_happen(box: PrerenderBox) -> None:
    assert box.pulse()() is None
    assert box.transcoder.calls["prerender"] == 0


def test_an_entry_that_moves_on_meanwhile_takes_its_parts_with_it(box: PrerenderBox) -> None:
    entry = box.recording(65)

    def move() -> None:
        box.transcoder.hesitate = lambda: None
        box.spool.move(entry, State.RAW)

    box.transcoder.hesitate = move
    box.pulse()()
    assert entry.state is State.RAW
    assert made(entry) == 1, "the part in hand; what is left is for the process stage to make"
    assert box.spool.names(State.RECORDING) == []


@pytest.mark.parametrize(("takes_s", "parts"), [(9, 1), (11, 0)])
def test_the_part_in_hand_when_a_recording_ends_is_given_up_where_it_takes_long(
    takes_s: float, parts: int, box: PrerenderBox
) -> None:
    entry = box.recording(65)
    answers = []

    class Slow(FakeTranscoder):
        def prerender(self, plan: RenderPlan, may_go_on: Callable[[], bool]) -> bool:
            box.spool.move(entry, State.RAW)
            answers.append(may_go_on())
            box.clock.pass_time(takes_s)
            return super().prerender(plan, may_go_on)

    box.transcoder = Slow()
    box.pulse()()
    assert answers == [True]
    assert made(entry) == parts


def test_an_entry_that_goes_away_meanwhile_is_no_fault(box: PrerenderBox) -> None:
    entry = box.recording(65)
    box.transcoder.hesitate = lambda: box.spool.leave(entry, entry.job)
    assert box.pulse()() == 5
    assert box.spool.finished("match") is not None


def test_frames_lost_meanwhile_end_the_work_and_it_rests_for_a_while(box: PrerenderBox) -> None:
    entry = box.recording(95)

    def lose() -> None:
        box.dropped = 3

    pulse = box.pulse()
    pulse()
    assert made(entry) == 3
    footage(entry.path / entry.job.takes[0].file, 200)
    box.transcoder.hesitate = lose
    pulse()
    assert made(entry) == 3
    calls = box.transcoder.calls["prerender"]
    pulse()
    assert box.transcoder.calls["prerender"] == calls
    box.clock.pass_time(301)
    box.transcoder.hesitate = lambda: None
    pulse()
    assert made(entry) == 6


def test_a_recorder_that_says_nothing_of_its_health_is_followed_all_the_same(box: PrerenderBox) -> None:
    entry = box.recording(35)
    box.dropped = None
    box.pulse()()
    assert made(entry) == 1


def test_a_stop_ends_it(box: PrerenderBox) -> None:
    entry = box.recording(200)
    pulse = box.pulse()
    box.transcoder.hesitate = pulse.stop
    pulse()
    assert made(entry) == 0


@pytest.mark.parametrize("fault", [Retry("disk full", blameless=True), Retry("ffmpeg: killed")])
def test_what_goes_wrong_harms_nobody_and_is_tried_again_later(box: PrerenderBox, fault: Retry) -> None:
    entry = box.recording(35)
    box.transcoder.fail_next(1, fault)
    pulse = box.pulse()
    pulse()
    pulse()
    assert made(entry) == 0
    box.clock.pass_time(301)
    pulse()
    assert made(entry) == 1


def test_it_takes_no_room_that_the_recording_may_need(box: PrerenderBox) -> None:
    entry = box.recording(35)
    box.pulse(spare_bytes=1 << 60)()
    assert made(entry) == 0


@pytest.mark.parametrize("why", ["unknown", "no logo", "a bad logo", "for a while only", "burned in"])
def test_where_no_logo_will_be_laid_over_all_of_it_nothing_is_made(box: PrerenderBox, why: str) -> None:
    entry = box.recording(35)
    if why == "unknown":
        box.assets = Assets(is_known=False)
    elif why == "no logo":
        box.assets = replace(box.assets, logo=None)
    elif why == "a bad logo":
        assert box.assets.logo
        box.assets.logo.write_bytes(b"no picture\n")
    elif why == "for a while only":
        box.options = RenderOptions(logo_show=read_logo_show("first:10s"))
    else:
        entry.update(takes=tuple(replace(take, burned_in="a logo") for take in entry.job.takes))
    box.pulse()()
    assert made(entry) == 0


def test_sponsors_alone_are_reason_enough(box: PrerenderBox) -> None:
    entry = box.recording(35)
    assert box.assets.logo
    box.assets = Assets(True, sponsors=(box.assets.logo,))
    box.pulse()()
    assert made(entry) == 1
