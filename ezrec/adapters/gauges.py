"""`SystemGauges`: processor, memory, disk and temperature of this machine, by psutil."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

_GB = 1e9
_FIRST_LOOK_S = 0.2
_SENSORS = ("cpu_thermal", "coretemp", "k10temp", "soc_thermal")


class SystemGauges:
    """The port `Gauges`. `disk` is a directory on the disk that matters."""

    def __init__(self, disk: Path) -> None:
        self._disk = disk
        self._is_warm = False

    def read(self) -> Mapping[str, Any]:
        import psutil  # only where a heartbeat is sent

        memory = psutil.virtual_memory()
        since_s = None if self._is_warm else _FIRST_LOOK_S  # the first answer without a span is always 0
        self._is_warm = True
        found: dict[str, Any] = {
            "cpu_usage_percent": psutil.cpu_percent(interval=since_s),
            "memory_usage_percent": memory.percent,
            "memory_total_gb": round(memory.total / _GB, 2),
            "memory_available_gb": round(memory.available / _GB, 2),
            "uptime_seconds": int(time.clock_gettime(time.CLOCK_BOOTTIME)),  # steps with no clock
        }
        with suppress(OSError):
            disk = psutil.disk_usage(str(self._disk))
            found |= {
                "disk_usage_percent": disk.percent,
                "disk_total_gb": round(disk.total / _GB, 2),
                "disk_free_gb": round(disk.free / _GB, 2),
            }
        temperature = _temperature()
        return found if temperature is None else found | {"temperature_celsius": temperature}


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
