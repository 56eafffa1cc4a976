"""The transport: bodies arrive whole over TLS too, silence has its limit, and faults are httpx's."""

from __future__ import annotations

import hashlib
import random
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest

from ezrec.cloud.supabase.errors import as_transport_fault
from ezrec.cloud.supabase.transport import UploadTransport

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
BODY = random.Random(1).randbytes(3_000_000)


class Hasher(BaseHTTPRequestHandler):
    """Answers a body with its checksum."""

    protocol_version = "HTTP/1.1"

    def do_PATCH(self) -> None:
        seen = hashlib.sha256()
        left = int(self.headers["Content-Length"])
        while left:
            block = self.rfile.read(min(left, 10_000))
            seen.update(block)
            left -= len(block)
        answer = seen.hexdigest().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None: ...


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None: ...  # a client that goes away is what is tested


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[int]:
    server = Server(("127.0.0.1", 0), Hasher)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def certified(
    folder: Path, monkeypatch: pytest.MonkeyPatch, since: datetime, until: datetime
) -> ssl.SSLContext:
    """A server's certificate, valid in that time, which this process trusts."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=1,
        not_valid_before=since,
        not_valid_after=until,
    ).add_extension(names, critical=False)
    signed = made.sign(key, hashes.SHA256())
    pem = folder / "server.pem"
    pem.write_bytes(
        signed.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def blocks() -> Iterator[bytes]:
    for start in range(0, len(BODY), 262_144):
        yield BODY[start : start + 262_144]


def sent(url: str) -> str:
    with httpx.Client(transport=UploadTransport(), timeout=20) as client:
        headers = {"Content-Length": str(len(BODY))}
        for _ in range(2):  # the second over the connection of the first
            answer = client.patch(url, content=blocks(), headers=headers)
        return answer.text


def test_a_large_body_arrives_whole() -> None:
    with serving() as port:
        assert sent(f"http://127.0.0.1:{port}/") == hashlib.sha256(BODY).hexdigest()


def test_a_large_body_arrives_whole_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(certified(tmp_path, monkeypatch, NOW - DAY, NOW + DAY)) as port:
        assert sent(f"https://127.0.0.1:{port}/") == hashlib.sha256(BODY).hexdigest()


@pytest.mark.parametrize(
    ("since", "until", "told"),
    [(NOW + 300 * DAY, NOW + 400 * DAY, "clock is wrong"), (NOW - 9 * DAY, NOW - DAY, "has expired")],
    ids=["not yet valid", "expired"],
)
def test_a_certificate_out_of_its_time_is_told_as_a_matter_of_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, since: datetime, until: datetime, told: str
) -> None:
    with (
        serving(certified(tmp_path, monkeypatch, since, until)) as port,
        pytest.raises(httpx.ConnectError) as caught,
    ):
        sent(f"https://127.0.0.1:{port}/")
    fault = as_transport_fault(caught.value, "testing")
    assert told in fault.reason
    assert "clock" in fault.reason
    assert fault.waits_for == "", "no network that comes back would cure it"


def test_a_reader_that_reads_no_more_is_given_up_after_the_limit() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        with (
            httpx.Client(transport=UploadTransport(), timeout=0.3) as client,
            pytest.raises(httpx.WriteTimeout),
        ):
            client.patch(f"http://127.0.0.1:{deaf.getsockname()[1]}/", content=BODY * 10)


def test_where_nobody_listens_the_fault_is_httpxs() -> None:
    with httpx.Client(transport=UploadTransport()) as client, pytest.raises(httpx.ConnectError):
        client.get("http://127.0.0.1:1/")
