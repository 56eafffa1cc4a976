"""Small disks of their own, filled to the last block, to the last name, or gone read-only under the work.

At each stage: nothing is lost, the job says why it waits, the service goes on when there is room again. Needs
root, to mount.
"""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from ezrec.camera.take_writer import ReservingDisk
from ezrec.domain.branding import Assets
from ezrec.domain.disk_policy import DiskMeasure
from ezrec.domain.job import Job, Kind, Result, Take
from ezrec.domain.outcomes import Done
from ezrec.domain.stages import State
from ezrec.media.mp4.boxes import check_whole
from ezrec.media.mp4.repair import repair
from ezrec.monitoring.disk_guard import DiskGuard
from ezrec.monitoring.state_files import read_disk_measures
from ezrec.processing.process import process
from ezrec.publishing.upload import upload
from ezrec.runtime.handling import Handler
from ezrec.spool.spool import Entry, Spool
from ezrec.sync.booking_sync import BookingSync
from ezrec.sync.branding_cache import BrandingCache
from ezrec.system import disk_reserve
from tests.fakes.backend import FakeBackend
from tests.fakes.clock import StandingClock
from tests.fakes.transcoder import FakeTranscoder, footage
from tests.support.boxes import LOG, CourtBox, a_box
from tests.support.card import Card, fill, why_no_card
from tests.support.court import LIMIT_S, Court
from tests.support.recording import are_in_a_row, frame_numbers
from tests.support.stagework import CREATED, ZONE, a_drain, put
from tests.support.wait import eventually

pytestmark = pytest.mark.skipif(bool(why_no_card()), reason=why_no_card() or "it can")
RESERVE = 4 << 20
TAKE = "raw_match_20260601_180000.mp4"


@pytest.fixture
def card(tmp_path: Path) -> Iterator[Card]:
    try:
        made = Card(tmp_path)
    except subprocess.CalledProcessError:
        pytest.skip("no small file system can be mounted here")
    yield made
    made.close()


@pytest.fixture
def large_card(tmp_path: Path) -> Iterator[Card]:
    """With more room than processing wants to spare."""
    (tmp_path / "large").mkdir()
    try:
        made = Card(tmp_path / "large", 128)
    except subprocess.CalledProcessError:
        pytest.skip("no small file system can be mounted here")
    yield made
    made.close()


