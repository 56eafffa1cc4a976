"""`ezrec camera …`: on the real software camera, and on a USB camera whose device alone is false.

This machine has no V4L2 device, so FFmpeg is given a file of JPEG pictures in place of one.
"""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ezrec.camera import snapshots
from ezrec.camera.ffmpeg_camera import FfmpegCamera
from ezrec.camera.ffmpeg_sources import V4l2Source
from ezrec.camera.v4l2_discovery import usb_cameras
from ezrec.cli.main import run
from ezrec.diagnostics.camera_test import judge, verdict
from ezrec.domain.booking import Booking
from ezrec.domain.camera_test import Asked, CameraTest, MicrophoneResult, TakeFacts
from ezrec.domain.errors import Reject, Retry
from ezrec.domain.findings import Verdict
from ezrec.domain.job import Job, Kind, Take
from ezrec.domain.names import safe_id
from ezrec.domain.stages import State
from ezrec.media.ffmpeg.measure import take_facts
from ezrec.spool.spool import Spool
from tests.diagnostics import fake_v4l2
from tests.support import media
from tests.support.recording import Call, SteppingClock
from tests.support.wait import eventually

FACTS = TakeFacts(1280, 720, "h264", 300, 300, 10.0, 0.034, 1.0, 5_000_000)
GOOD = CameraTest(Asked(1280, 720, 10.0, 30.0, 4_000_000), FACTS, first_frame_s=0.8, dropped=0)
JPEG = b"\xff\xd8\xff"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("EZREC_SPOOL", "SUPABASE_URL", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    wanted = {
        "EZREC_HOME": str(tmp_path), "EZREC_CAMERA": "software", "RESOLUTION": "320x180",
        "RECORDING_BITRATE": "400000", "EZREC_ASSUME_CLOCK": "yes",
    }  # fmt: skip
    for name, value in wanted.items():
        monkeypatch.setenv(name, value)
    Spool(tmp_path / "spool").prepare()
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> str:
    assert run(["camera", *arguments]) == code
    told = capsys.readouterr()
    return told.err if code and not told.out else told.out


def node(sysfs: Path, number: int, name: str, index: str = "0") -> None:
    (sysfs / f"video{number}").mkdir(parents=True)
    (sysfs / f"video{number}" / "name").write_text(f"{name}\n")
    (sysfs / f"video{number}" / "index").write_text(f"{index}\n")


# ---- what is connected


def test_cameras_are_told_from_codecs_metadata_and_the_ends_of_modules(tmp_path: Path) -> None:
    for number, name in ((10, "bcm2835-codec-decode"), (13, "bcm2835-isp"), (20, "pispbe-input"),
                         (19, "rpi-hevc-dec"), (4, "rp1-cfe-csi2_ch0"), (0, "unicam-image")):  # fmt: skip
        node(tmp_path, number, name)
    node(tmp_path, 12, "USB cam: USB cam")
    node(tmp_path, 3, "HD Pro\x1bWebcam C920", "0")
    node(tmp_path, 5, "HD Pro Webcam C920", "1")
    (tmp_path / "v4l-subdev0").mkdir()
    found = [("/dev/video3", "HD Pro?Webcam C920"), ("/dev/video12", "USB cam: USB cam")]
    assert list(usb_cameras(tmp_path)) == found
    assert list(usb_cameras(tmp_path / "absent")) == []


def test_the_list_marks_the_chosen_camera(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = said(capsys, 0, "list")
    assert "* software  software  a test picture" in shown
    found = json.loads(said(capsys, 0, "list", "--json"))
    assert [one["setting"] for one in found if one["is_chosen"]] == ["software"]


def test_the_list_says_what_is_missing_of_the_chosen_camera_and_no_password(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EZREC_CAMERA", "v4l2:/dev/video77")
    assert "/dev/video77 is not there: plug it in" in said(capsys, 0, "list")
    monkeypatch.setenv("EZREC_CAMERA", "rtsp://me:hunter2@10.1.2.3/live?token=abc")
    for arguments in (("list",), ("list", "--json")):
        shown = said(capsys, 0, *arguments)
        assert "rtsp://10.1.2.3/live" in shown
        assert "hunter2" not in shown
        assert "token" not in shown


# ---- the test


def test_a_trial_of_the_software_camera_is_fit_and_leaves_nothing(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(home.iterdir())
    told = json.loads(said(capsys, 0, "test", "--seconds", "2", "--json"))
    assert told["verdict"].startswith("The camera ")
    assert {one["check"]: one["verdict"] for one in told["found"]}["decodes"] == "ok"
    facts = told["trial"]["facts"]
    assert facts["frames"] == facts["decoded"] >= 45
    assert facts["key_every_s"] == pytest.approx(1.0, abs=0.2)
    assert (facts["width"], facts["height"]) == (320, 180)
    assert sorted(home.iterdir()) == before
    assert not list((home / "spool").rglob("*.mp4"))


def test_the_table_ends_with_one_line_of_verdict(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, 0, "test", "--seconds", "2").splitlines()
    checks = ["first frame", "picture", "rate", "gaps", "drops", "bitrate", "key frames", "decodes"]
    for check, line in zip(checks, lines, strict=False):
        assert check in line
    assert lines[-1].startswith("The camera ")


def test_a_recorder_at_work_is_named_and_not_disturbed(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Spool(home / "spool").lock("record").held(0, "records b1"):
        for arguments in (("test",), ("snapshot", str(home / "a.jpg"))):
            told = said(capsys, 4, *arguments)
            assert f"held by pid {os.getpid()} records b1" in told
    assert not (home / "a.jpg").exists()


def waiting(home: Path, starts: datetime, job_id: str = "next") -> None:
    booking = Booking(safe_id(job_id), starts, starts + timedelta(hours=1))
    Spool(home / "spool").create(State.INCOMING, Job(booking.id, Kind.BOOKING, starts, booking))


def test_no_trial_begins_when_a_booking_is_near(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    waiting(home, datetime.now(UTC) + timedelta(seconds=50))
    assert "booking next needs the camera" in said(capsys, 3, "test", "--seconds", "5")


def test_a_booking_that_comes_during_a_trial_ends_it(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def book_when_it_runs() -> None:
        eventually(lambda: Spool(home / "spool").lock("record").is_held(), 30)
        waiting(home, datetime.now(UTC))

    booking = threading.Thread(target=book_when_it_runs)
    booking.start()
    began = time.monotonic()
    assert "needs the camera" in said(capsys, 3, "test", "--seconds", "60")
    assert time.monotonic() - began < 50
    booking.join()
    assert not Spool(home / "spool").lock("record").is_held()


def test_where_sound_is_wanted_the_trial_listens_too(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EZREC_AUDIO", "software")
    assert run(["camera", "test", "--seconds", "3", "--json"]) in (0, 1)
    heard = json.loads(capsys.readouterr().out)["trial"]["heard"]
    assert (heard["microphone"], heard["fault"]) == ("software", "")
    assert heard["seconds"] > 0.5


def test_a_microphone_that_is_missing_leaves_the_trial_of_the_picture_as_it_is(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EZREC_AUDIO", "alsa:hw:77,0")
    assert run(["camera", "test", "--seconds", "2", "--json"]) in (0, 1)
    told = json.loads(capsys.readouterr().out)
    assert told["trial"]["facts"]["frames"] > 0
    assert [one["verdict"] for one in told["found"] if one["check"] == "sound"] == ["warning"]


def test_without_a_camera_the_trial_says_why(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EZREC_CAMERA", "v4l2:/dev/video77")
    assert "No such file" in said(capsys, 75, "test", "--seconds", "2")


def test_a_camera_that_somebody_else_has_open_is_refused_with_the_holder_named(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = home / "programs" / "ffmpeg"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho '[error] /dev/video0: Device or resource busy' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("EZREC_CAMERA", "v4l2:/dev/video77")
    for arguments in (("test", "--seconds", "2"), ("snapshot", str(home / "a.jpg"))):
        told = said(capsys, 4, *arguments)
        assert "held by a process of another user" in told
        assert "systemctl stop ezrec" in told


@pytest.mark.parametrize(
    ("changes", "check", "how"),
    [
        ({"first_frame_s": 9.0}, "first frame", Verdict.WARNING),
        ({"dropped": 3}, "drops", Verdict.FAULT),
        ({"ended_by": "no frames for 3 s"}, "end", Verdict.FAULT),
        ({"width": 640}, "picture", Verdict.WARNING),
        ({"frames": 150, "decoded": 150}, "rate", Verdict.FAULT),
        ({"longest_gap_s": 0.1}, "gaps", Verdict.WARNING),
        ({"size": 50_000_000}, "bitrate", Verdict.WARNING),
        ({"key_every_s": 8.0}, "key frames", Verdict.WARNING),
        ({"decoded": 290}, "decodes", Verdict.FAULT),
        ({"heard": MicrophoneResult("alsa:hw:1,0", 0.0, "No such device")}, "sound", Verdict.WARNING),
        ({"heard": MicrophoneResult("alsa:hw:1,0", 3.0)}, "sound", Verdict.WARNING),
    ],
)
def test_each_shortcoming_is_told_with_what_to_do(changes: dict[str, Any], check: str, how: Verdict) -> None:
    own = {name: value for name, value in changes.items() if name in CameraTest.__dataclass_fields__}
    rest = {name: value for name, value in changes.items() if name not in own}
    found = judge(replace(GOOD, facts=replace(FACTS, **rest), **own))
    wrong = [one for one in found if one.verdict is not Verdict.OK]
    assert [(one.check, one.verdict) for one in wrong] == [(check, how)]
    assert wrong[0].remedy
    assert check in verdict(found)


def test_a_good_trial_is_fit_and_a_camera_that_decides_for_itself_is_not_blamed() -> None:
    assert verdict(judge(GOOD)) == "The camera is fit to record."
    own_way = replace(
        GOOD,
        asked=replace(GOOD.asked, fps=None, bitrate=None),
        facts=replace(FACTS, frames=250, decoded=250, longest_gap_s=0.04),
    )
    assert verdict(judge(own_way)) == "The camera is fit to record."


def test_what_is_no_take_has_no_facts(tmp_path: Path) -> None:
    (tmp_path / "t.mp4").write_bytes(b"no video")
    with pytest.raises(Reject):
        take_facts(tmp_path / "t.mp4")


# ---- pictures


@pytest.mark.parametrize("name", ["now.jpg", "now.png"])
def test_a_snapshot_is_a_picture_of_the_chosen_camera(
    home: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert "taken now" in said(capsys, 0, "snapshot", str(home / name))
    assert media.streams(home / name)["video"]["width"] == 320


@pytest.mark.parametrize("name", ["now.mp4", "now", "missing/now.jpg"])
def test_a_name_that_no_picture_can_have_is_refused_before_the_camera_starts(
    home: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    said(capsys, 3, "snapshot", str(home / name))


def test_while_the_recorder_records_the_picture_comes_from_its_take(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spool, now = Spool(home / "spool"), datetime.now(UTC)
    take = Take("raw_b1_20260601_180000.mp4", now, 0.0, 0, "still open")
    entry = spool.claim(
        spool.create(State.INCOMING, Job(safe_id("b1"), Kind.BOOKING, now, takes=(take,))), State.RECORDING
    )
    path = media.make_take(entry.path / take.file, 2, colour="red")
    path.write_bytes(path.read_bytes() + (9000).to_bytes(4, "big") + b"moof" + b"\0" * 50)
    with spool.lock("record").held(0, "records b1"):
        told = said(capsys, 0, "snapshot", str(home / "now.jpg"))
    assert f"the newest key frame of {take.file}" in told
    assert media.picture_at(home / "now.jpg", 0).colour(100, 100) == "red"


def test_the_newest_key_frame_is_taken_not_the_first(tmp_path: Path) -> None:
    changing = "drawbox=t=fill:color=lime:enable='gte(t,1)'"
    take = media.make_take(tmp_path / "t.mp4", 2, colour="blue", filters=changing)
    snapshots.draw(snapshots.newest_key_frame(take), tmp_path / "p.png")
    assert media.picture_at(tmp_path / "p.png", 0).colour(100, 100) == "lime"


@pytest.mark.parametrize("content", [b"", b"no video at all"])
def test_a_take_without_a_picture_gives_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.mp4").write_bytes(content)
    with pytest.raises(Retry, match="no whole picture yet"):
        snapshots.newest_key_frame(tmp_path / "t.mp4")


def test_a_picture_that_cannot_be_made_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(Retry, match="no picture could be made"):
        snapshots.draw(b"no video", tmp_path / "p.png")
    assert list(tmp_path.iterdir()) == []


# ---- a USB camera, its device alone false


def test_a_usb_cameras_pictures_become_a_whole_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs, device = fake_v4l2.plug_in(tmp_path)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    clock = SteppingClock()
    camera = FfmpegCamera(V4l2Source(device, 320, 180, 30, 400_000), clock)
    with camera.hold(Call()):
        at = clock.now()
        take = camera.attach(tmp_path / "t.mp4", at).finish(at + timedelta(seconds=1.5), 20)
        camera.snapshot(tmp_path / "now.jpg")
    facts = take_facts(tmp_path / "t.mp4")
    assert facts.frames == facts.decoded >= 30
    assert facts.seconds == pytest.approx(take.duration_s, abs=0.05)
    assert facts.key_every_s == pytest.approx(1.0, abs=0.2)
    assert (tmp_path / "now.jpg").read_bytes().startswith(JPEG)
