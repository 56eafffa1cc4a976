"""An entry: a job's directory with its record, read without trust and written so that a power cut keeps it.

Never moves anything: that is `spool.py`'s part alone.
"""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from ezrec import durable, reserve
from ezrec.domain import forms
from ezrec.domain import job as records
from ezrec.domain.booking import Booking
from ezrec.domain.job import Job
from ezrec.domain.names import JobId
from ezrec.domain.redaction import redacted
from ezrec.domain.stages import State

JOB = "job.json"
REASON = "reason.txt"
PROGRESS = "progress.json"
AMENDMENT = "amendment.json"
_USUAL_RECORD = 1 << 15  # bytes; one small read, since a buffer of the largest size costs more than the file
_LARGEST_RECORD = 1 << 20  # bytes; a record of 20 faults and 50 takes has about 10,000


@dataclass(frozen=True, slots=True)
class Stranger:
    """Something visible in a directory of the spool that is no entry, and why it is none."""

    name: str
    why: str


class Entry:
    """A job's directory and its record. Only the owner of the job may call `update`."""

    __slots__ = ("_path", "job")

    def __init__(self, path: Path | str, job: Job) -> None:
        self._path = path
        self.job = job

    @property
    def path(self) -> Path:
        """Made when it is asked for: ten thousand of them cost a listing a fifth of a second."""
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
        """True while the whole spool is (a disk unplugged, a directory renamed): then the job is nobody
        else's, and comes back with it."""
        return not os.path.isdir(self.path.parent)

    def update(self, **changes: Any) -> None:
        """Change fields of the record, durably."""
        self.job = replace(self.job, **changes)
        write_record(self.path / JOB, self.job)

    def report(self, **progress: Any) -> None:
        """Leave a progress note for people: cheap, not durable, and never part of the record."""
        temporary = self.path / f".{PROGRESS}.new"
        with contextlib.suppress(OSError):
            said = {name: redacted(word) if isinstance(word, str) else word
                    for name, word in progress.items()}  # fmt: skip
            temporary.write_bytes(msgspec.json.encode(said))
            temporary.rename(self.path / PROGRESS)

    def progress(self) -> dict[str, Any]:
        try:
            found = msgspec.json.decode((self.path / PROGRESS).read_bytes())
        except (OSError, msgspec.DecodeError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def take_amendment(self) -> Booking | None:
        """The newest amendment of this booking, taken out of the entry; None when there is none.

        It is renamed before it is read: a newer one that comes meanwhile keeps its place. What a crash
        left renamed is taken the next time.
        """
        taken = self.path / f".{AMENDMENT}.taken"
        with contextlib.suppress(FileNotFoundError):
            os.rename(self.path / AMENDMENT, taken)
        try:
            booking = forms.decode(taken.read_bytes(), Booking)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError):
            booking = None
        if booking is not None:
            self.update(booking=booking)
        taken.unlink(missing_ok=True)
        return booking

    def size(self) -> int:
        """Bytes of the files in the entry."""
        total = 0
        with contextlib.suppress(OSError), os.scandir(self.path) as files:
            for file in files:
                with contextlib.suppress(OSError):
                    total += file.stat(follow_symlinks=False).st_size
        return total

    def media(self) -> list[str]:
        """Everything visible in the entry that is not about the job but the job's own matter."""
        return media_in(self.path)


def media_in(path: Path) -> list[str]:
    notes = (JOB, REASON, PROGRESS, AMENDMENT)
    return sorted(name for name in os.listdir(path) if not name.startswith(".") and name not in notes)


def read_record(path: Path | str) -> bytes:
    """The bytes of `path/job.json`, following no link on the way."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fd = os.open(JOB, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    finally:
        os.close(directory)
    try:  # not `open(fd)`, which leaks the descriptor when it is a directory's
        data = os.read(fd, _USUAL_RECORD)
        if len(data) == _USUAL_RECORD:  # a long one: the rest of it, up to what no record has
            data += os.read(fd, _LARGEST_RECORD - _USUAL_RECORD)
        return data
    finally:
        os.close(fd)


def write_record(path: Path, job: Job) -> None:
    """Write an entry's record durably; on a full disk into the spool's reserve."""
    reserve.with_reserve(path.parent.parent.parent, lambda: durable.write(path, records.encode(job)))


def explain(path: Path, state: State, job: Job, *, sync_parent: bool = False) -> None:
    """What a person may find carries its reason with it."""
    if state is State.FAILED:
        text = f"{redacted(job.reason)}\n" + (f"what to do: {redacted(job.remedy)}\n" if job.remedy else "")
        durable.write(path / REASON, text.encode(), sync_parent=sync_parent)
    else:
        (path / REASON).unlink(missing_ok=True)


def unusable(info: os.stat_result) -> tuple[str, str] | None:
    """Why a thing of this type is never opened as footage, and what to do instead."""
    if stat.S_ISLNK(info.st_mode):
        return "a symbolic link is never followed", "copy the file itself"
    if stat.S_ISREG(info.st_mode) and info.st_nlink > 1:
        why = f"the file has {info.st_nlink} names (hard links): it could change under us"
        return why, "copy the file itself"
    if not stat.S_ISREG(info.st_mode) and not stat.S_ISDIR(info.st_mode):
        return "neither a file nor a directory (a FIFO, socket or device)", "copy a plain file"
    return None
