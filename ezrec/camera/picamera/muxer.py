"""`Muxer`: encoded frames of one camera to fragmented MP4 in memory, with their own times, through PyAV.

The container is opened at the first key frame and takes its parameters from there. Some PyAVs write those
of another encoder instead, and then nothing can be decoded: what was written is compared. Writes no file.
"""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from ezrec.camera.picamera.packet_queue import Packet
from ezrec.media.mp4 import h264
from ezrec.media.mp4.fragments import BadStream

_CLOCK = 90_000  # ticks a second; whole frames of every usual rate
_OPTIONS = {
    "movflags": "empty_moov+default_base_moof+frag_keyframe",
    "frag_duration": "200000",
    "flush_packets": "1",
}
_PARAMETERS = {h264.SPS, h264.PPS}


def parameter_sets(frame: bytes) -> list[bytes]:
    """The SPS and PPS in front of a key frame, as an H.264 byte stream has them."""
    return [unit for unit in h264.byte_stream_nals(frame) if h264.kind(unit) in _PARAMETERS]


def has_parameters(frame: bytes) -> bool:
    return {h264.kind(unit) for unit in parameter_sets(frame)} == _PARAMETERS


class _Sink:
    """A file for PyAV that nobody can seek in."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: bytes) -> int:
        self._data += data
        return len(data)

    def drain(self) -> bytes:
        drained = bytes(self._data)
        self._data.clear()
        return drained


class Muxer:
    """`add` and `close` give back the bytes that became ready. Raises `BadStream` when there can be none."""

    def __init__(self, fps: float) -> None:
        self._frame_ticks = round(_CLOCK / fps)
        self._sink = _Sink()
        self._av: Any = None
        self._container: Any = None
        self._stream: Any = None
        self._origin_us = 0
        self._last_ticks = -1

    def add(self, packet: Packet) -> bytes:
        """Nothing comes out before the first key frame that brings its parameters along."""
        if self._container is None:
            if not (packet.is_key and has_parameters(packet.data)):
                return b""
            self._guarded(lambda: self._open(packet))
        self._guarded(lambda: self._mux(packet))
        if self._last_ticks == 0:
            self._compare(packet)
        return self._sink.drain()

    def close(self) -> bytes:
        """The rest. May be called again."""
        if self._container is not None:
            container, self._container = self._container, None
            self._guarded(container.close)
        return self._sink.drain()

    def _open(self, first: Packet) -> None:
        self._av = importlib.import_module("av")
        self._origin_us = first.time_us
        with self._av.open(io.BytesIO(first.data), format="h264") as source:
            container = self._av.open(self._sink, "w", format="mp4", options=_OPTIONS)
            self._stream = _add_stream(container, source.streams.video[0])
        self._container = container

    def _mux(self, packet: Packet) -> None:
        made = self._packet(packet)
        ticks = max(round((packet.time_us - self._origin_us) * _CLOCK / 1_000_000), self._last_ticks + 1)
        made.pts = made.dts = self._last_ticks = ticks
        made.time_base = Fraction(1, _CLOCK)
        with contextlib.suppress(AttributeError):  # before 12; only the last frame of all needs it
            made.duration = self._frame_ticks
        made.stream = self._stream
        self._container.mux(made)

    def _packet(self, packet: Packet) -> Any:
        made = self._av.Packet(packet.data)
        try:
            made.is_keyframe = packet.is_key
        except AttributeError:  # before 12 nobody may say so, except the reader of a stream
            if packet.is_key:
                with self._av.open(io.BytesIO(packet.data), format="h264") as source:
                    made = next(iter(source.demux(video=0)), made)
        return made

    def _compare(self, first: Packet) -> None:
        header = bytes(self._sink._data)
        if any(unit not in header for unit in parameter_sets(first.data)):
            raise BadStream(f"PyAV {self._av.__version__} writes another encoder's parameters")

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except (OSError, ValueError, RuntimeError, ArithmeticError, LookupError, TypeError) as fault:
            raise BadStream(f"the frames cannot be muxed: {fault}") from fault
        except ImportError as fault:
            raise BadStream("PyAV is not installed: sudo apt-get install python3-av") from fault


def _add_stream(container: Any, template: Any) -> Any:
    """A stream with the parameters of `template`, as each PyAV wants to be asked for it."""
    if not hasattr(container, "add_stream_from_template"):  # before 14, so in Debian 12
        return container.add_stream(template=template)
    try:
        # Without this, 14 opens an encoder of its own, and its parameters go into the header.
        return container.add_stream_from_template(template, opaque=True)
    except TypeError:  # the first ones to have the method know no choice
        return container.add_stream_from_template(template)
