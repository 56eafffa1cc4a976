"""Whether this machine has an installation of EZREC, and where: by the file that makes its directories."""

from __future__ import annotations

from pathlib import Path

TMPFILES = Path("/etc/tmpfiles.d/ezrec.conf")  # written by the installer


def home(path: Path = TMPFILES) -> Path | None:
    """The directory in which the installation keeps state and spool; None where none is installed."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    for line in lines:
        fields = line.split()
        if fields[:1] == ["d"] and len(fields) > 1 and fields[1].endswith("/spool"):
            return Path(fields[1]).parent
    return None
