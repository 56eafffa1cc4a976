"""`FakeGauges`: the port `Gauges`, showing what a test sets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ezrec.domain.machine import Machine

PLAIN = Machine(
    uptime_s=1000.0,
    load=(0.5, 0.4, 0.3),
    cpu_percent=12.5,
    memory_percent=40.0,
    memory_bytes=4_000_000_000,
    memory_available_bytes=2_400_000_000,
    disk_percent=50.0,
    disk_bytes=32_000_000_000,
    disk_free_bytes=16_000_000_000,
    temperature_c=51.5,
    sent_bytes=1_000,
    received_bytes=2_000,
)


class FakeGauges:
    """Its uptime goes on with `pass_time`; anything else by `show`."""

    def __init__(self, machine: Machine = PLAIN) -> None:
        self.machine = machine

    def read(self) -> Machine:
        return self.machine

    def show(self, **changes: Any) -> None:
        self.machine = replace(self.machine, **changes)

    def pass_time(self, seconds: float) -> None:
        self.show(uptime_s=(self.machine.uptime_s or 0.0) + seconds)
