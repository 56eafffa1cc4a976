"""The webhook: tells a chat or a server of the owner's of every alert and of every job that is over.

One thread sends, in order, with growing pauses while nobody answers. What waits is in memory alone: a restart
forgets it, and alerts stay in `ezrec status`.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ezrec.domain.webhook import Webhook, request_of

_LIMIT_S = 10.0  # of one request
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 5.0, 600.0
_GIVE_UP_S = 86_400.0
_MOST_WAITING = 200


@dataclass(frozen=True, slots=True)
class _Message:
    event: Mapping[str, Any]
    begun_s: float


class WebhookSender:
    """Sends events to `webhook`. `send` returns at once; a failure is logged and has no other effect."""

    def __init__(self, webhook: Webhook, log: logging.Logger, first_pause_s: float = _FIRST_PAUSE_S) -> None:
        self._webhook = webhook
        self._log = log
        self._first_pause_s = first_pause_s
        self._messages: queue.Queue[_Message] = queue.Queue(_MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._unsent = 0
        self._changed = threading.Condition()

    def send(self, event: Mapping[str, Any]) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="webhook", daemon=True)
                self._thread.start()
        with self._changed:
            self._unsent += 1
        try:
            self._messages.put_nowait(_Message(event, time.monotonic()))
        except queue.Full:
            self._is_done()
            self._log.warning("the webhook was not told of %s: %d wait", event.get("event"), _MOST_WAITING)

    def finish(self, limit_s: float) -> bool:
        """Wait until all is sent, for at most `limit_s` seconds; returns whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._unsent, max(0.0, limit_s))

    def _work(self) -> None:
        while True:
            message = self._messages.get()
            try:
                self._deliver(message)
            finally:
                self._is_done()

    def _is_done(self) -> None:
        with self._changed:
            self._unsent -= 1
            self._changed.notify_all()

    def _deliver(self, message: _Message) -> None:
        pause_s, is_told = self._first_pause_s, False
        while why := self._try(message.event):
            is_over = time.monotonic() - message.begun_s > _GIVE_UP_S
            if is_over or not why.passes:
                self._log.warning("the webhook was not told of %s: %s", message.event.get("event"), why.text)
                return
            if not is_told:
                self._log.warning("the webhook cannot be told: %s; it is tried again", why.text)
                is_told = True
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _try(self, event: Mapping[str, Any]) -> _Failure | None:
        import httpx

        request = request_of(self._webhook, event)
        try:
            answer = httpx.post(
                self._webhook.url, content=request.body, headers=dict(request.headers), timeout=_LIMIT_S
            )
        except httpx.HTTPError as fault:
            return _Failure(f"{type(fault).__name__}: its server cannot be reached", passes=True)
        if answer.is_success:
            return None
        passes = answer.status_code == httpx.codes.TOO_MANY_REQUESTS or answer.is_server_error
        return _Failure(f"its server answered {answer.status_code} (EZREC_WEBHOOK)", passes=passes)


@dataclass(frozen=True, slots=True)
class _Failure:
    text: str
    passes: bool
