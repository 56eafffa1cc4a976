"""Keeps one child process running: the recorder, which is crash-only and so a process of its own.

A child that ends is started again, after a pause that grows while it keeps dying young. It is asked to
end by SIGTERM and given time to close its recording; only then is it killed.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence

_YOUNG_S = 10.0
_PAUSES_S = (0.5, 1.0, 2.0, 5.0, 10.0)
_END_LIMIT_S = 30.0
CONFIGURATION = 78  # exit code: starting again would change nothing


class Supervised:
    """`on_hopeless` is called when the child says that its configuration is wrong."""

    def __init__(self, argv: Sequence[str], log: logging.Logger, on_hopeless: Callable[[], None]) -> None:
        self._argv, self._log, self._on_hopeless = list(argv), log, on_hopeless
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
            self._thread.join(_END_LIMIT_S)
        if child is not None and child.poll() is None:
            self._log.error("the recorder did not end within %g s and is killed", _END_LIMIT_S)
            child.kill()
            self._thread.join()

    def _live(self) -> None:
        deaths = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            with self._guard:
                if self._stopping.is_set():
                    return
                # The pipe tells the child, by its end, that nobody keeps it any more.
                self._child = subprocess.Popen(self._argv, stdin=subprocess.PIPE)
            code = self._child.wait()
            if self._child.stdin:
                self._child.stdin.close()
            if self._stopping.is_set():
                return
            if code == CONFIGURATION:
                self._on_hopeless()
                return
            deaths = 1 if time.monotonic() - began > _YOUNG_S else deaths + 1
            pause_s = _PAUSES_S[min(deaths, len(_PAUSES_S)) - 1]
            self._log.error("the recorder ended with %d; again in %g s", code, pause_s)
            self._stopping.wait(pause_s)
