"""Recordings of several makes, and what a test wants to know of a video joined from them."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import pytest

from ezrec.media.mp4 import copyable, h264, index, samples, timeline, writer
from tests.support import media

NOISE = "noise=alls=12:allf=t"


def software_take(path: Path, *, audio: bool = False, fps: int = 30, colour: str = "blue") -> Path:
    return media.make_take(path, seconds=2, fps=fps, audio=audio, filters=NOISE, colour=colour)


def in_band_take(path: Path, *, audio: bool = False) -> Path:
    """As PyAV's `add_stream` writes it: the right parameter sets in the stream, another's in the header."""
    return media.made_once(path, ("in band", audio), lambda new: _in_band_take(new, audio=audio))


def _in_band_take(path: Path, *, audio: bool = False) -> Path:
    made, other = path.with_suffix(".band.mp4"), software_take(path.with_suffix(".other.mp4"))
    command = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", f"testsrc2=s=320x180:r=30:d=2,{NOISE}"]
    command += ["-f", "lavfi", "-i", "sine=300:d=2:r=44100"] if audio else []
    command += ["-c:v", "libx264", "-preset", "veryfast", "-profile:v", "high", "-bf", "0", "-g", "15"]
    command += ["-x264-params", "repeat-headers=1", "-ac", "1", str(made)]
    subprocess.run(command, check=True, timeout=60)
    found = copyable.read(made)
    track = found.tables.picture
    parts = [timeline.Part.whole(0, track, found.tables.sound)]
    lane, begins = timeline.picture(parts, track.scale)
    sound = None
    if found.sound:
        heard = timeline.sound(parts, begins, lane, found.sound.rate, 1)
        sound = index.SoundTrack(heard, found.sound.channels)
    wrong = h264.write_avcc(h264.read_avcc(samples.read(other).picture.header))
    writer.write(path, index.PictureTrack(lane, 320, 180, wrong), sound, {0: made}, b"\0", lambda _: None)
    made.unlink()
    other.unlink()
    return path


def pyav_take(path: Path, *, fragmented: bool = False) -> Path:
    """As picamera2's `PyavOutput` writes what its encoder gives: times in microseconds, none like another.

    PyAV opens an encoder of its own for the stream, and puts *that* one's parameter sets into the header.
    """
    return media.made_once(path, ("PyAV", fragmented), lambda new: _pyav_take(new, fragmented=fragmented))


def _pyav_take(path: Path, *, fragmented: bool = False) -> Path:
    import av

    raw, tick = path.with_suffix(".h264"), Fraction(1, 1_000_000)
    command = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", f"testsrc2=s=320x180:r=30:d=2,{NOISE}"]
    command += ["-c:v", "libx264", "-preset", "veryfast", "-profile:v", "high", "-bf", "0", "-g", "15"]
    subprocess.run([*command, "-x264-params", "repeat-headers=1", str(raw)], check=True, timeout=60)
    options = {"movflags": "empty_moov+default_base_moof", "frag_duration": "200000"} if fragmented else {}
    with av.open(str(path), "w", format="mp4", options=options) as out, av.open(str(raw), format="h264") as h:
        stream = out.add_stream("h264", rate=30)
        stream.width, stream.height, stream.pix_fmt, stream.time_base = 320, 180, "yuv420p", tick
        for number, unit in enumerate(unit for unit in h.demux(video=0) if unit.size):
            packet = av.Packet(bytes(unit))
            packet.pts = packet.dts = round(number * 1e6 / 30) + (number * 7919) % 401
            packet.time_base, packet.stream, packet.is_keyframe = tick, stream, unit.is_keyframe
            out.mux(packet)
    raw.unlink()
    return path


needs_pyav = pytest.mark.skipif(
    importlib.util.find_spec("av") is None, reason="PyAV has no wheel for this machine"
)


def has_openh264() -> bool:
    found = shutil.which("gst-inspect-1.0")
    return (
        bool(found)
        and not subprocess.run(
            [found or "", "openh264dec"], check=False, capture_output=True, timeout=60
        ).returncode
    )


needs_openh264 = pytest.mark.skipif(
    not has_openh264(),
    reason="OpenH264 is not installed (gstreamer1.0-plugins-bad, gstreamer1.0-tools)",
)


def openh264_take(path: Path) -> Path:
    """From an encoder that is not x264."""
    return media.made_once(path, "OpenH264", _openh264_take)


def _openh264_take(path: Path) -> Path:
    source = "videotestsrc num-buffers=60 pattern=ball ! video/x-raw,width=320,height=180,framerate=30/1"
    gst(f"{source} ! openh264enc gop-size=30 ! h264parse ! mp4mux ! filesink location={path}")
    return path


def openh264_pictures(path: Path, size: tuple[int, int] = (320, 180)) -> list[str]:
    """A digest of every frame that OpenH264, a decoder of another house, makes of a video."""
    raw, length = path.with_suffix(".raw"), size[0] * size[1] * 3 // 2
    gst(
        f"filesrc location={path} ! qtdemux name=d d.video_0 ! h264parse ! openh264dec ! videoconvert"
        f" ! video/x-raw,format=I420 ! filesink location={raw}"
    )
    data = raw.read_bytes()
    return [hashlib.md5(data[at : at + length]).hexdigest() for at in range(0, len(data), length)]


def gst(pipeline: str) -> None:
    subprocess.run(["gst-launch-1.0", "-q", *pipeline.split()], check=True, capture_output=True, timeout=60)


def b_frame_take(path: Path) -> Path:
    return media.made_once(path, "B-frames", _b_frame_take)


def _b_frame_take(path: Path) -> Path:
    command = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", f"testsrc2=s=320x180:r=30:d=2,{NOISE}"]
    command += ["-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-pix_fmt", "yuv420p", str(path)]
    subprocess.run(command, check=True, timeout=60)
    return path


@dataclass(frozen=True)
class Packet:
    """One packet as a demuxer gives it out; times in seconds."""

    at: float
    lasts: float
    size: int
    digest: str


def packets(path: Path, kind: str = "v") -> list[Packet]:
    command = [
        "ffprobe",
        "-v",
        "error",
        "-select_streams",
        f"{kind}:0",
        "-show_data_hash",
        "md5",
        "-of",
        "json",
    ]
    command += ["-show_entries", "packet=pts_time,duration_time,size,data_hash", f"file:{path}"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)
    return [
        Packet(float(one["pts_time"]), float(one.get("duration_time", 0)), int(one["size"]), one["data_hash"])
        for one in found["packets"]
    ]


def pictures(path: Path, *options: str, before: tuple[str, ...] = ()) -> list[str]:
    """A digest of every frame that comes out of a decoder which ends at the first fault."""
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-xerror",
        "-err_detect",
        "explode",
        *before,
        "-i",
        f"file:{path}",
        *options,
    ]
    command += ["-map", "0:v:0", "-fps_mode", "passthrough", "-f", "framemd5", "-"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert done.stderr == "", done.stderr
    return [line.split(",")[-1].strip() for line in done.stdout.splitlines() if not line.startswith("#")]


def without_sets_in_band(path: Path) -> Path:
    """The same video for a decoder that has only the header to go by."""
    bare = path.with_name("bare.mp4")
    command = ["ffmpeg", "-v", "error", "-y", "-i", f"file:{path}", "-map", "0", "-c", "copy", "-bsf:v"]
    subprocess.run([*command, "filter_units=remove_types=7-8", str(bare)], check=True, timeout=60)
    return bare
