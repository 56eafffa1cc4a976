"""`SystemGauges`: processor, memory, disk, network and temperature of this machine, by psutil; a Pi's
throttling by its firmware.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from ezrec.domain.machine import Machine, Throttling, parse_throttled

_FIRST_LOOK_S = 0.2
_SENSORS = ("cpu_thermal", "coretemp", "k10temp", "soc_thermal")
_FIRMWARE = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")
_FIRMWARE_LIMIT_S = 2.0
_FIRMWARE_EVERY_S = 60.0  # a process each time: its bits "since boot" miss nothing in between


class SystemGauges:
    """The port `Gauges`. `disk` is a directory on the disk that matters."""

    def __init__(self, disk: Path, firmware: Path = _FIRMWARE) -> None:
        self._disk = disk
        self._firmware = firmware
        self._is_warm = False
        self._throttling: Throttling | None = None
        self._asked_at: float | None = None

    def read(self) -> Machine:
        import psutil  # only where a heartbeat is sent

        memory = psutil.virtual_memory()
        since_s = None if self._is_warm else _FIRST_LOOK_S  # the first answer without a span is always 0
        self._is_warm = True
        size, free, percent = _disk(self._disk)
        sent, received = _network()
        return Machine(
            uptime_s=round(time.clock_gettime(time.CLOCK_BOOTTIME), 1),  # steps with no clock
            load=_load(),
            cpu_percent=psutil.cpu_percent(interval=since_s),
            memory_percent=memory.percent,
            memory_bytes=memory.total,
            memory_available_bytes=memory.available,
            disk_percent=percent,
            disk_bytes=size,
            disk_free_bytes=free,
            temperature_c=_temperature(),
            sent_bytes=sent,
            received_bytes=received,
            throttling=self._held_back(),
        )

    def _held_back(self) -> Throttling | None:
        now = time.monotonic()
        if self._asked_at is None or now - self._asked_at >= _FIRMWARE_EVERY_S:
            self._asked_at = now
            self._throttling = _throttling(self._firmware)
        return self._throttling


def _load() -> tuple[float, float, float] | None:
    try:
        one, five, fifteen = os.getloadavg()
    except OSError:
        return None
    return round(one, 2), round(five, 2), round(fifteen, 2)


def _disk(place: Path) -> tuple[int | None, int | None, float | None]:
    import psutil

    try:
        disk = psutil.disk_usage(str(place))
    except OSError:
        return None, None, None
    return disk.total, disk.free, disk.percent


def _network() -> tuple[int | None, int | None]:
    """Bytes sent and received since the start, without what the machine says to itself."""
    import psutil

    try:
        found = [counts for name, counts in psutil.net_io_counters(pernic=True).items() if name != "lo"]
    except OSError:
        return None, None
    return sum(each.bytes_sent for each in found), sum(each.bytes_recv for each in found)


def _temperature() -> float | None:
    import psutil

    try:
        sensors = psutil.sensors_temperatures()
    except (AttributeError, OSError):
        return None
    for name in _SENSORS:
        for reading in sensors.get(name, ()):
            return round(reading.current, 1)
    return None


def _throttling(firmware: Path) -> Throttling | None:
    """What the firmware of a Pi says; None on any other machine."""
    with suppress(OSError):
        return parse_throttled(firmware.read_text(errors="replace"))
    program = shutil.which("vcgencmd")
    if program is None:
        return None
    try:
        said = subprocess.run(
            [program, "get_throttled"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_FIRMWARE_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_throttled(said.stdout.decode(errors="replace")) if said.returncode == 0 else None
