"""`LatestSender`: sends the latest heartbeat in a thread of its own; one that waits is replaced.

Without a network each request lasts its whole time limit; the local files must not wait for that.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime

from ezrec.domain.errors import Reject, Retry
from ezrec.domain.ports import Clock, Row


class LatestSender:
    """Calls `send` with the latest row that was offered, one at a time; logs each fault once."""

    def __init__(self, send: Callable[[Row], None], clock: Clock, log: logging.Logger) -> None:
        self.reached_at: datetime | None = None  # when one last arrived
        self._send = send
        self._clock = clock
        self._log = log
        self._row: Row | None = None
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        self._is_sending = False
        self.fault: str | None = None  # why the last one failed; "": it arrived; None: none was tried yet

    def offer(self, row: Row) -> None:
        """Send this row next, instead of one that still waits. Returns at once."""
        with self._changed:
            self._row = row
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="status", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def finish(self, limit_s: float) -> bool:
        """Wait until nothing is left to be sent; False if it took too long."""
        with self._changed:
            return self._changed.wait_for(lambda: self._row is None and not self._is_sending, limit_s)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._row is not None)
                row, self._row = self._row, None
                self._is_sending = True
            try:
                if row is not None:
                    self._try(row)
            finally:
                with self._changed:
                    self._is_sending = False
                    self._changed.notify_all()

    def _try(self, row: Row) -> None:
        began = time.monotonic()
        try:
            self._send(row)
        except (Retry, Reject) as fault:
            if str(fault) != self.fault:
                self._log.warning("the heartbeat did not arrive: %s", fault)
                self.fault = str(fault)
            return
        if self.fault:
            self._log.info("the heartbeat arrives again (%.1f s)", time.monotonic() - began)
        self.fault = ""
        self.reached_at = self._clock.now()
