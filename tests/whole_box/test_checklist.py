"""The checklist by which the product is accepted (docs/contract.md, section 0): one test an item, in order.

What only a Supabase project can show is shown on the local backend, through the same port; the docstring
of such a test says so. `NOT_YET` names what this version does not have; `ELSEWHERE`, what other tests hold:
nothing here pretends.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ezrec import settings
from ezrec.app import common, services
from ezrec.domain.booking import Booking
from ezrec.domain.health import FILE
from ezrec.domain.job import Job
from ezrec.domain.names import BadName, parse_clip_name, safe_id
from ezrec.domain.stages import STAGES, State
from ezrec.media.mp4.boxes import is_fragmented
from ezrec.media.render.renderer import ffmpeg_version
from tests.fakes.camera import FOOTAGE
from tests.support import media
from tests.support.daemon import Box

NOT_YET: tuple[str, ...] = ()
ELSEWHERE = (
    "recorder: the recording made with picamera2 is held to the port by the camera's own tests",
    "all services: the full Supabase response in the log is held by the Supabase adapter's own tests",
)
SYSTEMD = Path(__file__).parents[2] / "systemd"
SERVICES = ("booking_sync", "recorder", "video_worker", "system_status", "log_collector")


@dataclass
class Evening:
    """What one evening has left: a match recorded and published, and a backend that was away for a while."""

    box: Box
    booking: str
    job: Job
    while_recording: dict[str, Any]
    beats: list[str]
    exit_code: int

    def said(self, service: str) -> str:
        return self.box.log(service)


@pytest.fixture(scope="module")
def evening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evening]:
    folder = tmp_path_factory.mktemp("evening")
    box = Box(
        folder / "home",
        USER_ID="club-1",
        CAMERA_ID="court-7",
        BOOKING_FETCH_INTERVAL="1",
        SYSTEM_STATUS_INTERVAL="1",
        LOG_UPLOAD_INTERVAL="10",
    )
    try:
        yield _lived(box, folder)
    finally:
        box.close()


def _lived(box: Box, folder: Path) -> Evening:
    box.store.set_branding(media.make_intro(folder / "intro.mp4"), media.make_logo(folder / "logo.png"))
    daemon = box.run()
    box.wait_for(lambda: (box.settings.state / FILE).exists(), "the recorder does not begin")
    booking = box.book(5, 3)
    box.wait_for(lambda: box.is_writing(booking), "nothing is recorded")
    box.wait_for(lambda: bool(_heartbeat(box).get("is_recording")), "the heartbeat does not say it")
    entry = box.find(booking)
    assert entry is not None
    seen = {"status": box.status(booking), "footage": [path.name for path in entry.path.glob("*.mp4")]}
    job = box.published(booking)
    beats = [_beat(box)]
    tables, away = box.settings.local_store / "tables.db", folder / "away.db"
    tables.rename(away)
    tables.mkdir()  # a backend that answers nothing
    try:
        box.wait_for(lambda: "again in" in box.log("booking_sync"), "no fault is told")
        time.sleep(1)
    finally:
        tables.rmdir()
        away.rename(tables)
    beats.append(_beat(box))
    box.wait_for(lambda: _beat(box) > beats[1], "no heartbeat after the backend came back")
    beats.append(_beat(box))
    later = box.book(3600, 60)
    box.wait_for(lambda: later in box.settings.booking_cache.read_text(), "no fetch after it came back")
    box.wait_for(lambda: {"booking_sync.log", "recorder.log"} <= _archived(box), "no log archive")
    return Evening(box, booking, job, seen, beats, box.end(daemon))


def _heartbeat(box: Box) -> dict[str, Any]:
    found = box.store.tables.rows("SELECT * FROM system_status", ())
    assert len(found) <= 1
    return found[0] if found else {}


def _beat(box: Box) -> str:
    return str(_heartbeat(box).get("last_heartbeat", ""))


def _archives(box: Box) -> list[Path]:
    return sorted((box.settings.local_store / "buckets" / "logs" / "court-7").glob("*_logs.zip"))


def _archived(box: Box) -> set[str]:
    """The names in all archives: each holds what was written since the one before."""
    found: set[str] = set()
    for path in _archives(box):
        with zipfile.ZipFile(path) as archive:
            found |= set(archive.namelist())
    return found


# ---- booking_sync


def test_booking_sync_loads_url_key_user_camera_and_cache_path_from_the_environment(tmp_path: Path) -> None:
    given = {
        "SUPABASE_URL": "https://abc.supabase.co",
        "SUPABASE_KEY": "k",
        "USER_ID": "club-1",
        "CAMERA_ID": "court-7",
        "BOOKING_CACHE_FILE": str(tmp_path / "cache.json"),
    }
    found = settings.load({"EZREC_HOME": str(tmp_path), **given})
    assert (found.supabase_url, found.supabase_key) == ("https://abc.supabase.co", "k")
    assert (found.user_id, found.camera_id) == ("club-1", "court-7")
    assert found.booking_cache == tmp_path / "cache.json"


def test_booking_sync_logs_to_its_file(evening: Evening) -> None:
    assert settings.load({}).logs / "booking_sync.log" == Path("/opt/ezrec-backend/logs/booking_sync.log")
    assert "new or changed" in evening.said("booking_sync")


def test_booking_sync_writes_this_cameras_bookings_into_the_cache_and_goes_on_after_a_failure(
    evening: Evening,
) -> None:
    """The select by user and camera is the local backend's, through the same port."""
    cache = json.loads(evening.box.settings.booking_cache.read_bytes())
    assert evening.booking in [row["id"] for row in cache]
    assert {(row["user_id"], row["camera_id"]) for row in cache} == {("club-1", "court-7")}
    assert {"date", "start_time", "end_time", "status"} <= set(cache[0]), "whole rows"


