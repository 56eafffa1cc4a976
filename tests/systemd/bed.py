"""A box with a real systemd: PID 1 of its own namespaces, over an overlay of a root, mostly this machine's.

Up in about a second. Its EZREC_HOME is a directory of the test's, so that a test looks at the spool from
outside while systemd's units work on it inside, each as its own user.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import ezrec
from ezrec.settings import DEFAULT_HOME
from ezrec.system.child_process import with_parent_death_signal
from tests.support.wait import eventually

CLONE = Path(__file__).parents[2]
UNITS = CLONE / "systemd"
PROGRAM = "/opt/ezrec/.venv/bin/ezrec"
SPLIT = (
    "ezrec.target", "recorder.service", "ezrec-process.path", "ezrec-upload.path", "ezrec-logs.path",
    "ezrec-sweep.timer", "ezrec-retry.timer", "ezrec-ahead.timer", "ezrec-sync.timer", "ezrec-status.timer",
    "ezrec-logs.timer",
)  # fmt: skip
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
_LIMIT_S = 60.0
_BOOT_LIMIT_S = 30.0
_numbers = itertools.count(1)


class Bed:
    """One booted systemd. `home` is bound to EZREC_HOME."""

    def __init__(
        self, home: Path, folder: Path, appliance: Path, *, is_bare: bool = False, root: Path | None = None
    ) -> None:
        """`is_bare`: nothing of EZREC is there yet but a clone and wheels, as for an installation. `root`:
        of the machine to boot; else as the caller's environment says.
        """
        self.home, self._root = home, root
        self._folder = folder
        self._is_bare = is_bare
        if is_bare:
            self._binds = [
                f"ro:{appliance / 'wheels'}:/etc/ezrec-wheels",
                f"ro:{CLONE}:/etc/ezrec-clone",
                f"ro:{Path(__file__).parent}:/etc/ezrec-probe",
                f"rw:{home}:{DEFAULT_HOME}",
            ]
        else:
            self._binds = self._installed(appliance)
        self._pid = 0
        self._unshare: subprocess.Popen[bytes] | None = None
        self._group = Path()

    def _installed(self, appliance: Path) -> list[str]:
        (site,) = appliance.glob(".venv/lib/python3*/site-packages")
        package = "/opt/ezrec" / site.relative_to(appliance) / "ezrec"
        return [
            f"ro:{appliance}:/opt/ezrec",
            f"ro:{Path(ezrec.__file__).parent}:{package}",
            f"ro:{UNITS}:/etc/ezrec-units",
            f"ro:{Path(__file__).parent}:/etc/ezrec-probe",
            f"rw:{self.home}:{DEFAULT_HOME}",
        ]

    def bind(self, source: Path, target: str) -> None:
        """Show a directory of this machine inside, from the next boot on; nothing may be written there."""
        self._binds.append(f"ro:{source}:{target}")

    # ---- power

    def up(self) -> None:
        """Boot, and bring users, directories and unit files in place, unless the box is to be bare."""
        mounts = self._folder / f"bed-{next(_numbers)}"
        mounts.mkdir()
        self._group = _cgroups() / f"ezrec-bed-{os.getpid()}-{mounts.name}"
        self._group.mkdir()
        command = [
            *with_parent_death_signal(),
            "sh", "-c", 'echo $$ >"$1/cgroup.procs"; shift; exec unshare "$@"', "sh", str(self._group),
            "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--uts", "--ipc", "--net", "--cgroup",
            "bash", str(Path(__file__).with_name("boot.sh")), str(mounts), *self._binds,
        ]  # fmt: skip
        with (self._folder / "boot.log").open("ab") as out:
            self._unshare = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                env={**os.environ, **({"EZREC_BED_ROOT": str(self._root)} if self._root else {})},
            )  # fmt: skip
        if not eventually(self._has_booted, _BOOT_LIMIT_S):
            self.cut()
            raise AssertionError("systemd does not boot: " + (self._folder / "boot.log").read_text())
        if self._is_bare:
            return
        self.run(
            "sh", "-euc",
            "cd /etc/ezrec-units; cp -r ezrec* *.service *.service.d /etc/systemd/system/; "
            "mkdir -p /etc/sysusers.d /etc/tmpfiles.d; "
            "mv /etc/systemd/system/ezrec.sysusers /etc/sysusers.d/ezrec.conf; "
            "mv /etc/systemd/system/ezrec.tmpfiles /etc/tmpfiles.d/ezrec.conf; "
            "systemd-sysusers; systemd-tmpfiles --create ezrec.conf; systemctl daemon-reload",
        )  # fmt: skip

    def _has_booted(self) -> bool:
        assert self._unshare is not None
        if not self._pid:
            children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children")
            with contextlib.suppress(OSError, IndexError):
                pid = int(children.read_text().split()[0])
                if Path(f"/proc/{pid}/comm").read_text().strip() == "systemd":
                    self._pid = pid
        return bool(self._pid) and self.call("systemctl", "is-system-running").stdout.strip() in (
            "running", "degraded",
        )  # fmt: skip

    def cut(self) -> None:
        """The power goes: every process at once, without a word."""
        if self._unshare is not None:
            if self._pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._pid, signal.SIGKILL)
            self._unshare.kill()
            self._unshare.wait(_LIMIT_S)
        self._unshare, self._pid = None, 0
        eventually(lambda: "populated 0" in (self._group / "cgroup.events").read_text(), _LIMIT_S)
        for path, _, _ in os.walk(self._group, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(path)

    # ---- inside

    def call(self, *command: str, limit_s: float = _LIMIT_S) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as root."""
        return subprocess.run(
            [*self.enter(), *command], capture_output=True, text=True, timeout=limit_s, check=False,
            umask=0o022, stdin=subprocess.DEVNULL, env=_ENVIRONMENT,
        )  # fmt: skip

    def enter(self) -> list[str]:
        """What a command has to begin with, to run inside."""
        return ["nsenter", "-t", str(self._pid), "-m", "-u", "-i", "-n", "-p", "-C"]

    def run(self, *command: str, limit_s: float = _LIMIT_S) -> str:
        """As `call`; it has to succeed."""
        done = self.call(*command, limit_s=limit_s)
        if done.returncode:
            told = self.call("journalctl", "--no-pager", "-n", "40").stdout
            raise AssertionError(f"{' '.join(command)}: {done.stdout}{done.stderr}\n{told}")
        return done.stdout

    def drop_in(self, unit: str, text: str) -> None:
        """Lay a drop-in over a unit, for one test."""
        folder = f"/etc/systemd/system/{unit}.d"
        self.run("sh", "-euc", 'mkdir -p "$1"; printf "%s\n" "$2" >"$1/test.conf"', "sh", folder, text)
        self.run("systemctl", "daemon-reload")

    def show(self, unit: str, key: str) -> str:
        return self.run("systemctl", "show", "--value", "--property", key, unit).strip()

    def main_pid(self, unit: str) -> int:
        """The process id of a unit's main process, as it is inside; 0 when there is none."""
        return int(self.show(unit, "MainPID"))

    def journal(self, *units: str) -> str:
        words = [word for unit in units for word in ("-u", unit)]
        return self.run("journalctl", "--no-pager", "-o", "short-precise", *words)[-6000:]

    def wait_for(self, is_so: Callable[[], bool], what: str, limit_s: float = _LIMIT_S) -> float:
        """Wait until something is so; the seconds that it took."""
        began = time.monotonic()
        assert eventually(is_so, limit_s), f"{what}\n{self.run('journalctl', '--no-pager', '-n', '60')}"
        return time.monotonic() - began


def _cgroups() -> Path:
    """Where version 2 of the control groups is mounted."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, target, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(target)
    raise AssertionError("no cgroup2 is mounted")
