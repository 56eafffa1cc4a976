"""A TCP proxy on loopback that changes nothing and counts: bytes each way, requests, connections."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import suppress
from typing import Self

_BLOCK = 65536
_REQUEST = re.compile(rb"(?:^|\n)(?:GET|HEAD|POST|PATCH|PUT|DELETE) /\S* HTTP/1\.1\r\n")


class CountingProxy:
    """`with CountingProxy(port) as proxy:` listens on `proxy.url`; requests count by their first lines."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._guard = threading.Lock()
        self.up = self.down = self.requests = self.connections = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._upstream))
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._guard:
                    self.connections += 1
                threading.Thread(target=self._pass, args=(client, server, True), daemon=True).start()
                threading.Thread(target=self._pass, args=(server, client, False), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, is_up: bool) -> None:
        with suppress(OSError):
            while block := source.recv(_BLOCK):
                with self._guard:
                    if is_up:
                        self.up += len(block)
                        self.requests += len(_REQUEST.findall(block))
                    else:
                        self.down += len(block)
                target.sendall(block)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
