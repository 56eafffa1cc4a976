"""Hearing of a stepped clock, from the real kernel."""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Iterator

import pytest

from ezrec.system.clock import on_step
from tests.support.wait import LIMIT_S


@pytest.fixture(autouse=True)
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The whole machine hears of a step: one of these tests at a time, whatever runs beside it."""
    with open(tmp_path_factory.getbasetemp().parent / "clock-steps.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def set_clock_to_its_own_value() -> None:
    """A step of no length that anybody notices; the kernel tells all the same."""
    try:
        time.clock_settime(time.CLOCK_REALTIME, time.clock_gettime(time.CLOCK_REALTIME))
    except PermissionError:
        pytest.skip("setting the clock needs root (CAP_SYS_TIME)")


def test_every_step_of_the_clock_is_told() -> None:
    told = threading.Semaphore(0)
    assert on_step(lambda: told.release())
    for _ in range(3):
        set_clock_to_its_own_value()
        assert told.acquire(timeout=LIMIT_S)


def test_a_clock_that_runs_on_is_not_told() -> None:
    told = threading.Event()
    assert on_step(told.set)
    assert not told.wait(0.3)


def test_nothing_is_missed_while_it_is_told() -> None:
    """A step that comes while the last one is being told may be told together with it, or again."""
    told = threading.Semaphore(0)
    in_step, go_on = threading.Event(), threading.Event()

    def tell() -> None:
        told.release()
        in_step.set()
        go_on.wait(LIMIT_S)

    assert on_step(tell)
    set_clock_to_its_own_value()
    assert in_step.wait(LIMIT_S)
    set_clock_to_its_own_value()
    go_on.set()
    assert told.acquire(timeout=LIMIT_S)
    assert told.acquire(timeout=LIMIT_S)
