"""`Wall`: a wall clock of its own for processes that a test starts; see `clockstep.c`."""

from __future__ import annotations

import functools
import mmap
import shutil
import struct
import subprocess
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest

_SOURCE = Path(__file__).with_suffix(".c")


class Wall:
    """Give `environ` to a process. Skips the test where there is no C compiler."""

    def __init__(self, folder: Path, *, is_synchronised: bool = True) -> None:
        path = folder / "wall"
        path.write_bytes(bytes(16))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 16)
        self._map[8] = is_synchronised
        self.environ = {"LD_PRELOAD": str(_library()), "CLOCKSTEP": str(path)}
        self.shift = timedelta()

    def step(self, by: timedelta) -> None:
        self.shift += by
        self._map[:8] = struct.pack("=q", round(self.shift.total_seconds()) * 10**9)

    def synchronise(self) -> None:
        self._map[8] = 1


@functools.cache
def _library() -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("moving a process's clock needs a C compiler: apt install gcc libc6-dev")
    made = Path(tempfile.mkdtemp(prefix="ezrec-clockstep-")) / "clockstep.so"
    argv = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(made), str(_SOURCE), "-ldl"]
    subprocess.run(argv, check=True, timeout=60)
    return made
