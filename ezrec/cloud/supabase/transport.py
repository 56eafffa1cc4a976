"""An HTTP/1.1 transport for httpx that sends large bodies without copying them repeatedly.

When a socket takes only part of a block, httpcore copies the rest: with blocks of 256 KiB and a slow reader
that takes twice the CPU of curl. This transport advances a memoryview instead; everything else is httpcore's.
Proxies named in the environment go httpx's usual way.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import httpcore
import httpx

if TYPE_CHECKING:
    import ssl

# OpenSSL takes a whole block or times out: small enough for a slow line within one timeout.
_TLS_BLOCK = 64 * 1024
_CONNECTIONS = 10


class _SocketStream(httpcore.NetworkStream):
    """httpcore's stream, except for `write`."""

    def __init__(self, inner: httpcore.NetworkStream, most: int | None = None) -> None:
        self._inner, self._most = inner, most
        self._socket = inner.get_extra_info("socket")

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        left = memoryview(buffer)
        try:
            self._socket.settimeout(timeout)
            while left:
                left = left[self._socket.send(left[: self._most]) :]
        except TimeoutError as fault:
            raise httpcore.WriteTimeout(str(fault)) from fault
        except OSError as fault:
            raise httpcore.WriteError(str(fault)) from fault

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, timeout)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _SocketStream(self._inner.start_tls(ssl_context, server_hostname, timeout), _TLS_BLOCK)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Network(httpcore.SyncBackend):
    def connect_tcp(self, *args: Any, **options: Any) -> httpcore.NetworkStream:
        return _SocketStream(super().connect_tcp(*args, **options))


class _Body(httpx.SyncByteStream):
    """The response's body; raises httpx's exceptions."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[bytes]:
        with _as_httpx():
            yield from self._parts

    def close(self) -> None:
        if hasattr(self._parts, "close"):
            self._parts.close()


class UploadTransport(httpx.BaseTransport):
    """For `httpx.Client(transport=…)`."""

    def __init__(self, *, keep_s: float = 5.0) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            max_connections=_CONNECTIONS,
            max_keepalive_connections=_CONNECTIONS,
            keepalive_expiry=keep_s,
            network_backend=_Network(),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.SyncByteStream)
        url = request.url
        asked = httpcore.Request(
            method=request.method,
            url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with _as_httpx():
            answer = self._pool.handle_request(asked)
        assert isinstance(answer.stream, Iterable)
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_Body(answer.stream), extensions=answer.extensions
        )

    def close(self) -> None:
        self._pool.close()


_FAULTS = (
    httpcore.ConnectTimeout, httpcore.ReadTimeout, httpcore.WriteTimeout, httpcore.PoolTimeout,
    httpcore.ConnectError, httpcore.ReadError, httpcore.WriteError, httpcore.ProxyError,
    httpcore.UnsupportedProtocol, httpcore.LocalProtocolError, httpcore.RemoteProtocolError,
)  # fmt: skip


@contextlib.contextmanager
def _as_httpx() -> Iterator[None]:
    """Turns httpcore's exceptions into httpx's, which have the same names."""
    try:
        yield
    except _FAULTS as fault:
        raise getattr(httpx, type(fault).__name__)(str(fault)) from fault
