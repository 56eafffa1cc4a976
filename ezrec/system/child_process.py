"""Ties processes to their starter, gives them what others must not read, and says which of them the kernel
may take first.

An FFmpeg whose worker was killed would go on writing into an entry that somebody else has taken by then; a
recorder whose supervisor was killed would hold the camera, and nobody would end it if it hung.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator

LAST, FIRST = -500, 500  # of 1000: who records goes last when memory is short, who can do it again first
_PR_SET_PDEATHSIG = 1
_LIMIT_S = 5.0
# The wish to be killed with its starter reaches the kernel too late when that one is gone by then; but then
# the child has another parent.
_RACE = '[ "$PPID" = "$0" ] && exec "$@"'
_SHELL = "/bin/sh"
_LEAST_MEMORY, _MOST_MEMORY = 512 << 20, 2 << 30


def with_parent_death_signal() -> tuple[str, ...]:
    """Words to put before a command so that it does not outlive us: the kernel kills it with its starter.

    Each of them replaces itself by the next, so the process id stays. None where `setpriv` is not to be had
    or may not work. The command ends with the *thread* that started it. A unit that filters system calls
    refuses setpriv (it sets capabilities, to none); there systemd ends what is left of a service before it
    starts the next.
    """
    return _tied_to(os.getpid())


@functools.cache
def _tied_to(pid: int) -> tuple[str, ...]:
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return ()
    words = (setpriv, "--pdeathsig", "KILL", "--", _SHELL, "-c", _RACE, str(pid))
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


def end_with_parent() -> None:
    """Let the kernel kill this process when the thread that started it ends.

    A child that was late sees the end of its standard input instead: so read that after this.
    """
    with contextlib.suppress(OSError, AttributeError):  # another kernel, or a C library without it
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def weigh(score: int) -> None:
    """Say how soon the kernel is to take this process when memory is short: LAST or FIRST.

    What systemd or a person has said already counts where it goes further. Only root may say LAST.
    """
    path = "/proc/self/oom_score_adj"
    with contextlib.suppress(OSError, ValueError):
        with open(path) as file:
            before = int(file.read())
        wanted = min(before, score) if score < 0 else max(before, score)
        if wanted != before:
            with open(path, "w") as file:
                file.write(str(wanted))


def bound_memory() -> int:
    """Let this process ask for no more memory than it could ever need: half of the machine's, 2 GiB at most.

    What lies about its size then ends in a MemoryError of one job, and not in a machine without memory.
    The soft limit alone: children have a limit of their own, which may be higher.
    """
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    most = max(_LEAST_MEMORY, min(_MOST_MEMORY, there // 2))
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [limit for limit in (most, soft, hard) if limit != resource.RLIM_INFINITY]
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))
    return min(limits)
