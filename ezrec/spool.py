"""The spool: the only module that moves entries.

A job is a directory. Its parent directory is its state. Moving it is the only verb.

What stands on disk, and why it may be trusted after a power cut:

1. An entry is built in `.new/`, made durable, and appears in its first state by one rename.
2. Every move is a rename within one file system, then fsync of both parents. The first rename wins;
   the loser gets `Gone` and looks again.
3. `job.json` is replaced whole: temporary name, fsync, rename, fsync of the entry.
4. A job that leaves the spool is first written to `.done/`, then renamed to `.gone/`, then deleted.
   Footage is never deleted under a name that anybody else could still look up.
5. What a crash left in `.new/` and `.gone/` is finished off by `finish_off()` at the next start.

Locks are permanent flock files in `.locks/`, outside every watched directory: one inside would wake its
own watcher. The kernel frees them when the holder dies; the text in them is a label for people.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from ezrec import durable
from ezrec.domain import job as records
from ezrec.domain.booking import Booking
from ezrec.domain.job import BadRecord, Job
from ezrec.domain.names import BadName, JobId, numbered, safe_id, shown
from ezrec.domain.stages import DIRECTORIES, State
from ezrec.locks import Lock

JOB = "job.json"
REASON = "reason.txt"
PROGRESS = "progress.json"
AMENDMENT = "amendment.json"
_LARGEST_RECORD = 1 << 20  # bytes; a record of 20 faults and 50 takes has about 10,000


class Gone(Exception):
    """Somebody else moved the entry first. Look again."""


class Taken(Exception):
    """The id is in use already; nothing was created."""


@dataclass(frozen=True, slots=True)
class Stranger:
    """Something visible in a directory of the spool that is no entry, and why it is none."""

    name: str
    why: str


class Entry:
    """A job's directory and its record. Only the owner of the job may call `update`."""

    __slots__ = ("job", "path")

    def __init__(self, path: Path, job: Job) -> None:
        self.path = path
        self.job = job

    @property
    def id(self) -> JobId:
        return self.job.id

    @property
    def state(self) -> State:
        return State(self.path.parent.name)

    def update(self, **changes: Any) -> None:
        """Change fields of the record, durably."""
        self.job = replace(self.job, **changes)
        durable.write(self.path / JOB, records.encode(self.job))

    def report(self, **progress: Any) -> None:
        """Leave a progress note for people: cheap, not durable, and never part of the record."""
        temporary = self.path / f".{PROGRESS}.new"
        with contextlib.suppress(OSError):
            temporary.write_bytes(msgspec.json.encode(progress))
            temporary.rename(self.path / PROGRESS)

    def progress(self) -> dict[str, Any]:
        try:
            found = msgspec.json.decode((self.path / PROGRESS).read_bytes())
        except (OSError, msgspec.DecodeError):
            return {}
        return found if isinstance(found, dict) else {}

    def take_amendment(self) -> Booking | None:
        """The newest amendment of this booking, taken out of the entry; None when there is none."""
        path = self.path / AMENDMENT
        try:
            booking = msgspec.json.decode(path.read_bytes(), type=Booking)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError):
            booking = None
        if booking is not None:
            self.update(booking=booking)
        path.unlink(missing_ok=True)
        return booking

    def size(self) -> int:
        """Bytes of the files in the entry."""
        total = 0
        with contextlib.suppress(OSError), os.scandir(self.path) as files:
            for file in files:
                with contextlib.suppress(OSError):
                    total += file.stat(follow_symlinks=False).st_size
        return total


