"""A network camera that asks for a name and a password, on loopback: RTSP over TCP with H.264 pictures.

Only the camera is false: FFmpeg speaks to it, signs in and reads pictures as with a real one.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import re
import socket
import struct
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support import media

FPS = 25
_PACKET = 1400
_REALM, _NONCE = "court", "0123456789abcdef"


class GuardedCamera:
    """Serves on a port of its own until it is left. `scheme`: how one signs in, `Digest` or `Basic`."""

    def __init__(self, user: str, password: str, scheme: str = "Digest") -> None:
        self._login, self._scheme = (user, password), scheme
        self._server = socket.create_server(("127.0.0.1", 0))
        self._is_over = threading.Event()
        self.port: int = self._server.getsockname()[1]
        self.asked: list[str] = []  # the first line of every request
        self.played = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._server.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._attend, args=(client,), daemon=True).start()

    def _attend(self, client: socket.socket) -> None:
        with client, client.makefile("rb") as lines, contextlib.suppress(OSError):
            while (request := _request(lines)) is not None:
                first, headers = request
                self.asked.append(first)
                method = first.partition(" ")[0]
                if method not in ("OPTIONS", "TEARDOWN") and not self._knows(method, headers):
                    _answer(client, headers, "401 Unauthorized", **{"WWW-Authenticate": self._question()})
                elif method == "DESCRIBE":
                    _answer(client, headers, "200 OK", body=_description())
                elif method == "SETUP":
                    _answer(client, headers, "200 OK", Transport="RTP/AVP/TCP;unicast;interleaved=0-1")
                elif method == "PLAY":
                    _answer(client, headers, "200 OK")
                    self.played += 1
                    threading.Thread(target=self._play, args=(client,), daemon=True).start()
                else:
                    _answer(client, headers, "200 OK", Public="DESCRIBE, SETUP, PLAY, TEARDOWN")

    def _question(self) -> str:
        return f'{self._scheme} realm="{_REALM}"' + (
            f', nonce="{_NONCE}"' if self._scheme == "Digest" else ""
        )

    def _knows(self, method: str, headers: dict[str, str]) -> bool:
        given = headers.get("authorization", "")
        user, password = self._login
        if self._scheme == "Basic":
            return given == "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        said = dict(re.findall(r'(\w+)="([^"]*)"', given))
        inner = _md5(f"{user}:{_REALM}:{password}"), _md5(f"{method}:{said.get('uri')}")
        return said.get("username") == user and said.get("response") == _md5(
            f"{inner[0]}:{_NONCE}:{inner[1]}"
        )

    def _play(self, client: socket.socket) -> None:
        number, began = 0, time.monotonic()
        pictures = _pictures()
        with contextlib.suppress(OSError):
            for count in range(1_000_000):
                for packet, is_last in _packets(pictures[count % len(pictures)]):
                    stamp = count * 90_000 // FPS
                    head = struct.pack("!BBHII", 0x80, 96 | is_last << 7, number & 0xFFFF, stamp, 7)
                    number += 1
                    client.sendall(struct.pack("!cBH", b"$", 0, len(head) + len(packet)) + head + packet)
                if self._is_over.wait(max(0.0, began + (count + 1) / FPS - time.monotonic())):
                    client.shutdown(socket.SHUT_RDWR)
                    return


def _request(lines: object) -> tuple[str, dict[str, str]] | None:
    """The first line of the next request and its headers; None when there is none any more."""
    first = ""
    headers: dict[str, str] = {}
    for line in iter(lines.readline, b""):  # type: ignore[attr-defined]
        text = line.decode("latin-1").strip()
        if not first:
            first = text if re.match(r"[A-Z_]+ rtsp", text) else ""
        elif not text:
            return first, headers
        else:
            name, _, value = text.partition(":")
            headers[name.lower()] = value.strip()
    return None


def _answer(client: socket.socket, asked: dict[str, str], status: str, body: str = "", **more: str) -> None:
    said = {"CSeq": asked.get("cseq", "0"), "Session": "1;timeout=60", **more}
    if body:
        said |= {"Content-Type": "application/sdp", "Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in said.items())
    client.sendall(f"RTSP/1.0 {status}\r\n{head}\r\n{body}".encode())


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


@functools.cache
def _pictures() -> tuple[tuple[bytes, ...], ...]:
    """Two seconds of pictures, each as its units of H.264; the first of every second is a key frame."""
    with tempfile.TemporaryDirectory() as folder:
        take = media.make_take(Path(folder) / "t.mp4", 2, fps=FPS, filters="noise=alls=20")
        argv = ["ffmpeg", "-v", "error", "-nostdin", "-i", str(take), "-c:v", "copy", "-f", "h264", "pipe:1"]
        stream = subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout
    pictures: list[list[bytes]] = [[]]
    for unit in re.split(rb"\x00?\x00\x00\x01", stream)[1:]:
        pictures[-1].append(unit)
        if unit[0] & 0x1F in (1, 5):  # a picture; what stands before the next one belongs to that
            pictures.append([])
    return tuple(map(tuple, pictures[:-1]))


def _description() -> str:
    sets = [unit for unit in _pictures()[0] if unit[0] & 0x1F in (7, 8)]
    told = ",".join(base64.b64encode(unit).decode() for unit in sets)
    return (
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=court\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=control:*\r\n"
        "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
        f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={told}\r\na=control:track1\r\n"
    )


def _packets(picture: tuple[bytes, ...]) -> list[tuple[bytes, bool]]:
    """A picture's units as RTP carries them, in pieces where they are large; the last one is marked."""
    packets = []
    for unit in picture:
        if len(unit) <= _PACKET:
            packets.append(unit)
            continue
        pieces = [unit[at : at + _PACKET] for at in range(1, len(unit), _PACKET)]
        for number, piece in enumerate(pieces):
            place = 0x80 * (number == 0) | 0x40 * (number == len(pieces) - 1)
            packets.append(bytes([unit[0] & 0x60 | 28, place | unit[0] & 0x1F]) + piece)
    return [(packet, number == len(packets) - 1) for number, packet in enumerate(packets)]
