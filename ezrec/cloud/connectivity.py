"""Whether the cloud can be reached, as the processes of this device last found it.

A file `offline` stands in `folder` from the first connection that could not be made until one succeeds; it
is then renamed to `online`, which is the event that wakes what waits. Who begins late, or misses the event,
reads the same from the name. A connection that broke off in its middle says nothing of the network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from ezrec.domain.ports import Clock

_RETURN_S = 10.0


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
        if self._connectivity.is_lost():
            return
        for wake in self._always:
            wake()
        if self._clock.monotonic() >= self._rests_until:
            self._rests_until = self._clock.monotonic() + _RETURN_S
            for wake in self._sparing:
                wake()
