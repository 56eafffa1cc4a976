"""A `journalctl` on disk, for PATH: tells what units said behind a cursor, the number of a line of all."""

from __future__ import annotations

from pathlib import Path

_PROGRAM = r"""#!/bin/sh
units=" " after=0 lines=999999
while [ $# -gt 0 ]; do
	case $1 in
	--unit) units="$units$2 "; shift ;;
	--after-cursor) after=${2#c}; shift ;;
	--lines) lines=$2; shift ;;
	esac
	shift
done
file=%s
[ -f "$file" ] || exit 0
total=$(wc -l <"$file")
[ "$after" -le "$total" ] || exit 1
said=$(tail -n +$((after + 1)) "$file" | while IFS=' ' read -r unit line; do
	case $units in *" $unit "*) printf '%%s\n' "$line" ;; esac
done)
[ -n "$said" ] || exit 0
printf '%%s\n' "$said" | tail -n "$lines"
echo "-- cursor: c$total"
"""


class FakeJournal:
    """`bin` belongs in front of PATH."""

    def __init__(self, place: Path) -> None:
        self.bin, self._lines = place / "bin", place / "journal"
        self.bin.mkdir()
        self.does(_PROGRAM % self._lines)

    def does(self, script: str) -> None:
        (self.bin / "journalctl").write_text(script)
        (self.bin / "journalctl").chmod(0o755)

    def say(self, unit: str, *lines: str) -> None:
        with self._lines.open("a") as file:
            file.writelines(f"{unit} {line}\n" for line in lines)

    def forget(self) -> None:
        self._lines.write_text("")
