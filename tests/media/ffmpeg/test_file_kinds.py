"""What a file is called that cannot be used, and what is said to mend it."""

from __future__ import annotations

import pytest

from ezrec.media.ffmpeg.file_kinds import cure, recognised

HEADS = {
    b"G" + bytes(187) + b"G" + bytes(187): "MPEG-TS",
    bytes(4) + b"G" + bytes(191) + b"G" + bytes(100): "MPEG-TS",  # as Blu-ray and some cameras write it
    b"\0\0\x01\xba" + bytes(60): "MPEG-PS",
    b"\0\0\0\x01\x67\x42": "raw H.264",
    b"\0\0\0\x01\x40\x01": "raw H.265",
    b"RIFF\0\0\0\0AVI LIST": "an AVI video",
    b"\0\0\0\x18ftypheic": "a HEIC photo",
    b"\0\0\0\x18ftypisom": "an MP4 or MOV video",
    b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\x12": "a WebP animation",
    b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\x10": "a WebP picture",
    b"GIF89a": "a GIF",
    b"%PDF-1.7": "a PDF or PostScript file",
    b"<?xml version='1.0'?>\n<svg xmlns=''>": "an SVG drawing",
    b"<!DOCTYPE html><html>": "a web page",
    b'{"statusCode":"404","error":"not_found"}': "a JSON text",
    bytes(512): "a file of zeros",
}


@pytest.mark.parametrize("head", list(HEADS), ids=list(HEADS.values()))
def test_a_file_is_called_what_it_is(head: bytes) -> None:
    found = recognised(head)
    assert found is not None
    assert found.name == HEADS[head]


def test_what_nobody_knows_is_given_no_name() -> None:
    assert recognised(b"dear diary") is None
    assert recognised(b"") is None


@pytest.mark.parametrize(
    ("kind", "head", "begins"),
    [
        ("logo", b"%PDF-1.7", "pdftoppm -png -r 150 -singlefile club.x club-usable"),
        ("logo", b"<svg", "rsvg-convert -w 800 club.x -o club-usable.png"),
        ("intro", b"GIF89a", "ffmpeg -i club.x -pix_fmt yuv420p club-usable.mp4"),
        ("intro", b"\x89PNG", "ffmpeg -loop 1 -i club.x -t 5 -pix_fmt yuv420p club-usable.mp4"),
        ("recording", b"\x89PNG", ""),
        ("logo", b"<html>", "it was not transferred"),
    ],
)
def test_the_cure_suits_what_the_file_is_and_what_it_is_for(kind: str, head: bytes, begins: str) -> None:
    found = recognised(head)
    assert found is not None
    assert cure(kind, found, "club.x").startswith(begins)
    assert bool(cure(kind, found, "club.x")) == bool(begins)


def test_a_name_stands_in_the_command_as_it_can_be_typed() -> None:
    found = recognised(b"GIF89a")
    assert found is not None
    assert cure("logo", found, "our logo.gif").startswith("ffmpeg -i 'our logo.gif'")


def test_that_its_name_says_something_else_is_said_only_where_it_does() -> None:
    gif, stream = recognised(b"GIF89a"), recognised(b"\0\0\x01\xba" + bytes(60))
    assert gif is not None
    assert stream is not None
    assert [gif.is_called(suffix) for suffix in (".gif", ".GIF", "", ".png")] == [True, True, True, False]
    assert not stream.is_called(".mp4")
