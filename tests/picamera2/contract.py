"""The port `Camera` over real picamera2, and what only this camera can do wrong. Run by `run.sh`.

Each test has a process of its own, so a camera may stay hung when its test ends.
"""

from __future__ import annotations

import importlib
import itertools
import logging
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.picamera2 import harness

# isort: split
from ezrec.camera.overlay.blend import CaptureOverlay, LogoBlend, plane_bytes
from ezrec.camera.picamera.camera import PicameraCamera
from ezrec.camera.picamera.device import PicameraLimits, PictureFormat
from ezrec.camera.picamera.frame_callback import _planes
from ezrec.camera.shared_camera import CameraOptions
from ezrec.domain.branding import LogoPosition
from ezrec.domain.errors import Retry
from ezrec.domain.health import CameraState
from ezrec.media.mp4.boxes import check_whole
from ezrec.runtime.liveness import Liveness
from tests.contracts.test_camera import (  # noqa: F401 - pytest finds them here, and runs them with our rig
    LIMIT_S,
    Rig,
    held,
    lasting,
    test_a_camera_that_nobody_holds_sleeps_and_gives_no_take,
    test_a_file_that_exists_is_never_overwritten,
    test_a_snapshot_is_a_picture_of_the_running_camera_and_none_of_a_sleeping_one,
    test_a_step_of_the_clock_during_a_take_harms_nothing,
    test_a_take_begins_within_a_key_frame_before_and_ends_within_a_fragment_behind,
    test_finish_keeps_its_limit_when_the_end_is_far_away,
    test_overlapping_takes_are_each_whole,
    test_the_camera_runs_until_the_last_one_leaves,
    test_the_file_is_readable_while_it_grows,
)
from tests.support import media
from tests.support.recording import SteppingClock
from tests.support.wait import eventually

PICTURE = PictureFormat(320, 180, harness.FPS, 400_000)
LIMITS = PicameraLimits()
LOG = logging.getLogger("test.camera_module")
FROZEN = "frames come, but for 3 s the encoder has made nothing of them"


def made(
    clock: SteppingClock, limits: PicameraLimits = LIMITS, picture: PictureFormat = PICTURE
) -> PicameraCamera:
    return PicameraCamera(picture, clock, limits)


@pytest.fixture
def rig() -> Iterator[Rig]:
    clock = SteppingClock()
    camera = made(clock)
    # The virtual sensor is a thread: on a busy machine it gives fewer frames, at their true times. Then key
    # frames lie further apart, for they are one in thirty.
    yield Rig(camera, clock, harness.sensor.stall, made(clock), harness.FPS, key_every_s=5, rounding_s=0.5)
    camera.close()


def decoded(path: Path) -> list[Any]:
    av = importlib.import_module("av")
    with av.open(str(path)) as container:
        return [
            (frame.pts * frame.time_base, frame.width, frame.height) for frame in container.decode(video=0)
        ]


def test_the_encoder_without_hardware_is_the_software_one() -> None:
    from ezrec.camera.picamera.device import make_encoder

    encoder = make_encoder(PICTURE)
    assert type(encoder).__name__ == "LibavH264Encoder"
    assert (encoder.bitrate, encoder.iperiod, encoder.framerate) == (400_000, 30, 30)


@pytest.fixture
def encoded() -> list[int]:
    """The sensor's time, in microseconds, of every frame that the encoder has given out."""
    times: list[int] = []
    encoder: Any = importlib.import_module("picamera2.encoders.encoder").Encoder
    outputframe = encoder.outputframe

    def noted(self: Any, frame: Any, keyframe: bool, timestamp: int, **more: Any) -> None:
        times.append(timestamp)
        outputframe(self, frame, keyframe, timestamp, **more)

    encoder.outputframe = noted
    return times


