"""Where entries are built, and where what a crash left half built is finished.

1. An entry is built in `.new/`: first its record, then its media. As long as it is built its builder holds an
   flock on the directory itself.
2. Media are made durable, then renamed in; from then on nobody outside can swap them, so now they are judged.
3. The entry appears in its first directory by one rename, with its reason beside it if that is `failed/`.
4. What nobody holds in `.new/` has lost its builder: step 3 is done for it, or, when there is nothing in it
   to lose, it is removed.

The lock `new` of the whole spool is held only while a name is given or a builder made known, never while a
file is synced or removed: a booking that is due would wait for another's gigabytes.

Never moves an entry that stands in a directory already.
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
    """The part of the spool in which entries come to be."""

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

        `media` is a file to move in, and its name there. With `number` a free id is made by adding -2,
        -3 …, also when the id is taken while the entry is built; with `anew` an id that stands in the history
        alone is free. What turns out to be no plain file (swapped for a link after the caller looked) goes to
        `failed/`.
        """
        wanted = job.id
        job = self._with_free_id(job) if number else job
        if self.knows(job.id, anew=anew):
            raise Taken(job.id)
        # The name carries where the entry was going, for whoever finds it after a crash.
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
        """Make the directory, and be known as its builder."""
        with contextlib.ExitStack() as held:
            with self.lock("new").held(wait_s=30):  # nobody may find it before it is held
                building.mkdir()
                held.callback(_remove_empty, building)
                held.callback(os.close, _hold(building))
            yield

    def _building(self, state: State, job_id: str) -> Path:
        return self._new / f"{state}.{job_id}.{secrets.token_hex(4)}"

    def _bring_in(self, state: State, building: Path, source: Path, name: str) -> None:
        """Move a file in: first its bytes, then its name. After that nobody outside can swap it.

        What is rejected need not be readable, and its bytes are as safe as they were: nobody waits for them.
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
        """The last steps of building, also after a crash: look at the media, explain, one rename.

        An id that is taken meanwhile is numbered, by way of the one that was `wanted`; with None, `Taken`.
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
        """Undo a creation that failed. What cannot be given back stays in `.new/`, to be finished."""
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
        """Finish what has lost its builder."""
        with self.lock("new").held(wait_s=30):
            left = []
            for path in sorted(self._new.iterdir()):
                with contextlib.suppress(OSError):  # somebody builds it, or the next start finds it
                    left.append((path, _hold(path)))
        said = []
        for path, hold in left:
            try:
                said.append(self._finish_new(path))
            except OSError as fault:  # one that cannot be finished must not keep the others
                said.append(f"cannot finish {shown(path.name)}: {fault.strerror}")
            finally:
                os.close(hold)
        return said

    def finish_deleting(self) -> list[str]:
        """Remove what was on its way out of the spool. May take long: 10 GB are half a minute."""
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
        """Files in `.new/` without a record that could be read: a person decides."""
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
    with contextlib.suppress(OSError):  # mostly it has become an entry, or holds what must not be lost
        building.rmdir()


def _hold(path: Path) -> int:
    """Hold what stands in `.new/` by an flock on it, until the descriptor is closed. Raises OSError."""
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        return os.open(path, os.O_PATH | os.O_NOFOLLOW)  # nothing that anybody builds: it needs no holding
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd


def delete(path: Path) -> None:
    """Take it off the disk. What somebody else is deleting, too, is gone the sooner."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISDIR(os.lstat(path).st_mode):
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
