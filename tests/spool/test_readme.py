"""The page a person reads at night says what the program does."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

from ezrec.domain.job import Job
from ezrec.domain.names import UNFINISHED_SUFFIXES
from ezrec.domain.stages import DIRECTORIES, STAGES, draw
from ezrec.spool.spool import AMENDMENT, JOB, PROGRESS, REASON, Spool

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "spool/README.md").read_text()


def test_the_picture_is_the_tables() -> None:
    drawn = re.search(r"<!-- drawn: begin -->\n(.*)\n<!-- drawn: end -->", TEXT, re.DOTALL)
    assert drawn is not None
    assert drawn[1] == draw(), "stale: python -m ezrec.domain.stages prints what belongs between the markers"


def test_the_generator_prints_the_picture() -> None:
    argv = [sys.executable, "-m", "ezrec.domain.stages"]
    said = subprocess.run(argv, check=True, capture_output=True, timeout=60, cwd=ROOT).stdout.decode()
    assert said == draw() + "\n"


def test_the_picture_shows_every_directory_and_every_stage() -> None:
    for state in DIRECTORIES:
        assert f"| `{state}/` |" in draw()
    for name in STAGES:
        assert f"{name:>8}:  " in draw()


def test_every_field_of_the_record_has_its_line() -> None:
    table = TEXT[TEXT.index("| field | meaning |") :]
    described = re.findall(
        r"`(\w+)`", "\n".join(re.findall(r"(?m)^\| (`.*?) \|", table[: table.index("\n\n")]))
    )
    assert sorted(described) == sorted(field.name for field in dataclasses.fields(Job))


def test_every_name_on_disk_is_on_the_page(tmp_path: Path) -> None:
    Spool(tmp_path / "spool").prepare()
    for path in (tmp_path / "spool").iterdir():
        assert f"`{path.name}/`" in TEXT, path.name
    for name in (JOB, REASON, PROGRESS, AMENDMENT):
        assert name in TEXT
    assert ".part" in UNFINISHED_SUFFIXES
