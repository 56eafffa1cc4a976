"""A booking on a network camera that misbehaves: its clock jumps, its key frames are rare, its size changes.

The camera is one of ours on the loopback; FFmpeg, recorder and files are the real ones.
"""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ezrec.camera.ffmpeg_camera import CameraLimits, _Child
from ezrec.camera.ffmpeg_sources import RtspSource, SoftwareSource
from ezrec.camera.live_stream import LiveStream
from ezrec.domain.outcomes import Done
from ezrec.media.mp4.fragments import BadStream
from tests.camera.network_camera import CLOCK, Clip, NetworkCamera, payloads
from tests.fakes.camera import footage, header
from tests.fakes.clock import StandingClock
from tests.support import media
from tests.support.court import LONG_S, Court
from tests.support.recording import are_in_a_row, breaks_in, frame_numbers
from tests.support.wait import eventually

FPS, WIDTH = 25, 320


def clip(
    folder: Path,
    seconds: float,
    *,
    gop_s: float = 1,
    size: str = "320x180",
    codec: str = "libx264",
    b: int = 0,
) -> Path:
    """A video whose pictures carry their number, from 0 on."""
    path = folder / f"{size}-{codec}-{gop_s}-{b}.mp4"
    across, _, down = size.partition("x")
    drawn = SoftwareSource(int(across), int(down), FPS, 400_000).argv()
    keys = str(round(gop_s * FPS))
    argv = ["ffmpeg", "-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", drawn[drawn.index("-i") + 1]]
    argv += ["-t", f"{seconds:g}", "-c:v", codec, "-preset", "ultrafast", "-g", keys, "-keyint_min", keys]
    argv += ["-sc_threshold", "0", "-bf", str(b), "-pix_fmt", "yuv420p"]
    argv += ["-x265-params", "log-level=error:pools=1"] if codec == "libx265" else []
    return media.made_once(path, argv, lambda new: subprocess.run([*argv, str(new)], check=True, timeout=60))


@pytest.fixture
def courts() -> Iterator[list[Court]]:
    begun: list[Court] = []
    yield begun
    for court in begun:
        court.close()


def begun(courts: list[Court], home: Path, camera: NetworkCamera, key_s: float = 12.0) -> Court:
    limits = CameraLimits(start_s=60, key_s=key_s)
    courts.append(Court(home, LONG_S, source=RtspSource(camera.url), limits=limits))
    return courts[-1]


def goes_on(court: Court, seconds: float) -> None:
    """Waits until so much more was recorded."""
    until = court.clock.monotonic() + seconds
    court.wait_for(lambda: court.clock.monotonic() >= until)


def steps(path: Path) -> list[float]:
    """Seconds between the pictures of a file, in the order in which they are shown."""
    argv = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "packet=pts_time"]
    told = subprocess.run([*argv, "-of", "json", path], capture_output=True, check=True, timeout=60)
    times = sorted(float(packet["pts_time"]) for packet in json.loads(told.stdout)["packets"])
    return [later - earlier for earlier, later in itertools.pairwise(times)]


@pytest.mark.parametrize("by", [3600.0, -3600.0, -40.0, 100_000.0])
def test_a_network_camera_that_sets_its_clock_loses_no_picture_and_no_second(
    courts: list[Court], tmp_path: Path, by: float
) -> None:
    with NetworkCamera(Clip(clip(tmp_path, 25))) as camera:
        court = begun(courts, tmp_path, camera)
        court.wait_for(court.is_writing)
        goes_on(court, 3)
        camera.stamp = lambda moment: moment + by
        goes_on(court, 4)
        assert isinstance(court.whistled(), Done)
        (take,) = court.job.takes
        (numbers,) = court.footage()
        assert are_in_a_row(numbers)
        assert take.duration_s == pytest.approx(len(numbers) / FPS, abs=0.3)
        assert max(steps(court.entry.path / take.file)) < 0.3
        assert camera.connections == 1
        assert ["clock jumped" in said for said in court.told] == [True]
        booking = court.job.booking
        assert booking is not None
        assert abs((take.ended - booking.end).total_seconds()) < 0.6


def test_a_network_camera_that_has_udp_alone_is_recorded_and_told_of(
    courts: list[Court], tmp_path: Path
) -> None:
    with NetworkCamera(Clip(clip(tmp_path, 15)), has_tcp=False) as camera:
        court = begun(courts, tmp_path, camera)
        court.wait_for(court.is_writing)
        goes_on(court, 2)
        assert isinstance(court.whistled(), Done)
        (numbers,) = court.footage()
        assert are_in_a_row(numbers)
        assert ["sends over UDP alone" in said for said in court.told] == [True]


@pytest.mark.parametrize("stalls", [True, False])
def test_a_line_that_stalls_and_a_stamp_that_wraps_leave_every_picture_in_its_place(
    courts: list[Court], tmp_path: Path, stalls: bool
) -> None:
    with NetworkCamera(Clip(clip(tmp_path, 25))) as camera:
        camera.stamp = lambda moment: moment + (0 if stalls else 2**32 / CLOCK - 9)
        court = begun(courts, tmp_path, camera)
        court.wait_for(court.is_writing)
        since = camera.now
        camera.may_send = lambda now: not (stalls and since < now < since + 1.8)
        goes_on(court, 4)
        court.wait_for(lambda: camera.now > 10)
        assert isinstance(court.whistled(), Done)
        (take,) = court.job.takes
        (numbers,) = court.footage()
        assert are_in_a_row(numbers)
        assert set(map(round, (step * 1000 for step in steps(court.entry.path / take.file)))) == {40}
        assert court.told == []


