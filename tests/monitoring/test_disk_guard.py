"""The disk guard, `tidy` and `ezrec spool purge` on real directories: what goes, and what never does."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ezrec.app import periodic, recording, services
from ezrec.cli import purge as purging
from ezrec.domain.disk_policy import DiskMeasure, DiskMeasures, Goes, Space
from ezrec.domain.errors import Refused
from ezrec.domain.job import JobOutcome
from ezrec.domain.snapshot import Snapshot
from ezrec.domain.stages import State
from ezrec.monitoring.disk_guard import DiskGuard, write_disk_measures
from ezrec.monitoring.retention import Retention
from ezrec.monitoring.state_files import read_disk_measures, read_status_file
from ezrec.monitoring.status import StatusReporter
from ezrec.settings.types import Resolution
from ezrec.spool import usage
from ezrec.spool.actions import remove
from ezrec.spool.spool import Entry
from ezrec.system import disk_reserve
from ezrec.system.clock import SystemClock
from tests.fakes.clock import StandingClock
from tests.support.boxes import LOG, CourtBox, a_box
from tests.support.daemon import Box
from tests.support.jobs import NOW, ezrec, laid
from tests.support.recording import our_cameras
from tests.support.wait import eventually

MB = 1_000_000


@pytest.fixture
def box(tmp_path: Path) -> CourtBox:
    return a_box(tmp_path, EZREC_RESERVE_MB="0")


def fill(path: Path, size: int = MB) -> Path:
    """A file that takes room: the guard goes by blocks, not by what a file claims."""
    with open(path, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)
    return path


def trashed(box: CourtBox, job_id: str) -> Path:
    entry = laid(box.spool, State.FAILED, job_id)
    fill(entry.path / entry.job.takes[0].file)
    return remove(box.spool, entry, NOW, with_footage=True).path


def kept(box: CourtBox, job_id: str) -> Path:
    entry = laid(box.spool, State.PROCESSED, job_id)
    assert entry.job.result is not None
    fill(entry.path / entry.job.result.file)
    box.spool.leave(entry, replace(entry.job, outcome=JobOutcome.PUBLISHED), keep=True)
    return entry.path


def rotated(box: CourtBox, name: str = "record.log.1") -> Path:
    return fill(box.settings.logs / name)


class UntrustedClock(StandingClock):
    def is_synchronised(self) -> bool:
        return False


@dataclass
class ShrinkingDisk:
    """Says what is free: `free` and what has gone since of the things named in `counts`."""

    free: int
    counts: dict[Path, int] = field(default_factory=dict)
    inodes: int | None = None

    def __call__(self, _: Path) -> Space:
        return Space(
            self.free + sum(size for path, size in self.counts.items() if not path.exists()), self.inodes
        )


def guard(box: CourtBox, disk: Callable[[Path], Space], reserve_bytes: int = 0) -> DiskGuard:
    return DiskGuard(
        box.spool, box.clock, LOG, box.settings.state, box.settings.logs, box.settings.bitrate,
        reserve_bytes, disk,
    )  # fmt: skip


def booked(box: CourtBox, **changes: Any) -> Snapshot:
    """The facts with an hour of bookings ahead: 9.9 GB and the spare, 10.65 GB."""
    return replace(box.collect(), booked_s=3600.0, recording_bytes_a_minute=75.0 * MB, **changes)


# ---- what goes


def test_each_thing_goes_in_its_turn_and_only_until_it_fits(
    box: CourtBox, caplog: pytest.LogCaptureFixture
) -> None:
    things = [trashed(box, "t1"), kept(box, "k1"), rotated(box)]
    disk = ShrinkingDisk(10_640 * MB, dict.fromkeys(things, 8 * MB))
    with caplog.at_level(logging.WARNING):
        assert guard(box, disk)(booked(box)) == ""
    assert [path.exists() for path in things] == [False, False, True]
    told = [record.getMessage() for record in caplog.records]
    assert told[0].startswith("removed t1 (trash, 1.0 MB)")
    assert told[1].startswith("removed k1.")


def test_nothing_goes_while_there_is_room(box: CourtBox) -> None:
    things = [trashed(box, "t1"), kept(box, "k1"), rotated(box)]
    assert guard(box, lambda _: Space(11_000 * MB))(booked(box)) == ""
    assert all(path.exists() for path in things)
    assert not (box.settings.state / "room.json").exists()


def test_the_last_thing_goes_but_never_what_was_not_uploaded(box: CourtBox) -> None:
    waiting = [
        laid(box.spool, state, f"w-{state}")
        for state in (
            State.RECORDING,
            State.RAW,
            State.PROCESSING,
            State.PROCESSED,
            State.DEFERRED,
            State.FAILED,
        )
    ]
    (box.spool.root / ".new" / "raw.half.0000").mkdir()
    half = fill(box.spool.root / ".new" / "raw.half.0000" / "raw_half.mp4")
    before = {path: path.read_bytes() for entry in waiting for path in entry.path.iterdir()}
    current = fill(box.settings.logs / "record.log")
    things = [trashed(box, "t1"), kept(box, "k1"), rotated(box)]
    short = guard(box, lambda _: Space(0))(booked(box))
    assert "60 min are booked within 24 h, and the disk has room for 0 min" in short
    assert not any(path.exists() for path in things)
    assert {path: path.read_bytes() for path in before} == before
    assert half.exists()
    assert current.exists()
    assert box.spool.finished("k1") is not None, "the history stays: it keeps from recording twice"


def test_without_names_things_go_until_there_are_some(box: CourtBox) -> None:
    trashed(box, "t1")
    disk = ShrinkingDisk(100_000 * MB, inodes=3)
    assert "only 3 more files" in guard(box, disk)(booked(box))
    assert list(box.spool.trash.iterdir()) == []


def test_logs_on_another_disk_free_nothing_here_and_stay(box: CourtBox) -> None:
    elsewhere = Path("/dev/shm")
    if os.stat(elsewhere).st_dev == os.stat(box.spool.root).st_dev:
        pytest.skip("needs two file systems")
    assert not [one for one in usage.evictables(box.spool, elsewhere) if one.goes is Goes.LOG]


@dataclass
class TwoDisks:
    """The logs have one of their own, on which each removed log frees its size."""

    logs: Path
    free: int
    removed: int = 10 * MB

    def __call__(self, place: Path) -> Space:
        if place != self.logs:
            return Space(1_000_000 * MB)
        return Space(self.free + self.removed * (3 - len(list(self.logs.iterdir()))))


@pytest.fixture
def logs_elsewhere(tmp_path: Path) -> Iterator[CourtBox]:
    elsewhere = Path("/dev/shm")
    if os.stat(elsewhere).st_dev == os.stat(tmp_path).st_dev:
        pytest.skip("needs two file systems")
    with tempfile.TemporaryDirectory(dir=elsewhere) as folder:
        made = a_box(tmp_path, EZREC_RESERVE_MB="0", LOGS_DIR=f"{folder}/logs")
        for number in (1, 2, 3):
            path = rotated(made, f"record.log.{number}")
            os.utime(path, (4000 - number, 4000 - number))
        yield made


def left(box: CourtBox) -> list[str]:
    return sorted(path.name for path in box.settings.logs.iterdir())


def test_on_a_disk_of_their_own_old_logs_go_until_it_has_room_again(logs_elsewhere: CourtBox) -> None:
    box = logs_elsewhere
    guard(box, TwoDisks(box.settings.logs, 30 * MB))(booked(box))
    assert left(box) == ["record.log.1", "record.log.2"], "the oldest goes, and no more than has to"


def test_logs_on_a_disk_of_their_own_stay_while_it_has_room_however_short_the_spools_is(
    logs_elsewhere: CourtBox,
) -> None:
    box = logs_elsewhere
    kept_copy = kept(box, "k1")
    guard(box, lambda place: Space(1000 * MB if place == box.settings.logs else 0))(booked(box))
    assert len(left(box)) == 3
    assert not kept_copy.exists()


def test_the_trash_stays_when_only_the_disk_of_the_logs_is_short(logs_elsewhere: CourtBox) -> None:
    box = logs_elsewhere
    thing = trashed(box, "t1")
    guard(box, TwoDisks(box.settings.logs, 0))(booked(box))
    assert left(box) == []
    assert thing.exists()


def test_the_facts_tell_of_the_disks_beside_the_spools(logs_elsewhere: CourtBox) -> None:
    (disk,) = logs_elsewhere.collect().other_disks
    assert disk.holds == ("LOGS_DIR",)
    assert disk.free_bytes == pytest.approx(usage.space(Path("/dev/shm")).free, rel=0.5)


def test_a_link_in_the_trash_is_removed_and_not_followed(box: CourtBox, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    fill(outside / "match.mp4")
    (box.spool.trash / "link").symlink_to(outside)
    (box.settings.logs / "x.log.1").symlink_to(outside / "match.mp4")
    guard(box, lambda _: Space(0))(booked(box))
    assert (outside / "match.mp4").exists()
    assert not (box.spool.trash / "link").is_symlink()
    assert (box.settings.logs / "x.log.1").is_symlink()


def test_what_has_another_name_elsewhere_frees_nothing(box: CourtBox) -> None:
    path = trashed(box, "t1")
    take = next(path.glob("*.mp4"))
    os.link(take, box.home / "the-same.mp4")
    assert next(iter(usage.evictables(box.spool, box.settings.logs))).size < MB


# ---- the measure


def test_the_measure_is_written_once_and_believed_for_an_hour(box: CourtBox) -> None:
    watch = guard(box, lambda _: Space(5_300 * MB))
    watch(booked(box))
    found = read_disk_measures(box.settings.state, box.now)
    assert found is not None
    assert found.measure is DiskMeasure.UNBRANDED
    stamp = (box.settings.state / "room.json").stat().st_mtime_ns
    box.pass_time(15)
    watch(booked(box))
    assert (box.settings.state / "room.json").stat().st_mtime_ns == stamp
    box.pass_time(3700)
    assert read_disk_measures(box.settings.state, box.now) is None
    watch(booked(box))
    assert read_disk_measures(box.settings.state, box.now) is not None


def test_the_measure_is_taken_back_when_there_is_room(
    box: CourtBox, caplog: pytest.LogCaptureFixture
) -> None:
    guard(box, lambda _: Space(0))(booked(box))
    with caplog.at_level(logging.WARNING):
        assert guard(box, lambda _: Space(20_000 * MB))(booked(box)) == ""
    found = read_disk_measures(box.settings.state, box.now)
    assert found is not None
    assert (found.measure, found.bitrate) == (DiskMeasure.AMPLE, box.settings.bitrate)
    assert "there is room again" in caplog.text


def test_what_is_measured_at_a_lower_bitrate_does_not_take_the_measure_back(box: CourtBox) -> None:
    disk = Space(3_000 * MB)
    guard(box, lambda _: disk)(booked(box))
    found = read_disk_measures(box.settings.state, box.now)
    assert found is not None
    assert found.measure is DiskMeasure.LOWER_BITRATE
    guard(box, lambda _: disk)(replace(booked(box), recording_bytes_a_minute=30.0 * MB))
    assert read_disk_measures(box.settings.state, box.now) == found


def test_junk_in_the_file_is_no_measure(box: CourtBox) -> None:
    box.settings.state.mkdir(exist_ok=True)
    (box.settings.state / "room.json").write_bytes(b"\0\0")
    assert read_disk_measures(box.settings.state, box.now) is None
    guard(box, lambda _: Space(0))(booked(box))
    assert read_disk_measures(box.settings.state, box.now) is not None


# ---- the reserve


def test_the_reserve_is_made_when_there_is_room_and_takes_real_room(box: CourtBox) -> None:
    guard(box, lambda _: Space(MB), reserve_bytes=2 * MB)(booked(box))
    assert not (box.spool.root / ".reserve").exists()
    guard(box, lambda _: Space(100_000 * MB), reserve_bytes=2 * MB)(booked(box))
    laid_aside = os.stat(box.spool.root / ".reserve" / "room")
    assert laid_aside.st_size == 2 * MB
    assert laid_aside.st_blocks * 512 >= 2 * MB
    guard(box, lambda _: Space(100_000 * MB), reserve_bytes=MB)(booked(box))
    assert os.stat(box.spool.root / ".reserve" / "room").st_size == MB


def test_given_up_it_is_gone_once(box: CourtBox) -> None:
    assert disk_reserve.make(box.spool.root, MB)
    assert disk_reserve.give_up(box.spool.root)
    assert not disk_reserve.give_up(box.spool.root)
    assert disk_reserve.make(box.spool.root, MB)
    assert not disk_reserve.make(box.spool.root, 0)
    assert not (box.spool.root / ".reserve").exists()


# ---- by age


def tidy(box: CourtBox, keep: timedelta) -> Retention:
    return Retention(box.spool, box.clock, LOG, keep, box.settings.logs, (box.settings.state,))


def aged(path: Path, box: CourtBox, days: float) -> Path:
    """As if it had come to lie there so long ago, by the box's clock."""
    moment = box.now.timestamp() - days * 86400
    record = path / "job.json"
    if record.exists():
        told = json.loads(record.read_bytes())
        told["arrivals"] = []
        record.write_text(json.dumps(told))
    os.utime(path, (moment, moment))
    return path


