"""The stream reader: what becomes whole is given back, in whatever pieces it came."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezrec.media.mp4.boxes import check_whole
from ezrec.media.mp4.fragments import BadStream, Fragment, FragmentReader, retimed
from tests.fakes.camera import FOOTAGE, footage, header
from tests.support import media
from tests.support.media import box

REAL = FOOTAGE.read_bytes()


def moov(*, timescale: int = 1000, version: int = 0, tracks: int = 1) -> bytes:
    times = bytes(16) if version else bytes(8)
    mdhd = box(b"mdhd", bytes([version, 0, 0, 0]) + times + struct.pack(">I", timescale) + bytes(8))
    trex = box(b"trex", struct.pack(">6I", 0, 1, 1, 40, 10, 0x0001_0000))
    return box(b"moov", tracks * box(b"trak", box(b"mdia", mdhd)) + box(b"mvex", trex))


def moof(
    *,
    base_time: int = 0,
    wide: bool = True,
    tfhd: tuple[int, ...] = (0x2_0000, 1),
    trun: tuple[int, ...] = (0x5, 3, 0, 0),
    runs: int = 1,
) -> bytes:
    time = struct.pack(">IQ", 1 << 24, base_time) if wide else struct.pack(">II", 0, base_time)
    parts = box(b"tfhd", struct.pack(f">{len(tfhd)}I", *tfhd)) + box(b"tfdt", time)
    parts += runs * box(b"trun", struct.pack(f">{len(trun)}I", *trun))
    return box(b"moof", box(b"mfhd", struct.pack(">II", 0, 7)) + box(b"traf", parts))


OPENING = box(b"ftyp", b"iso5") + moov()
MDAT = box(b"mdat", bytes(30))


def read(data: bytes) -> list[Fragment]:
    return FragmentReader().feed(data, arrived=1.0)


def only(data: bytes) -> Fragment:
    (fragment,) = read(data)
    return fragment


def test_a_real_stream_gives_its_header_and_every_frame() -> None:
    reader = FragmentReader()
    fragments = reader.feed(REAL, arrived=5.0)
    assert reader.header is not None
    assert REAL.startswith(reader.header.data)
    assert sum(fragment.frames for fragment in fragments) == media.frames(FOOTAGE) == 30
    assert sum(fragment.duration_s for fragment in fragments) == pytest.approx(2.0)
    assert [fragment.pts_s for fragment in fragments if fragment.starts_with_key] == [0.0, 1.0]
    assert {fragment.arrived for fragment in fragments} == {5.0}
    assert fragments[0].last_frame_s == pytest.approx(fragments[0].duration_s - 1 / 15)


@given(st.lists(st.integers(0, len(REAL)), max_size=30))
def test_the_size_of_the_pieces_makes_no_difference(cuts: list[int]) -> None:
    reader = FragmentReader()
    edges = [0, *sorted(cuts), len(REAL)]
    found = [f for a, b in itertools.pairwise(edges) for f in reader.feed(REAL[a:b], 1.0)]
    assert found == read(REAL)


@given(st.integers(0, len(REAL) - 1), st.binary(min_size=1, max_size=12))
def test_damage_anywhere_is_at_worst_a_bad_stream(place: int, junk: bytes) -> None:
    damaged = REAL[:place] + junk + REAL[place + len(junk) :]
    try:
        fragments = read(damaged)
    except BadStream as fault:
        assert "\n" not in str(fault)  # noqa: PT017 - damage inside pictures is no fault here
        return
    assert all(fragment.frames > 0 and fragment.duration > 0 for fragment in fragments)
    for fragment in fragments:
        assert retimed(fragment, 1, fragment.base_time)


@given(st.binary(max_size=200))
def test_any_bytes_are_at_worst_a_bad_stream(junk: bytes) -> None:
    for data in (
        junk,
        OPENING + junk,
        OPENING + box(b"moof", junk) + MDAT,
        box(b"ftyp") + box(b"moov", junk),
    ):
        try:
            read(data)
        except BadStream as fault:
            assert str(fault)  # noqa: PT017 - most junk is incomplete, not bad


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (moof(), (3, 120, 40, True)),
        (moof(trun=(0x1, 3, 0)), (3, 120, 40, False)),
        (moof(tfhd=(0x2_0020, 1, 0)), (3, 120, 40, True)),
        (moof(tfhd=(0x2_002A, 1, 9, 25, 0), trun=(0x5, 2, 0, 0x0001_0000)), (2, 50, 25, False)),
        (moof(trun=(0x101, 2, 0, 30, 50)), (2, 80, 50, False)),
        (moof(trun=(0x701, 1, 0, 33, 10, 0)), (1, 33, 33, True)),
        (moof(wide=False), (3, 120, 40, True)),
    ],
)
def test_frames_times_and_keys_are_read_wherever_they_may_stand(
    index: bytes, expected: tuple[int, int, int, bool]
) -> None:
    found = only(OPENING + index + MDAT)
    assert (found.frames, found.duration, found.last_duration, found.starts_with_key) == expected
    assert found.data == index + MDAT


def test_a_large_size_field_and_boxes_of_no_interest_are_read_over() -> None:
    long_mdat = struct.pack(">I4sQ", 1, b"mdat", 46) + bytes(30)
    skipped = box(b"free", bytes(9)) + box(b"styp") + box(b"sidx", bytes(40))
    found = only(skipped[:17] + OPENING + skipped + moof(base_time=5) + long_mdat + box(b"mfra"))
    assert found.base_time == 5


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"#EXTM3U\n/etc/passwd\n", "no fragmented MP4"),
        (moov(), "out of place"),
        (OPENING + OPENING, "out of place"),
        (box(b"ftyp") + MDAT, "before the header"),
        (OPENING + MDAT, "without its index"),
        (OPENING + moof() + moof(), "media data of a fragment was due"),
        (OPENING + moof() + box(b"free"), "media data of a fragment was due"),
        (struct.pack(">I4s", 1 << 30, b"mdat"), "says it is 1073741824 bytes"),
        (struct.pack(">I4s", 0, b"mdat"), "says it is 0 bytes"),
        (struct.pack(">I4sQ", 1, b"mdat", 1 << 60), "says it is 1152921504606846976 bytes"),
        (struct.pack(">I4sQ", 1, b"mdat", 3), "says it is 3 bytes"),
        (struct.pack(">I4s", 2 << 20, b"moof"), "says it is 2097152 bytes"),
        (box(b"ftyp") + moov(timescale=0), "without a time scale"),
        (box(b"ftyp") + moov(tracks=2), "2 boxes b'trak'"),
        (box(b"ftyp") + moov(tracks=0), "0 boxes b'trak'"),
        (OPENING + moof(tfhd=(0x1, 1, 0, 0)) + MDAT, "at its old place"),
        (OPENING + moof(tfhd=(0, 1)) + MDAT, "at its old place"),
        (OPENING + moof(trun=(0x1, 0, 0)) + MDAT, "fragment of 0 frames"),
        (OPENING + moof(trun=(0x1, 1 << 31, 0)) + MDAT, "fragment of 2147483648 frames"),
        (OPENING + moof(trun=(0x101, 2, 0, 30)) + MDAT, "shorter than its content"),
        (OPENING + moof(trun=(0x101, 2, 0, 0, 0)) + MDAT, "without a duration"),
        (OPENING + moof(trun=(0x201, 1, 0, 31)) + MDAT, "larger than its media data"),
        (OPENING + moof(runs=2) + MDAT, "2 boxes b'trun'"),
        (OPENING + box(b"moof", b"abc") + MDAT, "half a box header"),
        (OPENING + box(b"moof", struct.pack(">I4s", 99, b"traf")) + MDAT, "does not fit"),
        (OPENING + 2 * (moof(base_time=100) + MDAT), "time went backwards"),
    ],
)
def test_what_no_camera_sends_is_named_in_one_line(data: bytes, reason: str) -> None:
    with pytest.raises(BadStream, match=reason) as fault:
        read(data)
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize("make", [lambda n: moov(version=1, timescale=n), lambda n: moov(timescale=n)])
def test_the_time_scale_is_read_in_both_forms(make: Callable[[int], bytes]) -> None:
    reader = FragmentReader()
    reader.feed(box(b"ftyp") + make(90_000), 0.0)
    assert reader.header is not None
    assert reader.header.timescale == 90_000


def test_a_take_cut_out_of_the_middle_begins_at_zero_and_plays(tmp_path: Path) -> None:
    pieces = [f for f in itertools.islice(footage(), 40) if f.pts_s >= 3.0]
    assert pieces[0].starts_with_key
    path = tmp_path / "take.mp4"
    origin = pieces[0].base_time
    path.write_bytes(header().data + b"".join(retimed(f, n, origin) for n, f in enumerate(pieces, 1)))
    check_whole(path)
    found = media.streams(path)["video"]
    assert float(found["start_time"]) == 0
    assert int(found["nb_read_packets"]) == media.frames(path) == media.count_samples(path, 1)
    again = read(path.read_bytes())
    assert [f.base_time for f in again] == [f.base_time - origin for f in pieces]
    assert [struct.unpack_from(">I", f.data, f.sequence_at)[0] for f in again] == list(
        range(1, len(pieces) + 1)
    )