def place_of(frames: list[Any], encoded: list[int]) -> range:
    """Which of the encoded frames a take holds, known by the wavering of the sensor's times."""
    ticks = [round(float(frame[0]) * 1_000_000) for frame in frames]
    found = [
        first
        for first in range(len(encoded) - len(ticks) + 1)
        if all(abs(encoded[first + n] - encoded[first] - tick) < 30 for n, tick in enumerate(ticks))
    ]
    assert len(found) == 1, "frames are missing within a take, or their times are not the sensor's"
    return range(found[0], found[0] + len(ticks))


def test_back_to_back_takes_miss_no_frame_and_have_the_same_header(
    tmp_path: Path, encoded: list[int]
) -> None:
    clock, turnovers, each_s = SteppingClock(), 20, 0.4
    camera = made(clock)
    paths = [tmp_path / f"{n}.mp4" for n in range(turnovers + 1)]
    with camera.hold(lambda: None):
        time.sleep(1.5)
        began = clock.now()
        for n, path in enumerate(paths):
            recording = camera.attach(path, began + lasting(each_s * n))
            recording.finish(began + lasting(each_s * (n + 1)), LIMIT_S)
        health = camera.health()
    camera.close()
    places = []
    for path in paths:
        check_whole(path)
        frames = decoded(path)
        assert len(frames) == media.count_samples(path, 1)
        assert {frame[1:] for frame in frames} == {(320, 180)}
        places.append(place_of(frames, encoded))
    missing = [max(0, two.start - one.stop) for one, two in itertools.pairwise(places)]
    assert sum(missing) == 0
    headers = {path.read_bytes().partition(b"moof")[0][:-4] for path in paths}
    assert len(headers) == 1
    assert health.dropped == 0
    held_frames = len(set().union(*places))
    print(f"\nmeasured: {turnovers} turnovers, {held_frames} frames in a row, {sum(missing)} missing")


def test_overlapping_takes_hold_the_same_frames(tmp_path: Path, encoded: list[int]) -> None:
    clock = SteppingClock()
    camera = made(clock)
    first, second = tmp_path / "first.mp4", tmp_path / "second.mp4"
    with camera.hold(lambda: None):
        began = clock.now()
        one = camera.attach(first, began)
        time.sleep(1.2)
        two = camera.attach(second, began + lasting(1.2))
        one.finish(began + lasting(2.4), LIMIT_S)
        two.finish(began + lasting(3.6), LIMIT_S)
    camera.close()
    places = [place_of(decoded(path), encoded) for path in (first, second)]
    shared = set(places[0]) & set(places[1])
    # On a machine so busy that a second has few frames, key frames lie further apart than the two starts.
    assert places[0].start <= places[1].start < places[0].stop < places[1].stop
    assert set(places[0]) & set(places[1])
    print(f"\nmeasured: {len(places[0])} and {len(places[1])} frames, {len(shared)} in both")


def test_the_header_holds_the_parameters_of_the_encoder_that_runs(tmp_path: Path) -> None:
    from ezrec.camera.picamera.muxer import parameter_sets

    clock = SteppingClock()
    camera = made(clock)
    with camera.hold(lambda: None):
        camera.attach(tmp_path / "t.mp4", clock.now()).finish(clock.now() + lasting(1), LIMIT_S)
    camera.close()
    av = importlib.import_module("av")
    with av.open(str(tmp_path / "t.mp4")) as container:
        stream = container.streams.video[0]
        extradata = bytes(stream.codec_context.extradata)
        packet = next(iter(container.demux(stream)))
    units, data = [], bytes(packet)
    while data:
        size = int.from_bytes(data[:4], "big")
        units.append(b"\0\0\0\1" + data[4 : 4 + size])
        data = data[4 + size :]
    sets = parameter_sets(b"".join(units))
    assert len(sets) == 2
    assert all(one in extradata for one in sets)
    assert packet.is_keyframe


