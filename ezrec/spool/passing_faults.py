"""Faults of the disk that may pass: a file that cannot be adopted is tried again for a minute."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from ezrec.domain.ports import Clock

AGAIN_S = 5.0  # until a file is tried again
LASTS_S = 60.0  # from then on the fault is no passing one, and the file is tried so seldom
_UNREAD_LASTS_S = 600.0  # the same for what may be a good job


@dataclass(frozen=True, slots=True)
class _Fault:
    """Since when a file cannot be adopted, and when it is tried again: monotonic seconds."""

    began: float
    again: float


@dataclass(slots=True)
class PassingFaults:
    """What failed in one directory, by name."""

    clock: Clock
    _faults: dict[str, _Fault] = field(default_factory=dict)

    def failed(self, name: str) -> bool:
        """Note that a file failed; True when it has failed for a minute."""
        now = self.clock.monotonic()
        began = self._faults[name].began if name in self._faults else now
        lasts = now - began >= LASTS_S
        self._faults[name] = _Fault(began, now + (LASTS_S if lasts else AGAIN_S))
        return lasts

    def passed(self, name: str) -> None:
        self._faults.pop(name, None)

    def lasts(self, name: str, limit_s: float = LASTS_S) -> bool:
        known = self._faults.get(name)
        return known is not None and self.clock.monotonic() - known.began >= limit_s

    def wait_s(self, name: str) -> float | None:
        """Seconds until a file is tried again, negative when that time has passed; None: it has not
        failed.
        """
        known = self._faults.get(name)
        return None if known is None else known.again - self.clock.monotonic()

    def unread_wait_s(self, name: str) -> float | None:
        """The same for what could not be read and may be a good job; None after ten minutes."""
        now = self.clock.monotonic()
        self._faults.setdefault(name, _Fault(now, now + AGAIN_S))
        return None if self.lasts(name, _UNREAD_LASTS_S) else AGAIN_S

    def forget_all_but(self, names: Collection[str]) -> None:
        self._faults = {name: fault for name, fault in self._faults.items() if name in names}
