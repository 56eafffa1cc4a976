"""A folder of files that are made once and used for many videos, such as an intro in a camera's format.

A file's name is a digest of all that went into it, so no file is ever out of date. Whole files only, limited
in number and size; a lost or damaged file is made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from ezrec.system import durable
from ezrec.system.locks import Lock

_MOST_FILES, _MOST_BYTES = 16, 1 << 30
_WAIT_S = 900.0  # another process makes an intro, perhaps the very one that is wanted


class AssetCache:
    """May be used by several processes at once."""

    def __init__(self, folder: Path, *, most_files: int = _MOST_FILES, most_bytes: int = _MOST_BYTES) -> None:
        self._folder, self._most_files, self._most_bytes = folder, most_files, most_bytes

    def have(
        self, key: str, make: Callable[[Path], None], check: Callable[[Path], None]
    ) -> tuple[Path, bool]:
        """The file for `key`, and whether it had to be made.

        `check` raises `ValueError` for a bad file: a file found is then made again, a new one is not kept.
        Raises `Busy` when another process takes too long to make one.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        path, temporary = self._folder / f"{key}.made", self._folder / f"{key}.new"
        with Lock(self._folder / ".lock").held(_WAIT_S, f"makes {key}"):
            if self._is_there(path, check):
                with contextlib.suppress(OSError):
                    os.utime(path)
                return path, False
            for left in self._folder.glob("*.new"):  # we hold the lock: whoever made it is dead
                left.unlink(missing_ok=True)
            try:
                make(temporary)
                check(temporary)
                durable.sync_file(temporary)
                durable.rename(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
            self._bound(path)
        return path, True

    def _is_there(self, path: Path, check: Callable[[Path], None]) -> bool:
        try:
            check(path)
        except FileNotFoundError:
            return False
        except ValueError:
            path.unlink(missing_ok=True)
            return False
        return True

    def _bound(self, newest: Path) -> None:
        """Delete what was not used for the longest time; by order, not by age, because clocks step."""
        found = [(path.stat().st_mtime_ns, path.stat().st_size, path) for path in self._folder.glob("*.made")]
        room, places = self._most_bytes, self._most_files
        for _, size, path in sorted(found, key=lambda item: (item[2] != newest, -item[0])):
            room, places = room - size, places - 1
            if path != newest and (room < 0 or places < 0):
                path.unlink(missing_ok=True)


def key_of(content: str, made_by: str) -> str:
    """A name for what the command line `made_by` makes of a file whose content has the digest `content`."""
    return hashlib.blake2b(f"{content}\0{made_by}".encode(), digest_size=16).hexdigest()
