"""The doctor: each check is driven to "all is well" and to its fault, on the real system."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ezrec import settings
from ezrec.cli.doctor import draw, exit_code
from ezrec.diagnostics import doctor, spool_checks
from ezrec.domain import health as healths
from ezrec.domain.findings import Finding, Verdict, fault, ok, warning
from ezrec.domain.health import CameraState, Health
from ezrec.domain.job import JobOutcome
from ezrec.domain.machine import Machine
from ezrec.domain.proof_of_life import ProcessState
from ezrec.domain.snapshot import Snapshot
from ezrec.domain.stages import State
from ezrec.domain.status_file import StatusFile, encode
from ezrec.monitoring.outcomes import put_away
from ezrec.spool.spool import Spool
from ezrec.system import disk_reserve, host
from ezrec.system.clock import SystemClock
from tests.support.jobs import NOW, booking, ezrec, laid
from tests.support.wait import eventually

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which all is well: a recorder lives, and the services have just said so."""
    monkeypatch.setattr(host, "SYSTEMD", tmp_path / "no systemd")
    Spool(tmp_path / "spool").prepare()
    (tmp_path / "state").mkdir()
    recorder(tmp_path)
    machine = Machine(uptime_s=time.clock_gettime(time.CLOCK_BOOTTIME))
    facts = Snapshot(datetime.now(UTC), SystemClock().boot_id(), machine)
    (tmp_path / "state" / "status.json").write_bytes(encode(StatusFile(facts, pid=os.getpid())))
    return tmp_path