def test_a_hold_after_a_stop_starts_the_same_device_again(tmp_path: Path) -> None:
    clock = SteppingClock()
    camera = made(clock)
    took = []
    for n in range(3):
        began = time.monotonic()
        with camera.hold(lambda: None):
            took.append(time.monotonic() - began)
            path = tmp_path / f"{n}.mp4"
            take = camera.attach(path, clock.now()).finish(clock.now() + lasting(0.5), LIMIT_S)
            assert len(decoded(path)) == media.count_samples(path, 1)
            assert take.duration_s > 0.4
    camera.close()
    print(f"\nmeasured: seconds from hold to a picture: {', '.join(f'{s:.2f}' for s in took)}")


def test_frames_that_cease_end_the_takes_after_three_seconds_and_nobody_stops_the_camera(
    tmp_path: Path,
) -> None:
    clock = SteppingClock()
    camera = made(clock)
    lost, stops = threading.Event(), []
    module: Any = harness.picamera2
    module.Picamera2.stop = lambda *_: stops.append("asked to stop")
    hold = camera.hold(lost.set)
    hold.__enter__()
    recording = camera.attach(tmp_path / "t.mp4", clock.now())
    time.sleep(1)
    stalled = time.monotonic()
    harness.sensor.stall()
    assert recording.lost.wait(LIMIT_S)
    silent_s = time.monotonic() - stalled
    assert lost.wait(LIMIT_S)
    take = recording.finish(clock.now() + lasting(60), LIMIT_S)
    assert take.ended_by == "no frames for 3 s"
    assert len(decoded(tmp_path / "t.mp4")) == media.count_samples(tmp_path / "t.mp4", 1) > 0
    began = time.monotonic()
    hold.__exit__(None, None, None)
    with pytest.raises(
        Retry, match="no frames for 3 s; the camera does not answer, and only a fresh process"
    ):
        camera.hold(lambda: None).__enter__()
    assert "fresh process" in camera.hung
    assert time.monotonic() - began < LIMITS.call_s, "somebody waited for a hung camera"
    assert stops == []
    print(f"\nmeasured: lost {silent_s:.2f} s after the last frame, {take.duration_s:.2f} s of take kept")


def test_an_encoder_that_freezes_while_frames_go_on_is_found_out_and_left_to_a_fresh_process(
    tmp_path: Path,
) -> None:
    clock, left, gone = SteppingClock(), list[str](), threading.Event()
    camera = made(clock)

    def leave(why: str) -> None:
        left.append(why)
        gone.set()

    liveness = Liveness(camera, "picamera2", clock, tmp_path / "health.json", LOG, leave)
    encoder: Any = importlib.import_module("picamera2.encoders").LibavH264Encoder
    stops: list[str] = []
    module: Any = harness.picamera2
    module.Picamera2.stop = lambda *_: stops.append("asked to stop")
    with camera.hold(lambda: None):
        recording = camera.attach(tmp_path / "t.mp4", clock.now())
        time.sleep(0.5)
        encoder._encode = lambda *_: None
        frozen = time.monotonic()
        liveness.start()
        time.sleep(0.3)  # what the encoder was just making
        before = liveness.look()
        assert recording.lost.wait(LIMIT_S)
        silent_s = time.monotonic() - frozen
        take = recording.finish(clock.now(), LIMIT_S)
        after = liveness.look()
        assert gone.wait(LIMIT_S), "the recorder goes on with a camera whose encoder is frozen"
    assert silent_s > 2.5, "it was given up before its three seconds were over"
    assert take.ended_by == left[0].partition(";")[0] == FROZEN
    assert after.frames_in > before.frames_in + 5, "frames went on, and were counted"
    assert after.packets_out == before.packets_out > 0
    assert (after.camera_state, after.restarts) == (CameraState.HUNG, 0)
    with pytest.raises(Retry, match="only a fresh process"):
        camera.hold(lambda: None).__enter__()
    assert stops == []
    assert len(decoded(tmp_path / "t.mp4")) > 0
    print(f"\nmeasured: lost {silent_s:.2f} s after the last packet, {after.frames_in} frames in")


