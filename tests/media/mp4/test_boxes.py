"""The box walker: whole or torn, and where the whole part ends; on real files and on hostile ones."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

import pytest

from ezrec.media.mp4 import boxes
from ezrec.media.mp4.boxes import (
    TornFile,
    check_whole,
    is_fragmented,
    top_level,
)
from ezrec.media.mp4.samples import read_tracks
from ezrec.media.render.renderer import FfmpegTranscoder
from tests.support import media, videos
from tests.support.rendering import deaf, plan_for, written


def box(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def fragment(samples: int = 6, payload: bytes = b"x" * 100) -> bytes:
    tables = box(b"tfhd", struct.pack(">II", 0, 1)) + box(b"trun", struct.pack(">II", 0, samples))
    return box(b"moof", box(b"mfhd", bytes(8)) + box(b"traf", tables)) + box(b"mdat", payload)


HEAD = box(b"ftyp", b"isom" + bytes(4)) + box(b"moov", box(b"mvhd", bytes(100)) + box(b"mvex", bytes(8)))
INDEX = box(b"ftyp", b"isom" + bytes(4)) + box(b"moov", box(b"mvhd", bytes(100)))
PLAIN = INDEX + box(b"mdat", b"data")
SPOILT = fragment().replace(b"moof", b"\x01\xffof")
# What cameras, dashcams and copying programs leave behind a video, none of it a box.
TRAILERS = {
    "four bytes": bytes(4),
    "half a header": b"abc",
    "zeros": bytes(4096),
    "a trailer": bytes(range(256)) * 4 + b"8db42d694ccc418790edff439fe026bf",
    "a text that reads like a box": b"This is what the camera says of itself. It is no box.",
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "take.mp4"


def test_top_level_boxes_are_read_in_all_three_size_forms(file: Path) -> None:
    long_form = struct.pack(">I4sQ", 1, b"free", 16 + 5) + b"12345"
    file.write_bytes(box(b"ftyp", b"isom") + long_form + struct.pack(">I4s", 0, b"mdat") + b"to the end")
    found = [(found.type, found.offset, found.size) for found in top_level(file)]
    assert found == [(b"ftyp", 0, 12), (b"free", 12, 21), (b"mdat", 33, 18)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"hello, this is a text", "not an MP4 file"),
        (b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", "not an MP4 file"),
        (b"\0\0", "not an MP4 file"),
        (box(b"ftyp", b"isom"), "no moov index"),
        (box(b"ftyp", b"isom") + struct.pack(">I4s", 0, b"mdat") + b"never finished", "no moov index"),
        (PLAIN[:-2], r"box 'mdat' at byte \d+ says 12 bytes where the file has 10"),
        (HEAD[:-60], r"box 'moov' at byte 16 says \d+ bytes where the file has \d+"),
        (INDEX + b"abc", "3 stray bytes"),
        (INDEX + struct.pack(">I4s", 1, b"free"), "half a box header"),
        (INDEX + struct.pack(">I4s", 7, b"free"), "says it is 7 bytes long"),
        (INDEX + struct.pack(">I4sQ", 1, b"free", 0), "says it is 0 bytes long"),
        (PLAIN + struct.pack(">I4sQ", 1, b"mdat", 2**64 - 1), "says 18446744073709551615 bytes"),
        (INDEX + bytes(4096), "no box begins there"),
        (HEAD + fragment() + fragment()[:-108], "box 'moof' at byte .* has no media data behind it"),
        (HEAD + fragment() + b"abc", "3 stray bytes"),
        (HEAD + fragment() + bytes(4096), "no box begins there"),
        (HEAD + fragment() + SPOILT + fragment(), "no box begins there"),
    ],
)
def test_what_is_not_whole_is_named_in_one_line(file: Path, content: bytes, reason: str) -> None:
    file.write_bytes(content)
    with pytest.raises(TornFile, match=reason) as fault:
        check_whole(file)
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize("trailer", list(TRAILERS))
def test_a_file_is_whole_whatever_stands_behind_its_index_and_media(file: Path, trailer: str) -> None:
    file.write_bytes(PLAIN + TRAILERS[trailer])
    check_whole(file)


def test_behind_fragments_only_what_another_program_wrote_is_passed_over(file: Path) -> None:
    """Half a header, zeros and a spoilt one are what is left of footage."""
    file.write_bytes(HEAD + fragment() + TRAILERS["a trailer"])
    check_whole(file)
    assert media.count_samples(file, 1) == 6


def test_media_that_the_index_looks_for_behind_the_last_box_is_missing(tmp_path: Path) -> None:
    data = media.make_take(tmp_path / "t.mp4", fragmented=False, filters=videos.NOISE).read_bytes()
    at, less = data.index(b"mdat") - 4, len(data) - 2000
    media_left = struct.pack(">I4s", less - at, b"mdat") + data[at + 8 : less]
    torn = written(tmp_path / "x.mp4", data[:at] + media_left + bytes(1000))
    with pytest.raises(TornFile, match="points beyond its end"):
        read_tracks(torn)


@pytest.mark.parametrize("trailer", list(TRAILERS))
def test_a_video_with_something_behind_it_is_copied_and_serves_as_an_intro(
    tmp_path: Path, trailer: str
) -> None:
    take = media.make_take(tmp_path / "t.mp4", fragmented=False, colour="blue")
    intro = media.make_intro(tmp_path / "i.mp4", colour="red")
    for path in (take, intro):
        path.write_bytes(path.read_bytes() + TRAILERS[trailer])
    transcoder, plan = (
        FfmpegTranscoder(bitrate=800_000, preset="ultrafast"),
        plan_for(tmp_path, take, intro=intro),
    )
    transcoder.check_asset("intro", intro)
    assert transcoder.probe(take).frames == 60
    transcoder.render(plan, deaf, deaf)
    assert [media.picture_at(plan.output, at).colour(9, 9) for at in (0.5, 1.5, 2.9)] == [
        "red",
        "blue",
        "blue",
    ]
    assert '"rung": "copy"' in (tmp_path / "processing.json").read_text()


def test_whole_files_of_either_kind_pass_and_lose_nothing(file: Path) -> None:
    for content, fragmented in ((PLAIN, False), (HEAD, True), (HEAD + 3 * fragment(), True)):
        file.write_bytes(content)
        check_whole(file)
        assert is_fragmented(file) is fragmented
        assert file.read_bytes() == content


def test_real_files_are_told_apart_and_counted(tmp_path: Path) -> None:
    camera = media.make_take(tmp_path / "camera.mp4", audio=True)
    plain = media.make_take(tmp_path / "plain.mp4", fragmented=False)
    assert (is_fragmented(camera), is_fragmented(plain)) == (True, False)
    assert media.count_samples(camera, 1) == media.frames(camera) == 60
    assert media.count_samples(camera, 7) == 0
    check_whole(camera)
    check_whole(plain)


def test_a_file_of_many_gigabytes_is_judged_without_reading_its_media(file: Path) -> None:
    size = 40 << 30
    with file.open("wb") as out:
        out.write(box(b"ftyp", b"isom") + box(b"moov") + struct.pack(">I4sQ", 1, b"mdat", size))
        out.truncate(out.tell() - 16 + size)
    began = time.monotonic()
    check_whole(file)
    assert time.monotonic() - began < 0.5


def test_a_file_made_of_countless_tiny_boxes_ends_with_a_word(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boxes, "_MOST_BOXES", 1000)
    file.write_bytes(HEAD + box(b"free") * 5000)
    with pytest.raises(TornFile, match="more than 1000 boxes"):
        check_whole(file)
    file.write_bytes(HEAD + box(b"moof", box(b"traf", box(b"trun") * 5000)))
    with pytest.raises(TornFile, match="more than 1000 boxes"):
        media.count_samples(file, 1)


def test_random_bytes_never_do_worse_than_a_torn_file(file: Path) -> None:
    for length in range(0, 400, 7):
        file.write_bytes(HEAD + fragment()[: length % 90] + os.urandom(length))
        try:
            check_whole(file)
        except TornFile:
            continue
        assert media.count_samples(file, 1) >= 0
