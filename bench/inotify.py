"""The kernel's word that something came into a directory, heard with nothing in between."""

from __future__ import annotations

import ctypes
import os
import select
from pathlib import Path
from types import TracebackType
from typing import Self

_MOVED_TO = 0x80


class Bare:
    """One watch for renames into one directory."""

    def __init__(self, directory: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.inotify_init1(os.O_CLOEXEC)
        if self._fd < 0 or libc.inotify_add_watch(self._fd, os.fsencode(directory), _MOVED_TO) < 0:
            raise OSError(ctypes.get_errno(), "no inotify watch")

    def wait(self, limit_s: float) -> bool:
        heard = bool(select.select([self._fd], [], [], limit_s)[0])
        if heard:
            os.read(self._fd, 1 << 16)
        return heard

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)
