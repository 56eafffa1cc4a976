"""A network camera on the loopback: RTSP over TCP, whose clock, keys and size a test chooses. H.264 or H.265.

It plays MP4 files in a loop and in real time. `stamp` is what its clock shows at a moment, in seconds since
its start; it may be changed while it plays. Frames of a second connection follow the same clock.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

CLOCK = 90_000
_MOST = 1400  # bytes of a packet
_H264_SETS, _H265_SETS = (7, 8), (32, 33, 34)


@dataclass(frozen=True, slots=True)
class Clip:
    """A file to play for `seconds` of real time."""

    path: Path
    seconds: float = 1e9


@dataclass(frozen=True, slots=True)
class _Frame:
    at: float
    shown: float
    units: tuple[bytes, ...]


class NetworkCamera:
    """Use as a context; `url` is the camera's address."""

    def __init__(self, *clips: Clip, tells_sets: bool = True, has_tcp: bool = True) -> None:
        self.stamp: Callable[[float], float] = lambda moment: moment
        self.may_send: Callable[[float], bool] = lambda moment: True  # else its frames wait in the line
        self.connections = 0
        self._tells_sets, self._has_tcp = tells_sets, has_tcp
        self._clips = [(*_frames(clip.path), clip.seconds) for clip in clips]
        self._codec = self._clips[0][0]
        self._began = time.monotonic()
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"rtsp://127.0.0.1:{self._listener.getsockname()[1]}/court"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    @property
    def now(self) -> float:
        return time.monotonic() - self._began

    def __enter__(self) -> NetworkCamera:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._threads.append(threading.Thread(target=self._answer, args=(line,), daemon=True))
            self._threads[-1].start()

    def _answer(self, line: socket.socket) -> None:
        gone = threading.Event()
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        send = _interleaved(line) if self._has_tcp else _datagrams(datagrams)
        with contextlib.suppress(OSError, ValueError), datagrams, line, line.makefile("rb") as requests:
            line.settimeout(30)
            while not self._over.is_set() and (method := _request(requests)) is not None:
                name, sequence, transport = method
                if name == "SETUP" and not self._has_tcp:
                    if (ports := re.search(r"client_port=(\d+)", transport)) is None:
                        line.sendall(
                            f"RTSP/1.0 461 Unsupported transport\r\nCSeq: {sequence}\r\n\r\n".encode()
                        )
                        continue
                    datagrams.connect(("127.0.0.1", int(ports[1])))
                    transport += f";server_port={datagrams.getsockname()[1]}-{datagrams.getsockname()[1] + 1}"
                body = self._described() if name == "DESCRIBE" else ""
                more = f"Transport: {transport}\r\n" if name == "SETUP" else ""
                more += f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n" if body else ""
                line.sendall(
                    f"RTSP/1.0 200 OK\r\nCSeq: {sequence}\r\nSession: 1\r\n{more}\r\n{body}".encode()
                )
                if name == "PLAY":
                    self._threads.append(threading.Thread(target=self._play, args=(send, gone), daemon=True))
                    self._threads[-1].start()
        gone.set()

    def _described(self) -> str:
        wanted = _H264_SETS if self._codec == "h264" else _H265_SETS
        sets = [nal for nal in self._clips[0][1][0].units if _kind(self._codec, nal) in wanted]
        coded = [base64.b64encode(nal).decode() for nal in sets]
        lines = ["v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=court", "c=IN IP4 0.0.0.0", "t=0 0", "a=control:*"]
        lines += ["m=video 0 RTP/AVP 96"]
        if self._codec == "h264":
            told = f";sprop-parameter-sets={','.join(coded)}" if self._tells_sets else ""
            lines += ["a=rtpmap:96 H264/90000", f"a=fmtp:96 packetization-mode=1{told}"]
        else:
            told = ";".join(
                f"sprop-{name}={nal}" for name, nal in zip(("vps", "sps", "pps"), coded, strict=True)
            )
            lines += ["a=rtpmap:96 H265/90000", *([f"a=fmtp:96 {told}"] if self._tells_sets else [])]
        return "\r\n".join((*lines, "a=control:track1", ""))

    def _play(self, send: Callable[[Sequence[bytes]], None], gone: threading.Event) -> None:
        number = 0
        for frame in self._timeline(self.now):
            while (frame.at > self.now or not self.may_send(self.now)) and not gone.is_set():
                if self._over.wait(min(0.02, max(0.001, frame.at - self.now))):
                    return
            if gone.is_set() or self._over.is_set():
                return
            stamp = int(self.stamp(frame.shown) * CLOCK) & 0xFFFF_FFFF
            packets = list[bytes]()
            for payload, is_last in payloads(self._codec, frame.units):
                number = number + 1 & 0xFFFF
                kind = 96 | (0x80 if is_last else 0)
                packets.append(struct.pack(">BBHII", 0x80, kind, number, stamp, 7) + payload)
            try:
                send(packets)
            except OSError:
                return

    def _timeline(self, since: float) -> Iterator[_Frame]:
        begin = 0.0
        for _, frames, length, seconds in self._clips:
            turn = max(0, int((since - begin) // length))
            while turn * length < seconds:
                for frame in frames:
                    at = begin + turn * length + frame.at
                    if at >= begin + seconds:
                        break
                    if at >= since:
                        yield _Frame(at, begin + turn * length + frame.shown, frame.units)
                turn += 1
            begin += seconds


def _interleaved(line: socket.socket) -> Callable[[Sequence[bytes]], None]:
    """The packets of a picture within the connection itself."""

    def send(packets: Sequence[bytes]) -> None:
        line.sendall(b"".join(b"$\0" + struct.pack(">H", len(packet)) + packet for packet in packets))

    return send


def _datagrams(line: socket.socket) -> Callable[[Sequence[bytes]], None]:
    def send(packets: Sequence[bytes]) -> None:
        for packet in packets:
            line.send(packet)

    return send


def _request(requests: object) -> tuple[str, str, str] | None:
    """Method, sequence and transport of the next request; what comes between is not for us."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte: bytes = requests.read(1)  # type: ignore[attr-defined]
        if not byte:
            return None
        if byte == b"$" and not head:
            _, size = struct.unpack(">BH", requests.read(3))  # type: ignore[attr-defined]
            requests.read(size)  # type: ignore[attr-defined]
            continue
        head += byte
    found = dict(re.findall(r"(?im)^(cseq|transport): *(.*?)\r$", head.decode()))
    fields = {name.lower(): value for name, value in found.items()}
    return head.decode().split(" ", 1)[0], fields.get("cseq", "0"), fields.get("transport", "")


def _frames(path: Path) -> tuple[str, list[_Frame], float]:
    """Codec, pictures in the order of sending, and length of a file."""
    entries = "stream=codec_name:packet=pts_time"
    asked = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", entries, "-of", "json"]
    told = json.loads(subprocess.run([*asked, path], capture_output=True, check=True, timeout=60).stdout)
    codec = told["streams"][0]["codec_name"]
    delimited = f"{codec}_mp4toannexb,{codec}_metadata=aud=insert"
    argv = ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:v:0", "-c", "copy", "-bsf:v", delimited]
    raw = subprocess.run([*argv, "-f", codec, "-"], capture_output=True, check=True, timeout=60).stdout
    pictures: list[list[bytes]] = []
    for nal in re.split(rb"\x00\x00\x01", raw)[1:]:
        if _kind(codec, nal) == (9 if codec == "h264" else 35):
            pictures.append([])
        else:
            pictures[-1].append(nal.rstrip(b"\0"))
    shown = [float(packet["pts_time"]) for packet in told["packets"]]
    assert len(shown) == len(pictures)
    first, step = min(shown), (max(shown) - min(shown)) / (len(shown) - 1)
    frames = [
        _Frame(n * step, at - first, tuple(units))
        for n, (at, units) in enumerate(zip(shown, pictures, strict=True))
    ]
    return codec, frames, step * len(frames)


def _kind(codec: str, nal: bytes) -> int:
    return nal[0] & 31 if codec == "h264" else nal[0] >> 1 & 63


def payloads(codec: str, units: Sequence[bytes]) -> Iterator[tuple[bytes, bool]]:
    """What goes into packets, and whether it is the last of a picture."""
    for n, nal in enumerate(units):
        is_last = n == len(units) - 1
        kind, head = _kind(codec, nal), 1 if codec == "h264" else 2
        body = nal[head:]
        if len(body) <= _MOST:  # a fragment may not be the first and the last at once: FFmpeg drops it
            yield nal, is_last
            continue
        for at in range(0, len(body), _MOST):
            ends = at + _MOST >= len(body)
            place = (0x80 if at == 0 else 0) | (0x40 if ends else 0) | kind
            opening = (
                bytes((nal[0] & 0xE0 | 28,)) if codec == "h264" else bytes((nal[0] & 0x81 | 49 << 1, nal[1]))
            )
            yield opening + bytes((place,)) + body[at : at + _MOST], is_last and ends
