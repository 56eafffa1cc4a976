"""The handlers that publish: the order of their steps, and what a crash between any two of them leaves."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ezrec.domain.booking import Booking
from ezrec.domain.errors import Reject, Retry, Stopped
from ezrec.domain.job import Job, JobOutcome, Kind, Result, Take
from ezrec.domain.names import parse_clip_name, safe_id
from ezrec.domain.outcomes import Done
from ezrec.domain.ownership import Mark, Whose
from ezrec.domain.ports import OnStop
from ezrec.domain.stages import State
from ezrec.publishing.upload import archive, upload
from ezrec.spool.spool import Entry, Spool
from ezrec.system.task import Task
from tests.fakes.backend import FakeBackend
from tests.fakes.clock import StandingClock

START = datetime(2026, 6, 1, 18, 0, tzinfo=UTC)
VIDEO = b"a finished video"
NAME = "processed_raw_match_20260601_200000.mp4"
KEY = ("videos", "user-1", NAME)
ZONE = ZoneInfo("Europe/Madrid")
STEPS = ("whose", "has_row", "store", "size_of", "publish_row", "advance_status")


class Killed(BaseException):
    """The worker dies here, as by SIGKILL: nothing after this line is done."""


class Diary(FakeBackend):
    """Writes down in which order it was called, and can kill its caller behind any step."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[str] = []
        self.dies_after = 0

    def _after(self, step: str) -> None:
        self.steps.append(step)
        if len(self.steps) == self.dies_after:
            raise Killed(step)

    def store(self, *args: Any, **options: Any) -> bool:
        stored = super().store(*args, **options)
        self._after("store")
        return stored

    def size_of(self, *args: Any) -> int | None:
        found = super().size_of(*args)
        self._after("size_of")
        return found

    def whose(self, *args: Any, **options: Any) -> Whose:
        found = super().whose(*args, **options)
        self._after("whose")
        return found

    def has_row(self, *args: Any, **options: Any) -> bool:
        found = super().has_row(*args, **options)
        self._after("has_row")
        return found

    def publish_row(self, *args: Any, **options: Any) -> bool:
        published = super().publish_row(*args, **options)
        self._after("publish_row")
        return published

    def advance_status(self, *args: Any) -> bool:
        moved = super().advance_status(*args)
        self._after("advance_status")
        return moved


class Lossy(Diary):
    """Keeps only the beginning of what it is sent, and says that all was well."""

    def store(self, *args: Any, **options: Any) -> bool:
        stored = super().store(*args, **options)
        self.objects[KEY] = self.objects[KEY][:5]
        return stored


@dataclass
class Shelf:
    """A spool with finished videos."""

    spool: Spool

    def job(self, job_id: str = "match", **changes: Any) -> Entry:
        booking = Booking(safe_id("match"), START, START + timedelta(hours=1), "user-1", "0")
        take = Take("raw_match_20260601_200000.mp4", START, 3600.0, 10, "end of window")
        known = {
            "booking": booking,
            "takes": (take,),
            "result": Result(NAME, 3610.5, len(VIDEO), ("x",), 10.5),
        }
        job = Job(safe_id(job_id), **{"kind": Kind.BOOKING, "created": START, **known, **changes})
        entry = self.spool.create(State.PROCESSED, job)
        (entry.path / NAME).write_bytes(VIDEO)
        return entry


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    spool = Spool(tmp_path / "spool")
    spool.prepare()
    return Shelf(spool)


@pytest.fixture
def cloud() -> Diary:
    cloud = Diary()
    cloud.add_booking({"id": "match", "date": "2026-06-01", "start_time": "20:00", "end_time": "21:00"})
    return cloud


def send(entry: Entry, backend: FakeBackend, task: Task | None = None) -> Done:
    return upload(
        entry,
        task or Task(),
        backend=backend,
        clock=StandingClock(START + timedelta(hours=2)),
        zone=ZONE,
        user_id="user-1",
        camera_id="0",
        log=logging.getLogger("ezrec.video_worker"),
    )


