"""`SystemClock`: the machine's time, and whether it can be trusted.

A Pi has no battery clock: after a power cut it wakes in the past. Reads marks that the time services
leave; asks nobody over the network.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

# systemd-timesyncd touches this file at every synchronisation; it lives in /run, so not across a boot.
_TIMESYNCD = Path("/run/systemd/timesync/synchronized")
# Every time service takes this flag away from the kernel's clock once it is right (adjtimex(2)). chrony does
# so only with `rtcsync` in its configuration, which Debian's has.
_STA_UNSYNC = 0x0040
_RTC = Path("/sys/class/rtc/rtc0")
_AGREES_S = 60.0


class SystemClock:
    """The port `Clock`. With `assume` the clock is trusted although nothing says so.

    The other parameters are the marks that are looked at.
    """

    def __init__(
        self,
        *,
        assume: bool = False,
        timesyncd: Path = _TIMESYNCD,
        rtc: Path = _RTC,
        ask_kernel: Callable[[], bool] | None = None,
    ) -> None:
        self._assume = assume
        self._timesyncd = timesyncd
        self._rtc = rtc
        self._ask_kernel = ask_kernel or _kernel_says_so

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def is_synchronised(self) -> bool:
        return self._assume or self._timesyncd.exists() or self._ask_kernel() or _has_battery(self._rtc)

    def boot_id(self) -> str:
        return _boot_id()


@functools.cache
def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _kernel_says_so() -> bool:
    """True when a time service told the kernel that the clock is right (adjtimex(2): STA_UNSYNC is clear)."""
    import ctypes  # read once in a while; the struct below is `struct timex` of <sys/timex.h>

    class Timex(ctypes.Structure):
        _fields_ = (
            ("modes", ctypes.c_uint),
            ("offset", ctypes.c_long),
            ("freq", ctypes.c_long),
            ("maxerror", ctypes.c_long),
            ("esterror", ctypes.c_long),
            ("status", ctypes.c_int),
            ("rest", ctypes.c_char * 256),
        )

    timex = Timex()
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        state = libc.adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return False
    return state != -1 and not timex.status & _STA_UNSYNC


def _has_battery(rtc: Path) -> bool:
    """True where a battery clock set the time at boot and still agrees with it.

    A Pi 5 has the clock but mostly no battery: then it begins in 1970 at each power-up, and does not agree.
    """
    try:
        set_at_boot = (rtc / "hctosys").read_text().strip() == "1"
        seconds = int((rtc / "since_epoch").read_text())
    except (OSError, ValueError):
        return False
    return set_at_boot and abs(seconds - time.time()) < _AGREES_S