@pytest.fixture
def few_names(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "few"
    place.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=16m,nr_inodes=120", "tmpfs", str(place)]
    if subprocess.run(argv, capture_output=True, timeout=20).returncode:
        pytest.skip("no small file system can be mounted here")
    yield place
    subprocess.run(["umount", "-l", place], check=True, timeout=20)


@pytest.fixture
def box(card: Card) -> CourtBox:
    """On the card, with its reserve, and so much room that something is left to be filled."""
    made = a_box(card.at)
    assert disk_reserve.make(made.spool.root, RESERVE)
    return made


def take_names(place: Path) -> list[Path]:
    """Not a name is left."""
    made = []
    with contextlib.suppress(OSError):
        for number in range(10_000):
            (place / f"name-{number}").touch(exist_ok=False)
            made.append(place / f"name-{number}")
    return made


def guard(box: CourtBox) -> DiskGuard:
    return DiskGuard(
        box.spool, box.clock, LOG, box.settings.state, box.settings.logs, box.settings.bitrate, RESERVE
    )


def has_reserve(spool: Spool) -> bool:
    return disk_reserve.missing(spool.root, RESERVE) == 0


def footage_of(spool: Spool, state: State, job_id: str = "match") -> Entry:
    entry = put(spool, state, job_id, takes=(Take(TAKE, CREATED, 2.0, 0, "end of window"),))
    footage(entry.path / TAKE)
    return entry


def video_of(spool: Spool, job_id: str = "match") -> Entry:
    entry = footage_of(spool, State.PROCESSED, job_id)
    video = entry.path / f"processed_{TAKE}"
    video.write_bytes(b"a finished video" * 100)
    entry.update(result=Result(video.name, 2.0, video.stat().st_size, ("x",)))
    return entry


def uploading(cloud: FakeBackend) -> Handler:
    return functools.partial(
        upload, backend=cloud, clock=StandingClock(), zone=ZONE, user_id="user-1", camera_id="0", log=LOG
    )


def processing(is_short: Callable[[], bool] = lambda: False) -> Handler:
    return functools.partial(
        process, transcoder=FakeTranscoder(), assets=lambda: Assets(is_known=True), repair=repair, log=LOG,
        is_short=is_short,
    )  # fmt: skip


# ---- record


@pytest.fixture
def court(card: Card) -> Iterator[Court]:
    """A booking on the card that is being recorded, with the reserve beside it."""
    spool = Spool(card.at / "spool")
    spool.prepare()
    assert disk_reserve.make(spool.root, RESERVE)
    made = Court(card.at, 3 * LIMIT_S, disk=ReservingDisk(RESERVE))
    yield made
    made.close()


def test_record_a_take_that_the_full_disk_ends_stands_whole_in_its_record_at_once(
    card: Card, court: Court
) -> None:
    court.wait_for(court.is_writing)
    ballast = fill(card.at)
    court.wait_for(lambda: any(take.ended_by == "disk full" for take in court.job.takes))
    court.wait_for(lambda: not has_reserve(court.spool))
    court.wait_for(lambda: [take.ended_by for take in _written(court).takes] == ["disk full"])
    (full,) = _written(court).takes
    check_whole(court.entry.path / full.file)
    assert (court.entry.path / full.file).stat().st_size == full.size
    # Nothing is recorded into the room that the reserve has left: the upload's records need it.
    court.wait_for(lambda: "cannot be created: disk full" in court.health().last_error)
    court.wait_for(lambda: len(_written(court).takes) == 1)
    ballast.unlink()
    court.wait_for(lambda: court.is_writing(2))
    assert court.whistled() == Done()
    assert all(are_in_a_row(numbers) for numbers in court.footage())


def test_record_a_take_ends_also_when_a_record_was_first_to_take_the_reserve(
    card: Card, court: Court
) -> None:
    court.wait_for(court.is_writing)
    ballast = fill(card.at)
    assert eventually(lambda: not has_reserve(court.spool) or disk_reserve.give_up(court.spool.root), LIMIT_S)
    court.wait_for(lambda: [take.ended_by for take in _written(court).takes] == ["disk full"])
    disk = os.statvfs(card.at)
    assert disk.f_bavail * disk.f_frsize > RESERVE / 2, "the take went on in the room of the records"
    ballast.unlink()
    court.wait_for(lambda: court.is_writing(2))
    assert court.whistled() == Done()


def _written(court: Court) -> Job:
    return court.spool.read(State.RECORDING, "match").job


def test_record_a_disk_that_goes_read_only_ends_the_take_and_recording_goes_on_when_it_is_back(
    card: Card, court: Court, caplog: pytest.LogCaptureFixture
) -> None:
    trigger = next(Path("/sys/fs/ext4").glob(f"{_device(card)}/trigger_fs_error"), None)
    if trigger is None:
        pytest.skip("this kernel cannot fail a file system on request")
    court.wait_for(lambda: court.camera.health().written > 250_000)
    subprocess.run(["mount", "-o", "remount,errors=remount-ro", card.at], check=True, timeout=20)
    try:
        trigger.write_text("tried by a test")
    except OSError:
        pytest.skip("this kernel cannot fail a file system on request")
    court.wait_for(
        lambda: "disk failed" in court.health().last_error or "Read-only" in court.health().last_error
    )
    assert court.camera.health().running
    assert court.health().expected_to_record
    (take,) = court.job.takes
    # In the middle of a long pause: while nothing is mounted there it would see no job at all.
    court.wait_for(lambda: "again in 10 s" in caplog.text)
    assert eventually(lambda: _comes_back(card), LIMIT_S)
    court.wait_for(lambda: len(court.job.takes) == 2 and court.is_writing(2))
    assert court.whistled() == Done()
    first = court.entry.path / court.job.takes[0].file
    repair(first)  # as processing does first: a disk that takes nothing takes no cut either
    kept = frame_numbers(first)
    assert are_in_a_row(kept)
    assert len(kept) >= take.duration_s * 30 - 75, "no more is lost than was not synced, some seconds"


def test_record_a_disk_that_is_pulled_and_comes_back_is_written_on_at_once(
    card: Card, court: Court, caplog: pytest.LogCaptureFixture
) -> None:
    """As a USB disk in the middle of a match: all but what was in flight is kept, and what the camera has in
    memory of the time between is written."""
    court.wait_for(lambda: court.camera.health().written > 250_000)
    card.lose_power()
    court.wait_for(lambda: "disk failed" in court.health().last_error or "again in" in caplog.text)
    assert eventually(lambda: _is_unmounted(card), LIMIT_S)
    court.wait_for(lambda: "again in 5 s" in caplog.text)
    assert court.camera.health().running
    assert court.health().expected_to_record
    began = court.clock.now()
    card.mount()
    court.wait_for(lambda: len(court.job.takes) == 2 and court.is_writing(2))
    assert court.whistled() == Done()
    first, second = court.job.takes
    repair(court.entry.path / first.file)
    kept, more = (frame_numbers(court.entry.path / take.file) for take in court.job.takes)
    assert are_in_a_row(kept)
    assert are_in_a_row(more)
    assert len(kept) >= first.duration_s * 30 - 75, "no more is lost than was not synced, some seconds"
    assert second.started < began, "what the camera had in memory of the time before is in it"


def _is_unmounted(card: Card) -> bool:
    return subprocess.run(["umount", str(card.at)], capture_output=True, timeout=20).returncode == 0


def test_record_a_spool_that_is_renamed_and_comes_back_interrupts_nothing(
    card: Card, court: Court, caplog: pytest.LogCaptureFixture
) -> None:
    court.wait_for(court.is_writing)
    court.spool.root.rename(card.at / "elsewhere")
    size = court.camera.health().written
    court.wait_for(lambda: court.camera.health().written > size + 250_000)
    (card.at / "elsewhere").rename(court.spool.root)
    assert court.whistled() == Done()
    (take,) = _written(court).takes
    assert are_in_a_row(frame_numbers(court.entry.path / take.file))
    assert not (card.at / "spool" / "recording" / "match" / "recording").exists()


def _device(card: Card) -> str:
    source = subprocess.run(
        ["findmnt", "-no", "SOURCE", card.at], check=True, capture_output=True, text=True, timeout=20
    )
    return Path(source.stdout.strip()).name


def _comes_back(card: Card) -> bool:
    try:
        card.come_back()
    except subprocess.CalledProcessError:
        return False  # somebody has just tried to write there
    return True


# ---- process


def test_process_waits_without_blame_and_publishes_as_recorded_when_no_room_comes(
    card: Card, box: CourtBox
) -> None:
    footage_of(box.spool, State.RAW)
    ballast = fill(card.at)
    a_drain("process", box.spool, processing()).run()
    waits = box.spool.read(State.DEFERRED, "match")
    assert "disk full" in waits.job.reason
    assert waits.job.attempts["process"] == 0
    guard(box)(box.collect())
    measure = read_disk_measures(box.settings.state, box.now)
    assert measure is None or measure.measure is DiskMeasure.ALARM, "told even where no file can be written"
    box.spool.move(waits, State.RAW)
    a_drain("process", box.spool, processing(lambda: True)).run()
    made = box.spool.read(State.PROCESSED, "match")
    assert made.job.result is not None
    assert (made.path / made.job.result.file).read_bytes() == (made.path / TAKE).read_bytes()
    ballast.unlink()


def test_process_goes_on_when_there_is_room_again(large_card: Card) -> None:
    box = a_box(large_card.at)
    assert disk_reserve.make(box.spool.root, RESERVE)
    footage_of(box.spool, State.RAW)
    ballast = fill(large_card.at)
    a_drain("process", box.spool, processing()).run()
    ballast.unlink()
    box.spool.move(box.spool.read(State.DEFERRED, "match"), State.RAW)
    a_drain("process", box.spool, processing()).run()
    assert box.spool.read(State.PROCESSED, "match").job.result is not None


# ---- upload


def test_upload_frees_a_full_disk_by_means_of_the_reserve(card: Card, box: CourtBox) -> None:
    video_of(box.spool)
    cloud = FakeBackend()
    fill(card.at)
    a_drain("upload", box.spool, uploading(cloud)).run()
    assert box.spool.finished("match") is not None
    assert box.spool.names(State.PROCESSED) == []
    assert len(cloud.objects) == 1


def test_upload_without_a_reserve_keeps_the_video_and_publishes_it_once_when_there_is_room(
    card: Card, box: CourtBox
) -> None:
    disk_reserve.give_up(box.spool.root)
    entry = video_of(box.spool)
    cloud = FakeBackend()
    ballast = fill(card.at)
    a_drain("upload", box.spool, uploading(cloud)).run()
    assert (entry.path / TAKE).exists() or box.spool.finished("match") is not None
    ballast.unlink()
    a_drain("upload", box.spool, uploading(cloud)).run()
    for waiting in box.spool.entries(State.DEFERRED):
        box.spool.move(waiting, State.PROCESSED)
    a_drain("upload", box.spool, uploading(cloud)).run()
    assert box.spool.finished("match") is not None
    assert len(cloud.objects) == 1
    assert len(cloud.video_rows) == 1


def test_a_kept_copy_is_the_first_thing_to_go_when_the_disk_is_full(card: Card, box: CourtBox) -> None:
    video_of(box.spool)
    a_drain("upload", box.spool, uploading(FakeBackend()), keeps=True).run()
    (kept,) = box.spool.kept_copies()
    assert kept.job.result is not None
    assert os.listdir(kept.path) != []
    waiting = footage_of(box.spool, State.RAW, "other")
    fill(card.at)
    guard(box)(replace(box.collect(), booked_s=3600.0))
    assert box.spool.kept_copies() == []
    assert (waiting.path / TAKE).exists()


# ---- what is beside the stages


def test_sync_drops_the_booking_when_there_is_room_again(card: Card, box: CourtBox) -> None:
    disk_reserve.give_up(box.spool.root)
    cloud = FakeBackend()
    start = box.now + timedelta(hours=1)
    cloud.add_booking(
        {"id": "b1", "date": f"{start:%Y-%m-%d}", "start_time": f"{start:%H:%M}", "end_time": "23:00"}
    )
    cache = box.settings.booking_cache
    media = BrandingCache(box.settings.media_cache)
    sync = BookingSync(cloud, box.spool, cache, media, box.clock, ZoneInfo("UTC"), LOG)
    ballast = fill(card.at)
    with pytest.raises(OSError, match="No space left"):
        sync()
    assert not [name for name in box.spool.names(State.INCOMING) if not name.endswith(".json")]
    ballast.unlink()
    sync()
    assert box.spool.names(State.INCOMING) == ["b1.json"]


WRITES_ON = """
import sys
from pathlib import Path
from ezrec.system import log_setup as logs
logs.begin(Path(sys.argv[1]), ["status"])
for number in range(200):
    logs.logger("status").warning("line %d on a full disk %s", number, "x" * 200)
print("it lives", flush=True)
"""


def test_logs_that_no_disk_takes_stop_nobody(card: Card, box: CourtBox) -> None:
    fill(card.at)
    argv = [sys.executable, "-c", WRITES_ON, str(box.settings.logs)]
    said = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    assert said.stdout.endswith("it lives\n")
    assert "line 199" in said.stdout


def test_the_reserve_is_made_again_when_there_is_room(card: Card, box: CourtBox) -> None:
    disk_reserve.give_up(box.spool.root)
    ballast = fill(card.at)
    guard(box)(box.collect())
    assert not has_reserve(box.spool)
    ballast.unlink()
    guard(box)(box.collect())
    assert has_reserve(box.spool)


# ---- no names left


def test_without_a_name_left_an_upload_is_finished_by_means_of_the_reserve(few_names: Path) -> None:
    spool = Spool(few_names / "spool")
    spool.prepare()
    a_drain("upload", spool).run()  # the stage's lock is a file too
    video_of(spool)
    assert disk_reserve.make(spool.root, RESERVE)
    assert take_names(few_names)
    with pytest.raises(OSError, match="No space left"):
        (few_names / "more").touch()
    cloud = FakeBackend()
    a_drain("upload", spool, uploading(cloud)).run()
    assert spool.finished("match") is not None
    assert len(cloud.objects) == 1


def test_without_a_name_left_a_job_waits_and_goes_on_when_there_are_some(few_names: Path) -> None:
    spool = Spool(few_names / "spool")
    spool.prepare()
    a_drain("process", spool).run()
    entry = footage_of(spool, State.RAW)
    names = take_names(few_names)
    a_drain("process", spool, processing(lambda: True)).run()
    found = spool.find("match")
    assert found is not None
    assert (found.path / TAKE).read_bytes()
    for path in names:
        path.unlink()
    if found.state is not State.PROCESSED:
        spool.move(found, State.RAW)
        a_drain("process", spool, processing(lambda: True)).run()
    assert spool.read(State.PROCESSED, "match").job.kind is Kind.CLIP
    assert entry.id == "match"
