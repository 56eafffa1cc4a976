"""`Hint`: hears through Supabase Realtime that a booking was changed, and rings. Carries no facts.

The client library gives up for good after five failed reconnects, and can go deaf without a word. So it may
die here as it likes: it gets one connection and no second chance, and the lane that calls `listen` makes a
fresh one after a pause. Without it the bookings come at the next regular look.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from ezrec.cloud.supabase.connection import Connection
from ezrec.cloud.supabase.errors import redacted
from ezrec.domain.errors import Retry
from ezrec.system.task import WakeUp

if TYPE_CHECKING:
    from realtime import AsyncRealtimeClient

_JOIN_S = 15.0
_CLOSE_S = 5.0
_TOKEN_S = 60.0  # how often the token is looked at
_LIFE_S = 3600.0  # then anew, because a connection that went deaf looks like a quiet one
_log = logging.getLogger("ezrec.supabase")


class Hint(WakeUp):
    """Is its own lane's bell: when it rings, `listen` ends."""

    def __init__(self, cloud: Connection, user_id: str, camera_id: str, ring: Callable[[], None]) -> None:
        super().__init__()
        self._cloud = cloud
        self._user_id, self._camera_id = user_id, camera_id
        self._tell = ring
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = asyncio.Event()
        self._lost = ""

    def ring(self) -> None:
        super().ring()
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # it has just come to its end by itself
                loop.call_soon_threadsafe(self._ended.set)

    def listen(self) -> None:
        """Listen as long as the connection lives, at most an hour. Raises `Retry` where it broke."""
        from websockets.exceptions import WebSocketException

        logging.getLogger("realtime").setLevel(logging.CRITICAL)  # what goes wrong is said here, once
        token = self._cloud.call("listening for changed bookings", self._cloud.sign_in.token)
        try:
            asyncio.run(self._listen(token))
        except (OSError, WebSocketException, TimeoutError) as fault:
            said = redacted(str(fault)) or type(fault).__name__
            raise Retry(f"no hints of changed bookings: {said}") from fault

    async def _listen(self, token: str) -> None:
        from realtime import AsyncRealtimeClient

        self._ended, self._lost = asyncio.Event(), ""
        self._loop = asyncio.get_running_loop()
        if self.wait(0):
            return  # asked to end before there was a loop that could hear it
        key = self._cloud.credentials.key
        client = AsyncRealtimeClient(
            f"{self._cloud.credentials.url}/realtime/v1", token=key, auto_reconnect=False, max_retries=1
        )
        try:
            await client.set_auth(token)
            await asyncio.wait_for(self._join(client), _JOIN_S)
            await self._live(client, token)
        finally:
            self._loop = None
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(client.close(), _CLOSE_S)

    async def _join(self, client: AsyncRealtimeClient) -> None:
        from realtime import RealtimePostgresChangesListenEvent, RealtimeSubscribeStates

        def on_state(state: RealtimeSubscribeStates, fault: Exception | None) -> None:
            if state is RealtimeSubscribeStates.SUBSCRIBED:
                _log.info("hints of changed bookings come through Realtime")
                self._tell()  # something may have changed while nobody listened
            else:
                self._lost = f"Realtime: {state.value} {fault or ''}".strip()
                self._ended.set()

        channel = client.channel(f"ezrec-{self._camera_id}").on_postgres_changes(
            RealtimePostgresChangesListenEvent.All,
            lambda _: self._tell(),
            table="bookings",
            schema="public",
            filter=f"user_id=eq.{self._user_id}",
        )
        await client.connect()
        await channel.subscribe(on_state)

    async def _live(self, client: AsyncRealtimeClient, token: str) -> None:
        ends = asyncio.get_running_loop().time() + _LIFE_S
        ended = asyncio.create_task(self._ended.wait())
        # An exception in the library's reader ends it without a word; the attribute is its own, so it may go.
        reader: asyncio.Task[None] | None = getattr(client, "_listen_task", None)
        watched = {ended} if reader is None else {ended, reader}
        try:
            while asyncio.get_running_loop().time() < ends:
                done, _ = await asyncio.wait(watched, timeout=_TOKEN_S, return_when=asyncio.FIRST_COMPLETED)
                if done:
                    break
                fresh = await asyncio.to_thread(
                    self._cloud.call, "renewing the token of the hints", self._cloud.sign_in.token
                )
                if fresh != token:
                    token = fresh
                    await client.set_auth(token)
        finally:
            ended.cancel()
        if reader is not None and reader.done() and not self._lost:
            fault = None if reader.cancelled() else reader.exception()
            self._lost = f"its reader ended: {fault or 'without a fault'}"
        if self._lost:
            raise OSError(self._lost)
