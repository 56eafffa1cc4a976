"""JSON decoding: what is read has the type that was asked for, also when many threads ask for it first."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from ezrec.domain import json_decode
from ezrec.domain.booking import Booking

ROOT = Path(__file__).parents[2]
MANY_AT_ONCE = """
import sys, threading
from datetime import UTC, datetime
from ezrec.domain import status_file as report
from ezrec.domain.snapshot import Snapshot
sys.setswitchinterval(1e-6)
whole = report.StatusFile(Snapshot(datetime(2026, 6, 1, tzinfo=UTC)), ())
data, gate, read = report.encode(whole), threading.Barrier(8), []
def look():
    gate.wait()
    read.append(report.decode(data))
threads = [threading.Thread(target=look) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert read == [whole] * 8
"""


def test_what_has_another_form_is_refused() -> None:
    assert json_decode.decode(b'{"a": 1}', dict[str, int]) == {"a": 1}
    with pytest.raises(ValueError, match="Expected `int`"):
        json_decode.decode(b'{"a": "1"}', dict[str, int])


@pytest.mark.parametrize(
    "date",
    ["0001-01-01", "1899-01-01", "2500-01-01", "9999-01-01", r"\u0030001-01-01", r"0001-\u00301-0\u0031"],
)
def test_a_date_of_no_time_of_ours_is_refused_wherever_it_stands(date: str) -> None:
    text = f"{date}T00:00:00Z"
    with pytest.raises(ValueError, match="cannot be"):
        json_decode.decode(f'{{"a": "{text}"}}'.encode(), dict[str, datetime])
    with pytest.raises(ValueError, match="cannot be"):
        json_decode.decode(f'{{"id": "b1", "start": "{text}", "end": "{text}"}}'.encode(), Booking)
    with pytest.raises(ValueError, match="cannot be"):
        json_decode.decode(f'["2026-07-01T16:00:00Z", "{text}"]'.encode(), tuple[datetime, ...])


def test_a_text_that_only_looks_like_such_a_date_is_welcome() -> None:
    assert json_decode.decode(rb'["0001-01-01T00:00:00Z", "\u001b"]', list[str]) == [
        "0001-01-01T00:00:00Z",
        "\x1b",
    ]


def test_many_threads_may_read_a_form_for_the_first_time_at_once() -> None:
    """Without the lock in `json_decode` six of ten such processes ended by a segmentation fault."""
    for _ in range(8):
        done = subprocess.run(
            [sys.executable, "-c", MANY_AT_ONCE], cwd=ROOT, env=os.environ, capture_output=True, timeout=60,
            check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, b"")


def test_nobody_else_makes_a_decoder() -> None:
    for path in (ROOT / "ezrec").rglob("*.py"):
        if path.name != "json_decode.py":
            assert not re.search(r"Decoder\(|json\.decode\([^\n]*type=|msgspec\.convert", path.read_text()), (
                path
            )