def test_booking_sync_runs_until_it_is_stopped(evening: Evening) -> None:
    assert evening.said("booking_sync").count("new or changed") >= 2
    assert evening.exit_code == 0


# ---- recorder


def test_the_recorder_loads_its_settings_and_logs_to_its_file(evening: Evening) -> None:
    assert f"booking {evening.booking}: recording raw_{evening.booking}_" in evening.said("recorder")


def test_the_recorder_ensures_that_its_directories_exist(tmp_path: Path) -> None:
    box = Box(tmp_path / "home")
    shutil.rmtree(box.spool.root)
    box.once("run-stage", "record", "--once")
    assert (box.spool.root / "incoming").is_dir()
    assert (box.spool.root / "raw").is_dir()


def test_the_recorder_takes_bookings_from_the_cache_and_knows_when_it_is_inside_a_window(
    tmp_path: Path,
) -> None:
    box = Box(tmp_path / "home")
    now = common.clock(box.settings).now()
    rows = [{"id": "tonight", "date": "2099-06-01", "start_time": "18:00", "end_time": "19:00"}]
    box.settings.booking_cache.write_text(json.dumps(rows))
    box.once("pulse", "sync")
    box.once("run-stage", "record", "--once")
    entry = box.find("tonight")
    assert entry is not None
    booking = entry.job.booking
    assert isinstance(booking, Booking)
    assert now not in booking.window
    assert booking.start in booking.window
    assert booking.end not in booking.window, "half-open: [start, end)"


def test_an_active_booking_is_recorded_as_a_raw_mp4(evening: Evening) -> None:
    """With the software camera; see ELSEWHERE."""
    (name,) = evening.while_recording["footage"]
    assert re.fullmatch(rf"raw_{evening.booking}_\d{{8}}_\d{{6}}\.mp4", name)
    assert is_fragmented(FOOTAGE), "the container that survives a power cut"


def test_when_the_booking_is_over_the_recording_stops_and_its_status_becomes_completed(
    tmp_path: Path,
) -> None:
    box = Box(tmp_path / "home")
    booking = box.book(5, 1)
    box.once("pulse", "sync")
    box.once("run-stage", "record", "--once")
    entry = box.find(booking)
    assert entry is not None
    assert entry.state is State.RAW
    box.once("pulse", "tell")
    assert box.status(booking) == "completed"


def test_camera_errors_are_logged_and_the_recorder_lives_on(tmp_path: Path) -> None:
    box = Box(tmp_path / "home", EZREC_CAMERA="v4l2:/dev/video-that-is-not-there")
    booking = box.book(5, 1)
    box.once("pulse", "sync")
    box.once("run-stage", "record", "--once")
    assert "again in" in box.log("recorder")
    job = box.spool.finished(booking)
    assert job is not None
    assert job.outcome == "missed"


# ---- video_worker


def test_the_video_worker_loads_its_settings_logs_to_its_file_and_ensures_its_directories(
    evening: Evening,
) -> None:
    assert "is ready" in evening.said("video_worker")
    assert (evening.box.spool.root / "processed").is_dir()
    assert evening.box.settings.media_cache.is_dir()


@pytest.mark.parametrize(
    "name",
    ["b-1.mp4", "raw_b-1_20260601_180000.mp4", "recording_20260601_180000_b-1.mp4", "raw_b-1_180000.mp4"],
)
def test_new_mp4_files_are_found_and_the_booking_is_taken_from_their_names(name: str, tmp_path: Path) -> None:
    assert parse_clip_name(name).booking_id == "b-1"
    box = Box(tmp_path / "home")
    shutil.copyfile(media.make_take(tmp_path / "clip.mp4", 1), box.spool.root / "raw" / name)
    drain = services.worker("process", box.settings, wait_s=0)
    drain.run()
    entry = box.find("b-1")
    assert entry is not None
    assert entry.state is State.DEFERRED, "the branding is not known yet"


