"""Under a booted systemd: what dies, hangs or is poisoned is survived; a stop closes what is recorded."""

from __future__ import annotations

import functools
import os
import shutil
import time
from pathlib import Path

import pytest

from ezrec.domain.job import Job
from ezrec.domain.stages import DIRECTORIES, State
from tests.support import media
from tests.systemd.appliance import ONE, Appliance
from tests.systemd.bed import SPLIT

RECORDER = "recorder.service"
TIMERS = [unit for unit in SPLIT if unit.endswith(".timer")]
WATCHDOG_S = 6
PARTS = 300


def take_count(box: Appliance, booking: str) -> int:
    entry = box.box.find(booking)
    return 0 if entry is None else len(entry.job.takes)


def is_inactive(box: Appliance, unit: str) -> bool:
    return box.bed.show(unit, "ActiveState") == "inactive"


def finished(box: Appliance, booking: str) -> Job:
    box.box.whistle(booking)
    return box.box.published(booking)


@pytest.mark.parametrize(("units", "killed"), [(SPLIT, RECORDER), (ONE, *ONE)], ids=["recorder", "one unit"])
def test_a_killed_recorder_records_again_and_both_takes_are_in_the_video(
    box: Appliance, units: tuple[str, ...], killed: str
) -> None:
    box.start(units)
    booking = box.box.book(4, 60)
    box.bed.wait_for(lambda: box.box.is_writing(booking), "it does not record")
    box.bed.run("systemctl", "kill", "--kill-whom=all", "--signal=KILL", killed)
    box.bed.wait_for(lambda: box.box.is_writing(booking, take=2), "it does not record again")
    job = finished(box, booking)
    assert len(job.takes) == 2
    assert all(take.duration_s > 0.3 for take in job.takes)


@pytest.mark.parametrize(
    ("unit", "held_in"),
    [("video_worker.service", State.PROCESSING), ("ezrec-upload.service", State.PROCESSED)],
    ids=["process", "upload"],
)
def test_a_killed_worker_is_started_again_and_its_job_is_published(
    box: Appliance, tmp_path: Path, unit: str, held_in: State
) -> None:
    box.start()
    hooks = box.home / "hooks" / held_in
    hooks.mkdir(mode=0o755)
    clips = [media.make_take(tmp_path / f"clip{n}.mp4") for n in range(3)]
    for clip in clips:
        shutil.copyfile(clip, box.box.spool.root / "raw" / clip.name)
    box.bed.wait_for(lambda: bool(box.box.spool.entries(held_in)), f"nothing is in {held_in}/")
    box.bed.run("systemctl", "kill", "--kill-whom=all", "--signal=KILL", unit)
    for clip in clips:
        box.box.published(clip.stem)


def beats(box: Appliance, service: str, how: str) -> int:
    return box.bed.run("journalctl", "--no-pager", "-u", service).count(how)


def is_killed(box: Appliance, service: str) -> bool:
    box.bed.call(
        "sh",
        "-c",
        'systemctl start --no-block "$1"; sleep 0.2; systemctl kill --signal=KILL "$1"',
        "sh",
        service,
    )
    return beats(box, service, "status=9/KILL") > 0


def test_what_a_timer_starts_may_be_killed_and_the_next_beat_does_its_work(box: Appliance) -> None:
    box.start()
    services = ["booking_sync", "system_status", "ezrec-retry", "ezrec-ahead"]
    for service in services:
        box.bed.wait_for(functools.partial(is_killed, box, service), f"{service} cannot be killed")
    booking = box.box.book(600, 60)
    done = {service: beats(box, service, "Finished") for service in services}
    for service in services:
        box.bed.wait_for(
            lambda service=service: beats(box, service, "Finished") > done[service],  # type: ignore[misc]
            f"{service} is not started again",
        )
    box.bed.wait_for(lambda: box.box.find(booking) is not None, "the booking is lost")


def test_a_hung_recorder_is_ended_by_the_watchdog_and_records_again(box: Appliance) -> None:
    box.bed.drop_in(RECORDER, f"[Service]\nWatchdogSec={WATCHDOG_S}")
    box.start()
    booking = box.box.book(4, 90)
    box.bed.wait_for(lambda: box.box.is_writing(booking), "it does not record")
    box.bed.run("kill", "-STOP", str(box.bed.main_pid(RECORDER)))
    hung = time.monotonic()
    box.bed.wait_for(lambda: take_count(box, booking) == 2, "no second take")
    assert time.monotonic() - hung < WATCHDOG_S + 5
    box.bed.wait_for(lambda: box.box.is_writing(booking, take=2), "the second take does not grow")
    assert len(finished(box, booking).takes) == 2


