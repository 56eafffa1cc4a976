"""`TakeWriter`: one take, one file. Whole at every moment, durable every second, never in the camera's way.

The order on disk:

1. The name is created exclusively; nothing is ever overwritten.
2. The header is written and synced, then the directory: from here on the take exists.
3. Each fragment is written at once and unbuffered, so that a kill costs no more than the fragment that
   was still coming.
4. Once a second, in a thread of its own, the data are synced: on a memory card that can take seconds.
5. What goes wrong (disk full, card gone) ends the take behind its last whole fragment. What is there stays.

The camera's thread only hands over. When the disk is slower than the camera for longer than the queue
lasts, frames are dropped up to the next key frame, and counted.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from ezrec.camera.ring_buffer import BufferedFragment
from ezrec.domain.booking import Window
from ezrec.domain.errors import Retry, is_full
from ezrec.domain.job import UNANSWERED, Take
from ezrec.media.mp4.fragments import Header, retimed
from ezrec.system import disk_reserve, durable

_SYNC_EVERY_S = 1.0
QUEUE_BYTES = (
    64 << 20
)  # 50 s at 10 Mbit/s: more than the buffer hands over at once, less than a Pi has to spare
_SETTLING_S = 10.0  # so long the instant of the first frame may be found to be earlier than it seemed
_LEAST_TAKE = 4 << 20  # bytes: some seconds


class Disk:
    """The few calls a take makes; a test can give a slow one."""

    def create(self, path: Path) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(path, flags, 0o660)

    def write(self, fd: int, data: memoryview) -> int:
        return os.write(fd, data)

    def sync(self, fd: int) -> None:
        os.fdatasync(fd)

    def cut(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)


class ReservingDisk(Disk):
    """No take begins or goes on in the room of a reserve that was given up (`system/disk_reserve.py`):
    it would eat what the records need. A running one has to look too: any small record may have met the full
    disk first.
    """

    def __init__(self, reserve_bytes: int) -> None:
        self._reserve_bytes = reserve_bytes
        self._spool: Path | None = None

    def create(self, path: Path) -> int:
        self._spool = path.parent.parent.parent
        self._keep_out(os.statvfs(path.parent), _LEAST_TAKE)
        return super().create(path)

    def sync(self, fd: int) -> None:
        super().sync(fd)
        self._keep_out(os.fstatvfs(fd), 0)

    def _keep_out(self, disk: os.statvfs_result, besides: int) -> None:
        missing = disk_reserve.missing(self._spool, self._reserve_bytes) if self._spool else 0
        if missing and disk.f_bavail * disk.f_frsize < missing + besides:
            raise OSError(errno.ENOSPC, "disk full")


@dataclass(slots=True)
class _Written:
    """What stands in the file."""

    size: int = 0
    fragments: int = 0
    origin: int = 0
    end: int = 0
    timescale: int = 1
    began: float | None = None
    ended: float = 0.0
    holes: list[tuple[float, float]] = field(default_factory=list)  # monotonic: frames were dropped here

    @property
    def duration_s(self) -> float:
        return (self.end - self.origin) / self.timescale


class TakeWriter:
    """Begins the file at once; `accept` from the camera's thread, `finish` from the booking's.

    `wall_zero` is the wall clock's reading at the monotonic time 0, as the clock now stands.
    Raises `Retry` when the file cannot be created.
    """

    def __init__(
        self,
        path: Path,
        header: Header,
        wall_zero: datetime,
        *,
        queue_bytes: int = QUEUE_BYTES,
        disk: Disk | None = None,
    ) -> None:
        self.path = path
        self.lost = threading.Event()
        self.dropped = 0
        self._header, self._wall_zero = header, wall_zero
        self._created = time.monotonic()
        self._disk = disk or Disk()
        self._room = self._queue_bytes = queue_bytes
        self._queue: deque[BufferedFragment] = deque()
        self._wake = threading.Condition()
        self._awaits_key = True
        self._closing = self._done = False
        self._fault = ""
        self._written = _Written()
        self._is_written = threading.Event()
        try:
            self._fd = self._disk.create(path)
        except FileExistsError:
            raise Retry(f"{path.name} exists already: a take never overwrites") from None
        except OSError as fault:
            raise Retry(f"{path.name} cannot be created: {fault.strerror}") from fault
        self._syncer = threading.Thread(target=self._sync_regularly, name=f"sync {path.name}", daemon=True)
        threading.Thread(target=self._run, name=f"write {path.name}", daemon=True).start()

    def accept(self, buffered: BufferedFragment) -> None:
        """Queue a fragment. Never blocks, never raises."""
        with self._wake:
            if self._closing or self.lost.is_set():
                return
            if self._awaits_key and not buffered.fragment.starts_with_key:
                self.dropped += buffered.fragment.frames if self._written_or_queued() else 0
                return
            if len(buffered.fragment.data) > self._room:
                self._awaits_key = True
                self.dropped += buffered.fragment.frames
                return
            self._awaits_key = False
            self._room -= len(buffered.fragment.data)
            self._queue.append(buffered)
            self._wake.notify_all()

    def fail(self, reason: str) -> None:
        """Nothing more will come, or can be written; the first reason stands."""
        with self._wake:
            self._fault = self._fault or reason
            self.lost.set()
            self._wake.notify_all()

    def finish(self, limit_s: float) -> Take:
        """Write what is queued, make it durable, close; after `limit_s` tell what was written by then."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
            if not self._wake.wait_for(lambda: self._done, max(0.0, limit_s)):
                self._fault = self._fault or UNANSWERED
            written = self._written
            began = self._created if written.began is None else written.began
            return Take(
                file=self.path.name,
                started=self._at(began),
                duration_s=round(written.duration_s, 6),
                size=written.size,
                ended_by=self._fault,
                dropped=self.dropped,
                holes=tuple(Window(self._at(start), self._at(end)) for start, end in written.holes),
            )

    @property
    def span(self) -> tuple[float, float] | None:
        """The port `Recording` says what it is."""
        with self._wake:
            written = self._written
            return None if written.began is None else (written.began, written.ended)

    @property
    def size(self) -> int:
        """Bytes in the file so far."""
        return self._written.size

    def _at(self, moment: float) -> datetime:
        return self._wall_zero + timedelta(seconds=moment)

    def _written_or_queued(self) -> bool:
        return bool(self._queue or self._written.fragments)

    # ---- the writer's own thread

    def _run(self) -> None:
        try:
            self._begin()
            while (buffered := self._next()) is not None:
                self._append(buffered)
        except OSError as fault:
            self.fail(_described(fault))
            self._cut()
        self._end()

    def _begin(self) -> None:
        self._write(self._header.data)
        self._written.size = len(self._header.data)
        os.fsync(self._fd)
        durable.sync_directory(self.path.parent)
        self._syncer.start()

    def _next(self) -> BufferedFragment | None:
        """The next fragment; None when the take is to end. A lost camera's last ones are still written."""
        with self._wake:
            self._wake.wait_for(lambda: self._queue or self._closing)
            return self._queue.popleft() if self._queue else None

    def _append(self, buffered: BufferedFragment) -> None:
        fragment, written = buffered.fragment, self._written
        origin = fragment.base_time if written.began is None else written.origin
        data = retimed(fragment, written.fragments + 1, origin)
        self._write(data)
        with self._wake:
            if (
                written.began is None
            ):  # only now: a first fragment that found the disk full made a length below 0
                written.began, written.origin, written.timescale = buffered.began, origin, fragment.timescale
            if written.duration_s < _SETTLING_S:  # the first ones came late: the camera was just starting
                written.began = min(written.began, buffered.began - written.duration_s)
            written.ended = buffered.ended
            if written.fragments and fragment.base_time > written.end:
                written.holes.append((written.began + written.duration_s, buffered.began))
            written.size += len(data)
            written.fragments += 1
            written.end = fragment.end_time
            self._room += len(data)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._disk.write(self._fd, view) :]

    def _cut(self) -> None:
        """Take half a fragment off the end: what is there must be whole."""
        try:
            self._disk.cut(self._fd, self._written.size)
        except OSError as fault:
            self.fail(_described(fault))

    def _end(self) -> None:
        self._is_written.set()
        if self._syncer.ident is not None:
            self._syncer.join()
        try:
            os.fsync(self._fd)
        except OSError as fault:
            self.fail(_described(fault))
        os.close(self._fd)
        with self._wake:
            self._done = True
            self._queue.clear()
            self._wake.notify_all()

    # ---- the syncing thread

    def _sync_regularly(self) -> None:
        synced = 0
        while not self._is_written.wait(_SYNC_EVERY_S):
            size = self._written.size
            if size == synced:
                continue
            try:
                self._disk.sync(self._fd)
            except OSError as fault:  # after this the kernel has forgotten what it could not write
                self.fail(_described(fault))
                return
            synced = size


def _described(fault: OSError) -> str:
    return "disk full" if is_full(fault) else f"the disk failed: {fault.strerror}"