def test_kept_copies_and_the_trash_go_when_their_time_is_over(box: CourtBox) -> None:
    old, new = aged(kept(box, "k1"), box, 3.1), aged(kept(box, "k2"), box, 2.9)
    trash_old, trash_new = aged(trashed(box, "t1"), box, 31), aged(trashed(box, "t2"), box, 29)
    log = rotated(box)
    tidy(box, timedelta(days=3))()
    assert [path.exists() for path in (old, new, trash_old, trash_new, log)] == [
        False,
        True,
        False,
        True,
        True,
    ]


def test_nothing_goes_by_age_under_a_clock_that_nobody_trusts(box: CourtBox) -> None:
    old = aged(trashed(box, "t1"), box, 9999)
    replace(tidy(box, timedelta(0)), clock=UntrustedClock())()
    assert old.exists()


def test_what_killed_writers_left_is_swept_at_the_first_beat_whatever_the_clock_says(box: CourtBox) -> None:
    box.settings.state.mkdir(exist_ok=True)
    entry = laid(box.spool, State.RAW, "b1")
    dead = [
        entry.path / ".job.json.999999999-140.new",
        box.settings.state / ".alerts.json.999999999-140.new",
        box.spool.done / ".b0.json.999999999-140.new",
        box.settings.state / ".health.json.new",  # as earlier versions called it
        box.spool.root / ".put-0011",
    ]
    young = entry.path / ".reason.txt.999999999-140.new"
    ours = entry.path / f".job.json.{os.getpid()}-140.new"
    for path in (*dead, young, ours):
        path.touch()
        age_s = 30 if path is young else -2000 if path is dead[0] else 2000  # the clock was set back since
        os.utime(path, (box.now.timestamp() - age_s,) * 2)
    replace(tidy(box, timedelta(0)), clock=UntrustedClock(box.now))()
    assert [path.exists() for path in (*dead, young, ours)] == [False] * 5 + [True, True]
    os.utime(ours, (box.now.timestamp() - 90000,) * 2)
    tidy(box, timedelta(0))()
    assert not ours.exists(), "a process id is given out again, and no writing lasts a day"


