"""What the workers are made with."""

from __future__ import annotations

from pathlib import Path

from ezrec import settings
from ezrec.app.services import worker
from tests.fakes.camera import FOOTAGE


def test_the_stage_that_takes_dropped_videos_looks_whether_they_are_whole(tmp_path: Path) -> None:
    intake = worker("process", settings.load({"EZREC_HOME": str(tmp_path), "TZ": "UTC"})).intake
    assert intake is not None
    half = tmp_path / "half.mp4"
    half.write_bytes(FOOTAGE.read_bytes()[:-100])
    assert "cut short" in intake.lacks(half)
    assert intake.lacks(FOOTAGE) == ""
