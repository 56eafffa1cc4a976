"""Makes jobs of what the older EZREC left: its recordings, and the finished videos that it did not upload.

1. Every file is copied. An original is never moved, linked or changed, so one can go back.
2. Each job is noted in EZREC_STATE/legacy.json, and its file is also known by name and size in the spool and
   the history: a crash between the job and the note makes no second video.
3. When the disk has no room for a copy, the run ends. When those jobs are published, the next run goes on.
4. An original is removed only on request, only when its job was published, and only if it is still the file
   that was copied.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from pathlib import Path

import msgspec

from ezrec.domain import json_decode
from ezrec.domain.booking import instant_of
from ezrec.domain.errors import Refused, Reject, Retry
from ezrec.domain.job import Job, JobOutcome, Kind, Result, Take
from ezrec.domain.names import BadName, ClipName, parse_clip_name, published_name, raw_name
from ezrec.domain.stages import DIRECTORIES, State
from ezrec.spool.imports import bring_in, known_booking, opened
from ezrec.spool.spool import Entry, Spool, history
from ezrec.system import durable

FILE = "legacy.json"
_FOLDERS = {  # by the setting that names them: their usual names
    "RAW_RECORDINGS_DIR": ("raw_recordings", "recordings"),
    "PROCESSED_RECORDINGS_DIR": ("processed_recordings", "processed"),
}
_STILL_S = 60.0  # a file written more recently may still be growing


class LegacyNote(msgspec.Struct, frozen=True):
    """What became of one file: its size in bytes, its time, its job. `published` outlives the history."""

    size: int
    mtime_ns: int
    job: str
    published: bool = False


@dataclass(frozen=True, slots=True)
class LegacyFile:
    """One file of the older EZREC, and what its name says."""

    path: Path
    clip: ClipName
    is_finished: bool
    size: int
    mtime_ns: int

    def take(self, zone: tzinfo) -> str:
        return raw_name(self.clip.booking_id, self.started(zone))

    def started(self, zone: tzinfo) -> datetime:
        written = instant_of(self.mtime_ns / 1e9).astimezone(zone)
        return self.clip.started.replace(tzinfo=zone) if self.clip.started else written

    def is_noted(self, note: LegacyNote | None) -> bool:
        return note is not None and (note.size, note.mtime_ns) == (self.size, self.mtime_ns)


class Legacy:
    """What the older EZREC in `home` left, and what became of it. `known` are its settings."""

    def __init__(self, home: Path, known: Mapping[str, str], spool: Spool, state: Path, zone: tzinfo) -> None:
        self._home, self._known, self._spool, self._zone = home, known, spool, zone
        self._file = state / FILE
        self._jobs: dict[tuple[str, int], str] | None = None
        self._state: dict[str, LegacyNote] | None = None

    # ---- looking

    def look(self, now: datetime) -> tuple[list[LegacyFile], list[tuple[Path, str]]]:
        """The files that can become jobs, oldest first, and those that cannot, each with the reason."""
        found: list[LegacyFile] = []
        left: list[tuple[Path, str]] = []
        for path, is_finished in self._files():
            try:
                found.append(_read(path, is_finished, now))
            except Refused as why:
                left.append((path, str(why)))
        finished = {one.take(self._zone) for one in found if one.is_finished}
        for one in [one for one in found if not one.is_finished and one.take(self._zone) in finished]:
            found.remove(one)
            left.append((one.path, "its finished video is there, and is taken in its place"))
        return sorted(found, key=lambda one: (one.mtime_ns, str(one.path))), left

    def _files(self) -> Iterator[tuple[Path, bool]]:
        for variable, usual in _FOLDERS.items():
            names = [self._known[variable]] if self._known.get(variable) else usual
            for folder in dict.fromkeys(self._home / name for name in names):
                if folder.is_dir() and not folder.is_relative_to(self._spool.root):
                    is_finished = variable == "PROCESSED_RECORDINGS_DIR"
                    yield from ((path, is_finished) for path in sorted(folder.iterdir()) if _is_video(path))

    def notes(self) -> dict[str, LegacyNote]:
        """The notes by path. Read once: the import holds the lock `legacy`."""
        if self._state is None:
            self._state = {}
            with contextlib.suppress(FileNotFoundError):
                self._state = json_decode.decode(self._file.read_bytes(), dict[str, LegacyNote])
        return self._state

    def is_known(self, found: LegacyFile) -> bool:
        if found.is_noted(self.notes().get(str(found.path))):
            return True
        job = self._job_of(found)
        if job is not None:
            self._note(found, job)
        return job is not None

    def _job_of(self, found: LegacyFile) -> str | None:
        """The id of the job that was made of the file, where the note was lost."""
        kind = "video" if found.is_finished else "take"
        return self._known_jobs().get((f"{kind} of {found.take(self._zone)}", found.size))

    def _known_jobs(self) -> dict[tuple[str, int], str]:
        """Job ids by the files they may have been made of. The spool is read once for all files."""
        if self._jobs is None:
            self._jobs = {}
            jobs = (entry.job for state in DIRECTORIES for entry in self._spool.entries(state))
            for job in (*jobs, *history(self._spool)):
                for key in _keys(job):
                    self._jobs.setdefault(key, job.id)
        return self._jobs

    # ---- doing

    def bring_in(self, found: LegacyFile, now: datetime, measured: Callable[[Path], float]) -> Entry:
        """Make a job of a copy. `measured` gives a video's length in seconds. Raises `Refused`, and `Retry`
        when there is no room now.
        """
        owner, started, take = found.clip.booking_id, found.started(self._zone), found.take(self._zone)
        seconds = 0.0
        if found.is_finished:
            try:
                seconds = measured(found.path)
            except (Reject, Retry) as fault:
                raise Refused(f"no whole video: {fault}") from None

        def made(size: int) -> tuple[Job, str]:
            footage = Take(take, started.astimezone(UTC), seconds, size, "of the older EZREC")
            booking = known_booking(self._spool, owner)
            job = Job(id=owner, kind=Kind.CLIP, created=now, booking=booking, takes=(footage,))
            if not found.is_finished:
                return job, take
            name = published_name(take)
            return replace(job, result=Result(name, seconds, size, ("the older EZREC",))), name

        with opened(found.path) as source:
            entry = bring_in(self._spool, State.PROCESSED if found.is_finished else State.RAW, source, made)
        self._known_jobs().update(dict.fromkeys(_keys(entry.job), str(entry.id)))
        self._note(found, entry.id)
        return entry

    def _note(self, found: LegacyFile, job: str, *, published: bool = False) -> None:
        notes = self.notes()
        notes[str(found.path)] = LegacyNote(found.size, found.mtime_ns, job, published)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        durable.write(self._file, msgspec.json.format(msgspec.json.encode(notes), indent=1))

    def published(self, now: datetime) -> list[LegacyFile]:
        """The originals whose video is published and which are still the files that were copied."""
        over = {job.id for job in history(self._spool) if job.outcome is JobOutcome.PUBLISHED}
        found = []
        for one in self._all(now):
            note = self.notes().get(str(one.path))
            if note is None or not one.is_noted(note):
                continue
            if note.job in over and not note.published:
                self._note(one, note.job, published=True)
            if note.published or note.job in over:
                found.append(one)
        return found

    def _all(self, now: datetime) -> Iterator[LegacyFile]:
        for path, is_finished in self._files():
            with contextlib.suppress(Refused):
                yield _read(path, is_finished, now)

    def remove(self, found: LegacyFile) -> None:
        found.path.unlink()
        durable.sync_directory(found.path.parent)


def _is_video(path: Path) -> bool:
    return path.suffix.lower() == ".mp4" and not path.name.startswith(".")


def _read(path: Path, is_finished: bool, now: datetime) -> LegacyFile:
    info = os.lstat(path)
    if not stat.S_ISREG(info.st_mode):
        raise Refused("no plain file")
    if info.st_size == 0:
        raise Refused("empty (0 bytes)")
    if now.timestamp() - info.st_mtime < _STILL_S:
        raise Refused("written within the last minute: perhaps not finished")
    name = path.name.removeprefix("processed_") if is_finished else path.name
    try:
        clip = parse_clip_name(name)
    except BadName as fault:
        raise Refused(f"{fault}: rename it to <booking id>.mp4") from None
    return LegacyFile(path, clip, is_finished, info.st_size, info.st_mtime_ns)


def _keys(job: Job) -> Iterator[tuple[str, int]]:
    """The keys of `_known_jobs` for one job: what the file was, and its size in bytes."""
    for take in job.takes:
        if job.result is not None:
            yield f"video of {take.file}", job.result.size
        for size in {one.size for one in job.takes}:
            yield f"take of {take.file}", size
