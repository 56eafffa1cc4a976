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
_FAR_FUTURE = 1 << 40  # seconds since 1970; the timer is never meant to fire


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
    if fd < 0 or not _arm(libc, fd):
        return False
    threading.Thread(target=_listen, args=(libc, fd, tell), name="clock steps", daemon=True).start()
    return True


def _arm(libc: ctypes.CDLL, fd: int) -> bool:
    timer = _Timer(value=_Timespec(seconds=_FAR_FUTURE))
    flags = _TFD_TIMER_ABSTIME | _TFD_TIMER_CANCEL_ON_SET
    return bool(libc.timerfd_settime(fd, flags, ctypes.byref(timer), None) == 0)


def _listen(libc: ctypes.CDLL, fd: int, tell: Callable[[], None]) -> None:
    while True:
        try:
            os.read(fd, 8)
        except OSError as fault:
            if fault.errno != errno.ECANCELED:
                return
            tell()
        if not _arm(libc, fd):
            return