class Spool:
    """The directories under `root`. Holds no state of its own: every answer comes from the disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._locks = root / ".locks"
        self._new = root / ".new"
        self._gone = root / ".gone"
        self.done = root / ".done"
        self.trash = root / ".trash"

    def prepare(self) -> None:
        """Create what is missing. Safe to call at any time, by anybody."""
        for path in (
            *map(self.directory, DIRECTORIES),
            self._locks,
            self._new,
            self._gone,
            self.done,
            self.trash,
        ):
            path.mkdir(parents=True, exist_ok=True)

    def directory(self, state: State) -> Path:
        return self.root / state

    def lock(self, name: str) -> Lock:
        """A lock of the whole machine; `name` is a stage or a pulse."""
        return Lock(self._locks / f"{name}.lock")

    # ---- looking

    def names(self, state: State) -> list[str]:
        """The visible names in a directory: entries and loose files, unsorted."""
        try:
            return [name for name in os.listdir(self.directory(state)) if not name.startswith(".")]
        except FileNotFoundError:
            return []

    def look(self, state: State) -> tuple[list[Entry], list[Stranger]]:
        """What lies in a directory, unsorted: the entries, and everything visible that is none."""
        entries, strangers = [], []
        for name in self.names(state):
            try:
                entries.append(self.read(state, name))
            except BadRecord as fault:
                strangers.append(Stranger(name, str(fault)))
            except Gone:
                continue
        return entries, strangers

    def entries(self, state: State) -> list[Entry]:
        """The entries of a directory, unsorted."""
        return self.look(state)[0]

    def read(self, state: State, name: str) -> Entry:
        """Open one entry. Raises `Gone` when it is not there, `BadRecord` when it is no entry.

        Never follows a link: what a name here points to elsewhere is not the spool's.
        """
        path = self.directory(state) / name
        try:
            data = _read_record(path)
        except NotADirectoryError:
            raise BadRecord(f"{shown(name)} is a loose file, not a job") from None
        except FileNotFoundError:
            if os.path.lexists(path):
                raise BadRecord(f"the directory {shown(name)} has no {JOB}") from None
            raise Gone(name) from None
        except OSError as fault:
            raise BadRecord(f"{shown(name)}: {fault.strerror}") from None
        job = records.decode(data)
        if job.id != name:
            raise BadRecord(f"the directory {shown(name)} holds the record of job {job.id}")
        return Entry(path, job)

    def find(self, job_id: str) -> Entry | None:
        """The entry of that id, wherever it is. Looks twice: it may move while we look."""
        for _ in range(2):
            for state in DIRECTORIES:
                with contextlib.suppress(Gone, BadRecord):
                    return self.read(state, job_id)
        return None

    def finished(self, job_id: str) -> Job | None:
        """The last record of a job that has left the spool."""
        try:
            return records.decode((self.done / f"{job_id}.json").read_bytes())
        except (OSError, BadRecord):
            return None

    def knows(self, job_id: str) -> bool:
        """True when the id is in the spool, in its history or in the trash."""
        return (
            (self.done / f"{job_id}.json").exists()
            or (self.trash / job_id).exists()
            or any((self.directory(state) / job_id).exists() for state in (*DIRECTORIES, *DIRECTORIES))
        )

    def is_tidy(self) -> bool:
        """False while `.new/` or `.gone/` hold something that a crash left."""
        return not any(True for place in (self._new, self._gone) for _ in place.iterdir())

    # ---- moving

    def create(
        self, state: State, job: Job, media: tuple[Path, str] | None = None, *, number: bool = False
    ) -> Entry:
        """Make a new entry in `state`; raises `Taken` when its id is known already.

        `media` is a file to move in, and its name there. With `number` a free id is made by adding -2, -3 …
        """
        with self.lock("new").held(wait_s=30):
            job = self._with_free_id(job) if number else job
            if self.knows(job.id):
                raise Taken(job.id)
            job = job.arrived(state, job.created)
            # The name carries where the entry was going, for whoever finds it after a crash.
            building = self._new / f"{state}.{job.id}.{secrets.token_hex(4)}"
            building.mkdir()
            durable.write(building / JOB, records.encode(job), sync_parent=False)
            if media is not None:
                source, name = media
                try:
                    os.rename(source, building / name)
                except OSError as fault:
                    shutil.rmtree(building, ignore_errors=True)
                    raise Gone(source.name) from fault
                if stat.S_ISREG(os.lstat(building / name).st_mode):
                    durable.sync_file(building / name)
            durable.sync_directory(building)
            return self._place(building, state, job)

    def _place(self, building: Path, state: State, job: Job) -> Entry:
        target = self.directory(state) / job.id
        durable.rename(building, target)
        return Entry(target, job)

    def _with_free_id(self, job: Job) -> Job:
        n, wanted = 1, job.id
        while self.knows(job.id):
            n += 1
            job = replace(job, id=numbered(wanted, n))
        return job

    def move(self, entry: Entry, state: State, job: Job | None = None) -> Entry:
        """Move an entry, with a new record if one is given. Raises `Gone` when somebody was faster."""
        if state is State.DONE:
            raise ValueError("an entry leaves the spool by leave(), not by move()")
        try:
            if job is not None and job is not entry.job:
                durable.write(entry.path / JOB, records.encode(job))
                entry.job = job
            self._explain(entry, state)
            target = self.directory(state) / entry.path.name
            if target != entry.path:
                durable.rename(entry.path, target)
                entry.path = target
        except FileNotFoundError:
            raise Gone(entry.id) from None
        except OSError as fault:
            if fault.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise Gone(f"{entry.id} is in {state}/ already") from None
            raise
        return entry

    def claim(self, entry: Entry, works_in: State) -> Entry:
        """Take an entry in hand: the first rename wins. No write comes before it."""
        target = self.directory(works_in) / entry.path.name
        if target == entry.path:
            return entry
        try:
            durable.rename(entry.path, target)
        except FileNotFoundError:
            raise Gone(entry.id) from None
        except OSError as fault:
            if fault.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise Gone(f"{entry.id} is in {works_in}/ already") from None
            raise
        entry.path = target
        return entry

    def _explain(self, entry: Entry, state: State) -> None:
        """What a person may find carries its reason with it."""
        path = entry.path / REASON
        if state is State.FAILED:
            text = f"{entry.job.reason}\n" + (f"what to do: {entry.job.remedy}\n" if entry.job.remedy else "")
            durable.write(path, text.encode(), sync_parent=False)
        else:
            path.unlink(missing_ok=True)

    def leave(self, entry: Entry, job: Job) -> None:
        """Take an entry out of the spool: history first, then out of sight, then off the disk."""
        durable.write(self.done / f"{job.id}.json", records.encode(job))
        entry.job = job
        out_of_sight = self._gone / f"{job.id}.{secrets.token_hex(4)}"
        try:
            durable.rename(entry.path, out_of_sight)
        except FileNotFoundError:
            raise Gone(entry.id) from None
        shutil.rmtree(out_of_sight, ignore_errors=True)

    def throw_away(self, entry: Entry, job: Job) -> None:
        """Move an entry to the trash, from where it can be brought back; raises `Taken` if it cannot.

        The rename comes first: who loses the race must not have written "removed" into another's job.
        """
        try:
            durable.rename(entry.path, self.trash / entry.path.name)
        except FileNotFoundError:
            raise Gone(entry.id) from None
        except OSError as fault:
            if fault.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise Taken(entry.id) from None
            raise
        entry.path = self.trash / entry.path.name
        durable.write(entry.path / JOB, records.encode(job))
        entry.job = job

    def discarded(self) -> list[Entry]:
        """The entries in the trash."""
        found = []
        for path in self.trash.iterdir():
            with contextlib.suppress(OSError, BadRecord):
                found.append(Entry(path, records.decode((path / JOB).read_bytes())))
        return found

    def amend(self, entry: Entry, booking: Booking) -> None:
        """Tell the owner of a booking in hand that it changed; the newest word counts."""
        try:
            durable.write(entry.path / AMENDMENT, msgspec.json.encode(booking))
        except FileNotFoundError:
            raise Gone(entry.id) from None

    def finish_off(self) -> list[str]:
        """Finish what a crash left half built or half deleted; returns what was done, for the log."""
        said = []
        with self.lock("new").held(wait_s=30):  # creators hold it: whatever we see has no owner
            said += [self._finish_new(path) for path in sorted(self._new.iterdir())]
            said += [self._finish_gone(path) for path in sorted(self._gone.iterdir())]
        return said

    def _finish_new(self, path: Path) -> str:
        state, _, _ = path.name.partition(".")
        try:
            job = records.decode((path / JOB).read_bytes())
            has_media = any(not name.startswith(".") and name != JOB for name in os.listdir(path))
            is_booking = job.booking is not None and state == State.INCOMING
            if (has_media or is_booking) and not self.knows(job.id):
                durable.sync_directory(path)
                self._place(path, State(state), job)
                return f"finished building {job.id} in {state}/"
            if has_media:  # built, but the id was taken meanwhile: keep the footage under another one
                job = self._with_free_id(job)
                durable.write(path / JOB, records.encode(job))
                self._place(path, State(state), job)
                return f"finished building {job.id} in {state}/"
        except (OSError, BadRecord, ValueError):
            if any(name != JOB and not name.startswith(".") for name in os.listdir(path)):
                rescued = self.directory(State.FAILED) / safe_id(f"rescued-{secrets.token_hex(4)}")
                durable.rename(path, rescued)
                return f"rescued files of a half-built entry to failed/{rescued.name}"
        shutil.rmtree(path, ignore_errors=True)
        return f"removed the empty half-built entry {path.name}"

    def _finish_gone(self, path: Path) -> str:
        shutil.rmtree(path, ignore_errors=True)
        return f"finished deleting {path.name}"


def _read_record(path: Path) -> bytes:
    """The bytes of `path/job.json`, following no link on the way."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fd = os.open(JOB, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    finally:
        os.close(directory)
    with open(fd, "rb") as file:
        return file.read(_LARGEST_RECORD)


def history(spool: Spool, since: datetime | None = None) -> Iterator[Job]:
    """The last records of finished jobs, newest first."""
    found = []
    for path in spool.done.glob("*.json"):
        with contextlib.suppress(OSError, BadRecord, BadName):
            stamp = path.stat().st_mtime
            if since is None or stamp >= since.timestamp():
                found.append((stamp, records.decode(path.read_bytes())))
    for _, job in sorted(found, key=lambda pair: pair[0], reverse=True):
        yield job
