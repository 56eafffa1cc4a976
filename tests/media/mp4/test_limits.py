"""Files whose figures cannot be true: none of them takes the machine's memory, or makes hours of a minute."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ezrec.domain.errors import Reject
from ezrec.media.mp4 import copyable, keyframes
from ezrec.media.mp4.boxes import TornFile
from ezrec.media.render.renderer import FfmpegTranscoder
from tests.support import media, videos
from tests.support.rendering import deaf, plan_for, written

_BIT = 1 << 31
_MEMORY = 150 << 20  # a process of these tests takes some 60 MB
_HUGE = 600_000_000  # more than it may have; who gives out so much of a file, reads it all
_SPARSE = 800_000_000


def plain(folder: Path) -> bytearray:
    path = media.make_take(folder / "p.mp4", seconds=1, fragmented=False, audio=True, filters=videos.NOISE)
    return bytearray(path.read_bytes())


def with_figure(data: bytearray, kind: bytes, at: int, value: int, *, nth: int = 0) -> bytearray:
    """Write a figure into the `nth` box of that kind, `at` bytes behind its name."""
    where = -1
    for _ in range(nth + 1):
        where = data.index(kind, where + 1)
    struct.pack_into(">I", data, where + 4 + at, value)
    return data


FIGURES: dict[str, tuple[bytes, int, int]] = {
    "how long a picture lasts": (b"stts", 12, _BIT),
    "how long a picture lasts, a little": (b"stts", 12, 1 << 24),
    "how many samples there are": (b"stsz", 8, _BIT),
    "how large all of them are": (b"stsz", 4, _BIT),
    "how large one of them is": (b"stsz", 12, _BIT),
    "how many chunks there are": (b"stco", 4, _BIT),
    "where a chunk begins": (b"stco", 8, _BIT),
    "how many key frames there are": (b"stss", 4, _BIT),
    "how long the track is": (b"mdhd", 16, _BIT),
    "how late it begins": (b"elst", 12, _BIT),
}


@pytest.mark.parametrize("figure", list(FIGURES))
def test_a_figure_that_cannot_be_true_is_not_believed(figure: str, tmp_path: Path) -> None:
    kind, at, value = FIGURES[figure]
    path = written(tmp_path / "x.mp4", with_figure(plain(tmp_path), kind, at, value))
    with pytest.raises(ValueError, match=r"damaged|its tables|its index|nothing of it"):
        copyable.read(path)


@pytest.mark.parametrize("track", [0, 1])
def test_one_wrong_bit_lays_no_silence_for_months(track: int, tmp_path: Path) -> None:
    """77 days of it, and 22 GB, came of the picture's; a file of 50 kB cannot hold even an hour."""
    data = with_figure(plain(tmp_path), b"stts", 12, _BIT, nth=track)
    path, transcoder = (
        written(tmp_path / "x.mp4", data),
        FfmpegTranscoder(bitrate=400_000, preset="ultrafast"),
    )
    with pytest.raises(Reject, match="damaged"):
        transcoder.probe(path)
    with pytest.raises(Reject, match="damaged"):
        transcoder.check_asset("intro", path)


def test_a_fragment_a_day_late_is_not_believed(tmp_path: Path) -> None:
    data = bytearray(media.make_take(tmp_path / "t.mp4").read_bytes())
    where = data.rindex(b"tfdt") + 8
    struct.pack_into(">Q", data, where, 15360 * 3600 * 30)
    with pytest.raises(TornFile, match="at most 86400"):
        copyable.read(written(tmp_path / "x.mp4", data))


def test_a_still_of_ten_minutes_is_believed(tmp_path: Path) -> None:
    """Little may change before a camera: that is no damage."""
    path = media.make_take(tmp_path / "t.mp4", seconds=600, size=(32, 32), fps=0.1, colour="black")
    assert FfmpegTranscoder(bitrate=400_000).probe(path).duration_s == pytest.approx(600)


