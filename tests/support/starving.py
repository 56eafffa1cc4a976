"""A process without a free descriptor, for as long as a test wants."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


@contextmanager
def no_free_descriptor(but: int = 0) -> Iterator[Callable[[], None]]:
    """None is free `but` so many. What it gives takes those that have become free since."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    held: list[int] = []

    def take_all() -> None:
        with suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))

    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1 + but, hard))
    try:
        take_all()
        for _ in range(but):
            os.close(held.pop())
        yield take_all
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in held:
            os.close(fd)
