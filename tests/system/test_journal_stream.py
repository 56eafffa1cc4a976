"""What a service writes reaches the journal with its level, dated once; files and pipes get plain lines."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SPEAKS = """
import logging, sys
from pathlib import Path
from ezrec.system import log_setup as logs
logs.begin(Path(sys.argv[1]), ["status"])
log = logging.getLogger("ezrec.system_status")
log.info("a beat")
log.warning("the disk is short\\nand slow")
log.error("a fault")
log.critical("the end")
log.warning("%d", "no number")
"""
FAILS = """
import sys
from ezrec.cli import main
main.report_config_error(main.errors.ConfigError(["RESOLUTION is wrong"]))
raise SystemExit(main._report_bug(ValueError, ValueError("a bug"), None))
"""


def said(code: str, folder: Path, *, is_journal: bool) -> str:
    """What a program writes into a file, of which systemd has said that the journal reads it, or not."""
    with (folder / "out").open("w+b") as out:
        info = os.fstat(out.fileno())
        told = f"{info.st_dev}:{info.st_ino if is_journal else info.st_ino + 1}"
        environ = {**os.environ, "JOURNAL_STREAM": told}
        command = [sys.executable, "-c", code, str(folder)]
        subprocess.run(command, stdout=out, stderr=out, env=environ, timeout=60, check=True)
    return (folder / "out").read_text()


def test_the_journal_learns_the_level_of_each_line_and_dates_it_alone(tmp_path: Path) -> None:
    # The last is told twice: neither the journal's handler nor the file's can write the line.
    assert said(SPEAKS, tmp_path, is_journal=True).splitlines() == [
        "<6>INFO - a beat",
        "<4>WARNING - the disk is short",
        "<4>  and slow",
        "<3>ERROR - a fault",
        "<2>CRITICAL - the end",
        *2 * ["<3>a line of ezrec.system_status was not logged: TypeError: "
              "%d format: a real number is required, not str"],
    ]  # fmt: skip
    assert re.match(r"\d{4}-\d\d-\d\d ", (tmp_path / "system_status.log").read_text()), "a file is dated"


def test_why_a_service_does_not_start_is_an_error_in_the_journal(tmp_path: Path) -> None:
    assert said(FAILS, tmp_path, is_journal=True).splitlines() == [
        "<3>ezrec: RESOLUTION is wrong",
        "<3>ValueError: a bug",
    ]


@pytest.mark.parametrize("code", [SPEAKS, FAILS], ids=["log", "fault"])
def test_who_redirects_the_output_of_a_service_gets_plain_lines(tmp_path: Path, code: str) -> None:
    assert "<" not in said(code, tmp_path, is_journal=False)