def sparse(folder: Path, data: bytearray) -> Path:
    path = written(folder / "sparse.mp4", data)
    os.truncate(path, _SPARSE)
    return path


def one_huge_sample(data: bytearray) -> bytearray:
    with_figure(data, b"stsz", 12, _HUGE)
    struct.pack_into(">I", data, data.index(b"mdat") - 4, 0)  # up to the end of the file
    return data


def huge_tables(data: bytearray) -> bytearray:
    """Of a kind that nobody reads, inside of the one that everybody does."""
    at = data.index(b"moov") - 4
    tables = b"".join(struct.pack(">I4sI", 12, kind, 0) for kind in (b"aaaa", b"bbbb"))
    return data[:at] + struct.pack(">I4s", 0, b"moov") + huge_box(b"trak", b"mdia", b"minf", b"stbl") + tables


def huge_box(*path: bytes) -> bytes:
    return b"".join(struct.pack(">I4sQ", 1, kind, _HUGE) for kind in path)


def many_tracks(data: bytearray) -> bytearray:
    at = data.index(b"moov") - 4
    tracks = struct.pack(">I4s", 8, b"trak") * 800_000
    return data[:at] + struct.pack(">I4s", 8 + len(tracks), b"moov") + tracks


def fragments(folder: Path) -> bytearray:
    return bytearray(media.make_take(folder / "t.mp4", seconds=1).read_bytes())


def a_fragment_of_millions(folder: Path) -> bytearray:
    """All of one length and of no size, so that the fragment need not list them."""
    data = fragments(folder)
    at = data.index(b"trun")
    struct.pack_into(">II", data, at + 4, 0, 3_000_000)
    return data


def a_fragment_with_a_huge_sample(folder: Path) -> bytearray:
    data = fragments(folder)
    at = data.rindex(b"trun")
    flags = struct.unpack_from(">I", data, at + 4)[0]
    first = at + 12 + 4 * bool(flags & 1) + 4 * bool(flags & 4) + 4 * bool(flags & 0x100)
    struct.pack_into(">I", data, first, _HUGE)
    return data


TRAPS: dict[str, Callable[[Path], bytearray]] = {
    "one huge sample": lambda d: one_huge_sample(plain(d)),
    "huge tables": lambda d: huge_tables(plain(d)),
    "hundreds of thousands of tracks": lambda d: many_tracks(plain(d)),
    "a fragment of millions": a_fragment_of_millions,
    "a fragment with a huge sample": a_fragment_with_a_huge_sample,
}

_READ = """
import resource, sys
from pathlib import Path
from ezrec.media.mp4 import copyable as footage, boxes as mp4boxes, finish_in_place as mp4inplace
from ezrec.media.mp4 import keyframes as mp4keys, repair
from ezrec.media.ffmpeg import native_probe as mp4media, measure as take_facts
resource.setrlimit(resource.RLIMIT_DATA, ({memory}, {memory}))
for read in (footage.read, mp4keys.read, mp4media.described, mp4boxes.check_whole, mp4inplace.give_index,
             repair.repair):
    try:
        read(Path(sys.argv[1]))
    except (ValueError, OSError):
        pass
"""


@pytest.mark.parametrize("trap", list(TRAPS))
def test_a_trap_of_gigabytes_takes_little_memory(trap: str, tmp_path: Path) -> None:
    path = sparse(tmp_path, TRAPS[trap](tmp_path))
    code = _READ.format(memory=_MEMORY)
    ended = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr


def test_what_is_believed_of_a_sound_file_is_all_of_it(tmp_path: Path) -> None:
    path = written(tmp_path / "x.mp4", plain(tmp_path))
    picture, keys = copyable.read(path).tables.picture, keyframes.read(path)
    assert (len(picture), float(picture.length_s), keys.shown(0)) == (30, 1.0, 30)
    assert FfmpegTranscoder(bitrate=400_000, preset="ultrafast").render(
        plan_for(tmp_path, path), deaf, deaf
    ).frames == 30  # fmt: skip