def test_a_stop_while_it_records_closes_the_take_and_a_start_goes_on(box: Appliance) -> None:
    box.start()
    booking = box.box.book(4, 90)
    box.bed.wait_for(lambda: box.box.is_writing(booking), "it does not record")
    box.bed.run("systemctl", "stop", "ezrec.target")
    for unit in (RECORDER, *TIMERS, "ezrec-process.path", "ezrec-upload.path"):
        box.bed.wait_for(functools.partial(is_inactive, box, unit), unit)
    assert not box.bed.call("pgrep", "-x", "ffmpeg").stdout, "an FFmpeg outlived its service"
    entry = box.box.find(booking)
    assert entry is not None
    (take,) = entry.job.takes
    assert take.ended_by != "still open"
    box.bed.run("systemctl", "start", "ezrec.target")
    for unit in (RECORDER, *TIMERS, "ezrec-process.path", "ezrec-upload.path"):
        assert box.bed.show(unit, "ActiveState") == "active", unit
    box.bed.wait_for(lambda: box.box.is_writing(booking, take=2), "it does not go on")
    assert len(finished(box, booking).takes) == 2


@pytest.mark.timeout(600)
def test_poison_among_many_files_is_set_aside_and_the_good_are_published(
    box: Appliance, tmp_path: Path
) -> None:
    good = media.make_take(tmp_path / "clip.mp4", seconds=1)
    box.start()
    raw = box.box.spool.root / "raw"
    names = [f"part-{number:03d}" for number in range(PARTS)]
    for number, name in enumerate(names):
        if number % 2:
            (raw / f"{name}.mp4").write_bytes(os.urandom(500))
        else:
            shutil.copyfile(good, raw / f"{name}.mp4")
    limit_s = 420.0
    box.bed.wait_for(
        lambda: not any(box.box.spool.names(state) for state in DIRECTORIES if state is not State.FAILED),
        "the queue does not empty", limit_s,
    )  # fmt: skip
    assert sorted(box.box.spool.names(State.FAILED)) == names[1::2]
    assert all(box.box.spool.finished(name) is not None for name in names[::2])
    for path in ("ezrec-process.path", "ezrec-upload.path"):
        assert box.bed.show(path, "ActiveState") == "active"


def test_a_path_unit_that_failed_is_revived_by_the_sweep(box: Appliance, tmp_path: Path) -> None:
    box.start()
    box.bed.run("systemctl", "stop", "ezrec-process.path")
    shutil.copyfile(media.make_take(tmp_path / "clip.mp4"), box.box.spool.root / "raw" / "late.mp4")
    time.sleep(3)
    assert box.box.spool.finished("late") is None
    box.bed.run("systemctl", "start", "ezrec-sweep.service")
    box.box.published("late")


def test_the_sweep_revives_nothing_once_the_target_is_stopped(box: Appliance) -> None:
    box.start()
    box.bed.run("systemctl", "stop", "ezrec.target")
    box.bed.wait_for(lambda: box.bed.show(RECORDER, "ActiveState") == "inactive", "it does not stop")
    box.bed.run("systemctl", "start", "ezrec-sweep.service")
    time.sleep(1)
    for path in ("ezrec-process.path", "ezrec-upload.path"):
        assert box.bed.show(path, "ActiveState") == "inactive"


def test_wrong_settings_end_the_recorder_for_good_with_one_readable_line(box: Appliance) -> None:
    (box.home / ".env").write_text("RECORDING_FPS=fast\n")
    box.bed.call("systemctl", "start", RECORDER)
    box.bed.wait_for(lambda: box.bed.show(RECORDER, "ActiveState") == "failed", "it does not give up")
    assert box.bed.show(RECORDER, "ExecMainStatus") == "78"
    time.sleep(3)
    assert box.bed.show(RECORDER, "NRestarts") == "0"
    assert "RECORDING_FPS is 'fast'" in box.bed.journal(RECORDER)
