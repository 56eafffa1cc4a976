"""Writes a video as a plain MP4: index first, then picture and sound interleaved, a second at a time.

All tables are known before the first byte of media is written, so nothing is moved or written twice. Media
passes through one buffer, which is written when it is full. `sendfile` took 1.3 times the CPU, because a
fragment begins anywhere in a page, and so did `copy_file_range` where no blocks can be shared. A buffer of
512 KiB took up to twice the CPU of one of 128 KiB: the kernel allocates memory in blocks as large as the
write.
"""

from __future__ import annotations

import bisect
import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ezrec.media.mp4 import index
from ezrec.media.mp4.index import Chunk, PictureTrack, SoundTrack
from ezrec.media.mp4.timeline import SILENCE, TrackTimeline
from ezrec.system import plain_files

_CHUNK_S = 1
_BUFFER = 128 << 10
_KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE
_REPORT_EVERY = 8 << 20
_SYNC_EVERY = 64 << 20


def write(
    output: Path,
    picture: PictureTrack,
    sound: SoundTrack | None,
    sources: Mapping[int, Path],
    silence: bytes,
    progress: Callable[[float], None],
) -> int:
    """Write the new file `output`; returns its size in bytes.

    `silence`: one silent packet. `progress` is called with the part done, 0 to 1, and may raise to stop.
    """
    timelines = [picture.timeline, *([sound.timeline] if sound else [])]
    chunks = _chunks(timelines)
    media = sum(chunk.size for chunk in chunks)
    head = index.before_media(picture, sound, chunks)
    progress(0.0)
    files = {number: plain_files.open_fd(path, shared=True) for number, path in sources.items()}
    fd = -1
    try:
        fd = plain_files.create(output)
        _reserve(fd, len(head) + media)
        target = _Target(fd, lambda done: progress(min(1.0, done / media)))
        target.put(head)
        for source, offset, size in _ranges(timelines, chunks):
            if source == SILENCE:
                target.put(silence * (size // len(silence)))
            else:
                target.copy(files[source], offset, size)
        target.flush()
        if target.done != len(head) + media:
            raise OSError(0, f"{target.done} bytes written where {len(head) + media} were planned")
    finally:
        for opened in (*files.values(), *([fd] if fd >= 0 else [])):
            os.close(opened)
    return len(head) + media


def _reserve(fd: int, size: int) -> None:
    """Allocate the disk space first, where the file system can: else each sync on the way allocates its own.

    A full disk is then noticed now, and not after minutes of writing. `os.posix_fallocate` would write into
    every block on a file system that cannot allocate.
    """
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "fallocate64"):
        return
    libc.fallocate64.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    if libc.fallocate64(fd, _KEEP_SIZE, 0, size) and ctypes.get_errno() == errno.ENOSPC:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class _Target:
    """The file being written. `progress` is called with the bytes written.

    Syncs every 64 MiB: gigabytes synced at the end would block the recorder's own sync for minutes on a card.
    """

    def __init__(self, fd: int, progress: Callable[[int], None]) -> None:
        self._fd, self._progress = fd, progress
        self._buffer = memoryview(bytearray(_BUFFER))
        self._held = self._written = self._synced = self._reported = 0

    @property
    def done(self) -> int:
        return self._written + self._held

    def put(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            count = min(len(view), _BUFFER - self._held)
            self._buffer[self._held : self._held + count] = view[:count]
            view = view[count:]
            self._hold(count)

    def copy(self, source: int, offset: int, size: int) -> None:
        while size:
            room = self._buffer[self._held : self._held + size]
            count = os.preadv(source, [room], offset)
            if count <= 0:
                raise OSError(0, "a recording became shorter while it was read")
            offset, size = offset + count, size - count
            self._hold(count)

    def flush(self) -> None:
        """Write the buffer; sync and report progress when enough was written."""
        held = self._buffer[: self._held]
        self._held = 0
        while held:
            count = os.write(self._fd, held)
            held, self._written = held[count:], self._written + count
        if self._written - self._synced >= _SYNC_EVERY:
            os.fdatasync(self._fd)
            self._synced = self._written
        if self._written - self._reported >= _REPORT_EVERY:
            self._reported = self._written
            self._progress(self._written)

    def _hold(self, count: int) -> None:
        self._held += count
        if self._held == _BUFFER:
            self.flush()


def _chunks(timelines: Sequence[TrackTimeline]) -> list[Chunk]:
    """The chunks of all timelines, a second each, in the order in which a player needs them."""
    found = []
    for number, timeline in enumerate(timelines):
        first, starts = 0, timeline.starts
        while first < len(starts):
            last = bisect.bisect_left(starts, starts[first] + _CHUNK_S * timeline.scale, first + 1)
            size = sum(timeline.sizes[first:last])
            found.append((starts[first] / timeline.scale, number, Chunk(number, first, last - first, size)))
            first = last
    return [chunk for _, _, chunk in sorted(found, key=lambda item: item[:2])]


def _ranges(timelines: Sequence[TrackTimeline], chunks: Sequence[Chunk]) -> Iterator[tuple[int, int, int]]:
    """Source, offset and size of the bytes to be copied; adjacent samples are one range."""
    source, offset, size = -1, 0, 0
    for chunk in chunks:
        timeline, part = timelines[chunk.track], slice(chunk.first, chunk.first + chunk.count)
        for of, at, more in zip(
            timeline.sources[part], timeline.offsets[part], timeline.sizes[part], strict=True
        ):
            if of == source and (at == offset + size or of == SILENCE):
                size += more
                continue
            if size:
                yield source, offset, size
            source, offset, size = of, at, more
    if size:
        yield source, offset, size
