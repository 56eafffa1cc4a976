"""The camera module without picamera2: what is decided apart from it, and what it says when it is missing.

The adapter itself is held to the port's contract with real picamera2 by `make test-picamera2`.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ezrec.camera.auto_camera import AutoCamera
from ezrec.camera.overlay.blend import CaptureOverlay, plane_bytes
from ezrec.camera.picamera.camera import PicameraCamera
from ezrec.camera.picamera.device import PictureFormat, configuration, has_hardware_encoder, holder
from ezrec.camera.picamera.frame_callback import FrameCallback
from ezrec.camera.picamera.muxer import Muxer, has_parameters, parameter_sets
from ezrec.camera.picamera.packet_queue import PacketQueue, silence
from ezrec.domain.branding import LogoPosition
from ezrec.domain.errors import ConfigError, Retry
from ezrec.media.mp4.fragments import BadStream
from ezrec.settings import load
from ezrec.system.timeout import Broken, Hung, call_with_timeout
from tests.support.recording import SteppingClock

SPS, PPS, IDR = b"\x67\x42\xc0\x1e\xda", b"\x68\xce\x3c\x80", b"\x65\x88\x84"
LONG, SHORT = b"\0\0\0\1", b"\0\0\1"
ONE = b"x" * 100


class Watch:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def queue(most_bytes: int = 1000) -> tuple[PacketQueue, Watch]:
    watch = Watch()
    return PacketQueue(watch, most_bytes), watch


def taken(box: PacketQueue) -> list[int]:
    return [packet.time_us for packet in box.take(0)]


def test_packets_come_out_as_they_went_in_and_the_first_is_a_key_frame() -> None:
    box, watch = queue()
    box.put(ONE, False, 1)
    for n, is_key in ((2, True), (3, False)):
        watch.time += 1
        box.put(bytearray(ONE), is_key, n)
    first, second = box.take(0)
    assert (first.time_us, first.is_key, first.arrived, first.data) == (2, True, 101.0, ONE)
    assert (second.time_us, second.is_key, second.arrived) == (3, False, 102.0)
    assert box.dropped == 0
    assert taken(box) == []


def test_a_full_inbox_drops_up_to_the_next_key_frame_and_counts() -> None:
    box, _ = queue(250)
    for n in range(5):
        box.put(ONE, n == 0, n)
    assert taken(box) == [0, 1]
    box.put(ONE, False, 5)
    box.put(ONE, True, 6)
    box.put(ONE, False, 7)
    assert taken(box) == [6, 7]
    assert (box.packets, box.dropped) == (8, 4)


@pytest.mark.parametrize("data", [None, object(), "text"])
def test_what_a_camera_thread_brings_never_raises(data: Any) -> None:
    box, _ = queue()
    box.put(data, True, 0)
    box.put(ONE, True, None)
    assert taken(box) == []


def test_a_camera_thread_whose_clock_fails_goes_on() -> None:
    def broken() -> float:
        raise OSError("no clock")

    box = PacketQueue(broken)
    box.note_frame()
    box.put(ONE, True, 0)
    assert (box.frame_at, box.frames, box.packets) == (None, 0, 0)


def test_whoever_waits_for_packets_is_woken() -> None:
    box, _ = queue()
    threading.Timer(0.05, box.wake).start()
    began = time.monotonic()
    assert box.take(60) == []
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("frame_at", "packet_at", "said"),
    [
        (None, None, "no frames for 3 s"),
        (9.0, 9.0, ""),
        (6.9, 9.0, "no frames for 3 s"),
        (9.0, None, "frames come, but for 3 s the encoder has made nothing of them"),
        (9.0, 6.9, "frames come, but for 3 s the encoder has made nothing of them"),
        (7.0, 7.0, ""),
        (7.1, 6.9, "no frames for 3 s"),
    ],
)
def test_frames_and_packets_are_watched_apart(
    frame_at: float | None, packet_at: float | None, said: str
) -> None:
    box, _ = queue()
    box.frame_at, box.packet_at = frame_at, packet_at
    assert silence(box, now=10.0, began=5.0, limit_s=3.0) == said


@pytest.mark.parametrize("code", [LONG, SHORT])
def test_the_parameters_stand_in_front_of_a_key_frame(code: bytes) -> None:
    frame = b"".join(code + unit for unit in (SPS, PPS, IDR))
    assert parameter_sets(frame) == [SPS, PPS]
    assert has_parameters(frame)


@pytest.mark.parametrize("frame", [b"", b"\0\0\1", LONG + IDR, LONG + SPS + LONG + IDR, b"no start code"])
def test_a_frame_without_both_parameter_sets_opens_nothing(frame: bytes) -> None:
    assert not has_parameters(frame)


def test_nothing_is_muxed_before_a_key_frame_with_its_parameters() -> None:
    box, _ = queue()
    box.put(LONG + IDR, True, 0)
    muxer = Muxer(30)
    assert [muxer.add(packet) for packet in box.take(0)] == [b""]
    assert muxer.close() == b""


def test_what_pyav_cannot_read_is_a_bad_stream() -> None:
    box, _ = queue()
    box.put(LONG + SPS[:2] + LONG + PPS[:1] + LONG, True, 0)
    with pytest.raises(BadStream):
        Muxer(30).add(box.take(0)[0])


# ---- what is done with each frame


class Frame:
    """A request of picamera2's, as far as the callback looks at it."""

    def __init__(self, form: str = "YUV420") -> None:
        shape = {"format": form, "size": (64, 48), "stride": 64}
        self.config = {"main": shape, "lores": shape}


