"""Under a booted systemd a booking becomes a published video, in both shapes."""

from __future__ import annotations

import re
import shutil
import zipfile
from pathlib import Path

import pytest

from ezrec.domain.job import JobOutcome
from ezrec.domain.stages import DIRECTORIES
from tests.support import media
from tests.systemd.appliance import ONE, Appliance
from tests.systemd.bed import SPLIT

SHAPES = pytest.mark.parametrize("units", [ONE, SPLIT], ids=["one unit", "a unit a part"])


@SHAPES
def test_a_booking_goes_from_sync_to_its_published_video(box: Appliance, units: tuple[str, ...]) -> None:
    box.start(units)
    booking = box.box.book(6, 3)
    job = box.box.published(booking)
    assert job.outcome is JobOutcome.PUBLISHED
    row, path = box.box.video(booking)
    assert 3.5 < row["duration_seconds"] < 6  # half a second on either side, and back to a key frame
    assert media.picture_at(path, 1.0)
    box.bed.wait_for(lambda: box.box.status(booking) == "video_uploaded", "the status is not told")
    assert not any(box.box.spool.names(state) for state in DIRECTORIES)
    told = box.bed.run(
        "journalctl", "-o", "cat", "-p", "info", "-u", units[-1] if units == ONE else "recorder"
    )
    assert "INFO - " in told
    assert not re.search(r"^\d{4}-", told, re.MULTILINE), "the journal dates each line already"
    assert "INFO - " not in box.bed.run("journalctl", "-o", "cat", "-p", "warning"), (
        "no level reaches the journal"
    )
    box.bed.run("systemctl", "disable", "--now", *units)


@SHAPES
def test_a_file_that_somebody_drops_is_published(
    box: Appliance, units: tuple[str, ...], tmp_path: Path
) -> None:
    box.start(units)
    clip = media.make_take(tmp_path / "clip.mp4")
    shutil.copyfile(clip, box.box.spool.root / "raw" / "court-final.mp4")
    job = box.box.published("court-final")
    assert job.outcome is JobOutcome.PUBLISHED


def test_a_request_for_the_logs_brings_the_journal_although_its_worker_may_not_read_it(
    box: Appliance,
) -> None:
    box.start(SPLIT)
    sent = box.home / "state" / "logs_sent.json"
    box.bed.wait_for(
        lambda: sent.exists() and "booking_sync" in sent.read_text(), "the journal is never read"
    )
    box.bed.wait_for(lambda: bool(archives(box)), "the first archive does not come")
    before = archives(box)
    (box.box.spool.root / "raw" / "logs").touch()
    box.bed.wait_for(lambda: archives(box) > before, "the request is not answered")
    (answer,) = archives(box) - before
    with zipfile.ZipFile(answer) as packed:
        assert "journal_video_worker.log" in packed.namelist(), box.bed.journal("video_worker")
    assert "its logs are packed without it" not in box.bed.journal("video_worker")


def archives(box: Appliance) -> set[Path]:
    """Those that arrived in the cloud."""
    found = (box.home / "local").rglob("*_logs.zip")
    return {path for path in found if not path.name.startswith(".")}
