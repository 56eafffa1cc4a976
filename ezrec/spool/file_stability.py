"""Decides whether a dropped file is complete.

Asks the kernel by a read lease. Where the kernel grants none, waits until the file no longer changes. Opens
no FIFO for reading, follows no link, moves nothing.
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

QUIET_S = 3.0  # without a lease: unchanged for so long counts as complete
FORGOTTEN_S = 600.0  # a half-copied file that was not written for so long goes to failed/
TORN_S = 60.0  # the same where nobody has it open; some programs open it anew for each piece


@dataclass(slots=True)
class FileStability:
    """Remembers the last size and times of each path, to see which files change."""

    clock: Clock
    quiet_s: float = QUIET_S
    forgotten_s: float = FORGOTTEN_S
    is_whole: Callable[[Path], bool] = lambda _: False  # its content shows that nothing is missing
    torn_s: float = TORN_S
    is_torn: Callable[[Path], bool] = lambda _: False  # its content shows that the end is missing
    _seen: dict[Path, tuple[tuple[int, ...], float]] = field(default_factory=dict)
    _torn: dict[Path, tuple[tuple[int, ...], bool]] = field(default_factory=dict)

    def forget_all_but(self, paths: set[Path]) -> None:
        self._seen = {path: seen for path, seen in self._seen.items() if path in paths}
        self._torn = {path: torn for path, torn in self._torn.items() if path in paths}

    def wait_s(self, path: Path) -> float | None:
        """Seconds until to look again; None when the file is complete, or gone."""
        try:
            info = os.lstat(path)
        except OSError:
            return None
        is_file = stat.S_ISREG(info.st_mode)
        is_written = _being_written(path) if is_file else None
        if is_written:
            self._seen.pop(path, None)  # it is not quiet yet
            return self.quiet_s
        if path.name.endswith(UNFINISHED_SUFFIXES):
            return self._quiet_for(path, _mark(path, info), self.forgotten_s)
        if is_file and info.st_size > 0 and self._lacks_its_end(path, _mark(path, info)):
            needed_s = self.torn_s if is_written is False else self.forgotten_s
            return self._quiet_for(path, _mark(path, info), needed_s)
        if is_file and is_written is False and info.st_size > 0:
            return None
        if is_file and is_written is None and self.is_whole(path):
            return None  # another user's: the kernel grants no lease, and a changed booking cannot wait
        if is_file or stat.S_ISDIR(info.st_mode):
            return self._quiet_for(path, _mark(path, info), self.quiet_s)
        return None

    def is_held_open(self, path: Path) -> bool:
        """True when the kernel says that somebody has it open for writing."""
        return _being_written(path) is True

    def _lacks_its_end(self, path: Path, mark: tuple[int, ...]) -> bool:
        """`is_torn`, asked again only when the file has changed: an hour of video takes a while to read."""
        known = self._torn.get(path)
        if known is None or known[0] != mark:
            known = self._torn[path] = (mark, self.is_torn(path))
        return known[1]

    def _quiet_for(self, path: Path, mark: tuple[int, ...], needed_s: float) -> float | None:
        """Seconds until size and times have been the same for `needed_s` seconds; None when they have."""
        now = self.clock.monotonic()
        seen = self._seen.get(path)
        if seen is None or seen[0] != mark:
            self._seen[path] = (mark, now)
            return needed_s
        left = seen[1] + needed_s - now
        return left if left > 0 else None


def _mark(path: Path, info: os.stat_result) -> tuple[int, ...]:
    """What changes while somebody writes: size and times; of a directory, also those of its files."""
    mark = [info.st_size, info.st_mtime_ns, info.st_ctime_ns]
    if stat.S_ISDIR(info.st_mode):
        with suppress(OSError), os.scandir(path) as files:
            for file in files:
                within = file.stat(follow_symlinks=False)
                mark += [within.st_size, within.st_mtime_ns]
    return tuple(mark)


def _being_written(path: Path) -> bool | None:
    """True while any process has the file open for writing; None when the kernel does not say.

    A read lease is granted only when nobody has the file open for writing, so this answers at once.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        # If somebody opens the file now, the kernel sends a signal: by default SIGIO, which ends the process.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return False
    except OSError as fault:
        return True if fault.errno == errno.EAGAIN else None
    finally:
        os.close(fd)
