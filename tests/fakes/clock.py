"""`StandingClock`: the port `Clock`, moved by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class StandingClock:
    """Stands still until `pass_time`."""

    def __init__(self, now: datetime = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)) -> None:
        self._now = now
        self._monotonic = 1000.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def is_synchronised(self) -> bool:
        return True

    def boot_id(self) -> str:
        return "boot-1"

    def pass_time(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds
