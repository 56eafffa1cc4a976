"""Work under strace: what it asks of the kernel, in which order, and what stands after a crash in each call.

strace counts calls for each process and each kind of call apart. So one run crashes them all: a child is
forked for each call of each transition, makes so many calls of that kind that fail and do nothing that the
one it is to die in is the WHENth, and goes on to the real ones.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")

CALLS = ("mkdir", "write", "fsync", "rename", "unlink", "unlinkat", "rmdir")
# Calls that ask, and may be refused as well as those that change something.
QUESTIONS = ("openat", "read", "newfstatat", "fstat", "faccessat2", "getdents64", "flock", "fcntl")
WHEN = 60
_NOWHERE = "/proc/no-such-thing"
_LIBC = ctypes.CDLL(None)
_GETDENTS64 = {"x86_64": 217, "aarch64": 61}.get(platform.machine(), 217)
_DUMMIES: dict[str, Callable[[], object]] = {
    "mkdir": lambda: os.mkdir(_NOWHERE),
    "write": lambda: os.write(9999, b""),
    "fsync": lambda: os.fsync(9999),
    "rename": lambda: os.rename(_NOWHERE, _NOWHERE + "-2"),
    "unlink": lambda: os.unlink(_NOWHERE),
    "unlinkat": lambda: os.unlink("no-such-thing", dir_fd=os.open("/proc", os.O_RDONLY)),
    "rmdir": lambda: os.rmdir(_NOWHERE),
    "openat": lambda: os.open(_NOWHERE, os.O_RDONLY),
    "read": lambda: os.read(9999, 1),
    "newfstatat": lambda: os.lstat(_NOWHERE),
    "fstat": lambda: os.fstat(9999),
    "faccessat2": lambda: os.access(_NOWHERE, os.R_OK, follow_symlinks=False),
    "getdents64": lambda: _LIBC.syscall(_GETDENTS64, 9999, None, 0),
    "flock": lambda: fcntl.flock(9999, fcntl.LOCK_UN),
    "fcntl": lambda: fcntl.fcntl(9999, fcntl.F_GETFD),
}


@dataclass(frozen=True)
class Crash:
    """One child: its transition, and the call (the nth of its kind) in which it meets its fate."""

    transition: str
    call: str
    nth: int

    @property
    def name(self) -> str:
        return f"{self.transition}-{self.call}-{self.nth}"


def run_traced(
    module: str, arguments: Sequence[str], log: Path, *options: str, calls: Sequence[str] = CALLS
) -> None:
    """Run `python -m module …` and its children under strace. They may well be killed."""
    argv = [
        "strace",
        "-f",
        "-qq",
        "-s",
        "300",
        "-y",
        "-o",
        str(log),
        "-e",
        f"trace={','.join(calls)}",
        *options,
    ]
    argv += [sys.executable, "-m", module, *arguments]
    env = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(argv, env=env, capture_output=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]


def run_attached(
    module: str,
    arguments: Sequence[str],
    log: Path,
    *options: str,
    calls: Sequence[str],
    limit_s: float = 250,
) -> None:
    """As `run_traced`; but the process is traced only from `wait_for_tracer` on, so that no call of its start
    is counted or fails."""
    env = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE) as work:
        assert work.stdout is not None
        assert work.stdout.readline() == b"ready\n"
        argv = ["strace", "-f", "-qq", "-s", "300", "-y", "-o", str(log), "-p", str(work.pid)]
        argv += ["-e", f"trace={','.join(calls)}", *options]
        with subprocess.Popen(argv) as tracer:
            try:
                assert work.wait(limit_s) == 0
                assert tracer.wait(limit_s) == 0
            finally:
                work.kill()
                tracer.kill()


def wait_for_tracer() -> None:
    """Until `run_attached` traces this process."""
    print("ready", flush=True)
    while "TracerPid:\t0\n" in Path("/proc/self/status").read_text():
        time.sleep(0.05)


def in_child(work: Callable[[], None], crash: Crash | None = None, when: int = WHEN) -> tuple[int, int]:
    """Fork, make the dummy calls, do the work. The child's pid and status: 0 done, 3 an OSError, 9 killed,
    1 a bug.
    """
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            for _ in range(when - crash.nth if crash else 0):
                try:
                    _DUMMIES[crash.call]()  # type: ignore[union-attr]
                except OSError:
                    continue
            work()
            status = 0
        except OSError:
            status = 3
        except Exception:  # noqa: BLE001 - a child reports by its exit status
            traceback.print_exc()
        finally:
            os._exit(status)
    _, raw = os.waitpid(pid, 0)
    return pid, os.WEXITSTATUS(raw) if os.WIFEXITED(raw) else os.WTERMSIG(raw)


def calls_in(log: Path) -> list[tuple[int, str, str]]:
    """Process, call and its arguments with the result, in order."""
    found = []
    for line in log.read_text(errors="replace").splitlines():
        match = re.match(r"(\d+) +(\w+)\((.*)", line)
        if match:
            found.append((int(match[1]), match[2], match[3]))
    return found


def count(calls: Sequence[tuple[int, str, str]], pid: int) -> Counter[str]:
    return Counter(call for who, call, _ in calls if who == pid)
