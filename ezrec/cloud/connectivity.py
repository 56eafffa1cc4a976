"""Whether this device could reach the cloud last time it tried.

When a connection cannot be made, the file `offline` is created in `folder`; at the next success it is renamed
to `online`. The rename is the event that wakes waiting jobs; the name is the state, for a process that starts
later or misses the event. A connection that breaks off in the middle changes nothing.
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
    """Called whenever something changes in the folder: wakes waiting tasks if the cloud can be reached.

    `always` are woken each time, `sparing` at most every ten seconds: while the connection comes and goes, a
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
