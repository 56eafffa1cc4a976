"""Whether the cloud can be reached, as the processes of this device last found it.

The file `offline` is made in `folder` when a connection cannot be made, and renamed to `online` at the next
success: that rename is the event that wakes waiting jobs. A process that starts later, or misses the event,
reads the same from the name. A connection that breaks off in the middle changes nothing.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


class Connectivity:
    """Never fails: on a disk that cannot be written, jobs wait longer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._offline, self._online = folder / "offline", folder / "online"

    def is_offline(self) -> bool:
        return self._offline.exists()

    def mark_offline(self) -> None:
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._offline.touch(exist_ok=True)

    def mark_online(self) -> None:
        """Called after every success; cheap while nothing has changed."""
        with suppress(OSError):
            self._offline.rename(self._online)