def recorder(home: Path, pid: int = os.getpid()) -> None:
    """The word of a recorder that rests."""
    health = Health(datetime.now(UTC), pid, SystemClock().boot_id(), "software", CameraState.OFF)
    (home / "state" / "health.json").write_bytes(healths.encode(health))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of one megabyte, in memory."""
    point = tmp_path / "disk"
    point.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(point)], check=True, timeout=20)
    yield point
    subprocess.run(["umount", "--lazy", str(point)], check=True, timeout=20)


def found(home: Path, **environ: str) -> dict[str, Finding]:
    """The findings by check; of several under one name the worst."""
    environ = {"EZREC_HOME": str(home), "EZREC_ASSUME_CLOCK": "yes", **environ}
    worst: dict[str, Finding] = {}
    for finding in doctor.look(settings.load(environ)):
        before = worst.get(finding.check)
        if before is None or list(Verdict).index(finding.verdict) > list(Verdict).index(before.verdict):
            worst[finding.check] = finding
    return worst


@needs_root
def test_the_reserve_is_looked_at(home: Path, disk: Path) -> None:
    (home / "state" / "status.json").unlink()
    assert found(home)["reserve"].verdict is Verdict.OK, "nothing has run yet, so nothing laid it aside"
    assert found(home, EZREC_RESERVE_MB="0")["reserve"].verdict is Verdict.WARNING
    assert disk_reserve.make(home / "spool", 2_000_000)
    assert "2 MB are kept" in found(home, EZREC_RESERVE_MB="2")["reserve"].evidence
    disk_reserve.give_up(home / "spool")
    (home / "state" / "status.json").write_bytes(encode(StatusFile(Snapshot(NOW))))
    missing = found(home, EZREC_RESERVE_MB="2")["reserve"]
    assert (missing.verdict, "pulse status" in missing.remedy) == (Verdict.WARNING, True)
    short = found(home, EZREC_RESERVE_MB="2", EZREC_SPOOL=str(disk / "spool"))
    assert "reserve" not in short, "there is no spool yet"
    Spool(disk / "spool").prepare()
    short = found(home, EZREC_RESERVE_MB="2", EZREC_SPOOL=str(disk / "spool"))
    assert "given up" in short["reserve"].evidence
    assert "ezrec spool purge" in short["reserve"].remedy


@needs_root
def test_a_disk_beside_the_spools_is_looked_at(home: Path, disk: Path) -> None:
    assert "other disk" not in found(home)
    full = found(home, LOGS_DIR=str(disk / "logs"), EZREC_STATE=str(disk))["other disk"]
    assert full.verdict is Verdict.WARNING
    assert f"the disk of EZREC_STATE, LOGS_DIR ({disk}) is nearly full" in full.evidence
    assert str(disk) in full.remedy
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True, timeout=20)
    closed = found(home, MEDIA_CACHE_DIR=str(disk))["other disk"]
    assert "is read-only" in closed.evidence
    assert f"remount,rw {disk}" in closed.remedy
    subprocess.run(["mount", "-o", "remount,rw,size=64m", str(disk)], check=True, timeout=20)
    assert found(home, LOGS_DIR=str(disk / "logs"))["other disk"].verdict is Verdict.OK


def test_a_microphone_is_listened_to_where_sound_is_wanted(home: Path) -> None:
    assert "sound" not in found(home)
    assert found(home, EZREC_AUDIO="software")["sound"].verdict is Verdict.OK
    missing = found(home, EZREC_AUDIO="alsa:hw:77,0")["sound"]
    assert missing.verdict is Verdict.WARNING
    assert "bookings are recorded without sound" in missing.evidence
    assert "arecord -l" in missing.remedy


def test_a_sound_machine_has_nothing_but_ok_and_ends_with_0(home: Path) -> None:
    assert disk_reserve.make(home / "spool", 1_000_000)
    said = ezrec(home, "doctor", EZREC_ASSUME_CLOCK="yes", EZREC_RESERVE_MB="1")
    assert said.returncode == 0, said.stdout
    assert "All is well" in said.stdout
    assert {line.split()[0] for line in said.stdout.splitlines()[:-2] if line[:1].strip()} == {"ok"}


def test_lines_fit_80_columns_and_every_fault_names_a_cure(home: Path) -> None:
    said = ezrec(
        home, "doctor", EZREC_CAMERA="v4l2:/dev/video-that-is-not-there-at-all", RESOLUTION="640x360"
    )
    assert said.returncode == 6
    for line in said.stdout.splitlines():
        assert len(line) <= 80 or " " not in line[24:], line  # a path stays whole, to be copied
    for finding in doctor.examine({"EZREC_HOME": str(home), "EZREC_CAMERA": "v4l2:/dev/nothing"}):
        assert bool(finding.remedy) == (finding.verdict is not Verdict.OK), finding


def test_the_quick_look_is_software_settings_and_spool_alone(home: Path) -> None:
    said = ezrec(home, "doctor", "--quick", "--json")
    assert said.returncode == 0, said.stdout
    checks = {finding["check"] for finding in json.loads(said.stdout)}
    assert checks == {"software", "settings", "file system", "spool", "access"}


def test_the_doctor_makes_nothing_where_nothing_is(tmp_path: Path) -> None:
    findings = found(tmp_path / "home")
    assert findings["spool"].verdict is Verdict.WARNING
    faults = {name for name, finding in findings.items() if finding.verdict is Verdict.FAULT}
    assert faults == {"recorder", "services"}, "nothing runs there"
    assert list(tmp_path.iterdir()) == []


def test_every_problem_of_the_settings_is_told_and_ends_with_78(home: Path) -> None:
    said = ezrec(home, "doctor", "--json", RESOLUTION="big", RECORDING_FPS="fast")
    assert said.returncode == 78
    told = [one["evidence"] for one in json.loads(said.stdout) if one["verdict"] == "fault"]
    assert len(told) == 2
    assert "RESOLUTION" in " ".join(told)


def test_a_setting_that_is_none_any_more_is_told_and_stops_nothing(home: Path) -> None:
    said = [one for one in doctor.examine({"EZREC_HOME": str(home), "EZREC_RESCAN": "never"})
            if one.check == "settings"]  # fmt: skip
    assert [one.verdict for one in said] == [Verdict.OK, Verdict.WARNING]
    assert said[1].evidence == "EZREC_RESCAN is no longer a setting: remove the line"


def test_a_machine_without_ffmpeg_is_told_how_to_get_it(home: Path) -> None:
    said = ezrec(home, "doctor", "--json", PATH=str(home))
    faults = [one for one in json.loads(said.stdout) if one["check"] == "software"]
    assert said.returncode == 6
    assert [one["verdict"] for one in faults] == ["fault"] * 4
    assert "apt-get install ffmpeg" in faults[0]["remedy"]


def test_a_key_to_everything_is_warned_about_and_never_shown(home: Path) -> None:
    cloud = {"SUPABASE_URL": "http://127.0.0.1:9", "USER_ID": "u1"}
    findings = found(home, **cloud, SUPABASE_KEY="sb_secret_very_long")
    assert findings["key"].verdict is Verdict.WARNING
    assert "sb_secret_very_long" not in str(findings)
    assert found(home, **cloud, SUPABASE_KEY="sb_publishable_abc")["key"].verdict is Verdict.OK


@pytest.mark.parametrize(
    ("noted", "said"),
    [
        ({"access": "refused", "said": "Invalid login credentials"}, "Invalid login credentials"),
        ({"access": "good", "hidden": True}, "the known ones are kept"),
        ({"access": "odd"}, None),
    ],
)
def test_what_the_services_noted_of_the_cloud_is_told(
    home: Path, noted: dict[str, Any], said: str | None
) -> None:
    state = home / "state"
    state.mkdir(exist_ok=True)
    (state / "cloud.json").write_text(json.dumps({"since": "2026-06-01T12:00:00Z", **noted}))
    assert "cloud account" not in found(home), "no cloud is set: what stands there is of another time"
    findings = found(home, SUPABASE_URL="http://127.0.0.1:9", USER_ID="u1", SUPABASE_KEY="sb_publishable_abc")
    if said is None:
        assert "cloud account" not in findings
    else:
        assert findings["cloud account"].verdict is Verdict.FAULT
        assert said in findings["cloud account"].evidence


def test_a_file_of_secrets_that_all_may_read_is_warned_about(home: Path) -> None:
    secrets = home / ".env"
    secrets.write_text("SUPABASE_URL=http://127.0.0.1:9\nUSER_ID=u1\nSUPABASE_KEY=sb_publishable_abc\n")
    secrets.chmod(0o644)
    assert found(home)["key"].verdict is Verdict.WARNING
    secrets.chmod(0o640)
    assert found(home)["key"].verdict is Verdict.OK


def test_a_backend_that_cannot_be_had_is_a_fault(home: Path) -> None:
    findings = found(home, SUPABASE_URL="http://127.0.0.1:9", USER_ID="u1", SUPABASE_KEY="sb_publishable_x")
    assert findings["backend"].verdict is Verdict.FAULT


def test_tables_that_cannot_be_opened_are_a_fault(home: Path) -> None:
    assert found(home)["backend"].verdict is Verdict.OK
    (home / "local").mkdir()
    (home / "local" / "tables.db").write_bytes(b"no tables at all" * 100)
    assert found(home)["backend"].verdict is Verdict.FAULT


def test_the_bookings_ahead_are_counted(home: Path) -> None:
    ezrec(home, "local", "book", "--in", "1h", "--for", "1h")
    assert "1 of 1 bookings are ahead" in found(home)["backend"].evidence


@pytest.mark.parametrize(
    ("is_synchronised", "is_assumed", "verdict"),
    [(True, False, Verdict.OK), (False, True, Verdict.OK), (False, False, Verdict.FAULT)],
)
def test_a_clock_that_nobody_vouches_for_is_a_fault_with_its_way_out(
    is_synchronised: bool, is_assumed: bool, verdict: Verdict
) -> None:
    finding = doctor.clock_finding(is_synchronised=is_synchronised, is_assumed=is_assumed)
    assert finding.verdict is verdict
    assert ("EZREC_ASSUME_CLOCK=yes" in finding.remedy) == (verdict is Verdict.FAULT)


# ---- camera


def test_a_device_must_be_there_and_be_a_device(home: Path) -> None:
    assert found(home, EZREC_CAMERA="v4l2:/dev/null")["camera"].verdict is Verdict.OK
    assert found(home, EZREC_CAMERA="v4l2:/dev/video9876")["camera"].verdict is Verdict.FAULT
    assert found(home, EZREC_CAMERA="v4l2:/dev/shm")["camera"].verdict is Verdict.FAULT


@pytest.mark.parametrize(
    ("module", "verdict", "said"),
    [
        (
            "class Picamera2:\n global_camera_info = staticmethod(lambda: [{'Model': 'imx708'}])",
            "ok",
            "imx708",
        ),
        ("class Picamera2:\n global_camera_info = staticmethod(list)", "fault", "no camera module"),
        ("import module_that_is_not_there", "fault", "not installed"),
        ("raise RuntimeError('numpy is too new')", "fault", "numpy is too new"),
    ],
)
def test_a_camera_module_must_be_connected(home: Path, module: str, verdict: str, said: str) -> None:
    (home / "picamera2.py").write_text(module)
    told = ezrec(home, "doctor", "--json", EZREC_CAMERA="auto", PYTHONPATH=str(home))
    camera = next(one for one in json.loads(told.stdout) if one["check"] == "camera")
    assert camera["verdict"] == verdict, camera
    assert said in camera["evidence"]
    assert bool(camera["remedy"]) == (verdict == "fault")


def test_a_network_camera_must_answer(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as camera:
        url = f"rtsp://admin:secret@127.0.0.1:{camera.getsockname()[1]}/live"
        assert found(home, EZREC_CAMERA=url)["camera"].verdict is Verdict.OK
    finding = found(home, EZREC_CAMERA=url)["camera"]
    assert finding.verdict is Verdict.FAULT
    assert "secret" not in finding.evidence


def test_a_test_picture_for_the_cloud_is_warned_about(home: Path) -> None:
    cloud = {"SUPABASE_URL": "http://127.0.0.1:9", "USER_ID": "u1", "SUPABASE_KEY": "sb_publishable_x"}
    assert found(home, **cloud)["camera"].verdict is Verdict.WARNING
    assert found(home)["camera"].verdict is Verdict.OK


# ---- the spool


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [("ext4", Verdict.OK), ("btrfs", Verdict.OK), ("f2fs", Verdict.OK), ("tmpfs", Verdict.WARNING),
     ("nfs4", Verdict.FAULT), ("cifs", Verdict.FAULT), ("vfat", Verdict.FAULT), ("fuseblk", Verdict.FAULT)],
)  # fmt: skip
def test_what_a_spool_may_stand_on(kind: str, verdict: Verdict) -> None:
    assert spool_checks.file_system(host.Mount(kind, Path("/mnt"), read_only=False)).verdict is verdict


@needs_root
def test_a_spool_in_memory_is_warned_about_and_too_small_a_one_is_a_fault(home: Path, disk: Path) -> None:
    Spool(disk / "spool").prepare()
    findings = found(home, EZREC_SPOOL=str(disk / "spool"))
    assert findings["file system"].verdict is Verdict.WARNING
    assert findings["space"].verdict is Verdict.FAULT
    assert findings["writing"].verdict is Verdict.OK
    (disk / "filler").write_bytes(b"x" * shutil.disk_usage(disk).free)
    assert found(home, EZREC_SPOOL=str(disk / "spool"))["writing"].verdict is Verdict.FAULT


@needs_root
def test_a_directory_of_the_spool_on_another_disk_is_a_fault(home: Path, disk: Path) -> None:
    raw = home / "spool" / "raw"
    subprocess.run(["mount", "--bind", str(disk), str(raw)], check=True, timeout=20)
    try:
        finding = found(home)["spool"]
    finally:
        subprocess.run(["umount", "--lazy", str(raw)], check=True, timeout=20)
    assert finding.verdict is Verdict.FAULT
    assert str(raw) in finding.evidence


@needs_root
def test_a_read_only_disk_is_a_fault(home: Path, disk: Path) -> None:
    Spool(disk / "spool").prepare()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True, timeout=20)
    findings = found(home, EZREC_SPOOL=str(disk / "spool"))
    assert findings["file system"].verdict is Verdict.FAULT
    assert findings["writing"].verdict is Verdict.FAULT


def test_a_link_in_place_of_a_directory_is_a_fault_and_a_missing_one_a_warning(home: Path) -> None:
    raw = home / "spool" / "raw"
    raw.rmdir()
    assert found(home)["spool"].verdict is Verdict.WARNING
    raw.symlink_to(home)
    assert found(home)["spool"].verdict is Verdict.FAULT


def test_a_spool_that_cannot_be_made_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("no directory")
    assert found(tmp_path)["spool"].verdict is Verdict.FAULT


def test_a_directory_that_may_not_be_written_is_a_fault(home: Path) -> None:
    (home / "spool" / "raw").chmod(0o500)
    # Even root is bound by permissions once it has no capabilities.
    bare = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    said = subprocess.run(
        [*bare, sys.executable, "-m", "ezrec", "doctor", "--quick", "--json"],
        env={"EZREC_HOME": str(home), "PATH": os.environ["PATH"]},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    verdicts = {one["check"]: one for one in json.loads(said.stdout)}
    assert verdicts["access"]["verdict"] == "fault", said.stdout
    assert "raw/" in verdicts["access"]["evidence"]


def test_a_machine_on_which_nothing_can_be_watched_is_a_fault(home: Path) -> None:
    """In a user namespace of its own, where the kernel allows no inotify instance."""
    program = (
        "echo 0 > /proc/sys/user/max_inotify_instances || exit 99\n"
        f"exec {sys.executable} -m ezrec doctor --json"
    )
    said = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", program],
        env={"EZREC_HOME": str(home), "PATH": os.environ["PATH"], "EZREC_ASSUME_CLOCK": "yes"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if said.returncode == 99 or said.stderr.startswith("unshare"):
        pytest.skip("this kernel gives no user namespaces, and so no limits of their own")
    verdicts = {one["check"]: one["verdict"] for one in json.loads(said.stdout)}
    assert verdicts["watching"] == "fault"
    assert found(home)["watching"].verdict is not Verdict.FAULT


# ---- who lives


def test_a_machine_without_systemd_on_which_no_recorder_runs_is_a_fault(home: Path) -> None:
    assert found(home)["recorder"].verdict is Verdict.OK
    (home / "state" / "health.json").unlink()
    missing = found(home)["recorder"]
    assert (missing.verdict, missing.remedy) == (Verdict.FAULT, "ezrec run")
    assert "no recorder runs" in missing.evidence
    said = ezrec(home, "doctor", EZREC_ASSUME_CLOCK="yes")
    assert said.returncode == 6
    assert "All is well" not in said.stdout


def test_a_recorder_or_a_worker_that_is_stopped_is_a_fault(home: Path) -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        child.send_signal(signal.SIGSTOP)
        assert eventually(lambda: host.process_state(child.pid) is ProcessState.STOPPED)
        recorder(home, child.pid)
        assert found(home)["recorder"].remedy == f"kill -KILL {child.pid}; ezrec run"
        recorder(home)
        facts = Snapshot(datetime.now(UTC), SystemClock().boot_id())
        (home / "state" / "status.json").write_bytes(encode(StatusFile(facts, pid=child.pid)))
        services = found(home)["services"]
        assert services.verdict is Verdict.FAULT
        assert f"process {child.pid} is stopped" in services.evidence
    finally:
        child.kill()
        child.wait(60)


def test_a_match_that_nobody_records_and_one_that_is_held_are_told(home: Path) -> None:
    spool, now = Spool(home / "spool"), datetime.now(UTC)
    began = now - timedelta(minutes=20)
    laid(spool, State.INCOMING, "b1", booking=booking("b1", began), created=began)
    assert "b1 should be recorded and is not" in found(home)["recorder"].evidence
    laid(spool, State.INCOMING, "b2", booking=booking("b2", now), held="by a person")
    said = [one.evidence for one in doctor.examine({"EZREC_HOME": str(home)}) if one.check == "recorder"]
    assert any("booking b2 began" in one and "is held" in one for one in said)


def test_what_went_wrong_lately_is_told_until_it_is_put_away(home: Path) -> None:
    spool = Spool(home / "spool")
    entry = laid(spool, State.INCOMING, "b1")
    missed = replace(entry.job, outcome=JobOutcome.MISSED, reason="no camera")
    spool.leave(entry, missed.arrived("done", datetime.now(UTC)))
    told = found(home)["bookings"]
    assert told.verdict is Verdict.WARNING
    assert told.evidence.startswith("last 24 h: 0 published, 1 missed; ")
    put_away(home / "state", ["missed-b1"])
    assert found(home)["bookings"] == ok("bookings", "last 24 h: 0 published, 1 missed")


def test_the_free_disk_is_the_same_in_the_doctor_in_the_list_and_in_the_status(home: Path) -> None:
    health = Health(
        datetime.now(UTC), os.getpid(), SystemClock().boot_id(), "software", CameraState.OFF,
        bytes_a_minute=30_000_000,
    )  # fmt: skip
    (home / "state" / "health.json").write_bytes(healths.encode(health))
    told = [
        found(home)["space"].evidence,
        ezrec(home, "spool", "ls", EZREC_ASSUME_CLOCK="yes").stdout,
        ezrec(home, "status", EZREC_ASSUME_CLOCK="yes").stdout,
    ]
    hours = [re.findall(r"free, ([^·]*?) of recording", text) for text in told]
    assert hours[0] == hours[1] == hours[2], hours
    assert hours[0]


# ---- who works, and what is stuck


def test_who_holds_a_stage_is_told_and_no_lock_is_taken_to_find_out(home: Path) -> None:
    spool = Spool(home / "spool")
    laid(spool, State.PROCESSING, "b1")
    with spool.lock("process").held(0, "process"):
        finding = found(home)["stage process"]
    assert (finding.verdict, finding.evidence) == (Verdict.OK, f"worked by pid {os.getpid()} process")


def test_jobs_in_the_hand_of_the_dead_and_jobs_nobody_fetches_are_told(home: Path) -> None:
    spool = Spool(home / "spool")
    laid(spool, State.PROCESSING, "orphan")
    laid(spool, State.PROCESSED, "waiting", created=NOW - timedelta(days=3000))
    findings = found(home)
    assert "orphan" in findings["stage process"].evidence
    assert findings["stage process"].verdict is Verdict.WARNING
    assert findings["stage record"].verdict is Verdict.OK


def test_a_booking_that_waits_for_its_start_is_not_stuck(home: Path) -> None:
    far = NOW + timedelta(days=3000)
    laid(Spool(home / "spool"), State.INCOMING, "b1", booking=booking("b1", far), due=far)
    assert found(home)["stage record"].verdict is Verdict.OK


def test_failed_jobs_are_named_a_few_at_most(home: Path) -> None:
    assert found(home)["failed jobs"].verdict is Verdict.OK
    for number in range(5):
        laid(Spool(home / "spool"), State.FAILED, f"b{number}")
    finding = found(home)["failed jobs"]
    assert (finding.verdict, finding.evidence) == (Verdict.WARNING, "b0, b1, b2 and 2 more")


def test_a_booking_cache_that_cannot_be_read_is_told(home: Path) -> None:
    cache = home / "bookings_cache.json"
    for content, verdict in (("[{}]", Verdict.OK), ("[{", Verdict.WARNING), ("{}", Verdict.WARNING)):
        cache.write_text(content)
        assert found(home)["booking cache"].verdict is verdict, content


# ---- how it is told


def test_what_a_finding_says_cannot_command_the_terminal() -> None:
    assert "\x1b" not in draw(warning("spool", "\x1b[2J", "\x1b[31m"))


def test_the_exit_code_follows_the_worst() -> None:
    fine, doubtful = ok("spool", ""), warning("spool", "", "")
    assert exit_code([fine, doubtful]) == 0
    assert exit_code([fine, fault("spool", "", "")]) == 6
    assert exit_code([fault("settings", "", ""), fault("spool", "", "")]) == 78


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a directory away needs root")
def test_directories_of_several_users_are_in_order_where_one_group_shares_them(home: Path) -> None:
    places = [home / "spool", *Spool(home / "spool").places()]
    os.chown(places[1], 12345, -1)
    assert found(home)["access"].verdict is Verdict.WARNING
    for path in places:
        os.chown(path, -1, 12346)
        path.chmod(0o2770)
    shared = found(home)["access"]
    assert (shared.verdict, "the group 12346" in shared.evidence) == (Verdict.OK, True)
