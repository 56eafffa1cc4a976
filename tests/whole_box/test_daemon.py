"""Whole runs of `ezrec run` on the local backend: booking in, video out, come what may."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ezrec.domain.health import FILE
from ezrec.domain.job import Job, JobOutcome, Kind, encode
from ezrec.domain.names import safe_id
from ezrec.domain.stages import DIRECTORIES, State
from tests.support import media
from tests.support.daemon import LIMIT_S, Box


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    box = Box(tmp_path / "home")
    yield box
    box.close()


def _is_empty(box: Box) -> bool:
    return not any(box.spool.names(state) for state in DIRECTORIES)


def test_a_booking_becomes_a_published_video_with_its_intro_and_logo(box: Box, tmp_path: Path) -> None:
    box.store.set_branding(media.make_intro(tmp_path / "intro.mp4"), media.make_logo(tmp_path / "logo.png"))
    daemon = box.run()
    box.wait_for(lambda: (box.settings.state / FILE).exists(), "the recorder does not begin")
    booking = box.book(6, 2)
    job = box.published(booking)
    row, path = box.video(booking)
    assert job.outcome is JobOutcome.PUBLISHED
    assert job.result is not None
    assert job.result.intro_s == pytest.approx(1, abs=0.15)
    assert 1 + 2 < row["duration_seconds"] < 1 + 2 + 1 + 1.5
    assert media.picture_at(path, 0.5).colour(160, 90) == "red"
    assert media.picture_at(path, 2.0).colour(-20, -20) == "lime"
    assert box.status(booking) == "video_uploaded"
    assert [arrival.state for arrival in job.arrivals] == [
        "incoming", "recording", "raw", "processing", "processed", "done",
    ]  # fmt: skip
    assert box.end(daemon) == 0
    assert _is_empty(box)
    for service in ("recorder", "video_worker", "booking_sync", "system_status", "log_collector"):
        assert (box.settings.logs / f"{service}.log").exists()
    assert booking in box.log("recorder")


def test_a_clip_copied_slowly_into_raw_is_published_when_it_is_complete(box: Box, tmp_path: Path) -> None:
    whole = media.make_take(tmp_path / "clip.mp4").read_bytes()
    box.run("--only", "process,upload,retry,sync,tell")
    box.wait_for(lambda: "begins" in box.talk(), "the daemon does not begin")
    target = box.spool.root / "raw" / "court-final.mp4"
    with target.open("wb") as file:
        for n in range(0, len(whole), len(whole) // 4 + 1):
            file.write(whole[n : n + len(whole) // 4 + 1])
            file.flush()
            time.sleep(0.3)
            assert box.find("court-final") is None, "adopted while it was being written"
    job = box.published("court-final")
    assert job.result is not None
    assert job.result.duration_s == pytest.approx(2, abs=0.1)
    row, _ = box.video("court-final")
    assert re.fullmatch(r"processed_raw_court-final_\d{8}_\d{6}\.mp4", row["filename"])


def test_after_a_kill_of_everything_in_the_middle_both_takes_are_in_the_video(box: Box) -> None:
    daemon = box.run()
    booking = box.book(1, 3600)
    box.wait_for(lambda: box.is_writing(booking), "nothing is recorded")
    box.kill_all(daemon)
    box.run()
    box.wait_for(lambda: box.is_writing(booking, 2), "there is no second take")
    box.whistle(booking)
    job = box.published(booking)
    first, second = job.takes
    assert first.ended_by == "the recorder died"
    assert first.duration_s > 0.5
    assert second.duration_s > 0.5
    hole_s = (second.started - first.ended).total_seconds()
    assert 0 < hole_s < 60
    assert job.recording is (JobOutcome.PARTIAL if hole_s > 0.5 else JobOutcome.RECORDED)
    row, path = box.video(booking)
    assert row["duration_seconds"] == pytest.approx(first.duration_s + second.duration_s, abs=0.3)
    assert media.frames(path) == pytest.approx(row["duration_seconds"] * 30, abs=4)


def test_a_daemon_asked_to_end_closes_its_take_and_the_next_one_goes_on(box: Box) -> None:
    daemon = box.run()
    booking = box.book(1, 3600)
    box.wait_for(lambda: box.is_writing(booking), "nothing is recorded")
    assert box.end(daemon) == 0
    entry = box.find(booking)
    assert entry is not None
    assert entry.state is State.INCOMING, "laid down"
    (take,) = entry.job.takes
    assert take.duration_s > 0.5
    assert media.frames(entry.path / take.file) == pytest.approx(take.duration_s * 30, abs=1)
    assert entry.job.attempts["record"] == 0
    box.run()
    box.wait_for(lambda: box.is_writing(booking, 2), "there is no second take")
    box.whistle(booking)
    job = box.published(booking)
    assert len(job.takes) == 2
    assert box.video(booking)[0]["duration_seconds"] > take.duration_s + 0.5


def test_a_recorder_that_is_killed_alone_is_started_again(box: Box) -> None:
    daemon = box.run()
    booking = box.book(1, 3600)
    box.wait_for(lambda: box.is_writing(booking), "nothing is recorded")
    recorder = box.recorder(daemon)
    assert recorder is not None
    os.kill(recorder, signal.SIGKILL)
    box.wait_for(lambda: box.recorder(daemon) not in (None, recorder), "the recorder is not started again")
    box.wait_for(lambda: box.is_writing(booking, 2), "there is no second take")
    box.whistle(booking)
    job = box.published(booking)
    assert daemon.poll() is None
    assert len(job.takes) == 2
    assert job.power_cuts == 0
    assert "the recorder ended with -9" in box.talk()


def test_one_shots_do_the_work_without_a_daemon(box: Box, tmp_path: Path) -> None:
    shutil.copyfile(media.make_take(tmp_path / "clip.mp4"), box.spool.root / "raw" / "by-hand.mp4")
    waiting = box.book(3600, 60)
    box.once("pulse", "sync")
    assert json.loads(box.settings.booking_cache.read_bytes())[0]["id"] == waiting
    box.once("run-stage", "record", "--once")
    entry = box.find(waiting)
    assert entry is not None
    assert entry.state is State.INCOMING
    box.once("run-stage", "process", "--once")
    box.once("pulse", "tell")
    box.once("run-stage", "upload", "--once")
    box.video("by-hand")
    box.once("pulse", "status")
    box.once("pulse", "logs")
    assert any(name.startswith("logs-") for name in box.spool.names(State.PROCESSED))
    old = box.spool.done / "ancient.json"
    old.write_bytes(encode(Job(safe_id("ancient"), Kind.CLIP, datetime(2020, 1, 1, tzinfo=UTC))))
    os.utime(old, (0, 0))
    box.once("pulse", "tidy")
    assert not old.exists(), "history is kept for 30 days"
    assert box.spool.finished("by-hand") is not None


def test_a_job_that_fails_is_no_failure_of_the_stage(box: Box) -> None:
    (box.spool.root / "raw" / "text.mp4").write_text("#EXTM3U\nfile:///etc/passwd\n")
    box.once("pulse", "sync")
    box.once("run-stage", "process", "--once")
    (failed,) = box.spool.entries(State.FAILED)
    assert failed.job.reason
    assert failed.job.remedy


def test_after_a_reboot_without_backend_the_cached_booking_is_recorded(tmp_path: Path) -> None:
    box = Box(tmp_path / "home")
    box.settings.local_store.write_text("so nothing can lie under it")
    start = time.time() + 1
    times = {name: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(start + n)) for name, n in
             (("start_time", 0), ("end_time", 3600))}  # fmt: skip
    box.settings.booking_cache.write_text(json.dumps([{"id": "cached", **times, "status": "confirmed"}]))
    box.run()
    try:
        box.wait_for(lambda: box.is_writing("cached"), "the cached booking is not recorded")
    finally:
        box.close()
    entry = box.find("cached")
    assert entry is not None
    (take,) = entry.job.takes
    assert take.duration_s > 1
    assert media.frames(entry.path / take.file) == pytest.approx(take.duration_s * 30, abs=1)


def test_the_recorder_has_no_cloud_client_and_opens_no_network_connection(box: Box) -> None:
    """Shown by strace: in a whole recording the process and its children make no socket of the network.

    And by the interpreter: what it has imported when everything of the recorder is made. With a cloud that is
    configured, so that a recorder which knew it would ask it.
    """
    booking = box.book(1, 3600)
    box.once("pulse", "sync")
    trace = box.home / "trace"
    cloud = {"EZREC_BACKEND": "supabase", "SUPABASE_URL": "http://127.0.0.1:9", "SUPABASE_KEY": "k"}
    environ = box.environ | cloud | {"USER_ID": "u", "CAMERA_ID": "0"}
    recorder = [sys.executable, "-m", "ezrec", "run", "--only", "record"]
    argv = ["strace", "-f", "-qq", "-e", "trace=socket,connect", "-o", str(trace), *recorder]
    with (box.home / "daemon.log").open("ab") as out:
        traced = subprocess.Popen(argv, env=environ, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        box.wait_for(lambda: box.is_writing(booking), "nothing is recorded")
        box.whistle(booking)
        box.once("pulse", "sync")
        box.wait_for(lambda: box.is_there(booking, State.RAW), "the booking does not end")
    finally:
        _end_traced(traced)
    sockets = set(re.findall(r"\bAF_\w+", trace.read_text()))
    assert sockets <= {"AF_UNIX"}, "its own bells, and systemd's ear"
    asked = (
        "import sys; from ezrec.app import services as app; from ezrec import settings; "
        "s = settings.load(); app.build(s, ['record']); "
        "print([m for m in ('supabase', 'httpx', 'httpcore', 'http.client', 'sqlite3') if m in sys.modules])"
    )
    said = subprocess.run(
        [sys.executable, "-c", asked], env=environ, capture_output=True, text=True, timeout=60, check=True
    )
    assert said.stdout.strip() == "[]"


def _end_traced(traced: subprocess.Popen[bytes]) -> None:
    children = Path(f"/proc/{traced.pid}/task/{traced.pid}/children").read_text().split()
    for child in children:
        os.kill(int(child), signal.SIGTERM)
    try:
        traced.wait(30)
    finally:
        if traced.poll() is None:
            traced.kill()


# ---- the demonstration


def _demo(home: Path, *words: str) -> dict[str, Any]:
    environ = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "TZ": "UTC"}
    command = [sys.executable, "-m", "ezrec", "demo", "--home", str(home), "--json", *words]
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=2 * LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(report, dict)
    return report


def test_the_demonstration_shows_a_video_its_rows_and_a_contact_sheet(tmp_path: Path) -> None:
    report = _demo(tmp_path / "demo", "--seconds", "4")
    assert Path(report["video"]).stat().st_size == report["rows"]["videos"]["file_size"]
    assert report["intro_s"] == pytest.approx(3, abs=0.15)
    assert report["duration_s"] == pytest.approx(3 + 4 + 2, abs=1.5)
    assert report["rows"]["bookings"]["status"] == "video_uploaded"
    assert [stage["name"] for stage in report["stages"]][:2] == ["incoming", "recording"]
    assert all(stage["seconds"] >= 0 for stage in report["stages"])
    sheet = Path(report["contact_sheet"]).read_bytes()
    assert sheet.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = (int.from_bytes(sheet[n : n + 4], "big") for n in (16, 20))
    assert width > 1200
    assert height > 700
    assert len(sheet) > 20_000


def test_the_demonstration_survives_the_pulled_plug(tmp_path: Path) -> None:
    report = _demo(tmp_path / "demo", "--seconds", "6", "--pull-plug")
    assert report["interruptions"] == 1
    assert report["duration_s"] > report["intro_s"] + 2
    assert report["rows"]["bookings"]["status"] == "video_uploaded"


def test_a_spool_that_is_away_for_a_while_is_waited_for_and_not_made_anew(box: Box) -> None:
    """As a disk that is unplugged: made anew, it would be in the way of the real one."""
    daemon = box.run()
    booking = box.book(1, 600)
    box.wait_for(lambda: box.is_writing(booking), "it does not record")
    recorder = box.recorder(daemon)
    elsewhere = box.home / "elsewhere"
    box.spool.root.rename(elsewhere)
    box.wait_for(lambda: "the spool is away" in box.talk(), "nobody misses it")
    command = [sys.executable, "-m", "ezrec", "pulse", "sync"]
    done = subprocess.run(command, env=box.environ, capture_output=True, text=True, timeout=60, check=False)
    assert "is away, and the recorder waits for it" in done.stderr
    assert done.returncode != 0
    assert not box.spool.root.exists()
    elsewhere.rename(box.spool.root)
    assert box.recorder(daemon) == recorder, "the recorder was started again"
    box.whistle(booking)
    job = box.published(booking)
    assert (len(job.takes), job.outcome) == (1, JobOutcome.PUBLISHED)
    assert daemon.poll() is None
