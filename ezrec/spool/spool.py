"""The spool: the only module that moves entries.

A job is a directory. Its parent directory is its state. Moving it is the only verb.

What stands on disk, and why it may be trusted after a power cut:

1. An entry is built in `.new/`, made durable, and appears in its first state by one rename.
2. Every move is a rename within one file system, then fsync of both parents. The first rename wins;
   the slower gets `Gone` and looks again.
3. `job.json` is replaced whole: temporary name, fsync, rename, fsync of the entry.
4. A job that leaves the spool is first written to `.done/`, then renamed to `.gone/`, then deleted.
   Footage is never deleted under a name that others could still look up.
5. What a crash left in `.new/` and `.gone/` is finished by `repair()` at the next start.

Locks are permanent flock files in `.locks/`, outside every watched directory: inside one they would wake its
watcher. The kernel frees them when the holder dies; their text is a label for people.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from pathlib import Path

import msgspec

from ezrec.domain import job as records
from ezrec.domain.booking import Booking
from ezrec.domain.errors import is_full
from ezrec.domain.job import Job
from ezrec.domain.stages import State
from ezrec.spool.builder import EntryBuilder, delete
from ezrec.spool.entry import AMENDMENT, JOB, PROGRESS, REASON, Entry, UnknownFile, explain, write_record
from ezrec.spool.history import forget, history
from ezrec.spool.layout import Gone, Taken
from ezrec.system import disk_reserve, durable

__all__ = [
    "AMENDMENT",
    "JOB",
    "PROGRESS",
    "REASON",
    "Entry",
    "Gone",
    "Spool",
    "Taken",
    "UnknownFile",
    "forget",
    "history",
]  # fmt: skip
_OCCUPIED = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)


class Spool(EntryBuilder):
    """The directories under `root`. Holds no state of its own: every answer comes from the disk."""

    def move(self, entry: Entry, state: State, job: Job | None = None) -> Entry:
        """Move an entry, with a new record if one is given. Raises `Gone` and OSError."""
        if state is State.DONE:
            raise ValueError("an entry leaves the spool by leave(), not by move()")
        is_failed = state is State.FAILED
        try:
            is_new = job is not None and job is not entry.job
            if is_failed:
                disk_reserve.with_reserve(
                    self.root, lambda: explain(entry.path, job or entry.job, sync_parent=not is_new)
                )
            if job is not None and is_new:
                write_record(entry.path / JOB, job)
                entry.job = job
        except FileNotFoundError:
            if entry.is_away():
                raise  # nobody took it: it comes back with the spool
            raise Gone(entry.id) from None
        moved = self._carry(entry, state)
        if not is_failed:
            with contextlib.suppress(OSError):  # the reason belongs to failed/
                (moved.path / REASON).unlink(missing_ok=True)
        return moved

    def claim(self, entry: Entry, works_in: State) -> Entry:
        """Claim an entry: the first rename wins. Nothing is written before it. Raises `Gone` and OSError."""
        return self._carry(entry, works_in)

    def _carry(self, entry: Entry, state: State) -> Entry:
        target = self.directory(state) / entry.path.name
        if target == entry.path:
            return entry
        try:
            durable.rename(entry.path, target)
        except FileNotFoundError:
            if os.path.lexists(entry.path) or entry.is_away():
                raise  # the target directory is missing, not the entry
            raise Gone(entry.id) from None
        except OSError as fault:
            if fault.errno in _OCCUPIED:
                return self._carry_beside(entry, state)
            if not os.path.lexists(entry.path) and os.path.lexists(target):
                entry.path = target  # moved, but a power cut could still undo it
            raise
        entry.path = target
        return entry

    def _carry_beside(self, entry: Entry, state: State) -> Entry:
        """The id is taken there (by a `cp -r` of an entry, say): move the entry under another id.

        A crash between the two steps leaves a directory whose record names another job: an unknown file,
        which waits for a person.
        """
        left = entry.path.parent
        with self.lock("new").held(wait_s=30):
            free = self._with_free_id(entry.job).id
            target = self.directory(state) / free
            try:
                os.rename(entry.path, target)
            except FileNotFoundError:
                raise Gone(entry.id) from None
        entry.path = target
        durable.sync_directory(target.parent)
        durable.sync_directory(left)
        entry.update(id=free)
        return entry

    def leave(self, entry: Entry, job: Job, *, keep: bool = False) -> None:
        """Take an entry out of the spool: write its history, rename it out of its directory, delete it.

        With `keep` the finished video and its record stay in `.kept/`. A crash after the first step leaves
        the entry where it was: its stage finds the work done and calls again. Raises `Gone` and OSError.
        """
        line = records.encode(job)
        disk_reserve.with_reserve(self.root, lambda: durable.write(self.done / f"{job.id}.json", line))
        entry.job = job
        keep = keep and job.result is not None
        out_of_sight = (self.kept if keep else self._gone) / f"{job.id}.{secrets.token_hex(4)}"
        try:
            durable.rename(entry.path, out_of_sight)
        except FileNotFoundError:
            raise Gone(entry.id) from None
        if keep:
            entry.path = out_of_sight
            _strip(out_of_sight, job)
        else:
            shutil.rmtree(out_of_sight, ignore_errors=True)

    def erase(self, path: Path) -> None:
        """Delete something in the trash, `.kept/`, `.gone/` or `.done/`. Raises `Gone` and OSError."""
        out_of_sight = self._gone / f"{path.name[:100]}.{secrets.token_hex(4)}"
        if path.parent not in (self.trash, self.kept, self._gone, self.done):
            raise ValueError(f"{path} is not to be erased")
        try:
            durable.rename(path, out_of_sight)
        except FileNotFoundError:
            raise Gone(path.name) from None
        except OSError as fault:
            if not is_full(fault):
                raise
            out_of_sight = path  # no room even for a new name: delete it where it is
        delete(out_of_sight)

    def throw_away(self, entry: Entry, job: Job) -> None:
        """Move an entry to the trash. Raises `Taken` when the trash has that id, `Gone`, and OSError.

        The rename comes first: the slower of two must not write "removed" into the other's job.
        """
        try:
            durable.rename(entry.path, self.trash / entry.path.name)
        except FileNotFoundError:
            raise Gone(entry.id) from None
        except OSError as fault:
            if fault.errno in _OCCUPIED:
                raise Taken(entry.id) from None
            raise
        entry.path = self.trash / entry.path.name
        write_record(entry.path / JOB, job)
        entry.job = job

    def amend(self, entry: Entry, booking: Booking) -> None:
        """Leave a changed booking for the stage that records it; the newest counts. Raises `Gone`,
        OSError.
        """
        try:
            durable.write(entry.path / AMENDMENT, msgspec.json.encode(booking))
        except FileNotFoundError:
            raise Gone(entry.id) from None


def _strip(kept: Path, job: Job) -> None:
    """Delete everything but the record and the finished video; what a crash leaves goes later with them."""
    wanted = {JOB, job.result.file if job.result else ""}
    with contextlib.suppress(OSError):
        with os.scandir(kept) as found:
            rest = [item.path for item in found if item.name not in wanted]
        for path in rest:
            delete(Path(path))
        durable.write(kept / JOB, records.encode(job))
