"""What FFmpeg is asked for, by kind of camera. Only the software camera can be run everywhere."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ezrec.camera.device_clock import MARK_S
from ezrec.camera.ffmpeg_sources import RtspSource, SoftwareSource, Source, V4l2Source, source_for
from ezrec.media.mp4.fragments import FragmentReader

SECRET = "rtsp://admin:hunter2@10.0.0.9:554/live?token=abc"


def made(camera: str) -> Source:
    return source_for(camera, 1280, 720, 25, 4_000_000)


def has(source: Source, *words: str) -> bool:
    argv = list(source.argv())
    return any(argv[n : n + len(words)] == list(words) for n in range(len(argv)))


@pytest.mark.parametrize("camera", ["software", "v4l2:/dev/video0", "rtsp://host/live", "rtsps://host/live"])
def test_every_camera_writes_flushed_fragments_of_one_picture_track(camera: str) -> None:
    source = made(camera)
    assert source.argv()[0] == "ffmpeg"
    assert source.argv()[-1] == "pipe:1"
    assert has(source, "-map", "0:v:0")
    assert has(source, "-movflags", "empty_moov+default_base_moof+frag_keyframe")
    assert has(source, "-frag_duration", "200000")
    assert has(source, "-flush_packets", "1")
    assert "-nostdin" in source.argv()


def test_a_usb_camera_is_asked_for_size_and_rate_and_encoded_without_b_frames() -> None:
    source = made("v4l2:/dev/video2")
    assert isinstance(source, V4l2Source)
    assert has(source, "-f", "v4l2", "-input_format", "mjpeg", "-video_size", "1280x720", "-framerate", "25")
    assert has(source, "-i", "/dev/video2")
    assert has(source, "-c:v", "libx264")
    assert has(source, "-bf", "0")
    assert has(source, "-b:v", "4000000")
    assert (source.name, source.fps) == ("camera /dev/video2", 25)
    assert source.has_own_clock, "its stamps are held against arrival"


@pytest.mark.parametrize("by", [3600, -3600, -3, 90_000])
def test_a_usb_cameras_clock_that_jumps_comes_as_one_step_of_a_known_length(by: int) -> None:
    """And the encoder makes one key frame of it, not one for every second that the clock skipped."""
    argv = list(V4l2Source(Path("/dev/video0"), 160, 90, 25, 200_000).argv())
    begin, end = argv.index("-f"), argv.index("-i") + 2
    argv[begin:end] = ["-f", "lavfi", "-i", f"testsrc2=s=160x90:r=25:d=6,setpts='PTS+gte(N,60)*{by}/TB'"]
    made = subprocess.run(argv, capture_output=True, check=True, timeout=60).stdout
    fragments = FragmentReader().feed(made, 0.0)
    steps = [step / one.timescale for one in fragments for step in one.durations]
    jumps = [n for n, step in enumerate(steps) if step > 0.1]
    assert (len(steps), jumps) == (150, [59])
    assert steps[59] == pytest.approx(MARK_S)
    assert fragments[-1].base_time < 20 * fragments[-1].timescale
    assert sum(one.starts_with_key for one in fragments) <= 8


def test_a_network_camera_is_copied_over_tcp_and_may_open_nothing_else() -> None:
    source = made(SECRET)
    assert isinstance(source, RtspSource)
    assert has(source, "-f", "concat", "-safe", "0", "-i", "pipe:0")
    assert has(source, "-c:v", "copy")
    said = source.private().decode().splitlines()
    assert said[1] == f"file '{SECRET}'"
    assert {"option rtsp_transport tcp+udp", "option rtsp_flags prefer_tcp", "option timeout 5000000"} < set(
        said
    )
    assert "option allowed_media_types video" in said  # beside sound its clock could not be followed
    whitelist = source.argv()[source.argv().index("-protocol_whitelist") + 1]
    assert "file" not in whitelist.split(",")
    assert source.fps is None
    assert source.has_own_clock, "its stamps are held against arrival"


def test_a_network_cameras_address_stands_in_no_argument() -> None:
    source = made("RTSPS://admin:it's@10.0.0.9:554/live?token=abc")
    assert not any(word in " ".join(source.argv()) for word in ("admin", "it's", "10.0.0.9", "abc"))
    assert b"file 'rtsps://admin:it'\\''s@10.0.0.9:554/live?token=abc'\n" in source.private()


@pytest.mark.parametrize("password", ["p", "camera", "Invalid", "rtsp", "hunter2"])
def test_a_password_of_one_letter_or_of_a_common_word_leaves_a_line_that_can_be_read(password: str) -> None:
    source = made(f"rtsp://admin:{password}@10.0.0.9/live")
    said = source.described(f"Impossible to open 'rtsp://admin:{password}@10.0.0.9/live'")
    assert "10.0.0.9/live" in said
    assert f":{password}@" not in said
    assert source.name == "camera rtsp://10.0.0.9/live"
    assert source.described("pipe:0: 401 Unauthorized") == "rtsp://10.0.0.9/live: 401 Unauthorized"


def test_no_password_leaves_a_network_camera_in_its_name_or_its_faults() -> None:
    source = made(SECRET)
    said = source.described(f"{SECRET}: 401 for admin:hunter2, hunter2, token=abc")
    for text in (source.name, said):
        assert "hunter2" not in text
        assert "token=abc" not in text
    assert "10.0.0.9:554" in source.name


def test_a_busy_usb_camera_names_its_holder(tmp_path: Path) -> None:
    device = tmp_path / "video0"
    device.write_bytes(b"")
    source = V4l2Source(device, 640, 480, 30, 1_000_000)
    with device.open("rb") as held, subprocess.Popen(["sleep", "30"], stdin=held) as child:
        held.close()
        assert source.described("Device or resource busy").endswith(f"held by pid {child.pid} (sleep)")
        child.kill()
    assert source.described("Device or resource busy").endswith("held by a process of another user")
    assert source.described("No such device") == "No such device"


@pytest.mark.parametrize(
    "camera",
    ["", "picamera2", "software:1", "v4l2:", "v4l2:video0", "v4l2:/etc/passwd", "v4l2:/dev/../etc/passwd",
     "rtsp://", "rtsp:", "rtsp://host/a b", "rtsp://host/\n-y", "file:/etc/passwd", "http://host/live"],
)  # fmt: skip
def test_what_names_no_camera_is_refused(camera: str) -> None:
    with pytest.raises(ValueError, match=r"must be|is named|must look like|holds a space"):
        made(camera)


def test_the_software_camera_draws_its_number_with_or_without_a_font() -> None:
    drawn = " ".join(SoftwareSource(1280, 720, 30, 1_000_000).argv())
    assert drawn.count("bitand(n,") == 20
    assert "-re -f lavfi" in drawn


def test_a_camera_that_has_neither_tcp_nor_udp_is_told_as_such() -> None:
    said = made("rtsp://10.0.0.9/live").described("pipe:0: Protocol not supported")
    assert "switch RTSP to TCP" in said
