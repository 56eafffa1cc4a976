"""Is a thing that somebody drops complete? Nothing is judged while it may still be written.

Asks the kernel where it answers, by a read lease; where it does not, waits until nothing changes any more.
Opens no FIFO for reading, follows no link, moves nothing.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ezrec.domain.names import UNFINISHED_SUFFIXES
from ezrec.domain.ports import Clock

QUIET_S = 3.0  # unchanged for so long counts as complete where a lease cannot be had
FORGOTTEN_S = 600.0  # a half-copied file that nobody has written for so long goes to a person
TORN_S = 60.0  # the same, where the kernel says that nobody has it open: some copy a piece at each opening


@dataclass(slots=True)
class FileStability:
    """Remembers what it saw last of each path, to tell quiet from busy."""

    clock: Clock
    quiet_s: float = QUIET_S
    forgotten_s: float = FORGOTTEN_S
    is_whole: Callable[[Path], bool] = lambda _: False  # for what shows by its form that it has its end
    torn_s: float = TORN_S
    is_torn: Callable[[Path], bool] = lambda _: False  # for what shows by its form that it lacks its end
    _seen: dict[Path, tuple[tuple[int, ...], float]] = field(default_factory=dict)
    _torn: dict[Path, tuple[tuple[int, ...], bool]] = field(default_factory=dict)

    def forget_all_but(self, paths: set[Path]) -> None:
        self._seen = {path: seen for path, seen in self._seen.items() if path in paths}
        self._torn = {path: torn for path, torn in self._torn.items() if path in paths}

    def wait_s(self, path: Path) -> float | None:
        """Seconds until the thing may be judged; None when it is complete (or will never be)."""
        try:
            info = os.lstat(path)
        except OSError:
            return None
        is_file = stat.S_ISREG(info.st_mode)
        is_written = _being_written(path) if is_file else None
        if is_written:
            self._seen.pop(path, None)  # its quiet time has not begun
            return self.quiet_s
        if path.name.endswith(UNFINISHED_SUFFIXES):
            return self._quiet_for(path, _mark(path, info), self.forgotten_s)
        if is_file and info.st_size > 0 and self._lacks_its_end(path, _mark(path, info)):
            needed_s = self.torn_s if is_written is False else self.forgotten_s
            return self._quiet_for(path, _mark(path, info), needed_s)
        if is_file and is_written is False and info.st_size > 0:
            return None
        if is_file and is_written is None and self.is_whole(path):
            return None  # of another user: the kernel grants no lease, and a changed booking cannot wait
        if is_file or stat.S_ISDIR(info.st_mode):
            return self._quiet_for(path, _mark(path, info), self.quiet_s)
        return None

    def is_held_open(self, path: Path) -> bool:
        """True when the kernel says that somebody has it open for writing."""
        return _being_written(path) is True

    def _lacks_its_end(self, path: Path, mark: tuple[int, ...]) -> bool:
        """Looked into anew only when the file has changed: an hour of fragments takes its time."""
        known = self._torn.get(path)
        if known is None or known[0] != mark:
            known = self._torn[path] = (mark, self.is_torn(path))
        return known[1]

    def _quiet_for(self, path: Path, mark: tuple[int, ...], needed_s: float) -> float | None:
        """Wait until sizes and times have stood still for `needed_s` seconds of the monotonic clock."""
        now = self.clock.monotonic()
        seen = self._seen.get(path)
        if seen is None or seen[0] != mark:
            self._seen[path] = (mark, now)
            return needed_s
        left = seen[1] + needed_s - now
        return left if left > 0 else None


def _mark(path: Path, info: os.stat_result) -> tuple[int, ...]:
    """What changes while somebody still writes: of a directory, also what is in it."""
    mark = [info.st_size, info.st_mtime_ns, info.st_ctime_ns]
    if stat.S_ISDIR(info.st_mode):
        with suppress(OSError), os.scandir(path) as files:
            for file in files:
                within = file.stat(follow_symlinks=False)
                mark += [within.st_size, within.st_mtime_ns]
    return tuple(mark)


def _being_written(path: Path) -> bool | None:
    """True while any process has the file open for writing; None when the kernel will not tell.

    A read lease is granted only when nobody has the file open for writing, so it answers at once,
    where comparing sizes waits seconds and still guesses.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        # Who opens the file in this instant makes the kernel tell us, by SIGIO, which would end the process.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return False
    except OSError as fault:
        return True if fault.errno == errno.EAGAIN else None
    finally:
        os.close(fd)
