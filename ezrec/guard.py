"""How we start commands: so that none outlives us, and so that what it is told in private stays private.

An FFmpeg whose worker was killed would go on writing into an entry that somebody else has taken by then.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
from collections.abc import Iterator

_LIMIT_S = 5.0


@functools.cache
def tied_to_us() -> tuple[str, ...]:
    """`setpriv`, where it is to be had and may work; each such command replaces itself by the next.

    It ends with the *thread* that started it. A unit that filters system calls refuses setpriv (it sets
    capabilities, to none); there systemd ends what is left of a service before it starts the next.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return ()
    words = (setpriv, "--pdeathsig", "KILL", "--")
    try:
        tried = subprocess.run([*words, "true"], capture_output=True, timeout=_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return words if tried.returncode == 0 else ()


@contextlib.contextmanager
def as_input(data: bytes) -> Iterator[int]:
    """A file in memory, for a command's standard input. Nobody but our own user can read it, while any user
    may read a command's arguments; and what the command does not read holds nobody up.
    """
    fd = os.memfd_create("input")
    try:
        os.write(fd, data)
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)
