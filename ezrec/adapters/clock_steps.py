"""Hears when somebody sets the clock: a timer that the kernel cancels at every step (timerfd_create(2))."""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from collections.abc import Callable

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


def on_step(tell: Callable[[], None]) -> bool:
    """Call `tell` after every step of the wall clock, as long as the process lives. False: not to be had."""
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
    threading.Thread(target=_listen, args=(libc, fd, tell), name="clock steps", daemon=True).start()
    return True


def _arm(libc: ctypes.CDLL, fd: int) -> bool:
    timer = _Timer(value=_Timespec(seconds=_FAR_FUTURE))
    flags = _TFD_TIMER_ABSTIME | _TFD_TIMER_CANCEL_ON_SET
    if libc.timerfd_settime(fd, flags, ctypes.byref(timer), None) == 0:
        return True
    return ctypes.get_errno() == errno.ECANCELED  # armed, and the clock was set since we last looked


def _listen(libc: ctypes.CDLL, fd: int, tell: Callable[[], None]) -> None:
    while True:
        try:
            os.read(fd, 8)
        except OSError as fault:
            if fault.errno != errno.ECANCELED:
                return
        # Armed before it is told: what happens in between is then either seen by who is told, or told again.
        is_armed = _arm(libc, fd)
        tell()
        if not is_armed:
            return
