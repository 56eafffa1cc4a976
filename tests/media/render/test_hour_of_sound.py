"""Sound keeps to its picture over an hour, behind an intro with sound of another rate."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from ezrec.media.render.renderer import FfmpegTranscoder
from tests.support import media
from tests.support.pairings import rendered

# 11,025 packets of AAC at 44.1 kHz last 256 s to the sample: so much can be repeated without a seam.
WHOLE_S, TIMES, RATE = 256, 15, 5


def hour(path: Path) -> Path:
    """More than an hour, in a camera's fragments, at a rate of few frames and in a small picture."""
    piece = path.with_suffix(".piece.mp4")
    source = f"testsrc2=s=64x36:r={RATE}:d={WHOLE_S}"
    command = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", source]
    command += [
        "-f",
        "lavfi",
        "-i",
        f"sine=300:d={WHOLE_S}:r=44100",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
    ]
    command += [
        "-bf",
        "0",
        "-g",
        "10",
        "-pix_fmt",
        "yuv420p",
        "-c:a",
        "aac",
        "-ac",
        "1",
        "-aac_coder",
        "fast",
    ]
    subprocess.run([*command, str(piece)], check=True, timeout=100)
    command = ["ffmpeg", "-v", "error", "-y", "-stream_loop", str(TIMES - 1), "-i", str(piece), "-c", "copy"]
    command += ["-movflags", "empty_moov+default_base_moof", "-frag_duration", "1000000", str(path)]
    subprocess.run(command, check=True, timeout=100)
    piece.unlink()
    return path


def times(path: Path, kind: str, begin: float) -> list[float]:
    """When packets are due, for ten seconds from there on, as FFmpeg's demuxer says."""
    command = ["ffprobe", "-v", "error", "-select_streams", f"{kind}:0", "-of", "json"]
    command += ["-read_intervals", f"{begin}%+10", "-show_entries", "packet=pts_time", f"file:{path}"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)
    return [float(packet["pts_time"]) for packet in found["packets"]]


def count(path: Path, kind: str) -> int:
    command = ["ffprobe", "-v", "error", "-select_streams", f"{kind}:0", "-count_packets", "-of", "csv=p=0"]
    command += ["-show_entries", "stream=nb_read_packets", f"file:{path}"]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    return int(said.split(",")[0])


@pytest.mark.timeout(240)
def test_sound_is_within_40_ms_of_its_picture_after_an_hour(tmp_path: Path) -> None:
    take = hour(tmp_path / "t.mp4")
    lead = media.make_intro(tmp_path / "i.mp4", seconds=2, channels=1, sound_rate=48000)
    output, report = rendered(FfmpegTranscoder(bitrate=200_000, preset="ultrafast"), tmp_path, [take], lead)
    assert report["rung"] == "copy", report["why"]
    moved = (count(output, "v") - count(take, "v")) / RATE
    assert moved == 2
    # No packet of the sound was left out and none put between: so its end tells of the whole hour.
    assert count(output, "a") - count(take, "a") == pytest.approx(moved * 44100 / 1024, abs=2)
    end = WHOLE_S * TIMES - 8
    ends = [
        times(path, "a", at)[-1] - times(path, "v", at)[-1]
        for path, at in ((take, end), (output, end + moved))
    ]
    assert ends[1] == pytest.approx(ends[0], abs=0.040)
