"""Under a booted systemd the names of the checklist are the units', and their other names lead to them."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

from ezrec.domain.job import JobOutcome
from ezrec.system.journald import FORMER
from tests.support import media
from tests.systemd.appliance import Appliance
from tests.systemd.bed import SPLIT


def has_run(box: Appliance, name: str) -> bool:
    return "Finished" in box.bed.run("journalctl", "--no-pager", "-u", name)


def test_people_find_the_services_and_their_journals_by_the_names_they_know(
    box: Appliance, tmp_path: Path
) -> None:
    bed = box.bed
    box.start((*SPLIT, *(f"{name}.service" for name in FORMER if name != "recorder")))
    shutil.copyfile(media.make_take(tmp_path / "clip.mp4"), box.box.spool.root / "raw" / "final.mp4")
    assert box.box.published("final").outcome is JobOutcome.PUBLISHED

    for name in ("recorder", "ezrec-recorder"):
        told = bed.run("systemctl", "status", "--no-pager", name)
        assert "recorder.service - EZREC recorder" in told
        assert "Active: active (running)" in told
    for name, former in FORMER.items():
        assert bed.show(former, "Id") == f"{name}.service"
    assert "job final" in bed.run("journalctl", "--no-pager", "-u", "video_worker")
    assert "begins to record" in bed.run("journalctl", "--no-pager", "-u", "recorder")
    for name in ("booking_sync", "system_status", "log_collector"):
        bed.wait_for(functools.partial(has_run, box, name), f"no timer starts {name}")
    assert "-- No entries --" in bed.run("journalctl", "--no-pager", "-u", "ezrec-process")
    listed = bed.run("systemctl", "list-units", "--no-legend", "--plain", "ezrec*", "recorder*")
    assert "recorder.service" in [line.split()[0] for line in listed.splitlines()]
