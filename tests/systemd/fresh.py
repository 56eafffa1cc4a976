"""A fresh Debian on which nothing of EZREC was installed, with its own apt; `build-apt.sh` makes it.

It has no network. What its apt and pip find in place of it lies in two folders, and can be taken away.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.systemd.bed import Bed

INSTALL = "/etc/ezrec-clone/install.sh"
PERSON = "pia"
WHEELS = ("PIP_NO_INDEX=1", "PIP_FIND_LINKS=/etc/ezrec-wheels", "PIP_NO_COMPILE=1", "PIP_NO_CACHE_DIR=1")
_DEAD = "deb http://192.0.2.1/debian stable main"  # nobody has this address
_NEAR = "deb [trusted=yes] file:/etc/ezrec-debs ./"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class FreshMachine:
    """`home` is its /opt/ezrec-backend, seen from outside."""

    def __init__(self, folder: Path, tree: Path) -> None:
        self.home = folder / "home"
        self.home.mkdir(mode=0o755)
        self.bed = Bed(self.home, folder, tree, is_bare=True, root=tree / "root")
        self.bed.bind(tree / "debs", "/etc/ezrec-debs")

    def up(self) -> None:
        self.bed.up()
        self.bed.run("useradd", "--create-home", PERSON)
        # A tree that lies in memory need not be synced after each package.
        self.bed.run(
            "sh", "-c", "echo force-unsafe-io >/etc/dpkg/dpkg.cfg.d/bed; rm -f /etc/apt/sources.list.d/*"
        )
        self.network(is_there=False)

    def network(self, *, is_there: bool) -> None:
        """Whether apt reaches an archive."""
        self.bed.run("sh", "-c", 'echo "$1" >/etc/apt/sources.list', "sh", _NEAR if is_there else _DEAD)

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.bed.call("env", _PATH, *words, limit_s=300)

    def typed(self, *answers: str, terminal: str = "dumb") -> subprocess.CompletedProcess[str]:
        """The installer at a terminal, of the person who typed sudo before it."""
        keys = "".join(f"{answer}\\n" for answer in answers)
        around = (*WHEELS, f"SUDO_USER={PERSON}", f"TERM={terminal}", "LANG=C.UTF-8")
        return self.call(*around, "sh", "-c", f"printf '{keys}' | script -qec {INSTALL} /dev/null")

    def has(self, *paths: str) -> list[str]:
        """Those of the paths that are there."""
        return [path for path in paths if self.bed.call("test", "-e", path).returncode == 0]

    def files(self) -> set[str]:
        """Every file that a package manager, a person or we have laid down, by its path."""
        folders = ("/etc", "/opt", "/usr/local", "/var/lib/systemd", "/root", "/home")
        found = self.bed.run("find", *folders, "-xdev", "-not", "-type", "d").splitlines()
        return {path for path in found if not path.startswith(("/etc/ezrec-", "/opt/ezrec-backend"))}
