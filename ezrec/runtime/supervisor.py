"""The first process of `ezrec run`: it keeps the recorder and the worker running, and does nothing else.

    python -m ezrec.runtime.supervisor LOGS NAMES NAMES …

It runs no worker, opens no job and knows no setting, so nothing that goes wrong with those reaches it: when
a worker runs out of something, only its own process ends, and a match goes on being recorded. systemd watches
this process, and gets its reports only while both children are looked after.

`become` replaces the process that has read the settings, so that their memory is given back.
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

from ezrec.runtime.supervised_process import SupervisedProcess
from ezrec.system import child_process, log_setup
from ezrec.system.sd_notify import notify, watchdog_s

RECORDER = "record"  # the worker that has a process of its own
AGAIN = 75  # exit code: nobody asked for this end; another start finds out what is wrong
_ALIVE_S = 3600.0  # where no watchdog asks for more
_READY_S = 30.0  # a worker that does not begin must not end a recorder that records, as systemd would
_LOOK_S = 0.1
_WORKER_START_S, _WORKER_SILENCE_S = 120.0, 60.0  # it looks at directories between its words: disks hang


def become(names: Sequence[str], directory: Path) -> NoReturn:
    """Become the supervisor of what is named, with this process's id. Does not return."""
    others = [name for name in names if name != RECORDER]
    argv = [sys.executable, "-m", __name__, str(directory), RECORDER, ",".join(others)]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, argv)


def _child(names: str, log: logging.Logger, supervisor: Supervisor) -> SupervisedProcess:
    argv = [sys.executable, "-m", "ezrec", "run", "--only", names, "--kept"]
    if names == RECORDER:
        return SupervisedProcess(argv, log, supervisor.end)
    return SupervisedProcess(
        argv, log, supervisor.end, start_limit_s=_WORKER_START_S, silence_limit_s=_WORKER_SILENCE_S,
        name="the worker", is_vital=False,
    )  # fmt: skip


class Child(Protocol):
    """What the supervisor needs of a child: `SupervisedProcess`."""

    ready: threading.Event

    def start(self) -> None: ...
    def is_well(self) -> bool: ...
    def ask(self) -> None: ...
    def stop(self) -> None: ...


class Supervisor:
    """`end` may be called in any thread and in a signal handler."""

    def __init__(self) -> None:
        self._ended, self.end_fd = os.pipe()
        os.set_blocking(self.end_fd, False)

    def end(self) -> None:
        with contextlib.suppress(BlockingIOError):  # the pipe is full of requests to end
            os.write(self.end_fd, b"!")

    def supervise(self, children: Sequence[Child]) -> None:
        """Run until `end`. Reports to systemd: first ready, then alive while the children are
        looked after.
        """
        poll = select.poll()
        poll.register(self._ended, select.POLLIN)
        alive_s = watchdog_s() or _ALIVE_S
        ready_by = time.monotonic() + _READY_S
        is_ready = False
        for child in children:
            child.start()
        try:
            while not poll.poll(1000 * (alive_s if is_ready else min(_LOOK_S, alive_s))):
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


def main(arguments: Sequence[str]) -> int:
    directory, *groups = arguments
    child_process.weigh(child_process.LAST)
    log_setup.begin(Path(directory), ["run"])
    log, supervisor, asked = log_setup.logger("run"), Supervisor(), []

    def stop(number: int, _: object) -> None:
        asked.append(signal.Signals(number).name)
        supervisor.end()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    # As in `ezrec run`: the number itself, written by whichever thread the kernel gave the signal to.
    signal.set_wakeup_fd(supervisor.end_fd, warn_on_full_buffer=False)
    supervisor.supervise([_child(names, log, supervisor) for names in groups])
    log.info("ezrec ends%s", f": {asked[0]}" if asked else "")
    return 0 if asked else AGAIN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
