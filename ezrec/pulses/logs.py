"""The pulse `logs`: collects the logs into a job that is uploaded like any other."""

from __future__ import annotations

import logging
import os
import secrets
import stat
import subprocess
import time
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ezrec.domain.job import Job, Kind
from ezrec.domain.names import JobId
from ezrec.domain.stages import State
from ezrec.logs import redacted
from ezrec.ports import Clock
from ezrec.settings import Settings
from ezrec.spool import Spool


@dataclass(slots=True)
class CollectLogs:
    """Packs the log files and the journal into a job of kind `logs`, which is uploaded like any other.

    Nothing is packed while an archive still waits: the next one will hold all of it, and days without a
    network do not fill the disk with archives.
    """

    spool: Spool
    clock: Clock
    settings: Settings
    log: logging.Logger

    def __call__(self) -> None:
        if any(entry.job.kind is Kind.LOGS for state in _WAITING for entry in self.spool.entries(state)):
            return
        stamp = self.settings.logs / ".collected"
        since = stamp.stat().st_mtime if stamp.exists() else 0.0
        began = time.time()  # before the first look: what is written meanwhile is new the next time
        files = [path for path in sorted(self.settings.logs.glob("*.log")) if _is_newer(path, since)]
        journal = _journal(since)
        if not files and not journal:
            return
        now = self.clock.now()
        name = f"{now:%Y%m%d_%H%M%S}_logs.zip"
        building = self.settings.logs / f".{name}.{secrets.token_hex(4)}"
        for old in self.settings.logs.glob(".*_logs.zip.*"):
            old.unlink(missing_ok=True)  # of one that was killed
        try:
            with zipfile.ZipFile(building, "w", zipfile.ZIP_DEFLATED) as archive:
                for path in files:
                    with suppress(OSError):
                        archive.writestr(path.name, self._cleaned(_read_log(path)))
                for unit, text in journal.items():
                    archive.writestr(f"journal_{unit}.log", self._cleaned(text))
            job = Job(JobId(f"logs-{now:%Y%m%d-%H%M%S}"), Kind.LOGS, now)
            self.log.info("%d log files packed as job %s", len(files) + len(journal), job.id)
            self.spool.create(State.PROCESSED, job, (building, name), number=True)
            stamp.touch()
            os.utime(stamp, (began, began))
        finally:
            building.unlink(missing_ok=True)

    def _cleaned(self, text: str) -> str:
        key = self.settings.supabase_key
        return redacted(text.replace(key, "***") if key else text)


def _is_newer(path: Path, since: float) -> bool:
    info = path.lstat()
    return stat.S_ISREG(info.st_mode) and info.st_mtime > since


def _read_log(path: Path) -> str:
    """The text of a log file: its end, where somebody let it grow; never what a link points to."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _MOST_OF_A_LOG))
        return file.read(_MOST_OF_A_LOG).decode(errors="replace")


_WAITING = (State.PROCESSED, State.DEFERRED)
_MOST_OF_A_LOG = 16 << 20
_UNITS = (
    "ezrec",
    "ezrec-recorder",
    "ezrec-process",
    "ezrec-upload",
    "ezrec-sync",
    "ezrec-status",
    "ezrec-logs",
)
_JOURNAL_LIMIT_S = 20
_JOURNAL = ("--output", "short-iso", "--no-pager", "--quiet", "--lines", "5000")


def _journal(since: float, units: Sequence[str] = _UNITS) -> dict[str, str]:
    """The newest lines of the journal by unit; none where there is no journal."""
    found: dict[str, str] = {}
    for unit in units:
        command = ["journalctl", *_JOURNAL, "--unit", unit, "--since", f"@{since:.0f}"]
        try:
            said = subprocess.run(command, capture_output=True, timeout=_JOURNAL_LIMIT_S, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return found
        text = said.stdout.decode(errors="replace")
        if said.returncode == 0 and text.strip():
            found[unit] = text
    return found
