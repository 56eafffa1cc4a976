"""Whether the cloud can be reached, as the processes of this device last found it.

A file `offline` stands in `folder` from the first connection that could not be made until one succeeds; it
is then renamed to `online`, which is the event that wakes what waits. Who begins late, or misses the event,
reads the same from the name. A connection that broke off in its middle says nothing of the network.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


class Connectivity:
    """Never fails: a disk that cannot be written costs speed, not the work."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._offline, self._online = folder / "offline", folder / "online"

    def is_lost(self) -> bool:
        return self._offline.exists()

    def lose(self) -> None:
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._offline.touch(exist_ok=True)

    def find(self) -> None:
        """Called after every success: one look at a name, unless there is news."""
        with suppress(OSError):
            self._offline.rename(self._online)