# ---- kept copies


def test_a_kept_copy_is_the_video_and_its_record_alone(box: CourtBox) -> None:
    path = kept(box, "k1")
    entry: Entry = box.spool.kept_copies()[0]
    assert entry.job.result is not None
    assert sorted(os.listdir(path)) == ["job.json", entry.job.result.file]
    assert box.spool.finished("k1") is not None
    assert not box.spool.knows("k1", anew=True)


def test_a_second_video_under_the_same_id_is_kept_beside_the_first(box: CourtBox) -> None:
    kept(box, "k1")
    kept(box, "k1")
    assert [entry.id for entry in box.spool.kept_copies()] == ["k1", "k1"]


# ---- by a person


def purge(home: Path, *arguments: str) -> str:
    said = ezrec(home, "spool", "purge", *arguments, USER_ID="user-1", EZREC_ASSUME_CLOCK="yes")
    assert said.returncode == 0, said.stderr
    return said.stdout


def test_purge_shows_first_and_removes_with_yes(box: CourtBox) -> None:
    trash, copy, log = trashed(box, "t1"), kept(box, "k1"), rotated(box)
    waiting = laid(box.spool, State.PROCESSED, "w1")
    shown = purge(box.home)
    assert [line.split()[0] for line in shown.splitlines()] == ["trash", "kept", "log", "3"]
    assert "add --yes" in shown
    assert trash.exists()
    assert purge(box.home, "--yes").splitlines()[-1].startswith("3 removed")
    assert not any(path.exists() for path in (trash, copy, log))
    assert waiting.path.exists()
    assert "Nothing has to go" in purge(box.home)