def test_intro_and_logo_are_fetched_when_they_are_needed(evening: Evening) -> None:
    """From the local backend's bucket `usermedia`, through the same port."""
    record = json.loads((evening.box.settings.media_cache / "branding.json").read_bytes())
    assert record["intro"].startswith("club-1/intro/intro_")
    assert record["logo"].startswith("club-1/logo/logo_")
    assert len(list(evening.box.settings.media_cache.glob("*.*"))) == 3
    assert evening.said("booking_sync").count("branding: intro") == 1


def test_the_intro_comes_first_the_logo_lies_over_it_and_the_status_becomes_video_processed(
    evening: Evening, tmp_path: Path
) -> None:
    _, video = evening.box.video(evening.booking)
    assert media.picture_at(video, 0.5).colour(160, 90) == "red"
    assert media.picture_at(video, 2.0).colour(-20, -20) == "lime"
    box = Box(tmp_path / "home")
    booking = box.book(3600, 60)
    name = f"raw_{booking}_20260601_180000.mp4"
    shutil.copyfile(media.make_take(tmp_path / "clip.mp4", 1), box.spool.root / "raw" / name)
    box.once("pulse", "sync")
    box.once("run-stage", "process", "--once")
    box.once("pulse", "tell")
    assert box.status(booking) == "video_processed"


def test_the_video_is_uploaded_its_row_inserted_and_the_status_becomes_video_uploaded(
    evening: Evening,
) -> None:
    """On the local backend, through the same port."""
    row, video = evening.box.video(evening.booking)
    assert row["filename"] == video.name
    assert row["storage_path"] == f"club-1/{row['filename']}"
    assert video.parent.name == "club-1"
    assert row["duration_seconds"] > 4
    assert evening.box.status(evening.booking) == "video_uploaded"


def test_local_files_go_after_the_upload_and_a_failed_upload_is_logged_and_retried(
    evening: Evening, tmp_path: Path
) -> None:
    assert not list(evening.box.spool.root.glob("*/*/*.mp4"))
    assert not list((evening.box.spool.root / ".gone").iterdir())
    box = Box(tmp_path / "home")
    shutil.copyfile(media.make_take(tmp_path / "clip.mp4", 1), box.spool.root / "raw" / "b-1.mp4")
    box.once("pulse", "sync")
    box.once("run-stage", "process", "--once")
    tables, away = box.settings.local_store / "tables.db", tmp_path / "tables.db"
    tables.rename(away)
    tables.mkdir()
    box.once("run-stage", "upload", "--once")
    entry = box.find("b-1")
    assert entry is not None
    assert entry.state is State.DEFERRED
    assert "again at" in box.log("video_worker")
    tables.rmdir()
    away.rename(tables)
    entry.update(due=None)
    box.once("run-stage", "retry", "--once")
    box.once("run-stage", "upload", "--once")
    box.video("b-1")


def test_a_bad_file_stops_no_other_and_the_worker_lives_on(tmp_path: Path) -> None:
    box = Box(tmp_path / "home")
    raw = box.spool.root / "raw"
    (raw / "a-text.mp4").write_text("ffconcat version 1.0\nfile /etc/passwd\n")
    (raw / "b-link.mp4").symlink_to("/etc/passwd")
    shutil.copyfile(media.make_take(tmp_path / "clip.mp4", 1), raw / "c-good.mp4")
    box.once("pulse", "sync")
    box.once("run-stage", "process", "--once")
    assert box.spool.names(State.PROCESSED) == ["c-good"]
    reasons = [(path / "reason.txt").read_text() for path in (box.spool.root / "failed").iterdir()]
    assert len(reasons) == 2
    assert all(reasons)


# ---- system_status


def test_system_status_loads_its_settings_and_logs_to_its_file(evening: Evening) -> None:
    assert (evening.box.settings.logs / "system_status.log").exists()
    assert _heartbeat(evening.box)["camera_id"] == "court-7"


def test_system_status_keeps_one_row_with_the_metrics_of_the_machine(evening: Evening) -> None:
    """On the local backend, through the same port."""
    row = _heartbeat(evening.box)
    assert 0 <= row["cpu_usage_percent"] <= 100
    assert 0 < row["memory_usage_percent"] <= 100
    assert 0 < row["disk_usage_percent"] <= 100
    assert row["disk_free_gb"] <= row["disk_total_gb"]
    assert "temperature_celsius" in row


def test_system_status_handles_errors_and_goes_on(evening: Evening) -> None:
    assert evening.beats[2] > evening.beats[1] >= evening.beats[0]


# ---- log_collector


def test_the_log_collector_loads_its_settings_and_logs_to_its_file(evening: Evening) -> None:
    assert "logs packed as job" in evening.said("log_collector")


