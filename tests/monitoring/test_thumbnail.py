"""The thumbnail: a picture of the newest key frame, while something is recorded, and in nobody's way."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from ezrec.camera.snapshots import newest_picture
from ezrec.domain.errors import Retry
from ezrec.domain.job import OPEN, Take
from ezrec.domain.stages import State
from ezrec.monitoring.thumbnail import EVERY_S, Thumbnail
from tests.support.boxes import LOG, CourtBox, a_box
from tests.support.jobs import laid

TAKE = "raw_b1_20260601_180000.mp4"


@pytest.fixture(scope="module")
def growing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds as a camera writes them: red, then blue for the last two; broken off within a fragment."""
    path = tmp_path_factory.mktemp("takes") / TAKE
    command = [
        "ffmpeg", "-nostdin", "-loglevel", "error", "-y",
        "-f", "lavfi", "-i", "color=red:s=640x360:r=30:d=4",
        "-f", "lavfi", "-i", "color=blue:s=640x360:r=30:d=2",
        "-filter_complex", "concat", "-c:v", "libx264", "-preset", "ultrafast", "-g", "30", "-bf", "0",
        "-f", "mp4", "-movflags", "empty_moov+default_base_moof", "-frag_duration", "200000", str(path),
    ]  # fmt: skip
    subprocess.run(command, check=True, timeout=60)
    return path


def colour(picture: Path) -> tuple[int, ...]:
    command = ["ffmpeg", "-loglevel", "error", "-i", str(picture), "-vf", "scale=1:1", "-f", "rawvideo"]
    done = subprocess.run([*command, "-pix_fmt", "rgb24", "-"], capture_output=True, timeout=60, check=True)
    return tuple(done.stdout[:3])


@pytest.mark.parametrize("torn", [0, 40])
def test_the_picture_is_the_newest_and_small(growing: Path, tmp_path: Path, torn: int) -> None:
    take = tmp_path / TAKE
    take.write_bytes(growing.read_bytes()[: -torn or None])
    newest_picture(take, tmp_path / "still.jpg")
    red, _, blue = colour(tmp_path / "still.jpg")
    assert blue > 150 > 80 > red
    command = ["ffprobe", "-v", "error", "-show_entries", "stream=width,height", "-of", "csv=p=0"]
    said = subprocess.run(
        [*command, str(tmp_path / "still.jpg")], capture_output=True, timeout=60, check=True
    )
    assert said.stdout.decode().strip() == "320,180"
    assert (tmp_path / "still.jpg").stat().st_size < 50_000


@pytest.mark.parametrize("content", [b"", b"ftyp", b"\x00" * 5000, b"moof" * 5000])
def test_what_is_no_recording_makes_no_picture(tmp_path: Path, content: bytes) -> None:
    take = tmp_path / TAKE
    take.write_bytes(content)
    with pytest.raises(Retry):
        newest_picture(take, tmp_path / "still.jpg")
    assert not (tmp_path / "still.jpg").exists()


def test_a_long_take_is_not_read_whole(growing: Path, tmp_path: Path) -> None:
    """Terabytes of nothing lie between its beginning and its end."""
    data = growing.read_bytes()
    first = data.index(b"moof") - 4
    take = tmp_path / TAKE
    with take.open("wb") as file:
        file.write(data[: first + 100])
        file.seek(1 << 40)
        file.write(data[first:])
    newest_picture(take, tmp_path / "still.jpg")
    assert (tmp_path / "still.jpg").exists()


# ---- the pulse


@pytest.fixture
def box(tmp_path: Path) -> CourtBox:
    return a_box(tmp_path / "home")


def still(box: CourtBox, made: list[str]) -> Thumbnail:
    def draw(take: Path, target: Path) -> None:
        made.append(take.name)
        target.write_bytes(b"jpeg of " + take.name.encode())

    return Thumbnail(box.cloud, box.spool, box.settings, draw, LOG)


def recording(box: CourtBox) -> None:
    entry = laid(box.spool, State.RECORDING, "b1", takes=(Take(TAKE, box.now, 0.0, 0, OPEN),))
    (entry.path / TAKE).write_bytes(b"growing")


def test_while_nothing_is_recorded_there_is_no_still(box: CourtBox) -> None:
    still(box, [])()
    assert box.cloud.objects == {}


def test_one_goes_every_five_minutes_also_from_fresh_processes(box: CourtBox) -> None:
    made: list[str] = []
    recording(box)
    for _ in range(3):
        still(box, made)()
    assert box.cloud.objects == {("logs", "status", "0.jpg"): b"jpeg of " + TAKE.encode()}
    assert len(made) == 1
    old = time.time() - EVERY_S
    os.utime(box.settings.state / "still.jpg", (old, old))
    still(box, made)()
    assert len(made) == 2


def test_a_still_that_fails_is_told_once_and_harms_no_heartbeat(
    box: CourtBox, caplog: pytest.LogCaptureFixture
) -> None:
    recording(box)
    box.cloud.fail_next(2, Retry("no network"), "store")
    picture = still(box, [])
    status = box.status()
    status.still = picture
    for _ in range(2):
        status()
        status.finish(60)
        old = time.time() - EVERY_S
        os.utime(box.settings.state / "still.jpg", (old, old))
    assert box.cloud.calls["heartbeat"] == box.cloud.calls["store"] == 2
    assert len([record for record in caplog.records if "no still" in record.message]) == 1
