"""The recorder's handler, over real takes: with a false device, and a few times with the software camera."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ezrec import settings
from ezrec.app import services
from ezrec.camera.ffmpeg_camera import FfmpegCamera
from ezrec.camera.ffmpeg_sources import SoftwareSource
from ezrec.camera.live_stream import StreamRecording
from ezrec.domain.booking import Booking, Window
from ezrec.domain.errors import Reject, Retry, Stopped
from ezrec.domain.job import OPEN, UNANSWERED, Job, JobOutcome, Kind, Take
from ezrec.domain.names import safe_id
from ezrec.domain.outcomes import Closed, Done, Preserved
from ezrec.domain.ports import Camera
from ezrec.domain.recording_outcome import OnCancel
from ezrec.domain.stages import State
from ezrec.media.mp4.repair import repair
from ezrec.recording.record import record
from ezrec.recording.recovery import recover_takes
from ezrec.recording.session import Padding
from ezrec.runtime.liveness import HeartbeatRegistry
from ezrec.spool.spool import JOB, Entry, Spool
from ezrec.system.task import Task
from tests.fakes.camera import FOOTAGE, FakeCamera
from tests.support import media
from tests.support.recording import SteppingClock, are_in_a_row, frame_numbers
from tests.support.wait import eventually

LIMIT_S = 30.0
FRAME_S = 1 / 15


class DoubtfulClock(SteppingClock):
    """Not synchronised yet."""

    def is_synchronised(self) -> bool:
        return False


@dataclass
class Court:
    """A spool, a camera, and recordings running in threads."""

    spool: Spool
    clock: SteppingClock
    camera: Camera
    padding: Padding = field(default_factory=lambda: Padding(0, 0, 0.5))
    runs: list[Run] = field(default_factory=list)
    on_cancel: OnCancel = OnCancel.KEEP
    heartbeats: HeartbeatRegistry | None = None

    def book(self, booking_id: str, in_s: float, for_s: float, **changes: object) -> Entry:
        start = self.clock.now() + timedelta(seconds=in_s)
        booking = Booking(safe_id(booking_id), start, start + timedelta(seconds=for_s))
        job = Job(booking.id, Kind.BOOKING, self.clock.now(), booking, **changes)  # type: ignore[arg-type]
        return self.spool.claim(self.spool.create(State.INCOMING, job), State.RECORDING)

    def start(self, entry: Entry) -> Run:
        run = Run(self, entry)
        self.runs.append(run)
        run.thread.start()
        return run

    def record(self, entry: Entry) -> Done | Closed | Preserved:
        return self.start(entry).ended()

    @property
    def fake(self) -> FakeCamera:
        assert isinstance(self.camera, FakeCamera)
        return self.camera


class Run:
    """One call of the handler, in a thread of its own as in the worker."""

    def __init__(self, court: Court, entry: Entry) -> None:
        self.court, self.entry, self.task = court, entry, Task()
        self.result: Done | Closed | Preserved | None = None
        self.fault: Exception | None = None
        self.thread = threading.Thread(target=self._live, daemon=True)

    def _live(self) -> None:
        court = self.court
        try:
            self.result = record(
                self.entry,
                self.task,
                camera=court.camera,
                clock=court.clock,
                zone=UTC,
                padding=court.padding,
                repair=repair,
                log=logging.getLogger("ezrec.recorder"),
                on_cancel=court.on_cancel,
                heartbeats=court.heartbeats,
            )
        except Exception as fault:  # noqa: BLE001 - handed on to the test
            self.fault = fault

    def ended(self) -> Done | Closed | Preserved:
        self.thread.join(LIMIT_S)
        assert not self.thread.is_alive(), "the recording does not end"
        if self.fault:
            raise self.fault
        assert self.result is not None
        return self.result

    def is_writing(self, take: int = 1) -> bool:
        """True when the n-th take has a whole picture on disk."""
        takes = self.entry.job.takes
        if len(takes) < take or takes[take - 1].ended_by != OPEN:
            return False
        path = self.entry.path / takes[take - 1].file
        return path.exists() and path.stat().st_size > 3000

    def amend(self, **changes: object) -> None:
        """As the intake does when the row of the booking has changed."""
        booking = self.entry.job.booking
        assert booking is not None
        known = {name: getattr(booking, name) for name in ("id", "start", "end", "status")}
        self.court.spool.amend(self.entry, Booking(**{**known, **changes}))
        self.task.wake_up.set()


@pytest.fixture
def court(tmp_path: Path) -> Iterator[Court]:
    clock = SteppingClock()
    yield from _opened(Court(_spool(tmp_path), clock, FakeCamera(clock)))


@pytest.fixture
def real_court(tmp_path: Path) -> Iterator[Court]:
    clock = SteppingClock()
    camera = FfmpegCamera(SoftwareSource(320, 180, 30, 400_000), clock)
    yield from _opened(Court(_spool(tmp_path), clock, camera, Padding(0.5, 0.5, 5)))


def _spool(path: Path) -> Spool:
    spool = Spool(path / "spool")
    spool.prepare()
    return spool


def _opened(court: Court) -> Iterator[Court]:
    yield court
    for run in court.runs:
        run.task.stop()
        run.thread.join(LIMIT_S)


def _seconds(entry: Entry) -> float:
    return sum(take.duration_s for take in entry.job.takes)


def _footage(entry: Entry) -> list[str]:
    return sorted(path.name for path in entry.path.glob("*.mp4"))


# ---- the whole window


def test_the_whole_window_is_recorded_with_its_padding(real_court: Court) -> None:
    entry = real_court.book("match", 6.0, 1.5)
    assert real_court.record(entry) == Done()
    job = entry.job
    assert job.booking is not None
    (take,) = job.takes
    assert job.recording is JobOutcome.RECORDED, job.gaps
    assert job.gaps == ()
    assert job.coverage_pct == 100
    padded = job.booking.window.padded(0.5, 0.5)
    assert take.started <= padded.start + timedelta(seconds=1)
    assert take.ended >= padded.end - timedelta(seconds=FRAME_S)
    assert are_in_a_row(frame_numbers(entry.path / take.file))
    assert take.size == (entry.path / take.file).stat().st_size
    assert take.file == f"raw_match_{padded.start:%Y%m%d_%H%M%S}.mp4"


def test_a_late_start_records_the_rest_and_names_the_gap(court: Court) -> None:
    entry = court.book("late", -4.0, 6.0)
    assert court.record(entry) == Done()
    job = entry.job
    assert job.booking is not None
    assert job.recording is JobOutcome.PARTIAL
    (gap,) = job.gaps
    assert gap.start == job.booking.start
    assert gap.end == job.takes[0].started
    assert job.coverage_pct is not None
    assert 1 < job.coverage_pct < 40


def test_the_take_stands_in_the_record_before_its_first_byte(court: Court) -> None:
    run = court.start(court.book("noted", 0, 5))
    assert eventually(lambda: bool(_footage(run.entry)), LIMIT_S)
    written = court.spool.read(State.RECORDING, "noted").job.takes
    assert [take.file for take in written] == _footage(run.entry)
    assert written[0].ended_by == OPEN


# ---- a camera that is not there, or goes


def test_every_take_says_which_logo_it_shows_from_before_its_first_byte(court: Court) -> None:
    court.fake.logo = "a-key"
    entry = court.book("b1", 0, 2.5)
    run = court.start(entry)
    assert eventually(run.is_writing, LIMIT_S)
    assert [(take.ended_by, take.burned_in) for take in entry.job.takes] == [(OPEN, "a-key")]
    court.fake.logo = ""
    court.fake.die()
    run.ended()
    assert [take.burned_in for take in entry.job.takes] == ["a-key", ""]


def test_a_camera_that_refuses_and_then_comes_records_the_rest(court: Court) -> None:
    court.fake.absent = "no such device"
    run = court.start(court.book("refused", 0, 6))
    assert eventually(lambda: run.entry.progress().get("doing") == "waiting for the camera", LIMIT_S)
    assert "no such device" in run.entry.progress()["fault"]
    court.fake.absent = ""
    assert run.ended() == Done()
    assert run.entry.job.recording is JobOutcome.PARTIAL
    assert len(run.entry.job.takes) == 1
    assert len(run.entry.job.gaps) == 1


def test_a_camera_that_breaks_off_in_the_middle_costs_a_gap_and_no_more(court: Court) -> None:
    run = court.start(court.book("broken", 0, 8))
    assert eventually(run.is_writing, LIMIT_S)
    time.sleep(1.2)
    court.fake.die()
    assert run.ended() == Done()
    job = run.entry.job
    first, second = job.takes
    assert "exit 1" in first.ended_by
    assert job.recording is JobOutcome.PARTIAL
    (gap,) = [gap for gap in job.gaps if gap.start == first.ended]
    assert gap.end == second.started
    assert job.coverage_pct is not None
    missing_s = sum(gap.length_s for gap in job.gaps)
    assert job.coverage_pct == pytest.approx(100 * (1 - missing_s / 8), abs=13)
    assert _footage(run.entry) == sorted([first.file, second.file])


def test_without_a_camera_for_the_whole_window_the_booking_is_missed(court: Court) -> None:
    court.fake.absent = "no such device"
    outcome = court.record(court.book("blind", 0, 1.5))
    assert isinstance(outcome, Closed)
    assert outcome.outcome is JobOutcome.MISSED
    assert "no such device" in outcome.reason


def test_a_camera_that_breaks_off_as_the_take_begins_leaves_no_take_in_the_record(court: Court) -> None:
    class Treacherous(FakeCamera):
        betrayals = 1

        def attach(self, path: Path, at: datetime) -> StreamRecording:
            if self.betrayals:
                self.betrayals -= 1
                self.die()
            return super().attach(path, at)

    court.camera = Treacherous(court.clock)
    entry = court.book("betrayed", 0, 5)
    assert court.record(entry) == Done()
    assert [take.file for take in entry.job.takes] == _footage(entry)
    assert len(entry.job.takes) == 1


def test_a_take_without_one_picture_leaves_nothing_behind(court: Court) -> None:
    run = court.start(court.book("empty", 0, 6))
    assert eventually(lambda: bool(run.entry.job.takes), LIMIT_S)
    court.fake.die()
    run.ended()
    assert all(take.duration_s > 0 for take in run.entry.job.takes)
    assert _footage(run.entry) == sorted(take.file for take in run.entry.job.takes)


# ---- by the clock alone


def test_the_camera_is_armed_thirty_seconds_before_and_the_first_frame_is_there_five_before_the_start(
    court: Court, tmp_path: Path
) -> None:
    wishes = settings.load({"EZREC_HOME": str(tmp_path)})
    court.padding = Padding(wishes.pre_roll_s, wishes.post_roll_s, wishes.arm_s)
    assert court.padding == Padding(5, 5, 30)
    intake = services.worker("record", wishes).intake
    assert intake is not None
    assert intake.lead_s == 35, "it is taken in hand in time"
    entry = court.book("b1", 1000, 600)
    start = entry.job.booking.start if entry.job.booking else court.clock.now()

    def at(before_s: float) -> None:
        court.clock.step = start - timedelta(seconds=before_s) - datetime.now(UTC)
        run.task.wake_up.set()

    run = court.start(entry)
    at(39)
    time.sleep(0.5)
    assert court.fake.starts == 0, "armed too early"
    at(35)
    assert eventually(lambda: court.camera.health().running, LIMIT_S)
    assert court.fake.starts == 1
    assert not entry.job.takes
    at(5)
    assert eventually(run.is_writing, LIMIT_S)
    assert eventually(lambda: entry.job.takes[0].started <= start - timedelta(seconds=5), LIMIT_S)
    assert court.fake.starts == 1


# ---- thousands of gaps


class SlowCard(FakeCamera):
    """Its takes lack a frame here and there, as on a memory card that is too slow."""

    holes = 5_600

    def attach(self, path: Path, at: datetime) -> StreamRecording:
        recording = super().attach(path, at)
        finish = recording.finish

        def finished(at: datetime, limit_s: float) -> Take:
            take = finish(at, limit_s)
            step = timedelta(seconds=take.duration_s) / self.holes
            holes = tuple(
                Window(take.started + step * n, take.started + step * (n + 0.3)) for n in range(self.holes)
            )
            return replace(take, holes=holes)

        recording.finish = finished  # type: ignore[method-assign]
        return recording


def test_a_recording_with_thousands_of_gaps_stays_readable_and_is_measured_rightly(court: Court) -> None:
    court.camera = SlowCard(court.clock)
    entry = court.book("holey", 0, 4)
    assert court.record(entry) == Done()
    job = court.spool.read(State.RECORDING, "holey").job
    assert job == entry.job
    (take,) = job.takes
    assert len(take.holes) + take.unlisted <= 5_600
    assert take.unlisted_s == pytest.approx(take.duration_s * 0.3, abs=0.1)
    assert job.coverage_pct == pytest.approx(70, abs=7)
    assert (entry.path / JOB).stat().st_size < 100_000


def test_a_record_of_thousands_of_takes_can_be_read(court: Court) -> None:
    entry = court.book("restless", 0, 4)
    takes = [
        Take(f"raw_restless_{n:06}.mp4", court.clock.now(), 5.0, 1, "no frames for 3 s")
        for n in range(14_400)
    ]
    entry.update(takes=tuple(takes))
    assert (entry.path / JOB).stat().st_size > 1 << 20
    assert court.spool.read(State.RECORDING, "restless").job == entry.job


# ---- a disk that does not answer


class StuckCamera(FakeCamera):
    """It reports no picture of a take. `left`: the bytes that the disk shows then, if not all of them."""

    def __init__(self, clock: SteppingClock, left: bytes | None = None, ended_by: str = UNANSWERED) -> None:
        super().__init__(clock)
        self.left, self.ended_by = left, ended_by
        self.under_way: dict[Path, bytes] = {}

    def attach(self, path: Path, at: datetime) -> StreamRecording:
        recording = super().attach(path, at)
        finish = recording.finish

        def reported(at: datetime, limit_s: float) -> Take:
            take = finish(at, limit_s)
            if self.left is not None:
                self.under_way[path] = path.read_bytes()
                path.write_bytes(self.left)
            return replace(take, duration_s=0.0, ended_by=self.ended_by)

        recording.finish = reported  # type: ignore[method-assign]
        return recording


def test_a_take_whose_writer_was_not_waited_for_is_not_deleted(court: Court) -> None:
    court.camera = StuckCamera(court.clock)
    entry = court.book("stuck", 0, 2)
    assert court.record(entry) == Done()
    (take,) = entry.job.takes
    assert _footage(entry) == [take.file]
    assert take.duration_s > 1
    assert entry.job.coverage_pct is not None
    assert entry.job.coverage_pct > 50


def test_a_take_of_which_nothing_is_written_yet_waits_for_its_writer(court: Court) -> None:
    """Its first bytes may be on their way still: it is measured before its video is made."""
    court.camera = camera = StuckCamera(court.clock, left=b"")
    entry = court.book("stuck", 0, 2)
    assert court.record(entry) == Done()
    (take,) = entry.job.takes
    assert _footage(entry) == [take.file]
    assert take.ended_by == OPEN
    ((path, data),) = camera.under_way.items()
    path.write_bytes(data)
    recover_takes(entry, repair, logging.getLogger("ezrec.recorder"))
    assert sum(take.duration_s for take in entry.job.takes) > 1


def test_a_take_without_a_picture_that_cannot_be_read_either_is_kept(court: Court) -> None:
    court.camera = StuckCamera(court.clock, left=b"\0\0\0\x08free" * 10, ended_by="the disk failed")
    entry = court.book("spoilt", 0, 2)
    assert court.record(entry) == Done()
    assert [take.ended_by for take in entry.job.takes] == [OPEN]
    assert _footage(entry) == [entry.job.takes[0].file]


# ---- amendments


def test_an_extended_booking_is_recorded_to_its_new_end(court: Court) -> None:
    run = court.start(court.book("longer", 1.5, 2.5))
    assert eventually(run.is_writing, LIMIT_S)
    booking = run.entry.job.booking
    assert booking is not None
    run.amend(end=booking.end + timedelta(seconds=2))
    assert run.ended() == Done()
    (take,) = run.entry.job.takes
    assert take.ended >= booking.end + timedelta(seconds=2 - FRAME_S)
    assert run.entry.job.recording is JobOutcome.RECORDED


def test_a_shortened_booking_ends_at_its_new_end(court: Court) -> None:
    run = court.start(court.book("shorter", 1.5, 60))
    assert eventually(run.is_writing, LIMIT_S)
    end = court.clock.now() + timedelta(seconds=1)
    run.amend(end=end)
    assert run.ended() == Done()
    (take,) = run.entry.job.takes
    assert end - timedelta(seconds=FRAME_S) <= take.ended <= end + timedelta(seconds=1)
    assert run.entry.job.recording is JobOutcome.RECORDED


def test_a_booking_cancelled_before_its_start_leaves_nothing(court: Court) -> None:
    run = court.start(court.book("called-off", 60, 60))
    run.amend(status="cancelled")
    outcome = run.ended()
    assert isinstance(outcome, Closed)
    assert outcome.outcome is JobOutcome.CANCELLED
    assert court.fake.starts == 0
    assert _footage(run.entry) == []


def test_a_booking_cancelled_while_it_is_recorded_keeps_its_footage_for_a_person(court: Court) -> None:
    run = court.start(court.book("stopped", 0, 60))
    assert eventually(run.is_writing, LIMIT_S)
    run.amend(status="cancelled")
    told = court.clock.monotonic()
    kept = run.ended()
    assert court.clock.monotonic() - told < 4, "at once; two seconds and what a loaded machine adds"
    assert isinstance(kept, Preserved)
    assert "ezrec spool retry stopped --from process" in kept.remedy
    assert kept.until == run.entry.job.kept_until
    (take,) = run.entry.job.takes
    assert take.duration_s > 0
    assert run.entry.job.recording is JobOutcome.CANCELLED
    assert run.entry.job.coverage_pct is not None
    assert not court.fake.health().running


def test_a_booking_moved_away_while_the_camera_is_armed_lets_the_camera_go(court: Court) -> None:
    court.padding = Padding(0, 0, 30)
    run = court.start(court.book("moved", 20, 20))
    assert eventually(lambda: court.fake.health().running, LIMIT_S)
    later = court.clock.now() + timedelta(hours=3)
    run.amend(start=later, end=later + timedelta(hours=1))
    assert eventually(lambda: not court.fake.health().running, LIMIT_S)
    assert run.thread.is_alive()
    assert run.entry.job.takes == ()


def test_a_booking_moved_away_while_it_is_recorded_closes_the_take_and_waits(court: Court) -> None:
    run = court.start(court.book("postponed", 0, 60))
    assert eventually(run.is_writing, LIMIT_S)
    later = court.clock.now() + timedelta(hours=3)
    run.amend(start=later, end=later + timedelta(hours=1))
    assert eventually(lambda: not court.fake.health().running, LIMIT_S)
    assert run.entry.job.takes[0].duration_s > 0
    assert run.thread.is_alive()


def test_a_booking_moved_forward_begins_at_once(court: Court) -> None:
    run = court.start(court.book("sooner", 3600, 3600))
    now = court.clock.now()
    run.amend(start=now, end=now + timedelta(seconds=3))
    assert run.ended() == Done()
    assert run.entry.job.takes[0].duration_s > 1


# ---- a cancellation, by EZREC_ON_CANCEL


def cancelled(court: Court, booking_id: str) -> Run:
    run = court.start(court.book(booking_id, 0, 60))
    assert eventually(run.is_writing, LIMIT_S)
    run.amend(status="cancelled")
    return run


def test_trim_hands_on_what_was_recorded_until_the_cancellation(court: Court) -> None:
    court.on_cancel = OnCancel.TRIM
    run = cancelled(court, "trimmed")
    assert run.ended() == Done()
    job = run.entry.job
    assert job.recording is JobOutcome.CANCELLED
    assert job.takes[0].duration_s > 0
    assert job.gaps[-1].end == job.booking.end  # type: ignore[union-attr]
    assert job.coverage_pct is not None
    assert 0 < job.coverage_pct < 100


def test_discard_ends_the_job_at_once(court: Court) -> None:
    court.on_cancel = OnCancel.DISCARD
    outcome = cancelled(court, "discarded").ended()
    assert isinstance(outcome, Closed)
    assert outcome.outcome is JobOutcome.CANCELLED
    assert "discard" in outcome.reason


def test_what_is_kept_is_let_go_after_a_day_and_not_before(court: Court) -> None:
    run = cancelled(court, "kept")
    kept = run.ended()
    assert isinstance(kept, Preserved)
    court.clock.step = timedelta(hours=23)
    assert court.record(run.entry) == kept, "brought back too early, it is kept until the same moment"
    court.clock.step = timedelta(hours=24, minutes=1)
    outcome = court.record(run.entry)
    assert isinstance(outcome, Closed)
    assert outcome.outcome is JobOutcome.CANCELLED
    assert _footage(run.entry), "the handler removes nothing: the spool does, by rename"


def test_the_day_of_what_is_kept_begins_when_the_clock_can_be_trusted(court: Court) -> None:
    court.clock = clock = DoubtfulClock()
    run = cancelled(court, "unsure")
    kept = run.ended()
    assert isinstance(kept, Preserved)
    assert run.entry.job.kept_until is None
    assert "a day after the clock is synchronised" in kept.reason
    court.clock = SteppingClock()
    court.clock.step = clock.step + timedelta(days=400)
    again = court.record(run.entry)
    assert isinstance(again, Preserved)
    assert again.until > court.clock.now() + timedelta(hours=23)


def test_a_clock_that_went_back_shortens_no_day(court: Court) -> None:
    run = cancelled(court, "earlier")
    kept = run.ended()
    court.clock.step = timedelta(days=-100)
    assert court.record(run.entry) == kept


def test_a_booking_confirmed_again_is_recorded_on_with_what_it_has(court: Court) -> None:
    run = cancelled(court, "again")
    run.ended()
    booking = run.entry.job.booking
    assert booking is not None
    soon = court.clock.now() + timedelta(seconds=3)
    run.entry.update(booking=Booking(booking.id, booking.start, soon))
    assert court.record(run.entry) == Done()
    job = run.entry.job
    assert len(job.takes) == 2
    assert job.recording in (JobOutcome.PARTIAL, JobOutcome.RECORDED)
    assert job.kept_until is None


# ---- stopped, killed


def test_a_stop_lays_the_recording_down_and_the_next_run_goes_on_with_another_take(court: Court) -> None:
    entry = court.book("resumed", 0, 7)
    run = court.start(entry)
    assert eventually(run.is_writing, LIMIT_S)
    run.task.stop()
    with pytest.raises(Stopped):
        run.ended()
    (first,) = entry.job.takes
    assert first.ended_by != OPEN
    content = (entry.path / first.file).read_bytes()
    again = court.spool.read(State.RECORDING, "resumed")
    assert court.record(again) == Done()
    assert len(again.job.takes) == 2
    assert (again.path / first.file).read_bytes() == content


def test_the_open_take_of_a_killed_recorder_is_cut_measured_and_kept(court: Court) -> None:
    entry = court.book("killed", -3, 5)
    torn = FOOTAGE.read_bytes() + (10_000).to_bytes(4, "big") + b"moof" + b"\0" * 500
    path = entry.path / "raw_killed_20260601_120000.mp4"
    path.write_bytes(torn)
    entry.update(takes=(Take(path.name, court.clock.now() - timedelta(seconds=3), 0.0, 0, OPEN),))
    assert court.record(entry) == Done()
    first, second = entry.job.takes
    assert first.file == path.name
    assert first.duration_s == pytest.approx(2, abs=FRAME_S)
    assert first.ended_by == "the recorder died"
    assert path.read_bytes() == FOOTAGE.read_bytes()
    assert media.frames(path) == 30
    assert second.started >= first.ended - timedelta(seconds=1)


def test_an_open_take_with_no_whole_picture_is_forgotten(court: Court) -> None:
    entry = court.book("nothing", 0, 2)
    path = entry.path / "raw_nothing_20260601_120000.mp4"
    path.write_bytes(FOOTAGE.read_bytes()[:600])
    entry.update(takes=(Take(path.name, court.clock.now(), 0.0, 0, OPEN),))
    assert court.record(entry) == Done()
    assert [take.file for take in entry.job.takes] == _footage(entry)
    assert path.name not in _footage(entry)


def test_the_footage_of_a_recorder_killed_in_its_last_second_goes_on(court: Court) -> None:
    entry = court.book("last", -10, 5)
    path = entry.path / "raw_last_20260601_120000.mp4"
    path.write_bytes(FOOTAGE.read_bytes())
    entry.update(takes=(Take(path.name, court.clock.now() - timedelta(seconds=10), 0.0, 0, OPEN),))
    assert court.record(entry) == Done()
    assert entry.job.recording is JobOutcome.PARTIAL
    assert entry.job.takes[0].duration_s > 1.9


# ---- over before it began


def test_a_booking_that_was_over_before_it_began_is_missed(court: Court) -> None:
    outcome = court.record(court.book("past", -100, 50))
    assert isinstance(outcome, Closed)
    assert outcome.outcome is JobOutcome.MISSED
    assert court.fake.starts == 0


def test_no_booking_is_judged_before_the_clock_is_synchronised(court: Court) -> None:
    court.clock = DoubtfulClock()
    with pytest.raises(Retry) as caught:
        court.record(court.book("unsure", -100, 50))
    assert caught.value.blameless


def test_a_clock_set_forward_into_the_window_begins_the_recording(court: Court) -> None:
    run = court.start(court.book("stepped", 3600, 3))
    court.clock.step = timedelta(hours=1)
    run.task.wake_up.set()
    assert run.ended() == Done()
    assert _seconds(run.entry) > 1


# ---- several, and names


def test_two_overlapping_bookings_share_one_running_camera(real_court: Court) -> None:
    one = real_court.start(real_court.book("one", 6.0, 2.0))
    two = real_court.start(real_court.book("two", 7.0, 2.0))
    assert one.ended() == Done()
    assert two.ended() == Done()
    for run in (one, two):
        job = run.entry.job
        assert job.recording is JobOutcome.RECORDED, (job.gaps, job.takes)
        assert are_in_a_row(frame_numbers(run.entry.path / job.takes[0].file))
    shared = set(_numbers(one)) & set(_numbers(two))
    assert len(shared) > 30, "both were written from one stream of frames"


def _numbers(run: Run) -> list[int]:
    return frame_numbers(run.entry.path / run.entry.job.takes[0].file)


def test_a_take_that_begins_long_before_its_window_says_by_how_much(tmp_path: Path) -> None:
    clock = SteppingClock()
    opened = _opened(Court(_spool(tmp_path), clock, FakeCamera(clock, key_every_s=6.0)))
    court = next(opened)
    first, later = court.book("first", 0.5, 5.5), court.book("later", 4.5, 1.5)
    runs = [court.start(first), court.start(later)]
    assert eventually(lambda: any(take.early_s for take in later.job.takes), LIMIT_S)  # while it is written
    told = later.job.takes[0].early_s
    assert [run.ended() for run in runs] == [Done(), Done()]
    (take,) = later.job.takes
    assert later.job.booking is not None
    assert take.early_s == pytest.approx((later.job.booking.start - take.started).total_seconds(), abs=0.1)
    assert take.early_s == pytest.approx(told, abs=0.1)
    assert 3.5 < take.early_s < 5
    assert take.duration_s > take.early_s + 1.5
    assert first.job.takes[0].early_s < 1.1
    next(opened, None)


def test_back_to_back_bookings_lose_no_edge(court: Court) -> None:
    court.padding = Padding(0.5, 0.5, 1.5)
    first = court.start(court.book("first", 2.0, 2.0))
    second = court.start(court.book("second", 4.0, 2.0))
    for run in (first, second):
        assert run.ended() == Done()
        assert run.entry.job.recording is JobOutcome.RECORDED, run.entry.job.gaps
    assert court.fake.starts == 1


def test_a_name_that_is_taken_is_never_overwritten(court: Court) -> None:
    entry = court.book("same", 0, 1.5)
    now = court.clock.now()
    squatters = {
        f"raw_same_{now + timedelta(seconds=n):%Y%m%d_%H%M%S}.mp4": f"footage {n}".encode() for n in range(8)
    }
    for name, content in squatters.items():
        (entry.path / name).write_bytes(content)
    court.record(entry)
    assert entry.job.takes[0].file not in squatters
    assert {name: (entry.path / name).read_bytes() for name in squatters} == squatters


def test_a_job_without_a_booking_is_refused(court: Court) -> None:
    job = Job(safe_id("clip"), Kind.CLIP, datetime.now(UTC))
    with pytest.raises(Reject):
        court.record(court.spool.create(State.INCOMING, job))


def test_progress_notes_tell_the_part_that_is_done_and_the_frames(court: Court) -> None:
    run = court.start(court.book("told", 0, 4))
    seen: list[float] = []

    def has_moved() -> bool:
        part = run.entry.progress().get("part")
        if isinstance(part, float) and part not in seen:
            seen.append(part)
        return len(seen) >= 2

    assert eventually(has_moved, LIMIT_S)
    assert seen == sorted(seen)
    assert run.entry.progress()["frames"] > 0
