"""Every reader of media files, given damaged ones: a fault leaves it in the words it promises, and no others.

The damage is drawn from a seed. EZREC_TEST_MATRIX=full does more of it, and so does, by hand:
EZREC_MUTATIONS=10000 pytest PATH-OF-THIS-FILE
"""

from __future__ import annotations

import contextlib
import os
import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from ezrec.domain.errors import Reject
from ezrec.media.ffmpeg import native_probe
from ezrec.media.mp4 import boxes, copyable, edit_lists, finish_in_place, h264, keyframes, repair, samples
from ezrec.media.mp4.fragments import FragmentReader
from ezrec.media.render import renderer
from tests.support import media, videos
from tests.support.campaigns import times

_SEED = 20260601
_EACH = int(os.environ.get("EZREC_MUTATIONS", times(30, 600)))
_WORDS = (0, 1, 7, 8, 16, 0x7F, 0xFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def _keys(path: Path) -> None:
    tables = keyframes.read(path)
    for index in tables.tracks:
        tables.shown(index)
        tables.is_cut(index)
        tables.keys(index)


def _varies(path: Path) -> None:
    for track in samples.read_tracks(path):
        copyable.varies(path, track)
        edit_lists.apply(track)


def _fed(path: Path) -> None:
    reader = FragmentReader()
    data = path.read_bytes()
    for at in range(0, len(data), 4096):
        reader.feed(data[at : at + 4096], 0.0)


def _sets(path: Path) -> None:
    data = path.read_bytes()
    at = data.find(b"avcC") + 4
    sets = h264.read_avcc(data[at : at + 64])
    h264.write_avcc(sets)
    for unit in h264.nals(data[-5000:]):
        h264.slice_pps(unit)


# What each may raise besides `OSError`.
READERS: dict[str, tuple[Callable[[Path], object], tuple[type[Exception], ...]]] = {
    "is_fragmented": (boxes.is_fragmented, ()),
    "check_whole": (boxes.check_whole, (boxes.TornFile,)),
    "footage": (copyable.read, (ValueError,)),
    "keys": (_keys, (ValueError,)),
    "sizes": (_varies, (ValueError,)),
    "described": (native_probe.described, ()),
    "sets": (_sets, (h264.NotH264,)),
    "fragments": (_fed, (ValueError,)),
    "sample": (lambda path: renderer.save_sample(path, path.parent / "cache"), ()),
    "repair": (repair.repair, ()),
    "give_index": (finish_in_place.give_index, (ValueError, Reject)),
}
_CHANGING = ("repair", "give_index")


def in_place(folder: Path) -> Path:
    path = media.make_take(folder / "i.mp4", seconds=1)
    finish_in_place.give_index(path)
    return path


FILES: dict[str, Callable[[Path], Path]] = {
    "a take": lambda d: videos.software_take(d / "t.mp4"),
    "a take with sound": lambda d: media.make_take(d / "s.mp4", seconds=1, audio=True),
    "a plain clip": lambda d: media.make_take(d / "p.mp4", seconds=1, audio=True, fragmented=False),
    "a clip with B-frames": lambda d: media.make_intro(d / "b.mp4"),
    "a finished take": in_place,
}


def places(data: bytes) -> list[tuple[int, int]]:
    """Where the indexes lie: damage to them is what a reader meets first."""
    found, at = list[tuple[int, int]](), 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, at + 8)
        if kind in (b"moov", b"moof"):
            found.append((at, at + size))
        if size < 8:
            break
        at += size
    return found


def damaged(data: bytes, chance: random.Random) -> bytes:
    spoilt = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        begin, end = chance.choice(places(data)) if chance.random() < 0.85 else (0, len(data))
        at = chance.randrange(begin, end) % (len(spoilt) - 8)
        what = chance.randrange(7)
        if what == 0:
            spoilt[at] ^= 1 << chance.randrange(8)
        elif what in (1, 2):
            struct.pack_into(">I", spoilt, at // 4 * 4 if what == 1 else at, chance.choice(_WORDS))
        elif what == 3:
            spoilt[at : at + 12] = bytes(12)
        elif what == 4:
            del spoilt[at : at + chance.randrange(1, 40)]
        elif what == 5:
            spoilt[at:at] = spoilt[at : at + chance.randrange(1, 200)]
        else:
            del spoilt[chance.randrange(len(spoilt) // 2, len(spoilt)) :]
        if len(spoilt) < 64:
            break
    return bytes(spoilt)


def look(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    for name, (read, allowed) in READERS.items():
        if name in _CHANGING:
            path.write_bytes(data)
        with contextlib.suppress(*allowed, OSError):
            read(path)


@pytest.mark.parametrize("file", list(FILES))
def test_no_damage_surprises_a_reader(file: str, tmp_path: Path) -> None:
    chance = random.Random(f"{_SEED} {file}")
    whole = FILES[file](tmp_path).read_bytes()
    for _ in range(_EACH):
        look(tmp_path / "damaged.mp4", damaged(whole, chance))


def test_a_gap_in_ticks_too_fine_for_an_index_is_refused_in_words(tmp_path: Path) -> None:
    """Half an hour of a clock of three thousand million ticks: more than 32 bits hold."""
    data = bytearray(media.make_take(tmp_path / "t.mp4", seconds=1).read_bytes())
    struct.pack_into(">I", data, data.index(b"mdhd") + 16, 3_000_000_000)
    struct.pack_into(">Q", data, data.rindex(b"tfdt") + 8, 3_000_000_000 * 500)
    path = tmp_path / "x.mp4"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="too large for an index"):
        finish_in_place.give_index(path)
    assert path.read_bytes() == data


def test_a_sample_that_lies_in_front_of_all_fragments_is_no_surprise(tmp_path: Path) -> None:
    data = bytearray(videos.software_take(tmp_path / "t.mp4").read_bytes())
    moof = data.index(b"moof") - 4
    struct.pack_into(">i", data, data.index(b"trun") + 12, 40 - moof)
    path = tmp_path / "x.mp4"
    path.write_bytes(data)
    repair.repair(path)
    assert path.exists()


def test_a_recording_that_uses_every_id_of_parameter_sets_is_refused_in_words() -> None:
    sets = h264.Sets(dict.fromkeys(range(32), b"sps"), {})
    with pytest.raises(h264.NotH264, match="use every id"):
        sets.free_id()
    assert h264.Sets({0: b"sps"}, {1: b"pps"}).free_id() == 2
    assert h264.Sets({0: b"sps"}, {}).free_id(1) == 2
