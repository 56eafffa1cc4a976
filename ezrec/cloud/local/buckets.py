"""The buckets of the local backend: folders, with each object in a file at the path of its key.

So that neither a kill nor a power cut leaves half an object under its name:

1. copy it into a file in `.staging/`, under an flock, syncing every `_UNSYNCED` bytes
2. fsync it, and check that the source has not changed meanwhile
3. rename it to its name; fsync both directories, and those above up to the buckets' root

An object of a job carries the job's mark (an extended attribute, set before step 3), and gets its name under
a lock of all writers: it replaces only an object of the same job.

It is a copy and not a hard link, because the spool may write to the source again. What dead writers left in
`.staging/` is removed by the next writer: if the flock is free, its owner is dead.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import filecmp
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ezrec.cloud.local.faults import bucket_faults
from ezrec.domain.errors import Reject, Retry
from ezrec.domain.names import object_parts
from ezrec.domain.ownership import Mark, Whose
from ezrec.system import durable, plain_files

_CHUNK = 8 << 20
# Synced in between: 4 GB of dirty pages, flushed at the end, would block the recorder's own writes until
# then.
_UNSYNCED = 32 << 20
_MARK = "user.ezrec.job"  # the extended attribute
_NAMING_S, _NAMING_AGAIN_S = 60.0, 0.02  # comparing the bytes of a large file may take as long
_NO_RANGE_COPY = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)


class Buckets:
    """The folders under `root`; created when they are first needed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._staging = root / ".staging"

    def path(self, bucket: str, key: str) -> Path:
        """Where the object is, or would be."""
        with bucket_faults("object key"):
            return self.root.joinpath(*object_parts(bucket, key))

    def size_of(self, bucket: str, key: str) -> int | None:
        path = self.path(bucket, key)
        with bucket_faults(f"looking at {bucket}/{key}"):
            try:
                info = os.lstat(path)
            except (FileNotFoundError, NotADirectoryError):
                return None
            return info.st_size if stat.S_ISREG(info.st_mode) else None

    def fetch(self, bucket: str, key: str, target: Path) -> None:
        path = self.path(bucket, key)
        if self.size_of(bucket, key) is None:
            raise Reject(f"there is no object {bucket}/{key}", "store it, or name another one")
        with bucket_faults(f"fetching {bucket}/{key}"):
            durable.copy(path, target)

    def whose(self, bucket: str, key: str, source: Path, mark: Mark) -> Whose:
        path = self.path(bucket, key)
        if self.size_of(bucket, key) is None:
            return Whose.NOBODYS
        with bucket_faults(f"looking at {bucket}/{key}"):
            carried = _mark_on(path)
            if carried is not None:
                return mark.whose(carried)
            # An older EZREC may have stored it for this job, or the file system has no extended attributes.
            return Whose.OURS if filecmp.cmp(source, path, shallow=False) else Whose.ANOTHERS

    def job_of(self, bucket: str, key: str) -> str:
        """The job whose mark the object at `key` carries; empty when it has none."""
        carried = _mark_on(self.path(bucket, key))
        return carried.job if carried else ""

    def store(
        self,
        bucket: str,
        key: str,
        source: Path,
        progress: Callable[[float], None],
        mark: Mark | None = None,
    ) -> bool:
        path = self.path(bucket, key)
        with bucket_faults(f"storing {bucket}/{key}"):
            self._staging.mkdir(parents=True, exist_ok=True)
            self._sweep()
            with _source(source) as file, self._staged() as (staged, out):
                before = os.fstat(file)
                size = _copy(file, before.st_size, out, progress)
                os.fsync(out)
                after = os.fstat(file)
                if (size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                    raise Retry(f"{source} is still being written: it changed while it was copied")
                path.parent.mkdir(parents=True, exist_ok=True)
                if not self._named(staged, out, bucket, key, mark):
                    return False
                for above in path.parents[1:]:  # new directories have to be durable too
                    durable.sync_directory(above)
                    if above == self.root.parent:
                        break
        progress(1.0)
        return True

    def _named(self, staged: Path, out: int, bucket: str, key: str, mark: Mark | None) -> bool:
        """Give the copy its name; False when that is another job's."""
        path = self.path(bucket, key)
        if mark is None:
            durable.rename(staged, path)
            return True
        with contextlib.suppress(
            OSError
        ):  # a file system without extended attributes: then the bytes are compared
            os.setxattr(out, _MARK, f"{mark.job} {mark.made}".encode())
            os.fsync(out)
        with self._naming():
            if self.whose(bucket, key, staged, mark) is Whose.ANOTHERS:
                return False
            durable.rename(staged, path)
        return True

    @contextlib.contextmanager
    def _naming(self) -> Iterator[None]:
        """While the context lasts, no other process names an object."""
        fd = os.open(self.root / ".naming.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o660)
        try:
            _flocked(fd)
            yield
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def _staged(self) -> Iterator[tuple[Path, int]]:
        """A new file that is ours while the context lasts, and gone afterwards unless it was renamed."""
        path = self._staging / f"{os.getpid()}-{secrets.token_hex(6)}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o664)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if (
                os.fstat(fd).st_nlink == 0
            ):  # removed by `_sweep` between the two calls: rare, and a retry helps
                raise Retry("another writer is clearing up; trying again", after_s=1)
            yield path, fd
        finally:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            os.close(fd)

    def _sweep(self) -> None:
        for path in self._staging.iterdir():
            with contextlib.suppress(OSError):  # in use, or somebody was faster
                fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
                finally:
                    os.close(fd)


def _mark_on(path: Path) -> Mark | None:
    try:
        job, _, made = os.getxattr(path, _MARK, follow_symlinks=False).decode().partition(" ")
    except (OSError, UnicodeDecodeError):
        return None
    return Mark(job, made)


def _flocked(fd: int) -> None:
    until = time.monotonic() + _NAMING_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise Retry("other uploads are taking their names; trying again", after_s=5) from None
            time.sleep(_NAMING_AGAIN_S)
        else:
            return


@contextlib.contextmanager
def _source(path: Path) -> Iterator[int]:
    """The file to be stored, opened; raises `Reject` unless it is a plain file."""
    try:
        fd = plain_files.open_fd(path)
    except OSError as fault:
        if fault.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
        raise Reject(
            f"{path} cannot be stored: {fault.strerror}", "name a plain file that is there"
        ) from fault
    try:
        yield fd
    finally:
        os.close(fd)


def _copy(source: int, total: int, target: int, progress: Callable[[float], None]) -> int:
    """Copy all bytes and report the finished part of `total`; returns how many there were."""
    done = synced = 0
    step: Callable[[int, int], int] = _range_copy
    while True:
        try:
            copied = step(source, target)
        except OSError as fault:
            if step is not _range_copy or fault.errno not in _NO_RANGE_COPY:
                raise
            step = _plain_copy
            continue
        if copied == 0:
            return done
        done += copied
        if done - synced >= _UNSYNCED:
            os.fdatasync(target)
            synced = done
        progress(min(done / total, 0.999) if total else 0.999)  # 1.0 is reported once it has its name


def _range_copy(source: int, target: int) -> int:
    """Within the kernel: 20 % less CPU on ext4; on btrfs and XFS the blocks are shared, not copied."""
    return os.copy_file_range(source, target, _CHUNK)


def _plain_copy(source: int, target: int) -> int:
    data = os.read(source, 1 << 20)
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]
    return len(data)