def test_an_exception_in_the_event_loop_is_a_loss_and_no_hang(tmp_path: Path) -> None:
    clock = SteppingClock()
    camera = made(clock)
    encoder: Any = importlib.import_module("picamera2.encoders").LibavH264Encoder

    def broken(*_: Any) -> None:
        raise ValueError("a frame that cannot be encoded")

    with camera.hold(lambda: None):
        recording = camera.attach(tmp_path / "t.mp4", clock.now())
        time.sleep(0.5)
        encoder._encode = broken
        assert recording.lost.wait(LIMIT_S)
        assert "no frames for 3 s" in recording.finish(clock.now(), LIMIT_S).ended_by


def test_a_call_that_does_not_return_is_given_up_at_its_limit() -> None:
    clock = SteppingClock()
    camera = made(clock, PicameraLimits(call_s=5.0))
    module: Any = harness.picamera2
    module.Picamera2.configure = lambda *_: threading.Event().wait(60)
    began = time.monotonic()
    with pytest.raises(Retry, match="configuring the camera did not return within 5 s"):
        camera.hold(lambda: None).__enter__()
    assert time.monotonic() - began < 30
    assert "fresh process" in camera.hung


def test_a_stop_that_hangs_is_given_up_at_its_limit() -> None:
    clock = SteppingClock()
    camera = made(clock, PicameraLimits(call_s=5.0))
    module: Any = harness.picamera2
    module.Picamera2.stop = lambda *_: threading.Event().wait(60)
    with camera.hold(lambda: None):
        pass
    with pytest.raises(Retry, match="stopping the camera did not return within 5 s"):
        camera.hold(lambda: None).__enter__()


def test_a_busy_camera_names_its_holder_and_can_be_had_when_it_is_free() -> None:
    """A virtual camera has no node in /dev: the holder is a process that has such a file open."""
    clock = SteppingClock()
    other = harness.picamera2.Picamera2(0)
    camera = made(clock)
    node = Path("/dev/media0")
    node.touch()
    with node.open("rb") as file, subprocess.Popen(["sleep", "60"], stdin=file) as process:
        file.close()
        with pytest.raises(
            Retry, match=rf"the camera is busy, held by pid {process.pid} \(sleep\)"
        ) as caught:
            camera.hold(lambda: None).__enter__()
        process.kill()
    node.unlink()
    print(f"\nmeasured: {caught.value.reason}")
    other.close()
    with camera.hold(lambda: None):
        assert eventually(lambda: camera.health().frames > 3)
    camera.close()


def test_without_a_camera_it_is_said_what_to_plug_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBCAMERA_PIPELINES_MATCH_LIST", "none")
    with pytest.raises(Retry, match=r"no camera module is connected: .*plug the ribbon cable in"):
        made(SteppingClock()).hold(lambda: None).__enter__()


def test_a_rate_and_a_size_are_kept_for_ten_seconds(tmp_path: Path, encoded: list[int]) -> None:
    clock = SteppingClock()
    camera = made(clock, picture=PictureFormat(1280, 720, harness.FPS, 4_000_000))
    path = tmp_path / "t.mp4"
    used = time.process_time()
    with camera.hold(lambda: None):
        began = clock.now()
        take = camera.attach(path, began).finish(began + timedelta(seconds=10), LIMIT_S)
    camera.close()
    used = time.process_time() - used
    frames = decoded(path)
    assert frames[0][1:] == (1280, 720)
    assert len(frames) == media.count_samples(path, 1)
    assert len(place_of(frames, encoded)) == len(frames)
    assert len(frames) / float(frames[-1][0]) < harness.FPS * 1.1
    assert media.frames(path) == len(frames)
    rate = take.size * 8 / take.duration_s / 1e6
    print(
        f"\nmeasured: 720p {len(frames)} frames, {take.duration_s:.2f} s, {rate:.2f} Mbit/s, CPU {used:.1f} s"
    )


# ---- pictures, and the logo


