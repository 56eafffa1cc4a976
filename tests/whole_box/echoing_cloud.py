"""A cloud that repeats what it was sent: every secret that it ever saw stands in each of its answers.

Signing in works, so that tokens come into play; everything else is refused, in one form after another.
"""

from __future__ import annotations

import base64
import html
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

JSON = "application/json; charset=utf-8"
_Answer = tuple[int, str, str]


def _told(status: int, message: str, **more: Any) -> _Answer:
    return status, JSON, json.dumps({"message": message, **more})


FORMS: dict[str, Callable[[str], _Answer]] = {
    "text": lambda said: (503, "text/plain", said),
    "json": lambda said: _told(400, said, statusCode="403", error="Unauthorized", code="AccessDenied"),
    "json in json": lambda said: _told(500, json.dumps({"sent": json.dumps(said)}), details=said, hint=said),
    "json as the code": lambda said: _told(409, "no", code=said, error=said),
    "an address": lambda said: _told(400, quote(said, safe=""), code="42501"),
    "base64": lambda said: _told(422, base64.b64encode(said.encode()).decode(), code="23503"),
    "python": lambda said: _told(401, repr({"sent": said.encode()})),
    "a page": lambda said: (502, "text/html", f"<html><pre>{html.escape(said)}</pre></html>"),
    "a portal": lambda said: (302, "text/plain", said),
    "no rows": lambda said: (200, JSON, json.dumps({"sent": said})),
    "rows that are none": lambda said: (200, JSON, json.dumps([said, 7])),
    "rows that are text": lambda said: (200, "text/plain", said),
    "half a JSON": lambda said: (200, JSON, json.dumps([{"sent": said}])[:-5]),
}


class EchoingCloud:
    """Serves on loopback until it is left. `secrets` are access and refresh token of whoever signs in."""

    def __init__(self, form: str, access: str, refresh: str) -> None:
        self._form, self._tokens = FORMS[form], (access, refresh)
        self.seen = [access, refresh]
        self.bodies: list[bytes] = []  # what it was sent to keep
        cloud = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                status, kind, said = cloud._answer(self.path, str(self.headers), body)
                data = said.encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                if status == 302:
                    self.send_header("Location", f"http://127.0.0.1:9/?{quote(said, safe='')}")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = answer  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def _answer(self, path: str, headers: str, body: bytes) -> _Answer:
        sent = f"{path}\n{headers}\n{body[:2000].decode(errors='replace')}"
        if sent not in self.seen:
            self.seen.append(sent)
        if path.startswith("/auth/v1/token"):
            access, refresh = self._tokens
            return (
                200,
                JSON,
                json.dumps(
                    {
                        "access_token": access,
                        "refresh_token": refresh,
                        "expires_in": 3600,
                        "token_type": "bearer",
                    }
                ),
            )
        self.bodies.append(path.encode() + b"\n" + body)
        return self._form("\n".join(self.seen[:2] + self.seen[-3:] + self.seen[2:4]))

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
