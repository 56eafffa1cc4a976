"""The directories of the spool, and what is in them. Reads, and never moves.

Every answer comes from the disk, and may be out of date at once. Whoever acts on one moves an entry by
rename, and gets `Gone` when somebody else was faster.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

from ezrec.domain import job as records
from ezrec.domain.job import BadRecord, Job
from ezrec.domain.names import is_litter, shown
from ezrec.domain.stages import DIRECTORIES, State
from ezrec.spool.entry import JOB, LARGEST_RECORD, Entry, UnknownFile, read_record
from ezrec.system import durable, plain_files
from ezrec.system.locks import Lock

# Some kernels count directory times in steps of 4 ms: two moves within a step look like one.
_LEAST_LOOKS, _MOST_LOOKS = 3, 100
_PROCESS_STARVED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
# While the disk or the permissions are wrong, nobody can say what a file is.
_PASSING = (
    errno.EIO, errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.EAGAIN, errno.ESTALE,
    errno.ETIMEDOUT,
)  # fmt: skip


class Gone(Exception):
    """Somebody else moved the entry first. Look again."""


class Taken(Exception):
    """The id is in use already; nothing was created."""


class SpoolLayout:
    """The directories under `root`. Holds no state of its own: every answer comes from the disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._locks = root / ".locks"
        self._new = root / ".new"
        self._gone = root / ".gone"
        self.done = root / ".done"
        self.kept = root / ".kept"
        self.trash = root / ".trash"

    def prepare(self) -> None:
        """Create what is missing. Safe to call at any time, by anybody."""
        for path in self.places():
            if not path.is_dir():
                path.mkdir(parents=True, exist_ok=True)
                durable.sync_directory(self.root)

    def places(self) -> list[Path]:
        """Every directory that belongs to a spool, whether or not it exists."""
        states = [self.directory(state) for state in DIRECTORIES]
        return [*states, self._locks, self._new, self._gone, self.done, self.kept, self.trash]

    def foreign(self) -> list[Path]:
        """The directories that no rename from here reaches: missing, links, or on another file system."""
        here = os.stat(self.root).st_dev
        found = []
        for path in self.places():
            try:
                info = os.lstat(path)
            except OSError:
                found.append(path)
                continue
            if not stat.S_ISDIR(info.st_mode) or info.st_dev != here:
                found.append(path)
        return found

    def directory(self, state: State) -> Path:
        return self.root / state

    @property
    def gone(self) -> Path:
        """The directory for what is being deleted."""
        return self._gone

    def lock(self, name: str) -> Lock:
        """A lock of the whole machine; `name` is a stage or a periodic task."""
        return Lock(self._locks / f"{name}.lock")

    # ---- looking

    def names(self, state: State) -> list[str]:
        """The names of entries and loose files in a directory, unsorted, without what file shares leave."""
        try:
            return [name for name in os.listdir(self.directory(state)) if not is_litter(name)]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def look(self, state: State) -> tuple[list[Entry], list[UnknownFile]]:
        """What is in a directory, unsorted: the entries, and everything else that is not hidden."""
        entries, unknown_files = [], []
        for name in self.names(state):
            match self.look_at(state, name):
                case Entry() as entry:
                    entries.append(entry)
                case UnknownFile() as unknown_file:
                    unknown_files.append(unknown_file)
        return entries, unknown_files

    def look_at(self, state: State, name: str) -> Entry | UnknownFile | None:
        """What a name stands for; None when it is gone. Raises OSError when the process lacks descriptors."""
        try:
            return self.read(state, name)
        except BadRecord as fault:
            return UnknownFile(name, str(fault))
        except Gone:
            return None
        except OSError as fault:
            if fault.errno in _PROCESS_STARVED:
                raise  # the fault is in this process: a good job must not be taken for a broken one
            return UnknownFile(name, f"{shown(name)} cannot be read: {fault.strerror}", unread=True)

    def entries(self, state: State) -> list[Entry]:
        """The entries of a directory, unsorted."""
        return self.look(state)[0]

    def read(self, state: State, name: str) -> Entry:
        """Open one entry. Follows no link.

        Raises `Gone` when it is not there, `BadRecord` when it is no entry, OSError when that is not known
        now.
        """
        path = f"{self.root}/{state}/{name}"
        try:
            data = read_record(path)
        except NotADirectoryError:
            raise BadRecord(f"{shown(name)} is a loose file, not a job") from None
        except FileNotFoundError:
            if is_there(path):
                raise BadRecord(f"the directory {shown(name)} has no {JOB}") from None
            raise Gone(name) from None
        except OSError as fault:
            if fault.errno in (*_PROCESS_STARVED, *_PASSING):
                raise
            raise BadRecord(f"{shown(name)}: {fault.strerror}") from None
        job = records.decode(data)
        if job.id != name:
            raise BadRecord(f"the directory {shown(name)} holds the record of job {job.id}")
        return Entry(path, job.as_found_in(state))

    def find(self, job_id: str) -> Entry | None:
        """The entry of that id, in any directory. Looks twice, because it may move meanwhile.

        Raises OSError when it cannot be read now: whoever took it for unknown would make a second one.
        """
        for _ in range(2):
            for state in DIRECTORIES:
                with contextlib.suppress(Gone, BadRecord):
                    return self.read(state, job_id)
        return None

    def finished(self, job_id: str) -> Job | None:
        """The last record of a job that has left the spool. Raises OSError when it cannot be read now."""
        try:
            return records.decode(plain_files.read(self.done / f"{job_id}.json", LARGEST_RECORD, shared=True))
        except (FileNotFoundError, plain_files.NotPlain, BadRecord):
            return None

    def last_word(self, job_id: str) -> Job | None:
        """The record under that id: in the spool, in the trash, or in the history."""
        entry = self.find(job_id)
        if entry is not None:
            return entry.job
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, BadRecord):
            return records.decode(read_record(self.trash / job_id))
        return self.finished(job_id)

    def knows(self, job_id: str, *, anew: bool = False) -> bool:
        """True when the id is in the spool, in the trash or (unless `anew`) in the history.

        Jobs move meanwhile, so the order matters: a job on its way out is in `.done/` before it leaves its
        directory, so `.done/` comes last. One that moves between two directories may be missed in both, so
        the answer is no only when nothing entered or left a directory meanwhile.
        """
        for look in range(_MOST_LOOKS):
            before = self._stamps()
            if (
                any(is_there(self.directory(state) / job_id) for state in DIRECTORIES)
                or is_there(self.trash / job_id)
                or (not anew and is_there(self.done / f"{job_id}.json"))
            ):
                return True
            if look + 1 >= _LEAST_LOOKS and self._stamps() == before:
                return False
        return False

    def _stamps(self) -> list[int]:
        """When something last entered or left each directory, in ns, as exactly as the file system knows."""
        stamps = []
        for state in DIRECTORIES:
            with contextlib.suppress(FileNotFoundError):
                stamps.append(os.stat(self.directory(state)).st_mtime_ns)
        return stamps

    def is_tidy(self) -> bool:
        """False while `.new/` or `.gone/` hold something that a crash left."""
        return not any(True for place in (self._new, self._gone) for _ in place.iterdir())

    def discarded(self) -> list[Entry]:
        """The entries in the trash."""
        return self._beside(self.trash)

    def kept_copies(self) -> list[Entry]:
        """The uploaded videos that are kept for a while."""
        return self._beside(self.kept)

    def _beside(self, place: Path) -> list[Entry]:
        found = []
        for path in place.iterdir() if place.is_dir() else ():
            with contextlib.suppress(OSError, BadRecord):
                found.append(Entry(path, records.decode(read_record(path))))
        return found


def is_there(path: Path | str) -> bool:
    """Whether a path exists. Raises OSError when that is not known, where `os.path.lexists` says no."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