def test_the_order_is_object_size_row_status(shelf: Shelf, cloud: Diary) -> None:
    entry = shelf.job()
    assert send(entry, cloud) == Done()
    assert cloud.steps == list(STEPS)
    assert cloud.objects[KEY] == VIDEO
    assert cloud.booking_rows["match"]["status"] == "video_uploaded"
    assert entry.job.outcome is JobOutcome.PUBLISHED
    assert (entry.path / NAME).exists(), "only the drain takes a job out of the spool"


def test_the_row_is_what_the_front_end_reads(shelf: Shelf, cloud: Diary) -> None:
    send(shelf.job(), cloud)
    (row,) = cloud.video_rows.values()
    assert row == {
        "filename": NAME,
        "storage_path": f"user-1/{NAME}",
        "file_url": f"videos/user-1/{NAME}",
        "user_id": "user-1",
        "file_size": len(VIDEO),
        "created_at": "2026-06-01T18:00:00+00:00",
        "upload_timestamp": "2026-06-01T20:00:00+00:00",
        "duration_seconds": 3610.5,
        "booking_id": "match",
        "camera_id": "0",
        "recording_date": "2026-06-01",
        "recording_start_time": "2026-06-01T18:00:00+00:00",
        "recording_end_time": "2026-06-01T19:00:00+00:00",
    }


@pytest.mark.parametrize(
    "dies_after", range(1, len(STEPS) + 1), ids=[f"{n}-{s}" for n, s in enumerate(STEPS, 1)]
)
def test_a_crash_after_any_step_still_makes_one_object_and_one_row(
    shelf: Shelf, cloud: Diary, dies_after: int
) -> None:
    cloud.dies_after = dies_after
    with pytest.raises(Killed):
        send(shelf.job(), cloud)
    assert send(shelf.spool.read(State.PROCESSED, "match"), cloud) == Done()
    assert cloud.objects == {KEY: VIDEO}
    assert len(cloud.video_rows) == 1
    assert cloud.booking_rows["match"]["status"] == "video_uploaded"
    assert cloud.calls["store"] == 1, "what the service has is not sent again"


@pytest.mark.parametrize("method", ["whose", "has_row", "store", "size_of", "publish_row", "advance_status"])
def test_a_passing_fault_in_any_step_is_a_later_try(shelf: Shelf, cloud: Diary, method: str) -> None:
    cloud.fail_next(1, Retry("the network is away"), method)
    entry = shelf.job()
    with pytest.raises(Retry):
        send(entry, cloud)
    assert entry.job.outcome is None
    assert send(entry, cloud) == Done()
    assert len(cloud.video_rows) == 1


def test_an_object_with_the_bytes_of_ours_is_not_sent_again(shelf: Shelf, cloud: Diary) -> None:
    cloud.objects[KEY] = VIDEO
    send(shelf.job(), cloud)
    assert cloud.calls["store"] == 0
    assert len(cloud.video_rows) == 1


@pytest.mark.parametrize(
    "other", [b"an older video of this name", b"of the same size"], ids=["size", "bytes"]
)
def test_an_object_of_another_job_is_left_as_it_is(shelf: Shelf, cloud: Diary, other: bytes) -> None:
    cloud.objects[KEY] = other
    entry = shelf.job()
    send(entry, cloud)
    name = entry.job.published_as
    assert re.fullmatch(r"processed_raw_match_20260601_200000_[0-9a-f]{8}\.mp4", name)
    assert cloud.objects == {KEY: other, ("videos", "user-1", name): VIDEO}
    ((_, filename),) = cloud.video_rows
    assert filename == name
    assert parse_clip_name(name).booking_id == "match"


