"""A camera box under systemd, seen from outside: its spool, its bookings, its videos, and its units."""

from __future__ import annotations

from pathlib import Path

from tests.support.daemon import Box
from tests.systemd.bed import PROGRAM, SPLIT, Bed

ONE = ("ezrec.service",)


class Appliance:
    """`bed` is the machine; after `open`, `box` is what stands on its disk."""

    def __init__(self, folder: Path, tree: Path, home: Path | None = None, **changes: str) -> None:
        self.home = home or folder / "home"
        self.home.mkdir(exist_ok=True)
        self.home.chmod(0o755)
        self.bed = Bed(self.home, folder, tree)
        self._changes = changes
        self._box: Box | None = None

    @property
    def box(self) -> Box:
        assert self._box is not None
        return self._box

    def open(self) -> None:
        """Write the settings where the units read them, and look at the spool."""
        self._box = Box(self.home, **self._changes)
        words = {name: value for name, value in self._box.environ.items() if name.isupper()}
        left_out = ("PATH", "LANG", "TZ", "EZREC_HOME")
        lines = [f"{name}={value}" for name, value in words.items() if name not in left_out]
        (self.home / ".env").write_text("\n".join([*lines, "LOCAL_TIMEZONE=UTC", ""]))
        (self.home / ".env").chmod(0o644)

    def start(self, units: tuple[str, ...] = SPLIT) -> None:
        self.bed.run("systemctl", "enable", "--now", *units)

    def ezrec(self, user: str, *words: str) -> str:
        """A command of a person who may act as one of the services' users."""
        command = f'umask 007; exec {PROGRAM} "$@"'
        return self.bed.run("runuser", "-u", user, "--", "sh", "-c", command, "sh", *words)
