"""Builds entries, and finishes those that a crash left half built.

1. An entry is built in `.new/`: first its record, then its media. Meanwhile its builder holds an flock on the
   directory.
2. Media are synced, then renamed in. From then on nobody outside can swap them, so now they are checked.
3. The entry appears in its first directory by one rename; in `failed/` with its reason beside it.
4. What nobody holds in `.new/` has lost its builder. Step 3 is done for it; an empty one is removed.

The spool's lock `new` is held only while an id is chosen or a builder takes its flock, never while a file is
synced or removed: a booking that is due must not wait for that.

Never moves an entry that is in a directory already.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import shutil
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from ezrec.domain import job as records
from ezrec.domain.job import BadRecord, Job, Kind
from ezrec.domain.names import JobId, numbered, safe_id, shown
from ezrec.domain.stages import State
from ezrec.spool.entry import JOB, Entry, explain, media_in, read_record, unusable
from ezrec.spool.layout import Gone, SpoolLayout, Taken
from ezrec.system import durable


class EntryBuilder(SpoolLayout):
    """The part of the spool that makes entries."""

    def create(
        self,
        state: State,
        job: Job,
        media: tuple[Path, str] | None = None,
        *,
        number: bool = False,
        anew: bool = False,
    ) -> Entry:
        """Make a new entry in `state`; raises `Taken` when its id is known already.

        `media` is a file to move in, and its name there. With `number` a taken id gets -2, -3 … appended.
        With `anew` an id that is in the history alone counts as free. What is no plain file (somebody may
        have swapped it for a link after the caller looked) goes to `failed/`. Raises `Gone` when the file is
        gone, and OSError.
        """
        wanted = job.id
        job = self._with_free_id(job) if number else job
        if self.knows(job.id, anew=anew):
            raise Taken(job.id)
        # Its name says where it was going: after a crash that is needed.
        building = self._building(state, job.id)
        with self._built(building):
            try:
                job = job.arrived(state, job.created)
                durable.write(building / JOB, records.encode(job), sync_parent=False)
                if media is not None:
                    self._bring_in(state, building, *media)
                return self._complete(building, state, job, wanted if number else None, anew=anew)
            except BaseException:
                self._give_back(building, media)
                raise

    @contextlib.contextmanager
    def _built(self, building: Path) -> Iterator[None]:
        """Make the directory, and hold an flock on it."""
        with contextlib.ExitStack() as held:
            with self.lock("new").held(wait_s=30):  # nobody may find it before it is held
                building.mkdir()
                held.callback(_remove_empty, building)
                held.callback(os.close, _hold(building))
            yield

    def _building(self, state: State, job_id: str) -> Path:
        return self._new / f"{state}.{job_id}.{secrets.token_hex(4)}"

    def _bring_in(self, state: State, building: Path, source: Path, name: str) -> None:
        """Move a file in: sync it, then rename it. After that nobody outside can swap it.

        What goes to `failed/` need not be readable, and is not synced: it is as safe as it was.
        """
        try:
            if state is not State.FAILED and stat.S_ISREG(os.lstat(source).st_mode):
                durable.sync_file(source)
            durable.rename(source, building / name)
        except FileNotFoundError:
            raise Gone(source.name) from None

    def _complete(
        self, building: Path, state: State, job: Job, wanted: JobId | None, *, anew: bool = False
    ) -> Entry:
        """The last steps, also after a crash: check the media, write the reason, one rename.

        An id that was taken meanwhile is numbered, from `wanted` on; with None this raises `Taken`.
        """
        faults = [unusable(os.lstat(building / name)) for name in media_in(building)]
        fault = next(filter(None, faults), None)
        if fault and state is not State.FAILED:
            job = replace(job, takes=(), reason=fault[0], remedy=fault[1], return_to=state)
            state = State.FAILED
        if not job.arrivals or job.arrivals[-1].state != state:
            job = job.arrived(state, job.created)
        if state is State.FAILED:
            explain(building, job)
        while True:
            if read_record(building) != records.encode(job):
                durable.write(building / JOB, records.encode(job), sync_parent=False)
            durable.sync_directory(building)
            target = self.directory(state) / job.id
            with self.lock("new").held(wait_s=30):
                is_free = not self.knows(job.id, anew=anew)
                if is_free:
                    os.rename(building, target)
            if is_free:
                durable.sync_directory(target.parent)
                durable.sync_directory(building.parent)
                return Entry(target, job)
            if wanted is None:
                raise Taken(job.id)
            job = self._with_free_id(replace(job, id=wanted))

    def _give_back(self, building: Path, media: tuple[Path, str] | None) -> None:
        """Move the media of a failed creation back. Where that fails they stay in `.new/`, for the next
        start.
        """
        with contextlib.suppress(OSError):
            if media is not None and not os.path.lexists(media[0]):
                os.rename(building / media[1], media[0])
        with contextlib.suppress(OSError):
            if not media_in(building):
                shutil.rmtree(building, ignore_errors=True)

    def _with_free_id(self, job: Job) -> Job:
        n, wanted = 1, job.id
        while self.knows(job.id):
            n += 1
            job = replace(job, id=numbered(wanted, n))
        return job

    def repair(self, log: logging.Logger) -> None:
        """Finish what a crash left half built or half deleted.

        Half-deleted entries are removed in a thread: they may be gigabytes, and a recorder that was started
        again has a match to go on with.
        """

        def report(repairs: list[str]) -> None:
            for repair in repairs:
                log.warning("after a crash: %s", repair)

        if not self.is_tidy():
            report(self.finish_building())
            deleting = threading.Thread(
                target=lambda: report(self.finish_deleting()), name="deleting", daemon=True
            )
            deleting.start()

    def finish_building(self) -> list[str]:
        """Finish the entries that have lost their builder. Returns a line for each, for the log."""
        with self.lock("new").held(wait_s=30):
            left = []
            for path in sorted(self._new.iterdir()):
                with contextlib.suppress(OSError):  # somebody builds it; else the next start finishes it
                    left.append((path, _hold(path)))
        said = []
        for path, hold in left:
            try:
                said.append(self._finish_new(path))
            except OSError as fault:  # the others are finished all the same
                said.append(f"cannot finish {shown(path.name)}: {fault.strerror}")
            finally:
                os.close(hold)
        return said

    def finish_deleting(self) -> list[str]:
        """Remove what was on its way out of the spool; a line for each, for the log. 10 GB take half a
        minute.
        """
        said = []
        for path in sorted(self._gone.iterdir()):
            try:
                delete(path)
                said.append(f"finished deleting {shown(path.name)}")
            except OSError as fault:
                said.append(f"cannot delete {shown(path.name)}: {fault.strerror}")
        return said

    def _finish_new(self, path: Path) -> str:
        is_directory = stat.S_ISDIR(os.lstat(path).st_mode)
        media = media_in(path) if is_directory else [path.name]
        try:
            job = records.decode(read_record(path))
            state = State(path.name.partition(".")[0])
            self.directory(state).stat()
        except (OSError, BadRecord, ValueError):
            if media:
                return self._rescue(path, is_directory)
        else:
            if media or (job.booking is not None and state is State.INCOMING and not self.knows(job.id)):
                entry = self._complete(path, state, self._with_free_id(job), job.id)
                return f"finished building {entry.id} in {entry.state}/"
        delete(path)
        return f"removed the empty half-built entry {shown(path.name)}"

    def _rescue(self, path: Path, is_directory: bool) -> str:
        """Move files in `.new/` that have no readable record to `failed/`: a person decides."""
        job = Job(
            safe_id(f"rescued-{secrets.token_hex(4)}"),
            Kind.CLIP,
            datetime.now(UTC),
            reason="files of a half-built job whose record cannot be read",
            remedy="look at them; a good video: name it <booking id>.mp4 and move it to spool/raw/",
            return_to=State.RAW,
        )
        building = self._building(State.FAILED, job.id)
        if is_directory:
            durable.rename(path, building)
        else:
            building.mkdir()
            durable.rename(path, building / "rescued")
        durable.write(building / JOB, records.encode(job), sync_parent=False)
        entry = self._complete(building, State.FAILED, job, job.id)
        return f"rescued the files of a half-built entry to failed/{entry.id}"


def _remove_empty(building: Path) -> None:
    with contextlib.suppress(OSError):  # as a rule it has become an entry; else it still holds a file
        building.rmdir()


def _hold(path: Path) -> int:
    """Put an flock on something in `.new/`; it lasts until the descriptor is closed. Raises OSError."""
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        return os.open(path, os.O_PATH | os.O_NOFOLLOW)  # no directory: nobody builds it
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd


def delete(path: Path) -> None:
    """Delete a file or a directory. Another process may be deleting it too."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISDIR(os.lstat(path).st_mode):
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
