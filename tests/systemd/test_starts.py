"""What a start does that cannot go well, and what the doctor says of the units."""

from __future__ import annotations

import json
import time

import pytest

from ezrec.findings import Verdict
from tests.systemd.appliance import Appliance
from tests.systemd.bed import PROGRAM, SPLIT

_LOOPS_S = 7.0  # RestartSec is 1 and 2 s
UNITS = pytest.mark.parametrize("unit", ["ezrec.service", "ezrec-recorder.service"])


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
    box.bed.drop_in("ezrec-logs.service", "[Service]\nExecStart=\nExecStart=/bin/false")
    box.bed.call("systemctl", "start", "ezrec-logs.service")
    box.bed.run("systemctl", "stop", "ezrec-recorder.service")
    box.bed.run("rm", "/etc/systemd/system/ezrec-recorder.service")
    box.bed.run("systemctl", "daemon-reload")
    faults = [one["evidence"] for one in said(box) if one["verdict"] == Verdict.FAULT]
    assert any("not installed" in one and "ezrec-recorder.service" in one for one in faults), faults
    box.bed.run("systemctl", "disable", "--now", "ezrec.target")
