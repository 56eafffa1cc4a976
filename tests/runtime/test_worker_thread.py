"""A worker thread that is told to stop in mid-turn ends after that turn, and not a rescan later."""

from __future__ import annotations

import logging
import threading

from ezrec.runtime.worker_thread import WorkerThread
from ezrec.system.task import WakeUp

LONGEST_S = 3600.0
LIMIT_S = 30.0


def test_a_turn_that_uses_up_the_wake_up_of_the_stop_does_not_make_the_thread_sleep() -> None:
    wake_up, began = WakeUp(), threading.Event()

    def turn() -> None:
        began.set()
        assert wake_up.wait(LIMIT_S), "the stop rings"  # as the drain does while jobs are in hand

    lane = WorkerThread("record", turn, wake_up, LONGEST_S, logging.getLogger("ezrec.test"))
    lane.daemon = True  # should it sleep after all, it must not keep the tests from ending
    lane.start()
    assert began.wait(LIMIT_S)
    lane.stop()
    lane.join(LIMIT_S)
    assert not lane.is_alive()