def test_purge_takes_only_what_is_older_or_only_until_it_is_enough(box: CourtBox) -> None:
    trash, copy = trashed(box, "t1"), kept(box, "k1")
    for path in (trash, copy):
        aged(path, box, 0)
    os.utime(trash, (0, 0))
    shown = purge(box.home, "--older", "9000d")
    assert shown.splitlines()[0].endswith(" t1")
    assert "kept" not in shown
    assert "Nothing has to go" in purge(box.home, "--until-free", "1kB")
    free = usage.space(box.spool.root).free
    found = json.loads(purge(box.home, "--until-free", f"{free + 500 * MB}B", "--json", "--yes"))
    assert found["is_enough"] is False
    assert all(item["removed"] for item in found["items"])
    assert len(found["items"]) == 2


def test_purge_by_age_is_refused_under_a_clock_that_nobody_trusts(box: CourtBox) -> None:
    path = trashed(box, "t1")
    with pytest.raises(Refused, match="not synchronised"):
        purging.plan(box.spool, box.settings.logs, UntrustedClock(), timedelta(0), None)
    assert path.exists()


def test_the_kept_copies_are_listed(box: CourtBox) -> None:
    kept(box, "k1")
    laid(box.spool, State.RAW, "w1")
    said = ezrec(box.home, "spool", "ls", "--kept", USER_ID="user-1")
    assert "uploaded, and kept" in said.stdout
    assert "w1 " not in said.stdout


