"""What is no answer of the cloud, though it says 200: never a success, and never a crash."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ezrec.adapters.supabase import SupabaseBackend
from ezrec.adapters.supabase_connection import Access
from ezrec.domain.errors import Reject, Retry
from tests.fakes.clock import StandingClock
from tests.faults.uploading import deaf, film

ODD = {
    "a text": ("text/plain", b"welcome"),
    "nothing": ("", b""),
    "no rows": ("application/json", b"null"),
    "another thing": ("application/json", b'{"status": "ok"}'),
    "rows of what": ("application/json", b"[1, 2]"),
    "a word": ("application/json", b'"ok"'),
    "half of it": ("application/json", b'[{"id": "1", "da'),
    "bytes": ("application/octet-stream", b"\xff\xfe\x00"),
}


@contextmanager
def answering(kind: str, body: bytes) -> Iterator[str]:
    class Odd(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(200)
            if kind:
                self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_GET(self) -> None:
            self.answer()

        def do_HEAD(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def do_PATCH(self) -> None:
            self.answer()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Odd)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("email", ["", "device@x"], ids=["key", "account"])
def test_an_odd_answer_is_tried_again(tmp_path: Path, odd: str, email: str) -> None:
    source = film(tmp_path, 10)
    with answering(*ODD[odd]) as url:
        access = Access(url, "sb_publishable_x", email, "password" if email else "")
        cloud = SupabaseBackend(access, "user", "0", StandingClock(), wait_s=0.001)
        calls: dict[str, Callable[[], object]] = {
            "bookings": cloud.bookings,
            "branding": cloud.branding,
            "advance_status": lambda: cloud.advance_status("b-1", "completed"),
            "size_of": lambda: cloud.size_of("videos", "a.mp4"),
            "fetch": lambda: cloud.fetch("usermedia", "a.png", tmp_path / "a.png"),
            "store": lambda: cloud.store("videos", "a.mp4", source, deaf),
            "publish_row": lambda: cloud.publish_row({"user_id": "user", "filename": "a.mp4"}),
            "heartbeat": lambda: cloud.heartbeat({"pi_active": True}),
        }
        believed = {name: found for name, call in calls.items() if (found := answer_of(call)) is not REFUSED}
        cloud.close()
    assert believed == {}
    assert not (tmp_path / "a.png").exists()


REFUSED = object()


def answer_of(call: Callable[[], object]) -> object:
    try:
        return call()
    except (Retry, Reject):
        return REFUSED
