"""A TCP proxy on loopback that does to connections what uplinks do. Standard library only.

A *plan* names the fault of each connection, in their order; when it has run out, connections pass untouched.
"""

from __future__ import annotations

import asyncio
import math
import socket
import struct
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

_BLOCK = 65536
_LINE_BLOCK = 16384
_LATE_S = 0.02
_LAST_S = 0.02
_START_S = 30.0


@dataclass(frozen=True)
class Pass:
    """No fault."""


@dataclass(frozen=True)
class Reset:
    """The connection is refused with an RST."""


@dataclass(frozen=True)
class Cut:
    """After `after` bytes towards the server both sides get an RST."""

    after: int


@dataclass(frozen=True)
class LostAnswer:
    """The server does the work; from its answer on the client hears only an RST."""

    after: int = 0


@dataclass(frozen=True)
class Hangup:
    """After `after` bytes of answers the connection is closed politely: who reuses it meets nobody."""

    after: int = 0


@dataclass(frozen=True)
class Blackhole:
    """After `after` bytes towards the server nothing passes any more, in either direction."""

    after: int = 0


@dataclass(frozen=True)
class Slow:
    """So many bytes a second towards the server."""

    bytes_s: float


@dataclass(frozen=True)
class Link:
    """No fault, but a line: so many bytes a second towards the server, and a delay each way.

    What is on its way is held here, as much as fills the line for a round trip; without the slow start of
    a real one.
    """

    bytes_s: float
    delay_s: float


@dataclass(frozen=True)
class Portal:
    """A page of HTML with status 200 for whatever is asked: a hotel's login."""


Fault = Pass | Reset | Cut | LostAnswer | Hangup | Blackhole | Slow | Link | Portal
_PAGE = b"<html><body>Please sign in to the guest network</body></html>"
_PORTAL = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"


class ChaosProxy:
    """`with ChaosProxy(port, plan) as proxy:` listens on `proxy.port`."""

    def __init__(self, upstream: int, plan: Iterable[Fault] = ()) -> None:
        self.upstream = upstream
        self.port = 0
        self.met: list[Fault] = []
        self.bytes_up = 0
        self._plan: Iterator[Fault] = iter(plan)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chaos", daemon=True)
        self._stop: asyncio.Event | None = None
        self._open: list[set[asyncio.Task[None]]] = []

    def plan(self, plan: Iterable[Fault]) -> None:
        """What happens to the next connections. Those open now end here: they would outlive the plan."""
        self._plan = iter(plan)
        self._loop.call_soon_threadsafe(self._drop_all)

    def _drop_all(self) -> None:
        for ways in self._open:
            for way in ways:
                way.cancel()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(_START_S)
        return self

    def __exit__(self, *_: object) -> None:
        if self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_START_S)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(_LAST_S)  # an aborted transport closes its socket in a turn of its own

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fault = next(self._plan, Pass())
        self.met.append(fault)
        upstream: asyncio.StreamWriter | None = None
        try:
            if isinstance(fault, Reset):
                return
            if isinstance(fault, Portal):
                await reader.read(_BLOCK)
                writer.write(_PORTAL % (len(_PAGE), _PAGE))
                await writer.drain()
                return
            back, upstream = await asyncio.open_connection("127.0.0.1", self.upstream)
            if isinstance(fault, Link):
                ways = {
                    asyncio.create_task(self._line(reader, upstream, fault.delay_s, fault.bytes_s)),
                    asyncio.create_task(self._line(back, writer, fault.delay_s, math.inf)),
                }
            else:
                ways = {
                    asyncio.create_task(self._towards(reader, upstream, fault)),
                    asyncio.create_task(self._back(back, writer, fault)),
                }
            self._open.append(ways)
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._open.remove(ways)
                for way in ways:
                    way.cancel()
        except (OSError, asyncio.CancelledError):
            return  # cancelled only by our own end: nobody above waits to hear of it
        finally:
            for end in (writer, upstream):
                if end is not None:
                    _end(end, abruptly=not isinstance(fault, Pass | Link | Hangup | Portal))

    async def _towards(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault
    ) -> None:
        passed = 0
        with suppress(OSError):
            while block := await reader.read(_BLOCK):
                match fault:
                    case Cut(after) | Blackhole(after):
                        block = block[: max(0, after - passed)]
                    case Slow(bytes_s):
                        await asyncio.sleep(len(block) / bytes_s)
                writer.write(block)
                await writer.drain()
                passed += len(block)
                self.bytes_up += len(block)
                if isinstance(fault, Cut) and passed >= fault.after:
                    return

    async def _line(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float, bytes_s: float
    ) -> None:
        """Each block leaves when the line is free, and arrives `delay_s` later."""
        clock = asyncio.get_running_loop().time
        on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)

        async def arrive() -> None:
            with suppress(OSError):
                while True:
                    at, block = await on_the_way.get()
                    await asyncio.sleep(max(0.0, at - clock()))
                    writer.write(block)
                    await writer.drain()

        arriving, free_at = asyncio.create_task(arrive()), clock()
        try:
            with suppress(OSError):
                while block := await reader.read(_LINE_BLOCK):
                    # Not from now on: that we were woken late is no fault of the line.
                    free_at = max(free_at, clock() - _LATE_S) + len(block) / bytes_s
                    await asyncio.sleep(max(0.0, free_at - clock()))
                    await on_the_way.put((free_at + delay_s, block))
                    self.bytes_up += len(block) if bytes_s < math.inf else 0
                while not on_the_way.empty():
                    await asyncio.sleep(delay_s)
        finally:
            arriving.cancel()

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault) -> None:
        passed = 0
        with suppress(OSError):
            while block := await reader.read(_BLOCK):
                passed += len(block)
                if isinstance(fault, LostAnswer) and passed > fault.after:
                    return
                if not isinstance(fault, Blackhole):
                    writer.write(block)
                    await writer.drain()
                if isinstance(fault, Hangup) and passed > fault.after:
                    return


def _end(writer: asyncio.StreamWriter, *, abruptly: bool) -> None:
    sock = writer.get_extra_info("socket")
    if abruptly and sock is not None:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if abruptly:
        writer.transport.abort()
    else:
        writer.close()
