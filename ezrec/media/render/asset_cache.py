"""What is made once and used for many videos: intros made to a camera's measure, and the like.

A file's name is made of all that went into it, so nothing in here is ever out of date. Whole files only; at
most so many and so large; whatever is lost or spoilt is simply made again.
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
    """A folder of made files, shared by processes."""

    def __init__(self, folder: Path, *, most_files: int = _MOST_FILES, most_bytes: int = _MOST_BYTES) -> None:
        self._folder, self._most_files, self._most_bytes = folder, most_files, most_bytes

    def have(
        self, key: str, make: Callable[[Path], None], check: Callable[[Path], None]
    ) -> tuple[Path, bool]:
        """The file for `key`, and whether it had to be made.

        `check` raises `ValueError` for a file that is not what it should be: one found is then made again,
        one just made is not kept. Raises `Busy` where another process makes one without an end.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        path, temporary = self._folder / f"{key}.made", self._folder / f"{key}.new"
        with Lock(self._folder / ".lock").held(_WAIT_S, f"makes {key}"):
            if self._is_there(path, check):
                with contextlib.suppress(OSError):
                    os.utime(path)
                return path, False
            for left in self._folder.glob("*.new"):  # nobody else works in here: its maker is dead
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
        """Forget what was not used for longest. By the order of use, not by age: clocks step."""
        found = [(path.stat().st_mtime_ns, path.stat().st_size, path) for path in self._folder.glob("*.made")]
        room, places = self._most_bytes, self._most_files
        for _, size, path in sorted(found, key=lambda item: (item[2] != newest, -item[0])):
            room, places = room - size, places - 1
            if path != newest and (room < 0 or places < 0):
                path.unlink(missing_ok=True)


def key_of(content: str, made_by: str) -> str:
    """A name for what `made_by` makes of a file with this digest of its content."""
    return hashlib.blake2b(f"{content}\0{made_by}".encode(), digest_size=16).hexdigest()
