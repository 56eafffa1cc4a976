"""Locks between processes: flock through `filelock`, with a label that tells people who holds them.

The kernel frees an flock when its holder dies, so no lock is ever stale and none is ever unlinked.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from ezrec.domain.errors import Busy


class Lock:
    """One lock file. Not to be shared between threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path, fallback_to_soft=False, thread_local=False)

    @contextlib.contextmanager
    def held(self, wait_s: float, label: str = "") -> Iterator[None]:
        """Hold the lock; wait at most `wait_s` seconds (-1: as long as it takes), else raise `Busy`."""
        if not self.path.parent.is_dir():
            # filelock would re-create it, and hide that the spool was swapped away under us.
            raise Busy(f"{self.path.parent} is missing: was the spool moved? `ezrec doctor` tells")
        try:
            self._lock.acquire(timeout=wait_s)
        except Timeout:
            raise Busy(f"{self.path.name} is held by {self.holder() or 'another process'}") from None
        try:
            self.label(label)
            yield
        finally:
            self.label("")
            self._lock.release()

    def label(self, text: str) -> None:
        """Say in the file who we are and what we do; only for people, never read by a decision."""
        with contextlib.suppress(OSError):
            self.path.write_text(f"pid {os.getpid()} {text}".strip() + "\n" if text else "")

    def is_held(self) -> bool:
        """Whether anybody holds it, without touching it: trying to take it would refuse it to its owner."""
        try:
            there = self.path.stat()
            held = Path("/proc/locks").read_text().splitlines()
        except OSError:
            return False
        sign = f"{os.major(there.st_dev):02x}:{os.minor(there.st_dev):02x}:{there.st_ino}"
        return any("FLOCK" in line and f" {sign} " in line and "->" not in line for line in held)

    def holder(self) -> str:
        """What the holder says of itself, or nothing."""
        try:
            return self.path.read_text().strip()
        except OSError:
            return ""
