"""Whether the cloud can be reached, as the processes of this device last found it.

The file `offline` is made in `folder` when a connection cannot be made, and renamed to `online` at the next
success: that rename is the event that wakes waiting jobs. A process that starts later, or misses the event,
reads the same from the name. A connection that breaks off in the middle changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from ezrec.domain.ports import Clock

_RETURN_S = 10.0


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


class WakeOnReturn:
    """Called whenever something changes in the folder: wakes those who wait, if the cloud can be reached.

    `always` is woken each time, `sparing` at most every ten seconds: while the connection comes and goes, a
    task that reaches the cloud and one that does not would wake each other without end.
    """

    def __init__(
        self,
        connectivity: Connectivity,
        clock: Clock,
        always: Sequence[Callable[[], None]],
        sparing: Sequence[Callable[[], None]],
    ) -> None:
        self._connectivity, self._clock = connectivity, clock
        self._always, self._sparing = always, sparing
        self._rests_until = float("-inf")

    def __call__(self) -> None:
        if self._connectivity.is_offline():
            return
        for wake in self._always:
            wake()
        if self._clock.monotonic() >= self._rests_until:
            self._rests_until = self._clock.monotonic() + _RETURN_S
            for wake in self._sparing:
                wake()