def test_logs_are_zipped_uploaded_under_the_cameras_name_and_the_archive_is_deleted(
    evening: Evening,
) -> None:
    """On the local backend, through the same port. The journal's part is there where there is a journal."""
    first = _archives(evening.box)[0]
    assert re.fullmatch(r"\d{8}_\d{6}_logs\.zip", first.name)
    names = _archived(evening.box)
    assert {"booking_sync.log", "recorder.log"} <= names
    assert all(name.endswith(".log") for name in names)
    left = [path for path in evening.box.home.glob("**/*_logs.zip*") if "buckets" not in path.parts]
    assert [path for path in left if ".done" not in path.parts and "processed" not in path.parts] == []


def test_the_log_collector_handles_errors_and_goes_on(tmp_path: Path) -> None:
    box = Box(tmp_path / "home")
    box.settings.logs.mkdir(exist_ok=True)
    (box.settings.logs / "gone.log").symlink_to(tmp_path / "nowhere")
    (box.settings.logs / "folder.log").mkdir()
    (box.settings.logs / "recorder.log").write_text("recorded\n")
    box.once("pulse", "logs")
    assert len(box.spool.names(State.PROCESSED)) == 1


# ---- all services


def test_settings_are_validated_on_boot_and_missing_keys_are_told(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SUPABASE_URL=https://abc.supabase.co\nRESOLUTION=big\n")
    environ = {"PATH": os.environ["PATH"], "EZREC_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "ezrec", "run"]
    said = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 78
    for name in ("USER_ID", "SUPABASE_KEY", "RESOLUTION"):
        assert name in said.stderr


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "-rf", "a\n", "", "x" * 65, "бронь", "a;rm", "$(id)", ".x", "a b"]
)
def test_booking_ids_and_file_names_are_verified_safe(name: str) -> None:
    with pytest.raises(BadName):
        safe_id(name)


def test_parallel_recorders_are_prevented(tmp_path: Path) -> None:
    box = Box(tmp_path / "home")
    daemon = box.run("--only", "record")
    try:
        booking = box.book(1, 20)
        box.once("pulse", "sync")
        box.wait_for(lambda: box.is_writing(booking), "nothing is recorded")
        command = [sys.executable, "-m", "ezrec", "run-stage", "record", "--once"]
        second = subprocess.run(
            command, env=box.environ, capture_output=True, text=True, timeout=60, check=False
        )
        assert second.returncode == 4
        assert f"pid {daemon.pid}" in second.stderr
    finally:
        box.close()


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_lock_files_prevent_double_execution_and_a_dead_holders_lock_is_free(
    stage: str, tmp_path: Path
) -> None:
    box = Box(tmp_path / "home")
    hold = (
        "import sys, time; from pathlib import Path; from ezrec.spool.spool import Spool\n"
        f"with Spool(Path(sys.argv[1])).lock('{stage}').held(0, 'test'):\n"
        "    print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", hold, str(box.spool.root)]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        again = [sys.executable, "-m", "ezrec", "run-stage", stage, "--once"]
        busy = subprocess.run(again, env=box.environ, capture_output=True, text=True, timeout=60, check=False)
        assert busy.returncode == 4
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate(timeout=20)
    box.once("run-stage", stage, "--once")


def test_stale_mp4_files_of_an_earlier_crash_are_published(tmp_path: Path) -> None:
    box = Box(tmp_path / "home")
    booking = box.book(1, 60)
    box.once("pulse", "sync")
    daemon = box.run("--only", "record")
    box.wait_for(lambda: box.is_writing(booking), "nothing is recorded")
    box.kill_all(daemon)
    box.store.change(booking, end=common.clock(box.settings).now())
    box.once("pulse", "sync")
    box.once("run-stage", "record", "--once")
    box.once("run-stage", "process", "--once")
    box.once("run-stage", "upload", "--once")
    row, _ = box.video(booking)
    assert row["duration_seconds"] > 0.5


def test_the_versions_of_ffmpeg_and_picamera2_are_checked_on_start(evening: Evening) -> None:
    assert ffmpeg_version()
    first = next(line for line in evening.said("recorder").splitlines() if " begins to record" in line)
    assert f"ffmpeg {ffmpeg_version()}" in first
    assert re.search(r"picamera2 (missing|\d)", first)


def test_logs_go_to_files_and_stdout_and_every_service_is_restarted_by_systemd(evening: Evening) -> None:
    for service in SERVICES:
        for line in evening.said(service).splitlines()[:1]:
            assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - [A-Z]+ - ", line)
    assert evening.booking in (evening.box.home / "daemon.log").read_text(), "standard output"
    for name in ("ezrec.service", "recorder.service"):
        unit = ConfigParser(strict=False, interpolation=None)
        unit.read(SYSTEMD / name)
        assert unit["Service"]["Restart"] == "always"
