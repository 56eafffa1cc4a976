"""A person installs on a fresh Debian 12 and 13, with their real apt: without a network, with wrong answers,
and removes it again. The other installations in these tests have a stand-in for apt.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd.fresh import INSTALL, PERSON, FreshMachine

pytestmark = pytest.mark.timeout(600)
LEFT_BY_US = (
    "/opt/ezrec", "/usr/local/bin/ezrec", "/etc/sysusers.d/ezrec.conf", "/etc/tmpfiles.d/ezrec.conf",
    "/etc/systemd/system/ezrec.service", "/opt/ezrec-backend/.env",
)  # fmt: skip
ANSWERS = (
    "http://127.0.0.1:9", "-",  # nobody answers there; no cloud at all
    "no court", "court-7",
    "v4l2:/dev/video9", "auto", "auto",  # no such device; no camera yet, and that is known
    "Madrid", "Europe/Madrid",
    "perhaps", "yes",  # the group
)  # fmt: skip
REFUSED = (
    "no: asking http://127.0.0.1:9: no connection to the cloud",
    "no: CAMERA_ID is 'no court'",
    "no: it gives no picture: camera /dev/video9",
    "no: no camera was found",
    "no: LOCAL_TIMEZONE is 'Madrid'",
    "no: type yes or no",
)


def trees() -> dict[str, Path]:
    """By Debian's number; `run.sh` has built what could be built, and has said what could not."""
    return {name: Path(path) for name, path in json.loads(os.environ.get("EZREC_FRESH", "{}")).items()}


@pytest.fixture(params=sorted(trees()))
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FreshMachine]:
    before = os.umask(0o022)
    made = FreshMachine(tmp_path, trees()[request.param])
    try:
        made.up()
        yield made
    finally:
        made.bed.cut()
        os.umask(before)


def test_a_person_installs_from_nothing_and_removes_it_again(machine: FreshMachine) -> None:
    def without_network(what: str) -> None:
        done = machine.call(INSTALL, "--yes")
        assert (done.returncode, done.stderr.count("\n")) == (75, 1), done.stderr
        assert what in done.stderr
        assert "then type the same command again" in done.stderr
        assert machine.has(*LEFT_BY_US) == [], "half of it is done"

    without_network("apt cannot install anything")
    machine.network(is_there=True)
    without_network("pip cannot install what EZREC needs")
    assert "ok installed" in machine.bed.run("dpkg", "-s", "ffmpeg")
    assert "ok installed" in machine.bed.run("dpkg", "-s", "python3-picamera2"), (
        "apt's lists were not fetched"
    )

    before = machine.files()
    done = machine.typed(*ANSWERS)
    assert done.returncode == 0, done.stdout
    for wrong in REFUSED:
        assert done.stdout.count(wrong) == 1, wrong
    env = (machine.home / ".env").read_text().splitlines()
    assert env == ["CAMERA_ID=court-7", "EZREC_CAMERA=auto", "LOCAL_TIMEZONE=Europe/Madrid"]
    assert "ALARM: no camera was found" in done.stdout
    assert machine.bed.show("ezrec", "SubState") == "running"

    said = machine.call("runuser", "-u", PERSON, "--", "ezrec", "spool", "ls")
    assert (said.returncode, "the spool is empty" in said.stdout.lower()) == (0, True), said.stderr
    stranger = machine.call("runuser", "-u", "nobody", "--", "ezrec", "status")
    assert (stranger.returncode, stranger.stdout, stranger.stderr.count("\n")) == (78, "", 1)
    assert "type it with sudo; or join the group ezrec" in stranger.stderr

    again = machine.typed("", "court-8", "software", "software", "", terminal="xterm-256color")
    assert again.returncode == 0, again.stdout
    assert "court-7]" in again.stdout, "it does not offer what is set"
    assert "CAMERA_ID=court-8" in (machine.home / ".env").read_text()
    assert "ALARM: the test picture is filmed" in again.stdout
    assert again.stdout.count("▀") > 1000, "the picture is not drawn"
    assert machine.call("ezrec", "status").returncode == 6

    assert machine.call("ezrec", "uninstall").returncode == 0
    assert machine.files() - before == set(), "uninstall leaves more than it says"
    assert (machine.home / ".env").is_file()
    assert "ezrec" not in machine.bed.run("getent", "passwd")
