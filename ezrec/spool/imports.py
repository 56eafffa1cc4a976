"""`ezrec spool put`: makes a job of a copy of a video, checked as a dropped file is.

The copy is written into the spool's root under a name that no stage takes up, then moved by one rename. What
a killed import leaves is removed by the next one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import BinaryIO

from ezrec.domain.booking import Booking, instant_of
from ezrec.domain.errors import Refused, Retry
from ezrec.domain.job import Job, Kind, Take
from ezrec.domain.names import BadName, JobId, parse_clip_name, raw_name, safe_id, shown
from ezrec.domain.stages import State
from ezrec.spool.spool import Entry, Spool
from ezrec.system import plain_files

_PREFIX = ".put-"
_SPARE = 256 << 20  # bytes left free beside the copy: the camera writes to the same disk
_PIECE = 8 << 20


def import_video(spool: Spool, file: Path, booking_id: str | None, now: datetime, zone: tzinfo) -> Entry:
    """Make a job of a copy of `file`, for a booking or, where none is named, as `_invented` says."""
    try:
        owner = _invented(file.name, now, zone) if booking_id is None else safe_id(booking_id)
    except BadName as fault:
        raise Refused(str(fault)) from None
    with opened(file) as source:
        info = os.fstat(source.fileno())
        booking = known_booking(spool, owner)
        started = _started(file.name, owner, booking, info, zone)

        def made(size: int) -> tuple[Job, str]:
            take = Take(raw_name(owner, started), started.astimezone(UTC), 0.0, size, "put in")
            return Job(id=owner, kind=Kind.CLIP, created=now, booking=booking, takes=(take,)), take.file

        return bring_in(spool, State.RAW, source, made)


def _invented(name: str, now: datetime, zone: tzinfo) -> JobId:
    """The id that the file's name says, as for a dropped file; else one made of the time."""
    try:
        return parse_clip_name(name).booking_id
    except BadName:
        return safe_id(f"clip-{now.astimezone(zone):%Y%m%d-%H%M%S}")


def bring_in(spool: Spool, state: State, source: BinaryIO, made: Callable[[int], tuple[Job, str]]) -> Entry:
    """Make an entry of a copy. `made` answers the job and the copy's name in it, given its size in bytes."""
    _check_room(spool, os.fstat(source.fileno()).st_size)
    with _beside(spool) as (copy, path):
        _copy(source, copy)
        job, name = made(copy.seek(0, os.SEEK_END))
        return spool.create(state, job, (path, name), number=True)


def opened(file: Path) -> BinaryIO:
    """Open a file that the intake would accept; a FIFO is not waited for. Raises `Refused`."""
    name = shown(file.name)
    if file.suffix.lower() != ".mp4":
        raise Refused(f"{name} does not end in .mp4", "only MP4 videos can be branded and published")
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise Refused(f"{name} is not a plain file")
        opened = open(os.open(file, os.O_RDONLY | os.O_NONBLOCK), "rb")  # noqa: SIM115 - the caller closes it
    except OSError as fault:
        raise Refused(f"{name} cannot be read: {fault.strerror}") from None
    if os.fstat(opened.fileno()).st_size == 0:
        opened.close()
        raise Refused(f"{name} is empty (0 bytes)")
    return opened


def _check_room(spool: Spool, size: int) -> None:
    free = shutil.disk_usage(spool.root).free
    if size + _SPARE > free:
        raise Retry(
            f"the copy needs {size / 1e9:.1f} GB and {free / 1e9:.1f} GB are free on the spool's disk: "
            "free some space, or mv the file into spool/raw/ if it lies on the same disk"
        )


def known_booking(spool: Spool, owner: JobId) -> Booking | None:
    """The booking as the spool or its history has it."""
    entry = spool.find(owner)
    job = entry.job if entry else spool.finished(owner)
    return job.booking if job else None


def _started(
    name: str, owner: JobId, booking: Booking | None, info: os.stat_result, zone: tzinfo
) -> datetime:
    """When the footage began: by the file's name, else by its booking, else by its date."""
    with contextlib.suppress(BadName):
        clip = parse_clip_name(name)
        if clip.started is not None:
            return clip.started.replace(tzinfo=zone)
    started = booking.start if booking else instant_of(info.st_mtime)
    return started.astimezone(zone)


@contextlib.contextmanager
def _beside(spool: Spool) -> Iterator[tuple[BinaryIO, Path]]:
    """A new file in the spool's root, with an flock, so that the next import does not remove it."""
    sweep(spool)
    path = spool.root / f"{_PREFIX}{secrets.token_hex(6)}"
    with open(path, "xb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield file, path
        finally:
            path.unlink(missing_ok=True)


def sweep(spool: Spool) -> list[Path]:
    """Remove the copies that killed processes left: those without an flock. Returns their paths."""
    swept = []
    for path in spool.root.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), plain_files.opened(path) as left:
            fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(left.fileno()).st_size or path.stat().st_mtime < datetime.now(UTC).timestamp() - 60:
                path.unlink()
                swept.append(path)
    return swept


def _copy(source: BinaryIO, target: BinaryIO) -> None:
    """Copy by reference where the file system can, else byte by byte."""
    done = 0
    with contextlib.suppress(OSError):
        while sent := os.copy_file_range(source.fileno(), target.fileno(), _PIECE, done, done):
            done += sent
    source.seek(done)
    target.seek(done)
    try:
        shutil.copyfileobj(source, target, _PIECE)
        target.flush()
    except OSError as fault:
        raise Retry(f"the copy failed after {target.tell() / 1e9:.1f} GB: {fault.strerror}") from None
