"""Where an installation keeps state and spool, by the file that makes its directories at each boot. Pure."""

from __future__ import annotations

from pathlib import Path

TMPFILES = Path("/etc/tmpfiles.d/ezrec.conf")  # written by the installer


def installed_home(tmpfiles: str) -> Path | None:
    """The home that the text of `TMPFILES` names; None where it names none."""
    for line in tmpfiles.splitlines():
        fields = line.split()
        if fields[:1] == ["d"] and len(fields) > 1 and fields[1].endswith("/spool"):
            return Path(fields[1]).parent
    return None
