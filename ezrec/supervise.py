"""Keeps one child process running: the recorder, which is crash-only and so a process of its own.

A child that ends is started again: at once the first time, then after a pause that grows while it keeps
dying young. Its standard input is a socket between the two: by its end the child hears that its keeper is
gone, and on it the child says that it is alive, as it would to systemd's watchdog. One that says nothing
for too long hangs, and is killed. It is asked to end by SIGTERM and given time to close its recording.
"""

from __future__ import annotations

import logging
import os
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
CONFIGURATION = 78  # exit code: starting again would change nothing


class Supervised:
    """`on_hopeless` is called when the child says that its configuration is wrong.

    `end_limit_s`: how long it may take to close what it records when it is asked to end. `start_limit_s`
    and `silence_limit_s`: how long it may say nothing, before its first word and after.
    """

    def __init__(
        self,
        argv: Sequence[str],
        log: logging.Logger,
        on_hopeless: Callable[[], None],
        end_limit_s: float = _END_LIMIT_S,
        start_limit_s: float = _START_LIMIT_S,
        silence_limit_s: float = _SILENCE_LIMIT_S,
    ) -> None:
        self._argv, self._log, self._on_hopeless = list(argv), log, on_hopeless
        self._end_limit_s = end_limit_s
        self._start_limit_s, self._silence_limit_s = start_limit_s, silence_limit_s
        self._stopping = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._guard = threading.Lock()
        self._thread = threading.Thread(target=self._live, name="recorder's keeper")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the child; returns when it is gone."""
        self._stopping.set()
        with self._guard:
            child = self._child
        if child is not None:
            child.send_signal(signal.SIGTERM)
        if self._thread.ident is not None:
            self._thread.join(self._end_limit_s)
        if child is not None and child.poll() is None:
            self._log.error("the recorder did not end within %g s and is killed", self._end_limit_s)
            child.kill()
            self._thread.join(_KILL_LIMIT_S)

    def _live(self) -> None:
        deaths = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            ended = self._run_once()
            # One that ends in order was asked to: by Ctrl-C, say, which goes to us as well.
            if self._stopping.is_set() or (ended == 0 and self._stopping.wait(_TOGETHER_S)):
                return
            if ended == CONFIGURATION:
                self._on_hopeless()
                return
            deaths = 1 if time.monotonic() - began > _YOUNG_S else deaths + 1
            pause_s = _PAUSES_S[min(deaths, len(_PAUSES_S)) - 1]
            self._log.error("the recorder ended with %s; again in %g s", ended, pause_s)
            self._stopping.wait(pause_s)

    def _run_once(self) -> int | OSError:
        """Run the child to its end; its exit code, or why it could not be started."""
        rope, end = socket.socketpair()
        with rope, end:
            with self._guard:
                if self._stopping.is_set():
                    return 0
                try:
                    child = subprocess.Popen(self._argv, stdin=end.fileno())
                except OSError as fault:  # no memory, no process to be had: that may pass
                    return fault
                self._child = child
            end.close()
            pidfd = os.pidfd_open(child.pid)
            try:
                self._listen(child, rope, pidfd)
            finally:
                os.close(pidfd)
            return child.wait()

    def _listen(self, child: subprocess.Popen[bytes], rope: socket.socket, pidfd: int) -> None:
        """Until the child has ended. One that falls silent is killed."""
        heard, limit_s = [rope.fileno(), pidfd], self._start_limit_s
        ends = time.monotonic() + limit_s
        while True:
            # What was said while we slept counts: so look first, and judge then.
            ready = select.select(heard, [], [], max(0.0, ends - time.monotonic()))[0]
            if pidfd in ready:
                return
            if ready and _said(rope):
                limit_s = self._silence_limit_s
                ends = time.monotonic() + limit_s
            elif ready:
                heard.remove(rope.fileno())  # it closed its end: it is about to go, or will say nothing more
            elif self._stopping.is_set():
                ends = time.monotonic() + self._end_limit_s  # `stop` has a limit of its own
            else:
                self._log.error(
                    "the recorder gave no sign of life for %g s: it hangs, and is killed", limit_s
                )
                child.kill()
                select.select([pidfd], [], [])
                return


def _said(rope: socket.socket) -> bool:
    try:
        return bool(rope.recv(4096))
    except OSError:
        return False