def test_a_row_of_another_job_is_left_as_it_is(shelf: Shelf, cloud: Diary) -> None:
    cloud.video_rows["user-1", NAME] = {"filename": NAME, "booking_id": "older"}
    entry = shelf.job()
    send(entry, cloud)
    assert cloud.video_rows["user-1", NAME] == {"filename": NAME, "booking_id": "older"}
    assert ("user-1", entry.job.published_as) in cloud.video_rows
    assert KEY not in cloud.objects


def test_a_video_that_was_made_anew_takes_the_place_of_the_same_jobs_former_one(
    shelf: Shelf, cloud: Diary
) -> None:
    entry = shelf.job()
    cloud.fail_next(1, Retry("the network is away"), "advance_status")
    with pytest.raises(Retry):
        send(entry, cloud)
    anew = b"made anew, longer than before"
    (entry.path / NAME).write_bytes(anew)
    entry.update(result=Result(NAME, 3700.0, len(anew), ("y",)))
    send(entry, cloud)
    assert cloud.objects == {KEY: anew}
    (row,) = cloud.video_rows.values()
    assert row["file_size"] == len(anew)


def test_a_published_object_that_was_deleted_meanwhile_keeps_its_name_and_its_row(
    shelf: Shelf, cloud: Diary
) -> None:
    entry = shelf.job()
    cloud.fail_next(1, Retry("the network is away"), "advance_status")
    with pytest.raises(Retry):
        send(entry, cloud)
    cloud.objects.clear()
    send(entry, cloud)
    assert cloud.objects == {KEY: VIDEO}
    assert len(cloud.video_rows) == 1


@pytest.mark.parametrize("dies_after", range(1, 8))
def test_a_second_video_of_one_booking_is_published_beside_the_first_whenever_its_worker_dies(
    shelf: Shelf, cloud: Diary, dies_after: int
) -> None:
    first = shelf.job(kind=Kind.CLIP)
    send(first, cloud)
    second = shelf.job("match-2", kind=Kind.CLIP)
    (second.path / NAME).write_bytes(b"of the same size")
    cloud.dies_after = len(cloud.steps) + dies_after
    with pytest.raises(Killed):
        send(second, cloud)
    assert send(shelf.spool.read(State.PROCESSED, "match-2"), cloud) == Done()
    assert sorted(cloud.objects.values()) == [VIDEO, b"of the same size"]
    assert {name for _, name in cloud.video_rows} == {name for *_, name in cloud.objects}
    assert {row["booking_id"] for row in cloud.video_rows.values()} == {"match"}


def test_one_that_loses_the_race_for_a_name_takes_its_other_name(shelf: Shelf, cloud: Diary) -> None:
    class Raced(Diary):
        def store(self, bucket: str, key: str, source: Path, progress: Any, **more: Any) -> bool:
            if key.endswith(NAME):
                self.objects[KEY] = b"of another box"
            return super().store(bucket, key, source, progress, **more)

    raced = Raced()
    entry = shelf.job()
    send(entry, raced)
    assert raced.objects == {
        KEY: b"of another box",
        ("videos", "user-1", entry.job.published_as): VIDEO,
    }
    assert [name for _, name in raced.video_rows] == [entry.job.published_as]


def test_nobody_is_told_of_an_object_that_arrived_with_another_size(shelf: Shelf) -> None:
    cloud = Lossy()
    with pytest.raises(Retry) as caught:
        send(shelf.job(), cloud)
    assert "5" in caught.value.reason
    assert cloud.video_rows == {}
    assert cloud.calls["advance_status"] == 0


def test_the_video_lands_in_the_folder_of_the_bookings_owner(shelf: Shelf, cloud: Diary) -> None:
    entry = shelf.job()
    assert entry.job.booking is not None
    entry.update(booking=replace(entry.job.booking, user_id="user-2", camera_id="court-7"))
    send(entry, cloud)
    ((owner, _),) = cloud.video_rows
    assert owner == "user-2"
    assert ("videos", "user-2", NAME) in cloud.objects
    (row,) = cloud.video_rows.values()
    assert row["camera_id"] == "court-7"


