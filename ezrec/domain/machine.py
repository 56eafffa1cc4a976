"""The gauges of the machine. Values only; None for what it does not have."""

from __future__ import annotations

import re
from dataclasses import dataclass

_THROTTLED = re.compile(r"\s*(?:throttled=)?(0x[0-9a-fA-F]{1,8}|[0-9a-fA-F]{1,8})\s*")
_SINCE_BOOT = 16  # the firmware keeps each bit that was ever set here, shifted by so much
# bit → what it means, in the firmware's order (`vcgencmd get_throttled`)
CONDITIONS = {0: "under_voltage", 1: "frequency_capped", 2: "throttled", 3: "temperature_limit"}


@dataclass(frozen=True, slots=True)
class Throttling:
    """How the firmware of a Pi throttles it, in words of `CONDITIONS`: now, and since the start."""

    now: tuple[str, ...] = ()
    since_boot: tuple[str, ...] = ()


def parse_throttled(text: str) -> Throttling | None:
    """Read `throttled=0x50005`, or the bare number that sysfs shows; None for anything else."""
    match = _THROTTLED.fullmatch(text)
    if match is None:
        return None
    flags = int(match[1], 16)
    return Throttling(
        tuple(word for bit, word in CONDITIONS.items() if flags >> bit & 1),
        tuple(word for bit, word in CONDITIONS.items() if flags >> (bit + _SINCE_BOOT) & 1),
    )


@dataclass(frozen=True, slots=True)
class Machine:
    """One reading of the gauges: bytes, seconds, °C, percent. The disk is the spool's."""

    uptime_s: float | None = None
    load: tuple[float, float, float] | None = None
    cpu_percent: float | None = None
    memory_percent: float | None = None
    memory_bytes: int | None = None
    memory_available_bytes: int | None = None
    disk_percent: float | None = None
    disk_bytes: int | None = None
    disk_free_bytes: int | None = None
    temperature_c: float | None = None
    sent_bytes: int | None = None
    received_bytes: int | None = None
    throttling: Throttling | None = None
