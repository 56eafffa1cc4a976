"""A `journalctl` on disk, for PATH: tells the lines of `journal/<unit>` behind a cursor, a number."""

from __future__ import annotations

from pathlib import Path

_PROGRAM = r"""#!/bin/sh
unit= after=0 lines=999999
while [ $# -gt 0 ]; do
	case $1 in
	--unit) unit=$2; shift ;;
	--after-cursor) after=${2#c}; shift ;;
	--lines) lines=$2; shift ;;
	esac
	shift
done
file=%s/$unit
[ -f "$file" ] || exit 0
total=$(wc -l <"$file")
[ "$after" -le "$total" ] || exit 1
[ "$after" -eq "$total" ] && exit 0
tail -n +$((after + 1)) "$file" | tail -n "$lines"
echo "-- cursor: c$total"
"""


class FakeJournal:
    """`bin` belongs in front of PATH."""

    def __init__(self, place: Path) -> None:
        self.bin, self._lines = place / "bin", place / "journal"
        self.bin.mkdir()
        self._lines.mkdir()
        self.does(_PROGRAM % self._lines)

    def does(self, script: str) -> None:
        (self.bin / "journalctl").write_text(script)
        (self.bin / "journalctl").chmod(0o755)

    def say(self, unit: str, *lines: str) -> None:
        with (self._lines / unit).open("a") as file:
            file.writelines(f"{line}\n" for line in lines)

    def forget(self, unit: str) -> None:
        (self._lines / unit).write_text("")