# ---- as it is put together


def test_a_recorders_camera_starts_with_the_bitrate_that_the_disk_allows(box: CourtBox) -> None:
    wishes = replace(box.settings, camera="software", resolution=Resolution(320, 180), bitrate=1_000_000)
    camera = recording.camera(wishes, LOG)
    write_disk_measures(
        wishes.state, DiskMeasures(SystemClock(assume=True).now(), DiskMeasure.LOWER_BITRATE, 400_000)
    )
    with camera.hold(lambda: None):
        assert eventually(lambda: bool(our_cameras()))
        assert "-b:v 400000 " in _asked_of(our_cameras()[0])
    (wishes.state / "room.json").unlink()
    with camera.hold(lambda: None):
        assert eventually(lambda: bool(our_cameras()))
        assert "-b:v 1000000 " in _asked_of(our_cameras()[0])


def _asked_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def test_the_settings_reach_those_who_keep_them(box: CourtBox) -> None:
    assert not services.worker("upload", box.settings).keeps
    keeping = replace(box.settings, keep_uploaded=timedelta(days=3))
    assert services.worker("upload", keeping).keeps
    status = periodic.periodic_task("status", box.settings).work
    assert isinstance(status, StatusReporter)
    assert isinstance(status.forecast, DiskGuard)
    assert isinstance(periodic.periodic_task("tidy", box.settings).work, Retention)


def test_the_status_tells_the_measure_and_the_alert(box: CourtBox) -> None:
    status = box.status()
    status.forecast = guard(box, lambda _: Space(0))
    box.healthy()
    status()
    status.finish(60)
    found = read_status_file(box.settings.state)
    assert found is not None
    assert "at 4.0 Mbit/s, and even that is not enough" in found.facts.disk_measure
    assert [alert.name for alert in found.alerts if alert.is_raised] == ["disk_short"]


def test_the_disk_is_looked_at_anew_when_the_bookings_change(tmp_path: Path) -> None:
    court = Box(tmp_path / "home", SYSTEM_STATUS_INTERVAL="3600")
    daemon = court.run("--only", "status")
    try:
        assert eventually(lambda: read_status_file(court.settings.state) is not None, 60)
        start = datetime.now(UTC) + timedelta(hours=1)
        row = {
            "id": "b1",
            "start_time": start.isoformat(),
            "end_time": (start + timedelta(hours=1)).isoformat(),
        }
        (court.spool.directory(State.INCOMING) / "b1.json").write_text(json.dumps(row))
        assert eventually(lambda: _booked_s(court) > 3500, 60)
    finally:
        court.kill_all(daemon)


def _booked_s(court: Box) -> float:
    found = read_status_file(court.settings.state)
    return found.facts.booked_s if found else 0.0


def test_an_uploaded_video_is_kept_for_as_long_as_the_setting_says(tmp_path: Path) -> None:
    court = Box(tmp_path / "home", EZREC_KEEP_UPLOADED="1d", USER_ID="u1")
    entry = laid(court.spool, State.PROCESSED, "k1")
    assert entry.job.result is not None
    court.once("run-stage", "upload", "--once")
    (copy,) = court.spool.kept_copies()
    assert (copy.path / entry.job.result.file).read_bytes() == b"videos"
    court.once("pulse", "tidy")
    assert copy.path.exists()
    again = Box(tmp_path / "home", USER_ID="u1")
    again.once("pulse", "tidy")
    assert court.spool.kept_copies() == []
