"""`SystemClock`: the machine's time, and whether it can be trusted.

A Pi has no battery clock: after a power cut it wakes in the past. Reads marks that the time services
leave; asks nobody over the network.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import threading
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
    """True when the kernel's clock is synchronised by a time service (adjtimex(2): STA_UNSYNC is clear)."""
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


_CLOCK_REALTIME = 0
_TFD_TIMER_ABSTIME, _TFD_TIMER_CANCEL_ON_SET = 1, 2
_TFD_CLOEXEC = 0o2000000
# Seconds since 1970; the timer is never meant to fire. Where `long` has 32 bits a larger number would be
# cut to 0, which disarms the timer.
_FAR_FUTURE = (1 << 31) - 1 if ctypes.sizeof(ctypes.c_long) == 4 else 1 << 40


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Timer(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


def on_step(call: Callable[[], None]) -> bool:
    """Call `call` after every step of the wall clock, as long as the process lives. False: not available."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        fd = libc.timerfd_create(_CLOCK_REALTIME, _TFD_CLOEXEC)
    except AttributeError:
        return False
    if fd < 0:
        return False
    if not _arm(libc, fd):
        os.close(fd)
        return False
    threading.Thread(target=_listen, args=(libc, fd, call), name="clock steps", daemon=True).start()
    return True


def _arm(libc: ctypes.CDLL, fd: int) -> bool:
    timer = _Timer(value=_Timespec(seconds=_FAR_FUTURE))
    flags = _TFD_TIMER_ABSTIME | _TFD_TIMER_CANCEL_ON_SET
    if libc.timerfd_settime(fd, flags, ctypes.byref(timer), None) == 0:
        return True
    return ctypes.get_errno() == errno.ECANCELED  # armed, and the clock was set since we last looked


def _listen(libc: ctypes.CDLL, fd: int, call: Callable[[], None]) -> None:
    while True:
        try:
            os.read(fd, 8)
        except OSError as fault:
            if fault.errno != errno.ECANCELED:
                return
        # Armed before the call: a step in between is either seen by `call` or calls it again.
        is_armed = _arm(libc, fd)
        call()
        if not is_armed:
            return
