"""Keeps one child process running: the recorder, or the worker.

A child that ends is started again: at once the first time, then after a pause that grows while it keeps
dying young. Its standard input is a socket between the two: when that closes, the supervisor is gone; on it
the child reports that it is alive, as it would to systemd's watchdog. One that reports nothing for too long
hangs, and is killed. It is asked to end by SIGTERM, and given time to lay down its work.

A thread looks after each child. No fault of the machine ends that thread: a start that fails is tried again,
and a child is watched without a descriptor that would have to be had first. Should the thread end
nevertheless, `on_end` is called, because nobody would start the child again; `is_well` says whether it runs.
"""

from __future__ import annotations

import logging
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence

_YOUNG_S = 10.0
_PAUSES_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
_TOGETHER_S = 0.5
_END_LIMIT_S = 30.0
_KILL_LIMIT_S = 10.0  # a camera's driver can hold a process beyond death; then nobody waits for it
_START_LIMIT_S = 60.0  # to the first sign of life: a small box that has just booted takes its time
_SILENCE_LIMIT_S = 20.0  # ten of the child's words; it says them from memory, whatever its disk does
_TICK_S = 1.0
_LATE_S = 20.0  # so much the thread may oversleep on a loaded machine; to start a program takes as long
_CURED_S = 30.0  # to a new try where wrong settings stopped a child without which the others go on
CONFIGURATION = 78  # exit code: starting again would change nothing


class SupervisedProcess:
    """`name` is what the log calls the child.

    `on_end` is called when nobody keeps the child any more though nobody asked for that: it says that its
    configuration is wrong, or the thread met a bug. `is_vital`: without this child the others are worth
    nothing, so wrong settings end all; else it is tried again until they are right.
    `end_limit_s`: how long it may take to lay down its work when it is asked to end. `start_limit_s`
    and `silence_limit_s`: how long it may say nothing, before its first word and after.
    """

    def __init__(
        self,
        argv: Sequence[str],
        log: logging.Logger,
        on_end: Callable[[], None],
        end_limit_s: float = _END_LIMIT_S,
        start_limit_s: float = _START_LIMIT_S,
        silence_limit_s: float = _SILENCE_LIMIT_S,
        *,
        name: str = "the recorder",
        is_vital: bool = True,
    ) -> None:
        self._argv, self._log, self._on_end = list(argv), log, on_end
        self._end_limit_s = end_limit_s
        self._start_limit_s, self._silence_limit_s = start_limit_s, silence_limit_s
        self._name, self._is_vital = name, is_vital
        self.ready = threading.Event()  # set when the child has said so, and not taken back by its death
        self._stopping = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._guard = threading.Lock()
        self._wakes = 0.0  # monotonic: until then the thread may be silent
        self._thread = threading.Thread(target=self._live, name=f"supervisor of {name}")

    def start(self) -> None:
        self._wakes = time.monotonic()
        self._thread.start()

    def is_well(self) -> bool:
        """Whether the child is being looked after: the thread lives, and woke when it should have."""
        return self._thread.is_alive() and time.monotonic() < self._wakes + _LATE_S

    def ask(self) -> None:
        """Ask the child to end, and start no other."""
        self._stopping.set()
        with self._guard:
            child = self._child
        if child is not None:
            child.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """End the child; returns when it is gone."""
        self.ask()
        if self._thread.ident is None:
            return
        self._thread.join(self._end_limit_s)
        child = self._child
        if child is not None and child.poll() is None:
            self._log.error("%s did not end within %g s and is killed", self._name, self._end_limit_s)
            child.kill()
            self._thread.join(_KILL_LIMIT_S)

    # ---- the thread

    def _live(self) -> None:
        try:
            self._keep()
        finally:
            if not self._stopping.is_set():
                self._on_end()

    def _keep(self) -> None:
        """Until the child is no longer to be started."""
        deaths = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            ended = self._run_once()
            # One that ends in order was asked to: by Ctrl-C, say, which goes to us as well.
            if self._stopping.is_set() or (ended == 0 and self._stopping.wait(_TOGETHER_S)):
                return
            if ended == CONFIGURATION and self._is_vital:
                return
            deaths = 1 if time.monotonic() - began > _YOUNG_S else deaths + 1
            pause_s = _PAUSES_S[min(deaths, len(_PAUSES_S)) - 1] if ended != CONFIGURATION else _CURED_S
            self._log.error("%s ended with %s; again in %g s", self._name, ended, pause_s)
            self._wakes = time.monotonic() + pause_s
            self._stopping.wait(pause_s)

    def _run_once(self) -> int | OSError:
        """Run the child to its end; its exit code, or why it could not be started."""
        self._wakes = time.monotonic()
        try:
            connection, end = socket.socketpair()
            with connection, end:
                with self._guard:
                    if self._stopping.is_set():
                        return 0
                    child = self._child = subprocess.Popen(self._argv, stdin=end.fileno())
                end.close()
                return self._attend(child, connection)
        except OSError as fault:  # no memory, no process, no descriptor to be had: that may pass
            return fault

    def _attend(self, child: subprocess.Popen[bytes], connection: socket.socket) -> int:
        """Until the child has ended. One that falls silent is killed."""
        poll = select.poll()  # and not select(): that knows no descriptor above 1023
        poll.register(connection, select.POLLIN)
        is_heard, limit_s = True, self._start_limit_s
        ends = time.monotonic() + limit_s
        while child.poll() is None:
            # What was said while we slept counts: so listen first, and judge then.
            rest_s = min(_TICK_S, max(0.0, ends - time.monotonic()))
            self._wakes = time.monotonic() + rest_s
            if not is_heard:
                _has_ended(child, rest_s)
            elif poll.poll(rest_s * 1000):
                if said := _received(connection):
                    limit_s = self._silence_limit_s
                    ends = time.monotonic() + limit_s
                    if b"READY=1" in said:
                        self.ready.set()
                    continue
                is_heard = False  # it closed its end: it is about to go, or will say nothing more
            if time.monotonic() < ends:
                continue
            if self._stopping.is_set():
                ends = time.monotonic() + self._end_limit_s  # `stop` has a limit of its own
                continue
            self._log.error("%s gave no sign of life for %g s: it hangs, and is killed", self._name, limit_s)
            self._bury(child)
        return child.returncode

    def _bury(self, child: subprocess.Popen[bytes]) -> None:
        """Kill it, and wait for its end: while a device holds it, no other could have the camera."""
        child.kill()
        told_at = time.monotonic() + _KILL_LIMIT_S
        while not _has_ended(child, _TICK_S):
            self._wakes = time.monotonic() + _TICK_S
            if time.monotonic() > told_at:
                told_at = float("inf")
                self._log.error(
                    "%s was killed and does not end: a device or a disk does not answer; "
                    "unplug it, or restart the machine",
                    self._name,
                )


def _has_ended(child: subprocess.Popen[bytes], within_s: float) -> bool:
    try:
        child.wait(within_s)
    except subprocess.TimeoutExpired:
        return False
    return True


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(4096)
    except OSError:
        return b""
