"""A video that is not what was planned is found out before anybody sees it."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from ezrec.domain.errors import Reject
from ezrec.media.ffmpeg.runner import FfmpegFailed, Log
from ezrec.media.ffmpeg.tools import Tools, VerificationError
from ezrec.media.mp4 import copyable, h264, index, timeline, writer
from ezrec.media.render.verify_copy import CopyVerifier
from ezrec.system.task import CancelToken
from tests.support import videos

TOOLS = Tools("ffmpeg", "ffprobe", 0, 800_000, "ultrafast", 60.0)


@pytest.fixture
def video(tmp_path: Path) -> tuple[Path, timeline.TrackTimeline]:
    """Two takes of a camera, joined after 60 frames."""
    takes = [videos.software_take(tmp_path / f"{colour}.mp4", colour=colour) for colour in ("blue", "lime")]
    materials = [copyable.read(take) for take in takes]
    parts = [
        timeline.Part.whole(number, material.tables.picture, None)
        for number, material in enumerate(materials)
    ]
    lane, _ = timeline.picture(parts, timeline.picture_scale(parts))
    shown = index.PictureTrack(lane, 320, 180, h264.write_avcc(materials[0].sets))
    writer.write(tmp_path / "video", shown, None, dict(enumerate(takes)), b"", lambda done: None)
    return tmp_path / "video", lane


def prove(path: Path, lane: timeline.TrackTimeline, joins: list[int]) -> None:
    CopyVerifier(TOOLS, path, CancelToken(), Log()).verify(lane, None, joins)


@pytest.mark.parametrize("joins", [[], [60], [1, 2, 60, 119], list(range(1, 120))])
def test_a_faithful_video_passes_and_nothing_is_left_beside_it(
    joins: list[int], video: tuple[Path, timeline.TrackTimeline], tmp_path: Path
) -> None:
    before = sorted(tmp_path.iterdir())
    prove(*video, joins)
    assert sorted(tmp_path.iterdir()) == before


def a_sample_elsewhere(path: Path, lane: timeline.TrackTimeline) -> None:
    data = bytearray(path.read_bytes())
    sizes = data.index(b"stsz") + 16
    first, second = struct.unpack_from(">II", data, sizes)
    struct.pack_into(">II", data, sizes, first + 4, second - 4)
    path.write_bytes(data)


def a_time_too_long(path: Path, lane: timeline.TrackTimeline) -> None:
    data = bytearray(path.read_bytes())
    length = data.index(b"stts") + 16
    struct.pack_into(">I", data, length, struct.unpack_from(">I", data, length)[0] + 1)
    path.write_bytes(data)


def place(path: Path, number: int) -> tuple[int, int]:
    track = copyable.read(path).tables.picture
    return track.offsets[number], track.sizes[number]


def spoilt_behind_the_join(path: Path, lane: timeline.TrackTimeline) -> None:
    offset, size = place(path, 60)
    with path.open("r+b") as file:
        file.seek(offset + size // 2)
        file.write(bytes(size - size // 2))


def torn_at_its_end(path: Path, lane: timeline.TrackTimeline) -> None:
    offset, size = place(path, 119)
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(bytes(size))


def cut_short(path: Path, lane: timeline.TrackTimeline) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def header_of_another_camera(path: Path, lane: timeline.TrackTimeline) -> None:
    data = bytearray(path.read_bytes())
    at = data.index(b"\x67\x42", data.index(b"avcC"))
    data[at + 4 : at + 7] = bytes(byte ^ 0x55 for byte in data[at + 4 : at + 7])
    path.write_bytes(data)


DAMAGE: tuple[Callable[[Path, timeline.TrackTimeline], None], ...] = (
    a_sample_elsewhere, a_time_too_long, spoilt_behind_the_join, torn_at_its_end, cut_short,
    header_of_another_camera,
)  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_video_is_found_out(
    damage: Callable[[Path, timeline.TrackTimeline], None],
    video: tuple[Path, timeline.TrackTimeline],
    tmp_path: Path,
) -> None:
    damage(*video)
    with pytest.raises((VerificationError, FfmpegFailed, Reject)):  # for each, the ladder takes its next rung
        prove(*video, [60])
    assert not list(tmp_path.glob("*.joins"))


def test_a_video_with_a_frame_less_is_found_out(video: tuple[Path, timeline.TrackTimeline]) -> None:
    path, lane = video
    lane.sizes.pop()
    with pytest.raises(VerificationError, match="index"):
        prove(path, lane, [60])
