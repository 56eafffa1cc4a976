"""The first process of `ezrec run`: it keeps the recorder and the worker running, and does nothing else.

    python -m ezrec.runtime.keeper LOGS FORM LANES LANES …

It has no lane, opens no job and knows no setting, so that nothing which can go wrong with those reaches it:
whatever a lane runs out of, only the process of that lane ends, and a match goes on being recorded. It is
what systemd watches, and is told well only while both children are being looked after.

`become` replaces the process that has read the settings: what they took of memory is given back.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, Protocol

from ezrec.runtime.supervisor import Supervised
from ezrec.system import child_process, log_setup
from ezrec.system.sd_notify import notify, watchdog_s

RECORDER = "record"  # the lane that has a process of its own
AGAIN = 75  # exit code: nobody asked for this end; another start finds out what is wrong
_ALIVE_S = 3600.0  # where no watchdog asks for more
_READY_S = 30.0  # a worker that does not begin must not end a recorder that records, as systemd would
_LOOK_S = 0.1
_WORKER_START_S, _WORKER_SILENCE_S = 120.0, 60.0  # it looks at directories between its words: disks hang


def become(lanes: Sequence[str], directory: Path) -> NoReturn:
    """Be the keeper of these lanes, under this process's number."""
    apart = [lane for lane in lanes if lane != RECORDER]
    words = [sys.executable, "-m", __name__, str(directory), RECORDER, ",".join(apart)]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, words)


def kept(lanes: str, log: logging.Logger, ended: Keeper) -> Supervised:
    argv = [sys.executable, "-m", "ezrec", "run", "--only", lanes, "--kept"]
    if lanes == RECORDER:
        return Supervised(argv, log, ended.end)
    return Supervised(
        argv, log, ended.end, start_limit_s=_WORKER_START_S, silence_limit_s=_WORKER_SILENCE_S,
        name="the worker", is_vital=False,
    )  # fmt: skip


class Kept(Protocol):
    """What is to be known of a child that somebody keeps: `Supervised`."""

    ready: threading.Event

    def start(self) -> None: ...
    def is_well(self) -> bool: ...
    def ask(self) -> None: ...
    def stop(self) -> None: ...


class Keeper:
    """`end` may be called in any thread and in a signal handler."""

    def __init__(self) -> None:
        self._heard, self.wake_up = os.pipe()
        os.set_blocking(self.wake_up, False)

    def end(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it was rung often enough
            os.write(self.wake_up, b"!")

    def keep(self, children: Sequence[Kept]) -> None:
        """Until `end`. systemd hears that all is ready, then that the children are looked after."""
        ear = select.poll()
        ear.register(self._heard, select.POLLIN)
        alive_s = watchdog_s() or _ALIVE_S
        ready_by = time.monotonic() + _READY_S
        is_ready = False
        for child in children:
            child.start()
        try:
            while not ear.poll(1000 * (alive_s if is_ready else min(_LOOK_S, alive_s))):
                if not is_ready and (
                    time.monotonic() > ready_by or all(child.ready.is_set() for child in children)
                ):
                    notify("READY=1")
                    is_ready = True
                if is_ready and all(child.is_well() for child in children):
                    notify("WATCHDOG=1")
        finally:
            notify("STOPPING=1")
            for child in children:
                child.ask()  # all at once, then wait for each
            for child in children:
                child.stop()


def main(words: Sequence[str]) -> int:
    directory, *groups = words
    child_process.weigh(child_process.LAST)
    log_setup.begin(Path(directory), ["run"])
    log, keeper, asked = log_setup.logger("run"), Keeper(), []

    def stop(number: int, _: object) -> None:
        asked.append(signal.Signals(number).name)
        keeper.end()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    # As in `ezrec run`: the number itself, written by whichever thread the kernel gave the signal to.
    signal.set_wakeup_fd(keeper.wake_up, warn_on_full_buffer=False)
    keeper.keep([kept(lanes, log, keeper) for lanes in groups])
    log.info("ezrec ends%s", f": {asked[0]}" if asked else "")
    return 0 if asked else AGAIN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