def test_a_snapshot_is_the_small_stream_of_the_next_frame_and_harms_no_take(
    tmp_path: Path, encoded: list[int]
) -> None:
    clock = SteppingClock()
    camera = made(clock, picture=PictureFormat(1280, 720, harness.FPS, 4_000_000))
    with camera.hold(lambda: None):
        recording = camera.attach(tmp_path / "t.mp4", clock.now())
        for n in range(3):
            camera.snapshot(tmp_path / f"{n}.jpg")
        recording.finish(clock.now(), LIMIT_S)
    camera.close()
    shown = media.streams(tmp_path / "2.jpg")["video"]
    assert (shown["width"], shown["height"]) == (640, 360)
    assert place_of(decoded(tmp_path / "t.mp4"), encoded)


def test_a_snapshot_of_a_silent_camera_says_so_within_its_limit(tmp_path: Path) -> None:
    camera = made(SteppingClock(), PicameraLimits(silence_s=1.0))
    camera.hold(lambda: None).__enter__()
    harness.sensor.stall()
    with pytest.raises(Retry, match=r"no frame came within 1 s|not running"):
        camera.snapshot(tmp_path / "now.png")
    assert list(tmp_path.iterdir()) == []


def a_logo(folder: Path, place: LogoPosition, *, cover: int = 255) -> CaptureOverlay:
    """A picture of one bright colour: Y 200, U 90, V 60."""
    pixels, quarter = place.width * place.height, -(-place.width // 2) * -(-place.height // 2)
    path = folder / "logo.yuva"
    path.write_bytes(
        bytes([200]) * pixels + bytes([90]) * quarter + bytes([60]) * quarter + bytes([cover]) * pixels
    )
    return CaptureOverlay(path, place, "a-key")


def planes_of(path: Path, place: LogoPosition) -> list[tuple[float, float]]:
    """Mean light inside the place and just beside it, a pair a frame."""
    av = importlib.import_module("av")
    found = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            light = frame.to_ndarray(format="gray").astype(int)
            inside = light[place.y : place.y + place.height, place.x : place.x + place.width]
            beside = light[place.y : place.y + place.height, place.x - place.width : place.x]
            found.append((float(inside.mean()), float(beside.mean())))
    return found


def test_the_logo_is_drawn_into_every_frame_and_the_take_says_so(tmp_path: Path) -> None:
    place = LogoPosition(240, 130, 40, 30)
    clock, said = SteppingClock(), list[str]()
    logo = a_logo(tmp_path, place)
    camera = PicameraCamera(PICTURE, clock, LIMITS, CameraOptions(lambda: logo, said.append))
    with camera.hold(lambda: None):
        assert camera.burned_in == "a-key"
        take = camera.attach(tmp_path / "t.mp4", clock.now()).finish(clock.now() + lasting(1.5), LIMIT_S)
    camera.close()
    assert take.burned_in == "a-key"
    assert said == []
    shown = planes_of(tmp_path / "t.mp4", place)
    assert len(shown) > 20
    assert all(abs(inside - (200 - 16) * 255 / 219) < 12 for inside, _ in shown), shown[:3]


def test_a_logo_that_cannot_be_drawn_costs_the_logo_and_no_frame(tmp_path: Path, encoded: list[int]) -> None:
    clock, said = SteppingClock(), list[str]()
    logo = a_logo(tmp_path, LogoPosition(300, 170, 40, 30))  # reaches out of the picture
    camera = PicameraCamera(PICTURE, clock, LIMITS, CameraOptions(lambda: logo, said.append))
    with camera.hold(lambda: None):
        take = camera.attach(tmp_path / "t.mp4", clock.now()).finish(clock.now() + lasting(1.5), LIMIT_S)
    camera.close()
    assert take.burned_in == ""
    assert len(said) == 1
    assert "does not fit into 320×180; it is laid over in processing" in said[0]
    assert place_of(decoded(tmp_path / "t.mp4"), encoded)


@pytest.mark.parametrize("left", [None, 10])
def test_a_logo_that_is_gone_or_cut_short_does_not_keep_the_camera_from_starting(
    tmp_path: Path, left: int | None
) -> None:
    logo, said = a_logo(tmp_path, LogoPosition(200, 100, 40, 30)), list[str]()
    logo.path.unlink() if left is None else os.truncate(logo.path, left)
    camera = PicameraCamera(PICTURE, SteppingClock(), LIMITS, CameraOptions(lambda: logo, said.append))
    with camera.hold(lambda: None):
        assert camera.burned_in == ""
        assert eventually(lambda: camera.health().frames > 3)
    camera.close()
    assert len(said) == 1


def overlaid(frame: bytes, size: tuple[int, int], logo: CaptureOverlay, folder: Path) -> bytes:
    """What FFmpeg's `overlay` makes of the same frame and picture."""
    (folder / "frame.yuv").write_bytes(frame)
    place = logo.place
    argv = ["ffmpeg", "-v", "error", "-nostdin", "-f", "rawvideo", "-pix_fmt", "yuv420p"]
    argv += ["-s", f"{size[0]}x{size[1]}", "-i", str(folder / "frame.yuv"), "-f", "rawvideo"]
    argv += ["-pix_fmt", "yuva420p", "-s", f"{place.width}x{place.height}", "-i", str(logo.path)]
    argv += ["-filter_complex", f"[0][1]overlay=x={place.x}:y={place.y}", "-f", "rawvideo", "-"]
    return subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout


@pytest.mark.parametrize("size", [(40, 30), (37, 31), (1, 1)])
@pytest.mark.parametrize("spare", [0, 64])
def test_the_stamp_draws_what_processing_would_lay_over(
    tmp_path: Path, size: tuple[int, int], spare: int
) -> None:
    numpy = importlib.import_module("numpy")
    chance = numpy.random.default_rng(7)
    width, height, stride = 320, 180, 320 + spare
    place = LogoPosition(260, 140, *size)
    path = tmp_path / "logo.yuva"
    path.write_bytes(chance.integers(0, 256, plane_bytes(*size), dtype=numpy.uint8).tobytes())
    frame = chance.integers(0, 256, stride * height * 3 // 2, dtype=numpy.uint8)
    bare = _planes(frame, width, height, stride)
    ends = frame[: stride * height].reshape(height, stride)[:, width:].copy()
    LogoBlend(path.read_bytes(), place).draw(frame, width, height, stride)
    ours = numpy.frombuffer(_planes(frame, width, height, stride), numpy.uint8).astype(int)
    theirs = numpy.frombuffer(
        overlaid(bare, (width, height), CaptureOverlay(path, place, ""), tmp_path), numpy.uint8
    )
    light = width * height
    assert abs(ours - theirs)[:light].max() <= 1
    assert (abs(ours - theirs)[light:] > 2).sum() <= 2 * sum(size)  # FFmpeg takes odd edges' cover otherwise
    assert (ours != numpy.frombuffer(bare, numpy.uint8)).any()
    assert (frame[: stride * height].reshape(height, stride)[:, width:] == ends).all()


def test_what_a_stamp_costs_is_measured_and_little(tmp_path: Path) -> None:
    numpy = importlib.import_module("numpy")
    frame = numpy.zeros(1920 * 1080 * 3 // 2, numpy.uint8)
    for size in ((200, 80), (480, 270)):
        blend = LogoBlend(
            bytes(plane_bytes(*size)), LogoPosition(1920 - 10 - size[0], 1080 - 10 - size[1], *size)
        )
        took = []
        for _ in range(200):
            began = time.perf_counter()
            blend.draw(frame, 1920, 1080, 1920)
            took.append(time.perf_counter() - began)
        typical_ms = 1000 * sorted(took)[100]
        print(f"\nmeasured: a logo of {size[0]}×{size[1]}: {typical_ms:.3f} ms a frame of 1080p")
        assert typical_ms < 10
