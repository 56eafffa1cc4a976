"""An entry: a job's directory with its record. The record is checked when read, and written durably.

Never moves anything: only `spool.py` does.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from ezrec.domain import job as records
from ezrec.domain import json_decode, progress
from ezrec.domain.booking import Booking
from ezrec.domain.job import Job
from ezrec.domain.names import JobId, is_litter
from ezrec.domain.redaction import redacted
from ezrec.domain.stages import UPLOAD, State
from ezrec.system import disk_reserve, durable, plain_files
from ezrec.system.plain_files import unusable as unusable

JOB = "job.json"
REASON = "reason.txt"
PROGRESS = "progress.json"
AMENDMENT = "amendment.json"
_USUAL_RECORD = 1 << 15  # bytes; one small read, since a buffer of the largest size costs more than the file
_LARGEST_NOTE = 1 << 16
LARGEST_RECORD = 8 << 20  # bytes; 50 takes have about 10,000, a camera that breaks off for a day 5 million


@dataclass(frozen=True, slots=True)
class UnknownFile:
    """Something in a directory of the spool that is no entry, and why it is none."""

    name: str
    why: str
    unread: bool = False  # it could not be read just now, and may be a good job


class Entry:
    """A job's directory and its record. Only the owner of the job may call `update`."""

    __slots__ = ("_path", "job")

    def __init__(self, path: Path | str, job: Job) -> None:
        self._path = path
        self.job = job

    @property
    def path(self) -> Path:
        """Made on demand: ten thousand of them cost a listing 0.2 s."""
        if isinstance(self._path, str):
            self._path = Path(self._path)
        return self._path

    @path.setter
    def path(self, path: Path) -> None:
        self._path = path

    @property
    def id(self) -> JobId:
        return self.job.id

    @property
    def state(self) -> State:
        return State(self.path.parent.name)

    def is_away(self) -> bool:
        """True while the whole spool is away (a disk unplugged, a directory renamed): nobody has taken the
        job, and it comes back with the spool.
        """
        return not os.path.isdir(self.path.parent)

    def update(self, **changes: Any) -> None:
        """Change fields of the record, durably. Raises OSError."""
        self.job = replace(self.job, **changes)
        write_record(self.path / JOB, self.job)

    def report(self, **progress: Any) -> None:
        """Write a progress note for people: cheap, not durable, not part of the record. Never fails."""
        with contextlib.suppress(OSError):
            said = {
                name: redacted(word) if isinstance(word, str) else word for name, word in progress.items()
            }
            durable.swap(self.path / PROGRESS, msgspec.json.encode(said))

    def progress(self) -> dict[str, Any]:
        try:
            found = msgspec.json.decode(plain_files.read(self.path / PROGRESS, _LARGEST_NOTE))
        except (OSError, msgspec.DecodeError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def progress_now(self, place: str) -> dict[str, Any]:
        """What the note says of the work that is done on the job while it lies in `place`."""
        try:
            age_s = time.time() - os.stat(self.path / PROGRESS).st_mtime
        except OSError:
            return {}
        return progress.of_place(self.progress(), place, age_s)

    def forget_progress(self, stage: str) -> None:
        """What another stage, or an earlier try, has told is not true of the work that `stage` begins now. An
        upload goes on where it was."""
        if stage == UPLOAD.name and self.progress().get("stage") == stage:
            return
        with contextlib.suppress(OSError):
            (self.path / PROGRESS).unlink(missing_ok=True)

    def take_amendment(self) -> Booking | None:
        """Take the newest amendment of this booking out of the entry; None when there is none.

        It is renamed before it is read: one that comes meanwhile is another file. What a crash left renamed,
        or could not be read (OSError), is taken the next time.
        """
        taken = self.path / f".{AMENDMENT}.taken"
        with contextlib.suppress(FileNotFoundError):
            os.rename(self.path / AMENDMENT, taken)
        try:
            booking = json_decode.decode(plain_files.read(taken, _LARGEST_NOTE), Booking)
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, plain_files.NotPlain):
            booking = None
        if booking is not None:
            self.update(booking=booking)
        with contextlib.suppress(IsADirectoryError):  # that is no amendment of ours
            taken.unlink(missing_ok=True)
        return booking

    def has_amendment(self) -> bool:
        """True while an amendment waits to be applied."""
        names = (AMENDMENT, f".{AMENDMENT}.taken")
        return any(os.path.lexists(self.path / name) for name in names)

    def size(self) -> int:
        """Bytes of the files in the entry."""
        total = 0
        with contextlib.suppress(OSError), os.scandir(self.path) as files:
            for file in files:
                with contextlib.suppress(OSError):
                    total += file.stat(follow_symlinks=False).st_size
        return total

    def media(self) -> list[str]:
        """The names of the files that are neither hidden nor EZREC's notes about the job, sorted."""
        return media_in(self.path)


def media_in(path: Path) -> list[str]:
    notes = (JOB, REASON, PROGRESS, AMENDMENT)
    return sorted(name for name in os.listdir(path) if not is_litter(name) and name not in notes)


def read_record(path: Path | str) -> bytes:
    """The bytes of `path/job.json`, following no link on the way.

    Other hard links to it are allowed (`cp -al` makes them): it is read at once and replaced as a whole, so
    neither side changes the other's. Raises OSError.
    """
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fd = os.open(JOB, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    finally:
        os.close(directory)
    try:  # not `open(fd)`, which leaks the descriptor when it is a directory's
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise plain_files.NotPlain(JOB, f"its {JOB} is no plain file")
        data = os.read(fd, _USUAL_RECORD)
        if len(data) == _USUAL_RECORD:  # a long one: the rest of it, up to what no record has
            data += os.read(fd, LARGEST_RECORD - _USUAL_RECORD)
        return data
    finally:
        os.close(fd)


def write_record(path: Path, job: Job) -> None:
    """Write an entry's record durably; on a full disk the reserve is given up for it. Raises OSError."""
    disk_reserve.with_reserve(path.parent.parent.parent, lambda: durable.write(path, records.encode(job)))


def explain(path: Path, job: Job, *, sync_parent: bool = False) -> None:
    """Write `reason.txt`, for the person who finds the entry in `failed/`."""
    text = f"{redacted(job.reason)}\n" + (f"what to do: {redacted(job.remedy)}\n" if job.remedy else "")
    durable.write(path / REASON, text.encode(), sync_parent=sync_parent)
