"""What a unit may do is tried from inside its sandbox, and scored; what units name exists."""

from __future__ import annotations

import json
import re
from pathlib import Path

from ezrec.system.journald import FORMER
from tests.systemd import exposure
from tests.systemd.appliance import Appliance
from tests.systemd.bed import UNITS

ONE, RECORDER, PROCESS, UPLOAD = "ezrec", "recorder", "video_worker", "ezrec-upload"
EVERYBODY = {"write the spool", "write state", "run a hook", "run ffmpeg"}
CLOUD = {*EVERYBODY, "read its keys", "connect", "netlink"}
ALLOWED = {
    ONE: {
        *EVERYBODY,
        "connect",
        "netlink",
        "open a camera",
        "read the journal",
        "tie a child to itself",
        "map executable memory",
    },
    RECORDER: {*EVERYBODY, "netlink", "open a camera"},
    PROCESS: EVERYBODY,
    "ezrec-retry": EVERYBODY,
    "ezrec-ahead": EVERYBODY,
    "log_collector": {*EVERYBODY, "read the journal"},
    UPLOAD: CLOUD,
    "booking_sync": CLOUD,
    "system_status": CLOUD,
}
OTHERS_OF_ITS_USER = {"read others' keys"}  # the cloud's units are one user, and hold the same keys
PARTS = [name for name in ALLOWED if name != ONE]
SHARED = ("ProtectSystem", "NoNewPrivileges", "RestrictSUIDSGID", "Group", "MemoryDenyWriteExecute")
PROBE = """[Service]
Type=oneshot
Restart=no
ExecStart=
ExecStart=/opt/ezrec/.venv/bin/python3 -I /etc/ezrec-probe/probe.py {name}
ExecStopPost=
"""
HOLDS_KEYS = """[Service]
Type=oneshot
ExecStart=
ExecStart=/bin/sleep 300
"""


def test_each_unit_may_do_what_it_has_to_and_nothing_else(box: Appliance) -> None:
    bed = box.bed
    hook = box.home / "hooks" / "probe"
    hook.write_text("#!/bin/sh\nexit 0\n")
    hook.chmod(0o755)
    bed.run(
        "sh", "-euc",
        "mkdir -p /etc/ezrec/credentials /home/somebody; echo key >/etc/ezrec/credentials/PROBE; "
        "echo secret >/home/somebody/secret; mknod -m 666 /dev/probe-disk b 7 0; "
        "mknod -m 660 /dev/probe-camera c 81 0; chgrp video /dev/probe-camera",
    )  # fmt: skip
    bed.drop_in("booking_sync.service", HOLDS_KEYS)
    bed.run("systemctl", "start", "--no-block", "booking_sync.service")
    bed.wait_for(
        lambda: bed.call("test", "-d", "/run/credentials/booking_sync.service").returncode == 0, "no keys"
    )
    found: dict[str, set[str]] = {}
    for name in [name for name in ALLOWED if name != "booking_sync"] + ["booking_sync"]:
        if name == "booking_sync":
            bed.run("systemctl", "stop", "booking_sync.service")
        bed.drop_in(f"{name}.service", PROBE.format(name=name))
        done = bed.call("systemctl", "start", f"{name}.service")
        assert done.returncode == 0, bed.journal(f"{name}.service")
        told = json.loads((box.home / "state" / f"probe-{name}.json").read_text())
        found[name] = {what for what, is_allowed in told.items() if is_allowed}
    for name, allowed in ALLOWED.items():
        more = OTHERS_OF_ITS_USER if allowed is CLOUD else set()
        assert found[name] - more == allowed, name


def test_no_unit_is_more_exposed_than_promised(box: Appliance) -> None:
    names = [path.stem for path in UNITS.glob("*.service")]
    assert exposure.too_exposed(box.bed, names) == {}
    box.bed.drop_in("recorder.service", (UNITS / "rtsp-camera.conf").read_text())
    assert exposure.of(box.bed, "recorder")[0] <= exposure.MOST_WITH_NETWORK_CAMERA


def test_all_units_are_accepted_and_everything_they_name_exists(box: Appliance) -> None:
    names = sorted(
        path.name for path in UNITS.iterdir() if re.search(r"\.(service|path|timer|target)$", path.name)
    )
    done = box.bed.call("systemd-analyze", "verify", "--man=no", *names)
    assert (done.returncode, done.stderr) == (0, "")
    for name in names:
        text = (UNITS / name).read_text()
        for user in re.findall(r"^User=(\S+)$", text, re.MULTILINE):
            box.bed.run("getent", "passwd", user)
        for group in " ".join(re.findall(r"^SupplementaryGroups=(.+)$", text, re.MULTILINE)).split():
            box.bed.run("getent", "group", group)
        for program in re.findall(r"^Exec\w+=[-+@:!]*(/\S+)", text, re.MULTILINE):
            box.bed.run("test", "-x", program)
        aliases = {f"{former}.service" for former in FORMER.values()}
        for other in re.findall(r"\b[\w-]+\.(?:service|path|timer)\b|\bezrec[\w-]*\.target\b", text):
            assert other in {*names, *aliases}, f"{name} names {other}"


def test_every_part_is_hardened_also_when_its_other_name_is_gone(box: Appliance) -> None:
    parts = [f"{name}.service" for name in (*PARTS, "ezrec-sweep")]
    named = [f"{name}.service" for name in FORMER]

    def hardened() -> dict[str, str]:
        box.bed.run("systemctl", "daemon-reload")
        return {part: ",".join(box.bed.show(part, key) for key in SHARED) for part in parts}

    wanted = dict.fromkeys(parts, "strict,yes,yes,ezrec,yes")
    assert hardened() == wanted
    box.bed.run("systemctl", "enable", *named)
    for name, former in FORMER.items():
        assert box.bed.show(f"{former}.service", "Id") == f"{name}.service"
    assert hardened() == wanted
    box.bed.run("systemctl", "disable", *named)
    assert box.bed.call("systemctl", "cat", "ezrec-recorder.service").returncode != 0
    assert hardened() == wanted


def test_the_users_are_what_the_units_and_the_spool_need(box: Appliance) -> None:
    for user in ("ezrec", "ezrec-rec", "ezrec-work", "ezrec-up"):
        assert box.bed.run("id", "-gn", user).strip() == "ezrec"
    mode = (Path(box.home) / "spool" / "raw").stat().st_mode & 0o7777
    assert oct(mode) == "0o2770"
