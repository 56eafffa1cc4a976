"""A picture in a terminal: two pixels a character, in the colours that the terminal has."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from ezrec.cli.picture import can_draw, drawn, lines

RED, BLUE, WHITE = b"\xff\0\0", b"\0\0\xff", b"\xff\xff\xff"


def test_each_character_is_an_upper_and_a_lower_pixel() -> None:
    (line,) = lines(RED + WHITE + BLUE + WHITE, 2, all_colours=True)
    assert line.startswith("\033[38;2;255;0;0m\033[48;2;0;0;255m▀")
    assert line.endswith("\033[0m")
    assert line.count("▀") == 2
    (few,) = lines(RED + BLUE, 1, all_colours=False)
    assert re.findall(r"8;5;(\d+)m", few) == ["196", "21"]


def test_a_file_is_drawn_to_its_size_and_what_is_no_picture_not_at_all(tmp_path: Path) -> None:
    picture = tmp_path / "court.jpg"
    argv = [
        "ffmpeg",
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        "color=red:s=320x180",
        "-frames:v",
        "1",
        str(picture),
    ]
    subprocess.run(argv, check=True, timeout=30)
    found = drawn(picture, 32, 18, all_colours=False)
    assert [line.count("▀") for line in found] == [32] * 9
    (tmp_path / "text.jpg").write_text("no picture")
    assert drawn(tmp_path / "text.jpg", 32, 18, all_colours=False) == []


@pytest.mark.parametrize(
    ("environ", "is_terminal", "can"),
    [({"TERM": "xterm-256color", "LANG": "C.UTF-8"}, True, True),
     ({"TERM": "xterm-256color", "LANG": "C.UTF-8"}, False, False),
     ({"TERM": "dumb", "LANG": "C.UTF-8"}, True, False),
     ({"TERM": "xterm", "LANG": "C"}, True, False),
     ({}, True, False)],
    ids=["a terminal", "a pipe", "no colours", "no such characters", "nothing is known"],
)  # fmt: skip
def test_it_is_drawn_where_the_terminal_can(environ: dict[str, str], is_terminal: bool, can: bool) -> None:
    assert can_draw(environ, is_terminal=is_terminal) is can
