"""What a start does that cannot go well, and what the doctor says of the units."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from ezrec.domain.findings import Verdict
from ezrec.system.journald import UNITS as JOURNALS
from tests.support import media
from tests.systemd.appliance import Appliance
from tests.systemd.bed import PROGRAM, SPLIT

_LOOPS_S = 7.0  # RestartSec is 1 and 2 s
UNITS = pytest.mark.parametrize("unit", ["ezrec.service", "recorder.service"])


def break_settings(box: Appliance) -> None:
    with (box.home / ".env").open("a") as file:
        file.write("RECORDING_FPS=many\n")


def break_spool(box: Appliance) -> None:
    (box.box.spool.root / "raw").rmdir()
    (box.box.spool.root / "raw").symlink_to("/tmp")


@UNITS
@pytest.mark.parametrize(
    ("breaks", "says"), [(break_settings, "RECORDING_FPS is 'many'"), (break_spool, "raw is a link")],
    ids=["wrong settings", "an unfit spool"],
)  # fmt: skip
def test_a_start_that_cannot_go_well_is_tried_once_and_says_why_in_one_line(
    box: Appliance, unit: str, breaks: object, says: str
) -> None:
    assert callable(breaks)
    breaks(box)
    assert box.bed.call("systemctl", "start", unit).returncode != 0
    time.sleep(_LOOPS_S)
    assert box.bed.show(unit, "ActiveState") == "failed"
    assert (box.bed.show(unit, "ExecMainStatus"), box.bed.show(unit, "NRestarts")) == ("78", "0")
    told = [line for line in box.bed.journal(unit).splitlines() if "ezrec: " in line]
    assert len(told) == 1
    assert says in told[0]
    (severe,) = box.bed.run("journalctl", "-p", "err", "-o", "cat", "-t", "ezrec", "-u", unit).splitlines()
    assert severe.startswith("ezrec: "), "the journal does not know its level"


def tries(box: Appliance, unit: str) -> int:
    return box.bed.run("journalctl", "--no-pager", "-u", unit).count("Starting ")


def test_with_wrong_settings_a_path_unit_starts_no_storm_and_goes_on_by_itself_when_they_are_right(
    box: Appliance, tmp_path: Path
) -> None:
    bed, unit, path = box.bed, "video_worker.service", "ezrec-process.path"
    right = (box.home / ".env").read_text()
    break_settings(box)
    shutil.copyfile(media.make_take(tmp_path / "clip.mp4"), box.box.spool.root / "raw" / "final.mp4")
    bed.call("systemctl", "enable", "--now", *SPLIT)
    bed.wait_for(lambda: "RECORDING_FPS is 'many'" in bed.journal(unit), "it does not say what is wrong")
    time.sleep(_LOOPS_S)
    told = [line for line in bed.journal(unit).splitlines() if "ezrec: " in line]
    assert (len(told), tries(box, unit)) == (1, 1)

    began = time.monotonic()
    bed.call("systemctl", "restart", "ezrec.target")
    assert time.monotonic() - began < _LOOPS_S, "a stop waits for what rests"
    bed.wait_for(lambda: tries(box, unit) == 2, "it is not tried again")
    assert (bed.show(path, "ActiveState"), bed.show(unit, "NRestarts")) == ("active", "0")

    (box.home / ".env").write_text(right)
    bed.wait_for(lambda: box.box.spool.finished("final") is not None, "it does not go on", 60)
    assert bed.show(path, "ActiveState") == "active"


def test_everything_that_timers_and_paths_start_ends_well_and_a_stop_makes_no_failure(box: Appliance) -> None:
    services = [f"{name}.service" for name in JOURNALS if name not in ("ezrec", "recorder")]
    box.start()
    box.bed.wait_for(lambda: box.bed.show("recorder", "ActiveState") == "active", "it does not start")
    box.bed.run("systemctl", "stop", "ezrec-sweep.timer", *(unit for unit in SPLIT if "timer" in unit))
    for service in services:
        done = box.bed.call("systemctl", "start", service)
        assert done.returncode == 0, box.bed.journal(service)
    for service in services:
        box.bed.run("systemctl", "start", "--no-block", service)
    box.bed.run("systemctl", "stop", "ezrec.target")
    box.bed.wait_for(lambda: not box.bed.run("systemctl", "list-jobs", "--no-legend"), "it does not stop")
    assert box.bed.run("systemctl", "list-units", "--failed", "--no-legend", "--plain").split() == []


def test_an_exec_start_pre_that_ends_with_78_stops_no_loop(box: Appliance) -> None:
    """Why the first look is the program's own."""
    box.bed.drop_in("ezrec.service", "[Service]\nExecStartPre=/bin/sh -c 'exit 78'")
    box.bed.call("systemctl", "start", "--no-block", "ezrec.service")
    box.bed.wait_for(lambda: int(box.bed.show("ezrec.service", "NRestarts")) > 1, "it is not started again")


def said(box: Appliance) -> list[dict[str, str]]:
    done = box.bed.call("env", "EZREC_HOME=/opt/ezrec-backend", PROGRAM, "doctor", "--json")
    return [one for one in json.loads(done.stdout) if one["check"] == "units"]


def test_the_doctor_tells_units_that_are_missing_failed_or_not_enabled(box: Appliance) -> None:
    (told,) = said(box)
    assert (told["verdict"], "none is enabled" in told["evidence"]) == (Verdict.WARNING, True)

    box.start(SPLIT)
    (told,) = said(box)
    assert (told["verdict"], "none failed" in told["evidence"]) == (Verdict.OK, True)

    box.bed.run("rm", "/etc/systemd/system/ezrec-retry.timer")
    box.bed.drop_in("log_collector.service", "[Service]\nExecStart=\nExecStart=/bin/false")
    box.bed.call("systemctl", "start", "log_collector.service")
    box.bed.run("systemctl", "stop", "recorder.service")
    box.bed.run("rm", "/etc/systemd/system/recorder.service")
    box.bed.run("systemctl", "daemon-reload")
    faults = [one["evidence"] for one in said(box) if one["verdict"] == Verdict.FAULT]
    assert any("not installed" in one and "recorder.service" in one for one in faults), faults

    older = "printf '[Service]\nExecStart=/bin/sleep infinity\n' >/etc/systemd/system/recorder.service"
    box.bed.run("sh", "-c", f"{older}; systemctl daemon-reload")
    assert any("in the place of ours" in one["evidence"] for one in said(box))
    box.bed.run("systemctl", "start", "recorder.service")
    assert any("the older EZREC runs as well" in one["evidence"] for one in said(box))
    box.bed.run("systemctl", "disable", "--now", "ezrec.target")
