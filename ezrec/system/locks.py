"""Locks between processes: flock through `filelock`, with a label that tells people who holds them.

The kernel frees an flock when its holder dies, so no lock is ever stale and none is ever unlinked.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from ezrec.domain.errors import Busy

_ASK_AGAIN_S = 0.1


class Lock:
    """One lock file. Not to be shared between threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path, mode=0o660, fallback_to_soft=False, thread_local=False)

    @contextlib.contextmanager
    def held(
        self, wait_s: float, label: str = "", given_up: Callable[[], bool] = lambda: False
    ) -> Iterator[None]:
        """Hold the lock. Raises `Busy` after `wait_s` seconds (-1: no limit), or when `given_up`."""
        if not self.path.parent.is_dir():
            # filelock would re-create it, and hide that the spool was swapped away under us.
            raise Busy(f"{self.path.parent} is missing: was the spool moved? `ezrec doctor` tells")
        try:
            # flock has no wait with a limit: filelock asks again, and only while somebody else holds it
            self._lock.acquire(timeout=wait_s, poll_interval=_ASK_AGAIN_S, cancel_check=given_up)
        except Timeout:
            raise Busy(f"{self.path.name} is held by {self._text() or 'another process'}") from None
        try:
            self.label(label)
            yield
        finally:
            self._lock.release()

    def label(self, text: str) -> None:
        """Say in the file who we are and what we do; only for people, never read by a decision.

        It stays when the lock is given back, and is not written again by the same holder: a stage that looks
        around every minute would wear a memory card by 200 MB a day for its label.
        """
        line = f"pid {os.getpid()} {text}".strip()
        if self._text() != line:
            self._say(line + "\n")

    def _say(self, line: str) -> None:
        with contextlib.suppress(OSError):
            self.path.write_text(line)

    def is_held(self) -> bool:
        """Whether anybody holds it."""
        return holder_pid(self.path) is not None

    def last_pid(self) -> int:
        """Who holds it, or held it last by the label; 0: nobody is known. For those who look at the box."""
        words = self._text().split()
        named = words[1] if len(words) > 1 and words[0] == "pid" else ""
        return holder_pid(self.path) or (int(named) if named.isdecimal() else 0)

    def holder(self) -> str:
        """The label of the holder, or `pid N` where the label is another's; empty when nobody holds it."""
        pid = holder_pid(self.path)
        if pid is None:
            return ""
        label = self._text()
        return label if label.startswith(f"pid {pid} ") else f"pid {pid}"

    def _text(self) -> str:
        try:
            return self.path.read_text().strip()
        except OSError:
            return ""


def holder_pid(path: Path, table: Path = Path("/proc/locks")) -> int | None:
    """The process that holds an flock on a file; None when nobody does, or nothing can be known.

    Takes no lock to find out: that would refuse it to its owner for a moment.
    """
    try:
        there = path.stat()
        lines = table.read_text().splitlines()
    except OSError:
        return None
    file = f"{os.major(there.st_dev):02x}:{os.minor(there.st_dev):02x}:{there.st_ino}"
    for line in lines:
        _, kind, *fields = line.split()
        if kind == "FLOCK" and fields[3] == file:  # who only waits has `->` as its kind
            return int(fields[2])
    return None
