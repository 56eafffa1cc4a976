"""From nothing to a camera box, and on: installation, upgrade, rollback and removal under a booted systemd.

The box has no network: pip finds its packages in a wheelhouse, and apt is a stand-in (`apt-stand-in.sh`).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ezrec.system.journald import FORMER
from tests.systemd import exposure
from tests.systemd.bed import CLONE, UNITS, Bed

pytestmark = pytest.mark.timeout(600)  # pip makes several environments, beside cameras and FFmpeg
SERVICES = [path.stem for path in UNITS.glob("*.service")]
PAGES = (
    "/usr/local/share/man/man1/ezrec.1",
    "/usr/local/share/bash-completion/completions/ezrec",
    "/usr/local/share/zsh/site-functions/_ezrec",
    "/etc/fish/completions/ezrec.fish",
)
INSTALL = "/etc/ezrec-clone/install.sh"
ANSWERS = (
    "USER_ID=club-1\nCAMERA_ID=court-1\nEZREC_CAMERA=software\nRESOLUTION=320x180\nEZREC_ASSUME_CLOCK=yes\n"
)
OLDER_ENV = (
    "# of the older EZREC\nSUPABASE_URL=http://127.0.0.1:9\nSUPABASE_SERVICE_ROLE_KEY='sb_secret_old one'\n"
    "USER_ID=club-1\nCAMERA_ID=0\nSYSTEM_STATUS_INTERVAL=1\nEZREC_ASSUME_CLOCK=yes\nSOMETHING_ELSE=kept\n"
)

# An installation from when the checklist's names were the aliases; $1 $2 …: each name with the former one.
AS_BEFORE = """
systemctl stop ezrec.target
cd /etc/systemd/system
while [ $# -gt 0 ]; do
	systemctl disable --now "$1.service"
	sed "s/^Alias=.*/Alias=$1.service/" "$1.service" >"$2.service"
	rm -r "$1.service" "$1.service.d"
	services="${services:-} $2.service"
	shift 2
done
sed -i '/^Unit=/d' ezrec-*.path ezrec-*.timer
mkdir ezrec-recorder.service.d
printf '[Service]\nLogRateLimitBurst=77\n' >ezrec-recorder.service.d/mine.conf
systemctl daemon-reload
systemctl enable $services
systemctl start ezrec.target
"""


class Machine:
    """A box on which EZREC is to be installed. `home` is its /opt/ezrec-backend, seen from outside."""

    def __init__(self, folder: Path, tree: Path) -> None:
        self.home = folder / "home"
        self.home.mkdir(mode=0o755)
        self.bed = Bed(self.home, folder, tree, is_bare=True)

    def up(self) -> None:
        self.bed.up()
        self.bed.run(
            "sh", "-euc",
            "mv /usr/bin/dpkg-query /usr/bin/dpkg-query.real; rm -rf /opt/ezrec; cd /usr/bin; "
            "for name in apt-get apt-cache dpkg-query; do cp /etc/ezrec-probe/apt-stand-in.sh $name; done",
        )  # fmt: skip

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        wheels = (
            "PIP_NO_INDEX=1",
            "PIP_FIND_LINKS=/etc/ezrec-wheels",
            "PIP_NO_COMPILE=1",
            "PIP_NO_CACHE_DIR=1",
        )
        return self.bed.call("env", *wheels, *words, limit_s=300)

    def run(self, *words: str) -> str:
        done = self.call(*words)
        assert done.returncode == 0, done.stdout + done.stderr + self.bed.journal("ezrec", "recorder")
        return done.stdout

    def answers(self, text: str = ANSWERS) -> str:
        self.bed.run("sh", "-c", 'printf %s "$1" >/root/answers', "sh", text)
        return "/root/answers"

    def newer(self, version: str, breaks: str = "") -> str:
        """A clone of another version; `breaks` names a module that cannot be imported in it."""
        self.bed.run("sh", "-euc", f"mkdir /root/{version}; cd /etc/ezrec-clone; "
                     f"cp -r ezrec systemd pyproject.toml README.md LICENSE /root/{version}")  # fmt: skip
        init = f"/root/{version}/ezrec/__init__.py"
        self.bed.run("sed", "-i", f's/__version__ = .*/__version__ = "{version}"/', init)
        if breaks:
            append = 'echo "raise RuntimeError(__name__)" >>"$1"'
            self.bed.run("sh", "-c", append, "sh", f"/root/{version}/ezrec/{breaks}.py")
        return f"/root/{version}"

    def version(self) -> str:
        return self.bed.run("/usr/local/bin/ezrec", "--version").split()[1]

    def releases(self) -> list[str]:
        return self.bed.run("ls", "/opt/ezrec/releases").split()


@pytest.fixture
def machine(tmp_path: Path, tree: Path) -> Iterator[Machine]:
    before = os.umask(0o022)
    made = Machine(tmp_path, tree)
    try:
        made.up()
        yield made
    finally:
        made.bed.cut()
        os.umask(before)


def doings(said: str) -> list[str]:
    """The steps that changed something, of what an installation said; the doctor's looks are none."""
    lines = [line.strip() for line in said.splitlines()]
    return [line for line in lines if line.startswith(("doing", "would do")) and "doctor" not in line]


def picture(machine: Machine) -> dict[str, str]:
    """Every file of the home with its content."""
    files = [path for path in sorted(machine.home.rglob("*")) if path.is_file()]
    return {
        str(path.relative_to(machine.home)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


def test_from_a_clone_to_a_running_camera_and_once_more_without_a_change(machine: Machine) -> None:
    look = machine.run(INSTALL, "--dry-run", "--yes")
    assert "Nothing was changed" in look
    assert list(machine.home.iterdir()) == []
    assert machine.bed.call("test", "-e", "/opt/ezrec").returncode != 0
    assert machine.bed.call("test", "-e", "/etc/sysusers.d/ezrec.conf").returncode != 0

    said = machine.run(INSTALL, "--answers", machine.answers())
    assert [line.split("–")[0].split()[1:] for line in doings(said)] == [
        line.split("–")[0].split()[2:] for line in doings(look)
    ], "the dry run showed other steps"
    assert "apt-get install -y -q --no-install-recommends python3-picamera2" in machine.bed.run(
        "cat", "/var/lib/apt-stand-in/log"
    )
    machine.bed.wait_for(lambda: machine.bed.show("ezrec", "SubState") == "running", "it does not run")
    env = machine.home / ".env"
    assert "USER_ID=club-1" in env.read_text().splitlines()
    assert oct(env.stat().st_mode & 0o777) == "0o640"
    assert machine.bed.run("systemctl", "is-enabled", "ezrec").strip() == "enabled"

    looked = machine.bed.call("/usr/local/bin/ezrec", "doctor", "--json").stdout
    wrong = {one["check"]: one["evidence"] for one in json.loads(looked) if one["verdict"] != "ok"}
    assert wrong.keys() == {"camera"}, wrong
    assert "the test picture is filmed" in wrong["camera"]
    assert "ALARM: the test picture is filmed" in said
    assert (machine.home / "state" / "camera.jpg").stat().st_size > 1000, "the last screen shows no picture"
    state = machine.bed.call("/usr/local/bin/ezrec", "status")
    assert (state.returncode, "the test picture is filmed" in state.stdout) == (6, True)

    assert exposure.too_exposed(machine.bed, SERVICES) == {}
    for page in machine.bed.show("ezrec", "Documentation").split():
        kind, _, name = page.partition(":")
        machine.bed.run("test", "-s", name if kind == "file" else "/usr/local/share/man/man1/ezrec.1")
    for path in PAGES:
        assert "ezrec" in machine.bed.run("cat", path)

    started = machine.bed.main_pid("ezrec")
    again = machine.run("/usr/local/bin/ezrec", "install", "--yes")
    assert doings(again) == []
    assert machine.bed.main_pid("ezrec") == started


def test_an_older_box_is_taken_over_into_the_split_shape_with_its_keys_apart(machine: Machine) -> None:
    (machine.home / ".env").write_text(OLDER_ENV)
    (machine.home / "raw_recordings").mkdir()
    (machine.home / "raw_recordings" / "raw_b1_20260601_180000.mp4").write_bytes(b"footage")
    unit = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"
    machine.bed.run("sh", "-c", 'printf "%s" "$1" >/etc/systemd/system/recorder.service', "sh", unit)
    machine.bed.drop_in("recorder.service", "[Service]\nUser=root")
    machine.bed.run("sh", "-euc", 'mkdir /opt/before; printf "%s" "$1" >/opt/before/video_worker.service; '
                    "systemctl link /opt/before/video_worker.service", "sh", unit)  # fmt: skip
    machine.bed.run("systemctl", "enable", "--now", "recorder", "video_worker")

    too_soon = machine.call(INSTALL, "--shape", "split", "--yes")
    assert (too_soon.returncode, "the older EZREC is recording" in too_soon.stderr) == (3, True)
    os.utime(machine.home / "raw_recordings" / "raw_b1_20260601_180000.mp4", (1_700_000_000, 1_700_000_000))
    machine.run(INSTALL, "--shape", "split", "--yes")

    text = (machine.home / ".env").read_text()
    assert "sb_secret" not in text
    assert "SOMETHING_ELSE=kept" in text
    assert "EZREC_CAMERA=auto" in text, "an older box has a camera module, and never a test picture"
    key = machine.bed.run("cat", "/etc/ezrec/credentials/SUPABASE_KEY")
    assert key == "sb_secret_old one\n"
    assert machine.bed.run("stat", "-c", "%a %U", "/etc/ezrec/credentials/SUPABASE_KEY") == "600 root\n"
    for name, user in (("recorder", "ezrec-rec"), ("video_worker", "ezrec-work")):
        assert machine.bed.show(name, "Id") == f"{name}.service"
        assert "sleep" not in machine.bed.show(name, "ExecStart")
        assert machine.bed.show(name, "User") == user, (
            "what was laid over the older unit was not meant for ours"
        )
    assert machine.bed.call("pgrep", "-x", "sleep").stdout.count("\n") <= 1, "an older service runs on"
    kept = machine.bed.run("sh", "-c", "cd /etc/ezrec/older-units; grep -rl . . | sort").split()
    assert kept == ["./recorder.service", "./recorder.service.d/test.conf", "./video_worker.service"]
    assert machine.bed.run("cat", "/opt/before/video_worker.service") == unit
    assert (machine.home / "raw_recordings" / "raw_b1_20260601_180000.mp4").read_bytes() == b"footage"
    machine.bed.wait_for(lambda: machine.bed.show("recorder", "SubState") == "running", "no recorder")
    assert exposure.too_exposed(machine.bed, SERVICES) == {}

    assert doings(machine.run("/usr/local/bin/ezrec", "install", "--yes")) == []

    machine.bed.call("systemctl", "start", "booking_sync")
    # Whichever of the cloud's units is the first says it for all, and for an hour.
    said = machine.bed.run(
        "journalctl", "--no-pager", "-u", "ezrec-*", "-u", "booking_sync", "-u", "system_status"
    )
    assert "SUPABASE_KEY is a secret key" in said, "the key is not handed over"
    root = machine.bed.call("/usr/local/bin/ezrec", "doctor", "--json").stdout
    assert "SUPABASE_KEY is not set" not in root, "root may read what systemd hands over"

    machine.run("/usr/local/bin/ezrec", "import-legacy")
    failed = machine.home / "spool" / "failed" / "b1"  # no video at all; but a service took it over from root
    machine.bed.wait_for((failed / "reason.txt").exists, "the adopted recording is not worked on")
    assert (machine.home / "raw_recordings" / "raw_b1_20260601_180000.mp4").read_bytes() == b"footage"

    machine.bed.run("mv", "/etc/ezrec/credentials/SUPABASE_KEY", "/root")
    machine.bed.call("systemctl", "start", "booking_sync")
    assert "SUPABASE_KEY is not set" in machine.bed.journal("booking_sync")
    assert machine.bed.show("recorder", "SubState") == "running", "a recorder needs no key"


def test_where_the_names_were_the_other_way_round_they_change_places(machine: Machine) -> None:
    bed = machine.bed
    machine.run(INSTALL, "--shape", "split", "--answers", machine.answers())
    bed.run("sh", "-euc", AS_BEFORE, "sh", *(word for pair in FORMER.items() for word in pair))
    assert bed.show("recorder", "Id") == "ezrec-recorder.service"
    assert bed.show("ezrec-recorder", "LogRateLimitBurst") == "77"
    bed.wait_for(lambda: bed.show("recorder", "SubState") == "running", "no recorder")

    machine.run("/usr/local/bin/ezrec", "install", "--yes")
    for name, former in FORMER.items():
        assert bed.show(former, "Id") == f"{name}.service"
    bed.wait_for(lambda: bed.show("recorder", "SubState") == "running", "no recorder")
    assert bed.run("pgrep", "-fc", "ezrec run --only record").strip() == "1"
    assert bed.show("recorder", "LogRateLimitBurst") == "77", "what a person added is lost"
    wanted = bed.run("ls", "/etc/systemd/system/ezrec.target.wants").split()
    assert ("recorder.service" in wanted, "ezrec-recorder.service" in wanted) == (True, False)
    for unit in ("ezrec-process.path", "ezrec-sync.timer"):
        assert bed.show(unit, "ActiveState") == "active", unit
    assert doings(machine.run("/usr/local/bin/ezrec", "install", "--yes")) == []

    machine.run("/usr/local/bin/ezrec", "uninstall")
    left = bed.run(
        "sh", "-c", "cd /etc/systemd/system; ls -d ezrec* recorder* video_worker* *.wants/ezrec* || true"
    )
    assert left.split() == ["recorder.service.d"], "a person's drop-in, and nothing of ours"


def test_an_upgrade_a_rollback_a_way_back_and_a_removal(machine: Machine) -> None:
    machine.run(INSTALL, "--answers", machine.answers())
    first = machine.version()
    (machine.home / "spool" / "failed" / "kept").mkdir()

    machine.run("/usr/local/bin/ezrec", "upgrade", machine.newer("7.0.0"))
    assert machine.version() == "7.0.0"
    assert len(machine.releases()) == 2
    assert machine.bed.show("ezrec", "SubState") == "running"

    running = machine.bed.main_pid("ezrec")
    failed = machine.call(
        "/usr/local/bin/ezrec", "upgrade", machine.newer("7.5.0", breaks="runtime/file_events")
    )
    assert (failed.returncode, "doctor" in failed.stderr) == (1, True), failed.stdout
    assert len(machine.releases()) == 2, "a release that failed lies about"
    assert (machine.version(), machine.bed.main_pid("ezrec")) == ("7.0.0", running), "nothing was switched"

    failed = machine.call(
        "/usr/local/bin/ezrec", "upgrade", machine.newer("8.0.0", breaks="runtime/supervised_process")
    )
    assert failed.returncode == 1, failed.stdout
    assert "release 8.0.0" in failed.stderr
    assert "was undone" in failed.stderr
    assert len(machine.releases()) == 2, "a release that failed lies about"
    assert machine.version() == "7.0.0"
    machine.bed.wait_for(lambda: machine.bed.show("ezrec", "SubState") == "running", "it is not back")

    booking = {"id": "b1", "start": "", "end": "", "status": "confirmed"}
    now = datetime.now(UTC)
    waiting = machine.home / "spool" / "incoming" / "b1"
    for begins, wanted in ((timedelta(minutes=9), 3), (timedelta(hours=-1), 3), (timedelta(minutes=30), 0)):
        booking |= {
            "start": (now + begins).isoformat(),
            "end": (now + begins + timedelta(hours=2)).isoformat(),
        }
        waiting.mkdir(exist_ok=True)
        (waiting / "job.json").write_text(json.dumps({"id": "b1", "booking": booking}))
        done = machine.call("/usr/local/bin/ezrec", "upgrade", "--back", "--dry-run")
        assert done.returncode == wanted, (begins, done.stdout, done.stderr)
    shutil.rmtree(waiting)
    machine.run("/usr/local/bin/ezrec", "upgrade", "--back")
    assert machine.version() == first

    machine.bed.run("systemctl", "stop", "ezrec")
    in_hand = machine.home / "spool" / "recording" / "b2"
    in_hand.mkdir()
    for command in (("upgrade", "--back"), ("uninstall",)):
        done = machine.call("/usr/local/bin/ezrec", *command)
        assert (done.returncode, "b2 is being recorded" in done.stderr) == (3, True)
    in_hand.rmdir()

    before = picture(machine)
    machine.run("/usr/local/bin/ezrec", "uninstall")
    assert picture(machine) == before
    assert (machine.home / "spool" / "failed" / "kept").is_dir()
    for gone in ("/opt/ezrec", "/usr/local/bin/ezrec", "/etc/systemd/system/ezrec.service", *PAGES):
        assert machine.bed.call("test", "-e", gone).returncode != 0, gone
    assert "ezrec" not in machine.bed.run("getent", "passwd")

    machine.run(INSTALL, "--yes")  # and once more, over what was left
    assert machine.bed.show("ezrec", "SubState") == "running"


def test_what_a_wheel_holds_is_enough_to_install_and_a_person_is_asked(machine: Machine) -> None:
    machine.run(
        "sh", "-euc",
        "mkdir /root/wheel; cd /etc/ezrec-clone; cp -r ezrec systemd pyproject.toml README.md "
        "LICENSE /root/wheel; cd /root; /usr/bin/python3 -m venv tool; "
        "tool/bin/pip wheel -q --no-deps -w made ./wheel; "
        "tool/bin/pip install -q made/ezrec-*.whl",
    )  # fmt: skip
    wheel = machine.bed.run("sh", "-c", "ls /root/made/ezrec-*.whl").strip()
    typed = f"script -qec '/root/tool/bin/ezrec install --from {wheel}' /dev/null"  # with a terminal
    answers = "\\nno court\\ncourt-7\\nsoftware\\nsoftware\\nMadrid\\nEurope/Madrid\\n"
    said = machine.run("sh", "-c", f"printf '{answers}' | {typed}")
    names = ("SUPABASE_URL", "SUPABASE_KEY", "CAMERA_ID", "EZREC_CAMERA")
    asked = [name for name in names if f"{name}: " in said]
    assert asked == ["SUPABASE_URL", "CAMERA_ID", "EZREC_CAMERA"]
    for wrong in ("no: CAMERA_ID", "no: that is the test picture", "no: LOCAL_TIMEZONE is 'Madrid'"):
        assert said.count(wrong) == 1, wrong
    assert {"CAMERA_ID=court-7", "EZREC_CAMERA=software", "LOCAL_TIMEZONE=Europe/Madrid"} <= {
        *(machine.home / ".env").read_text().split()
    }
    assert machine.bed.show("ezrec", "SubState") == "running"
    assert machine.version() == (CLONE / "ezrec" / "__init__.py").read_text().split('"')[-2]
