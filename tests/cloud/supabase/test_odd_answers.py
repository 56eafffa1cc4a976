"""What is no answer of the cloud, though it says 200: never a success, and never a crash."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ezrec.cloud.supabase.backend import SupabaseBackend
from ezrec.cloud.supabase.credentials import Credentials
from ezrec.domain.cloud_state import FILE, Access, decode
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
        access = Credentials(url, "sb_publishable_x", email, "password" if email else "")
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


# ---- a refusal that passes

FUTURE = {"code": "PGRST303", "details": None, "hint": None, "message": "JWT issued at future"}
NO_KEY = {"message": "Invalid API key"}


@contextmanager
def refusing(body: object, turns: Container[int]) -> Iterator[tuple[str, list[int]]]:
    """Answers with no rows, but in those turns with 401; the list counts what came."""
    seen: list[int] = []

    class Fickle(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10

        def do_GET(self) -> None:
            seen.append(len(seen) + 1)
            status, said = (401, body) if seen[-1] in turns else (200, [])
            data = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Range", "*/0")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Fickle)
    server.daemon_threads = False  # each is waited for: its socket is closed when the test ends
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


@pytest.mark.parametrize("body", [FUTURE, NO_KEY], ids=["from the future", "no key"])
def test_one_passing_refusal_is_tried_again_before_it_is_declared(tmp_path: Path, body: object) -> None:
    with refusing(body, {2}) as (url, seen):
        cloud = SupabaseBackend(Credentials(url, "sb_secret_x"), "user", "0", StandingClock(), state=tmp_path)
        for _ in range(3):
            assert cloud.bookings() == []
        cloud.close()
    assert len(seen) == 4
    assert decode((tmp_path / FILE).read_bytes()).access is Access.GOOD


def test_a_lasting_refusal_is_declared_after_the_second_look_and_asked_no_more(tmp_path: Path) -> None:
    with refusing(FUTURE, range(1, 99)) as (url, seen):
        cloud = SupabaseBackend(Credentials(url, "sb_secret_x"), "user", "0", StandingClock(), state=tmp_path)
        for _ in range(3):
            with pytest.raises(Retry, match="refuses this device's key"):
                cloud.bookings()
        cloud.close()
    assert len(seen) == 2
    assert decode((tmp_path / FILE).read_bytes()).access is Access.REFUSED
