"""`within`: a call into a library that may never return, given a limit.

What does not return cannot be ended: its thread stays behind, as a daemon, and goes with the process.
Only for calls that have no limit of their own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Hung(Exception):
    """The call had not returned when its limit was over; it may still be at work."""


class Broken(Exception):
    """The call ended with the exception that is this one's `__cause__`."""


class _Call(Generic[T]):
    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self.over = threading.Event()
        self.answers: list[T] = []
        self.fault: Exception | None = None

    def run(self) -> None:
        try:
            self.answers.append(self._call())
        except Exception as fault:  # noqa: BLE001 - not swallowed: it is raised again where the caller waits
            self.fault = fault
        finally:
            self.over.set()


def call_with_timeout(limit_s: float, what: str, call: Callable[[], T]) -> T:
    """The call's answer. Raises `Hung`, or `Broken` from whatever the call raised."""
    made = _Call(call)
    threading.Thread(target=made.run, name=what, daemon=True).start()
    if not made.over.wait(limit_s):
        raise Hung(f"{what} did not return within {limit_s:g} s")
    if made.fault is not None:
        raise Broken(f"{what}: {made.fault or type(made.fault).__name__}") from made.fault
    return made.answers[0]
