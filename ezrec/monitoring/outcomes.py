"""What became of the jobs that are over: the incidents that nobody has put away, and the last 24 hours.

Reads the history and the records in the spool, so that a dead process hides nothing. Writes what was put
away.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from ezrec.domain import job as records
from ezrec.domain.incidents import Digest, Incident, digest
from ezrec.domain.job import BadRecord, Job
from ezrec.domain.stages import DIRECTORIES
from ezrec.monitoring.state_files import PUT_AWAY, read_put_away
from ezrec.settings import Settings
from ezrec.spool.entry import LARGEST_RECORD
from ezrec.spool.spool import Spool
from ezrec.system import durable, plain_files

_FORGOTTEN = timedelta(days=90)  # the history remembers a job for a month
_LOGS = "logs-"  # so the archives of logs are named: a hundred a day, and none is a video


@dataclass(slots=True)
class History:
    """The finished jobs in `done`. Each record is read once, for as long as this lives."""

    done: Path
    _known: dict[str, tuple[int, Digest | None]] = field(default_factory=dict)

    def look(self) -> list[Digest]:
        found: dict[str, tuple[int, Digest | None]] = {}
        with contextlib.suppress(OSError), os.scandir(self.done) as files:
            for file in files:
                if file.name.endswith(".json") and not file.name.startswith((".", _LOGS)):
                    with contextlib.suppress(OSError):
                        stamp = file.stat(follow_symlinks=False).st_mtime_ns
                        known = self._known.get(file.name)
                        is_known = known is not None and known[0] == stamp
                        found[file.name] = known if known and is_known else (stamp, _read(file.path))
        self._known = found
        return [one for _, one in found.values() if one is not None]


def _read(path: str) -> Digest | None:
    try:
        return digest(records.decode(plain_files.read(Path(path), LARGEST_RECORD, shared=True)))
    except (OSError, BadRecord):
        return None


def digests(history: History, jobs: Iterable[Job]) -> list[Digest]:
    """Of everything in the history and of `jobs`, which lie in the spool: each job once, as it is now."""
    found = {one.job: one for one in history.look()}
    found |= {one.job: one for job in jobs if (one := digest(job)) is not None}
    return list(found.values())


def waiting(found: Iterable[Digest], put_away: frozenset[str]) -> list[Incident]:
    """The incidents that nobody has put away, the oldest first."""
    incidents = [incident for one in found for incident in one.incidents if incident.id not in put_away]
    return sorted(incidents, key=lambda one: (one.at, one.id))


def of_box(settings: Settings) -> list[Incident]:
    """All incidents of this box that nobody has put away."""
    spool = Spool(settings.spool)
    jobs = [entry.job for state in DIRECTORIES for entry in spool.entries(state)]
    return waiting(digests(History(spool.done), jobs), read_put_away(settings.state))


def put_away(state: Path, ids: Iterable[str]) -> None:
    """Remember that a person has seen these incidents: a file for each, so that two who do it at once lose
    nothing of each other's, and a restart nothing at all."""
    folder = state / PUT_AWAY
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(stat.S_IMODE(os.stat(state).st_mode))  # made by root, it is the services' all the same
    for name in ids:
        (folder / name).touch()
    durable.sync_directory(folder)


def forget(state: Path, now: datetime) -> None:
    """Drop what was put away so long ago that the history has forgotten the job."""
    with contextlib.suppress(OSError), os.scandir(state / PUT_AWAY) as files:
        for file in files:
            with contextlib.suppress(OSError):
                if now.timestamp() - file.stat().st_mtime > _FORGOTTEN.total_seconds():
                    os.unlink(file.path)