def test_pictures_out_of_order_and_a_clock_set_back_cost_a_gap_that_is_named(
    courts: list[Court], tmp_path: Path
) -> None:
    """FFmpeg cannot order them any more; a new connection can."""
    with NetworkCamera(Clip(clip(tmp_path, 30, b=2))) as camera:
        court = begun(courts, tmp_path, camera)
        court.wait_for(lambda: court.is_writing() and camera.now > 9)
        camera.stamp = lambda moment: moment - 40
        court.wait_for(lambda: court.is_writing(take=2))
        assert isinstance(court.whistled(), Done)
        first, second = court.job.takes
        assert "to and fro" in first.ended_by
        numbers = court.footage()
        missing_s = (numbers[1][0] - numbers[0][-1]) / FPS
        assert (second.started - first.ended).total_seconds() == pytest.approx(missing_s, abs=0.5)
        assert first.ended in {gap.start for gap in court.job.gaps}
        assert are_in_a_row(numbers[1][:-3])  # its last pictures are shown before others that were to come


def test_a_camera_whose_key_frame_is_long_in_coming_is_waited_for_while_its_pictures_come(
    courts: list[Court], tmp_path: Path
) -> None:
    with NetworkCamera(Clip(clip(tmp_path, 8, gop_s=8))) as camera:
        assert eventually(lambda: camera.now > 1)
        court = begun(courts, tmp_path, camera, key_s=1)
        court.wait_for(lambda: bool(court.job.takes))
        assert camera.now < 7
        health = court.camera.health()
        assert (health.running, health.awaits_key, health.written > 5000) == (True, True, False)
        assert court.health().alarm == ""
        court.wait_for(court.is_writing)
        assert not court.camera.health().awaits_key
        court.wait_for(lambda: court.health().key_every_s is not None)
        assert court.health().key_every_s == pytest.approx(8, abs=0.5)
        assert isinstance(court.whistled(), Done)
        (numbers,) = court.footage()
        assert (numbers[0], are_in_a_row(numbers[: 8 * FPS])) == (0, True)
        assert camera.connections == 1
        assert len(court.job.gaps) == 1  # until the key frame came


def test_a_camera_that_tells_nothing_before_its_key_frame_is_waited_for_too(
    courts: list[Court], tmp_path: Path
) -> None:
    with NetworkCamera(Clip(clip(tmp_path, 8, gop_s=8)), tells_sets=False) as camera:
        assert eventually(lambda: camera.now > 1)
        court = begun(courts, tmp_path, camera)
        court.wait_for(court.is_writing)
        assert isinstance(court.whistled(), Done)
        assert camera.connections == 1


def test_a_key_frame_may_be_a_minute_off_and_one_that_never_comes_ends_the_stream() -> None:
    clock = StandingClock()
    stream = LiveStream(clock)
    child = _Child(RtspSource("rtsp://127.0.0.1:9/live"), clock, stream, CameraLimits(), lambda _: None)
    one, two, three = itertools.islice((found.data for found in footage() if not found.starts_with_key), 3)
    with child._wake_reader, child._wake_writer:
        child._receive(header().data + one)
        clock.pass_time(60)
        assert child._receive(two)
        assert not stream.health().fault
        clock.pass_time(120)
        with pytest.raises(BadStream, match="no key frame for 120 s"):
            child._receive(three)


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_this_camera_never_sends_a_fragment_that_is_both_the_first_and_the_last(codec: str) -> None:
    head = 1 if codec == "h264" else 2
    for size in range(1395, 1410):
        nal = bytes((2,)) * size
        sent = [payload for payload, _ in payloads(codec, [nal])]
        assert sent == [nal] or all(payload[head] & 0xC0 != 0xC0 for payload in sent), size


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_a_camera_that_changes_its_size_in_the_match_begins_another_take_and_loses_no_picture(
    courts: list[Court], tmp_path: Path, codec: str
) -> None:
    clips = [clip(tmp_path, 12, size=size, codec=codec) for size in ("320x180", "480x270")]
    with NetworkCamera(Clip(clips[0], 8), Clip(clips[1])) as camera:
        court = begun(courts, tmp_path, camera)
        court.wait_for(lambda: court.is_writing(take=2))
        assert isinstance(court.whistled(), Done)
        first, second = court.job.takes
        assert first.ended_by == "the camera changed its picture from 320x180 to 480x270"
        assert abs((second.started - first.ended).total_seconds()) < 0.1
        assert all(gap.end <= first.started for gap in court.job.gaps)  # the camera's start alone
        small = frame_numbers(court.entry.path / first.file, 320)
        large = frame_numbers(court.entry.path / second.file, 480)
        assert (small[-1], large[0]) == (8 * FPS - 1, 0)
        assert (breaks_in(small), breaks_in(large)) == ([], [])
        assert camera.connections == 1
        assert [_size(court.entry.path / take.file) for take in (first, second)] == [(320, 180), (480, 270)]


def _size(path: Path) -> tuple[int, int]:
    """As the header says, without a look at any picture."""
    argv = ["ffprobe", "-v", "error", "-analyzeduration", "0", "-probesize", "4096"]
    argv += ["-show_entries", "stream=width,height", "-of", "json", str(path)]
    told = json.loads(subprocess.run(argv, capture_output=True, check=True, timeout=60).stdout)["streams"][0]
    return told["width"], told["height"]