@pytest.mark.parametrize("owner", ["../other", "a/b", ".", "x\n"])
def test_an_owner_that_would_lead_elsewhere_goes_to_a_person(shelf: Shelf, cloud: Diary, owner: str) -> None:
    entry = shelf.job()
    assert entry.job.booking is not None
    entry.update(booking=replace(entry.job.booking, user_id=owner))
    with pytest.raises(Reject):
        send(entry, cloud)
    assert cloud.video_rows == {}


def test_a_job_without_a_video_or_without_its_file_goes_to_a_person(shelf: Shelf, cloud: Diary) -> None:
    with pytest.raises(Reject):
        send(shelf.job(result=None), cloud)
    entry = shelf.job("other")
    (entry.path / NAME).unlink()
    with pytest.raises(Reject) as caught:
        send(entry, cloud)
    assert "--from process" in caught.value.remedy
    assert cloud.steps == []


@pytest.mark.parametrize("job_id", ["match", "match-2"])
def test_a_dropped_clip_moves_the_status_of_the_booking_it_is_named_after(
    shelf: Shelf, cloud: Diary, job_id: str
) -> None:
    send(shelf.job(job_id, kind=Kind.CLIP, booking=None), cloud)
    assert cloud.booking_rows["match"]["status"] == "video_uploaded"
    (row,) = cloud.video_rows.values()
    assert row["booking_id"] == "match"
    assert row["recording_end_time"] == "2026-06-01T19:00:00+00:00"


def test_a_clip_without_a_booking_in_the_table_is_published_all_the_same(shelf: Shelf) -> None:
    cloud = Diary()
    assert send(shelf.job(kind=Kind.CLIP, booking=None), cloud) == Done()
    assert cloud.objects == {KEY: VIDEO}


def test_a_cancelled_booking_stays_cancelled(shelf: Shelf, cloud: Diary) -> None:
    cloud.booking_rows["match"]["status"] = "cancelled"
    send(shelf.job(), cloud)
    assert cloud.booking_rows["match"]["status"] == "cancelled"


def test_a_stop_is_heard_before_and_while_the_object_is_sent(shelf: Shelf, cloud: Diary) -> None:
    task = Task()
    task.stop()
    with pytest.raises(Stopped):
        send(shelf.job(), cloud, task)
    assert cloud.objects == {}

    running = Task()

    class Slow(Diary):
        def store(
            self,
            bucket: str,
            key: str,
            source: Path,
            progress: Callable[[float], None],
            *,
            state: Path | None = None,
            on_stop: OnStop | None = None,
            mark: Mark | None = None,
        ) -> bool:
            running.stop()
            return super().store(bucket, key, source, progress, state=state, on_stop=on_stop, mark=mark)

    slow = Slow()
    with pytest.raises(Stopped):
        send(shelf.job("other"), slow, running)
    assert slow.objects == {}
    assert slow.video_rows == {}


# ---- log archives


def _archive(entry: Entry, backend: FakeBackend) -> Done:
    log = logging.getLogger("ezrec.log_collector")
    return archive(entry, Task(), backend=backend, bucket="logs", camera_id="court-7", log=log)


def _logs_job(shelf: Shelf) -> Entry:
    entry = shelf.spool.create(State.PROCESSED, Job(safe_id("logs-1"), Kind.LOGS, START))
    (entry.path / "20260601_180000_logs.zip").write_bytes(b"PK")
    return entry


def test_a_log_archive_goes_under_the_cameras_name(shelf: Shelf) -> None:
    cloud = Diary()
    assert _archive(_logs_job(shelf), cloud) == Done()
    assert cloud.objects == {("logs", "court-7", "20260601_180000_logs.zip"): b"PK"}
    assert cloud.video_rows == {}


def test_a_log_archive_that_is_there_is_not_sent_again(shelf: Shelf) -> None:
    cloud, entry = Diary(), _logs_job(shelf)
    _archive(entry, cloud)
    _archive(entry, cloud)
    assert cloud.calls["store"] == 1