class FakeBlend:
    """In a blend's place; raises when it is told to."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.drawn: list[tuple[int, int, int]] = []
        self._fault = fault

    def draw(self, frame: Any, width: int, height: int, stride: int) -> None:
        if self._fault:
            raise self._fault
        self.drawn.append((width, height, stride))


class Mapped:
    array = None

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __enter__(self) -> Mapped:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def a_callback(blend: Any) -> FrameCallback:
    box, _ = queue()
    callback = FrameCallback(box, blend)
    callback.mapped = Mapped
    return callback


def test_each_frame_is_counted_and_gets_the_logo() -> None:
    blend = FakeBlend()
    callback = a_callback(blend)
    for _ in range(3):
        callback.on_frame(Frame())
    assert blend.drawn == [(64, 48, 64)] * 3
    assert callback.queue.frame_at == 100.0
    assert callback.fault == ""


@pytest.mark.parametrize("fault", [ValueError("it does not fit"), MemoryError(), KeyError("main")])
def test_a_logo_that_cannot_be_drawn_is_given_up_and_the_frames_go_on(fault: Exception) -> None:
    callback = a_callback(FakeBlend(fault))
    callback.on_frame(Frame())
    said = callback.fault
    assert said.startswith("the logo cannot be drawn: ")
    callback.on_frame(Frame())
    assert callback.fault == said
    assert callback.queue.frame_at == 100.0


def test_frames_in_another_form_get_no_logo() -> None:
    blend = FakeBlend()
    callback = a_callback(blend)
    callback.on_frame(Frame("RGB888"))
    assert "frames come as RGB888" in callback.fault
    assert blend.drawn == []


def test_a_picture_that_cannot_be_copied_is_told_to_whoever_waits_and_not_to_the_camera() -> None:
    callback = a_callback(None)
    seen: list[object] = []
    waiting = threading.Thread(target=lambda: seen.append(callback.next_picture(30)))
    waiting.start()
    while waiting.is_alive():
        callback.on_frame(Frame())
        waiting.join(0.01)
    assert str(seen[0]).startswith("no picture could be copied: ")


def test_nobody_waits_for_a_picture_beyond_the_limit() -> None:
    assert a_callback(None).next_picture(0.05) == "no frame came within 0.05 s"


@pytest.mark.parametrize(("size", "count"), [((4, 2), 8 + 2 + 2 + 8), ((3, 3), 9 + 4 + 4 + 9), ((1, 1), 4)])
def test_a_picture_with_transparency_has_four_planes(size: tuple[int, int], count: int) -> None:
    assert plane_bytes(*size) == CaptureOverlay(Path("x"), LogoPosition(0, 0, *size), "").size == count


def test_a_call_within_its_limit_gives_its_answer() -> None:
    assert call_with_timeout(30, "adding", lambda: 1 + 1) == 2


def test_a_call_that_does_not_return_is_given_up() -> None:
    release = threading.Event()
    with pytest.raises(Hung, match=r"waiting did not return within 0\.05 s"):
        call_with_timeout(0.05, "waiting", lambda: release.wait(60))
    release.set()


def test_a_call_that_raises_is_told_with_its_cause() -> None:
    with pytest.raises(Broken, match=r"dividing: .*by zero") as caught:
        call_with_timeout(30, "dividing", lambda: 1 // 0)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize(
    ("size", "small"),
    [((1920, 1080), (640, 360)), ((1280, 720), (640, 360)), ((1600, 1200), (640, 480)), ((64, 64), (64, 64))],
)
def test_the_small_picture_has_the_shape_of_the_large_one(
    size: tuple[int, int], small: tuple[int, int]
) -> None:
    assert PictureFormat(*size, fps=30, bitrate=1).small == small


def test_the_frame_duration_follows_the_rate() -> None:
    assert [PictureFormat(64, 64, fps, 1).frame_us for fps in (25, 30, 60)] == [40_000, 33_333, 16_667]


def test_the_camera_is_asked_for_yuv420_a_small_stream_and_a_fixed_rate_where_it_knows_one() -> None:
    asked = configuration(
        PictureFormat(1920, 1080, 30, 10_000_000), {"FrameDurationLimits": (), "AeEnable": ()}
    )
    assert asked["main"] == {"size": (1920, 1080), "format": "YUV420"}
    assert asked["lores"] == {"size": PictureFormat(1920, 1080, 30, 1).small, "format": "YUV420"}
    assert asked["controls"] == {"FrameDurationLimits": (33_333, 33_333)}
    assert configuration(PictureFormat(1920, 1080, 30, 10_000_000), {"AeEnable": ()})["controls"] == {}


def test_only_the_older_boards_encoder_counts_as_hardware(tmp_path: Path) -> None:
    for node, name in (("video0", "unicam-image"), ("video19", "rpi-hevc-dec")):
        (tmp_path / node).mkdir()
        (tmp_path / node / "name").write_text(f"{name}\n")
    assert not has_hardware_encoder(tmp_path)
    (tmp_path / "video11").mkdir()
    (tmp_path / "video11" / "name").write_text("bcm2835-codec-encode\n")
    assert has_hardware_encoder(tmp_path)
    assert not has_hardware_encoder(tmp_path / "absent")


def process(folder: Path, pid: int, name: str, *opened: str) -> None:
    (folder / str(pid) / "fd").mkdir(parents=True)
    (folder / str(pid) / "comm").write_text(f"{name}\n")
    for n, target in enumerate(opened):
        (folder / str(pid) / "fd" / str(n)).symlink_to(target)


def test_the_holder_of_a_camera_is_named_and_a_codecs_user_only_where_nobody_else_is(tmp_path: Path) -> None:
    process(tmp_path, 11, "player", "/dev/null", "/dev/video10")
    process(tmp_path, os.getpid(), "ourselves", "/dev/media0")
    assert holder(tmp_path) == "pid 11 (player)"
    process(tmp_path, 12, "rpicam-vid", "/dev/media1", "/dev/video0")
    assert holder(tmp_path) == "pid 12 (rpicam-vid)"


def test_a_holder_that_cannot_be_seen_is_somebody_elses(tmp_path: Path) -> None:
    process(tmp_path, 13, "shell", "/dev/null")
    assert holder(tmp_path) == "a process of another user"


@pytest.mark.skipif(
    os.path.exists("/usr/lib/python3/dist-packages/picamera2"), reason="picamera2 is installed here"
)
def test_without_picamera2_it_is_said_what_to_install() -> None:
    camera = PicameraCamera(PictureFormat(320, 180, 30, 400_000), SteppingClock())
    with pytest.raises(Retry, match=r"sudo apt-get install python3-picamera2.*EZREC_CAMERA"):
        camera.hold(lambda: None).__enter__()
    assert not camera.health().running
    assert camera.hung == ""


@pytest.mark.parametrize("camera", ["auto", "picamera2"])
def test_the_camera_module_is_never_a_test_picture(camera: str, tmp_path: Path) -> None:
    from ezrec.app import recording

    settings = load({"EZREC_HOME": str(tmp_path), "EZREC_CAMERA": camera})
    assert isinstance(recording.camera(settings), AutoCamera if camera == "auto" else PicameraCamera)


def test_a_camera_of_no_known_kind_is_a_fault_of_the_settings(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be auto, picamera2, software"):
        load({"EZREC_HOME": str(tmp_path), "EZREC_CAMERA": "webcam"})