def test_an_archive_of_another_job_is_left_as_it_is(shelf: Shelf) -> None:
    cloud, entry = Diary(), _logs_job(shelf)
    other = ("logs", "court-7", "20260601_180000_logs.zip")
    cloud.objects[other] = b"PX"
    assert _archive(entry, cloud) == Done()
    assert cloud.objects.pop(other) == b"PX"
    (((_, _, name), data),) = cloud.objects.items()
    assert re.fullmatch(r"20260601_180000_[0-9a-f]{8}_logs\.zip", name)
    assert data == b"PK"


def test_a_log_job_without_an_archive_goes_to_a_person(shelf: Shelf) -> None:
    entry = _logs_job(shelf)
    next(entry.path.glob("*.zip")).unlink()
    with pytest.raises(Reject):
        _archive(entry, Diary())


# ---- what accompanies a video

ARTEFACTS = ("user-1", "artefacts", NAME.removesuffix(".mp4"))


def with_artefacts(shelf: Shelf, *names: str) -> Entry:
    entry = shelf.job()
    (entry.path / "artefacts").mkdir()
    for name in names:
        (entry.path / "artefacts" / name).write_bytes(f"bytes of {name}".encode())
    return entry


def test_artefacts_follow_the_video_into_a_folder_that_no_list_of_videos_shows(
    shelf: Shelf, cloud: Diary
) -> None:
    entry = with_artefacts(
        shelf, "poster.jpg", "preview.mp4", "loudness.json", "notes.txt", ".poster.jpg.new"
    )
    (entry.path / "artefacts" / "storyboard.jpg").write_bytes(b"")
    (entry.path / "artefacts" / "storyboard.vtt").symlink_to("/etc/passwd")
    assert send(entry, cloud) == Done()
    assert cloud.steps[: len(STEPS)] == list(STEPS)
    assert cloud.objects.pop(KEY) == VIDEO
    assert cloud.objects == {
        ("videos", *ARTEFACTS, name): f"bytes of {name}".encode()
        for name in ("poster.jpg", "preview.mp4", "loudness.json")
    }
    assert len(cloud.video_rows) == 1
    assert all(len(key) > len(KEY) for key in cloud.objects), (
        "directly in the account's folder lie videos alone"
    )


@pytest.mark.parametrize("fault", [Retry("the network is away"), Reject("mime type not allowed", "allow it")])
def test_an_artefact_that_is_not_taken_costs_nothing(shelf: Shelf, cloud: Diary, fault: Exception) -> None:
    class Choosy(Diary):
        def store(self, bucket: str, key: str, *args: Any, **more: Any) -> bool:
            if not key.endswith(NAME):
                raise fault
            return super().store(bucket, key, *args, **more)

    choosy = Choosy()
    choosy.booking_rows = cloud.booking_rows
    entry = with_artefacts(shelf, "poster.jpg", "preview.mp4")
    assert send(entry, choosy) == Done()
    assert set(choosy.objects) == {KEY}
    assert entry.job.outcome is JobOutcome.PUBLISHED


def test_artefacts_that_are_there_are_not_sent_again(shelf: Shelf, cloud: Diary) -> None:
    entry = with_artefacts(shelf, "poster.jpg")
    send(entry, cloud)
    send(entry, cloud)
    assert cloud.calls["store"] == 2


def test_a_stop_after_the_video_is_published_leaves_the_artefacts(shelf: Shelf, cloud: Diary) -> None:
    task = Task()
    entry = with_artefacts(shelf, "poster.jpg")

    class Late(Diary):
        def advance_status(self, booking_id: str, status: str) -> bool:
            task.stop()
            return super().advance_status(booking_id, status)

    late = Late()
    late.booking_rows = cloud.booking_rows
    assert send(entry, late, task) == Done()
    assert set(late.objects) == {KEY}
