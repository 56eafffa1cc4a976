"""`PacketQueue`: between the camera's threads, which may never wait or fail, and the thread that muxes.

An exception in a callback or an output ends picamera2's event loop; after that every call to the camera waits
for ever. So the methods called from there only count, copy and queue. Does not import picamera2.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MOST_BYTES = 16 << 20  # 13 s at 10 Mbit/s; the muxer waits for no disk, so only a starved machine needs it
_ALMOST = 0.8


@dataclass(frozen=True, slots=True)
class Packet:
    """One encoded frame. `time_us` counts sensor time from the first frame on."""

    data: bytes
    is_key: bool
    time_us: int
    arrived: float


class PacketQueue:
    """Begins with a key frame. When it is full, frames are dropped up to the next key frame, and counted.

    Keeps `Sensor` (`live_stream.py`): frames of the camera and packets of its encoder are counted apart.
    """

    def __init__(self, monotonic: Callable[[], float], most_bytes: int = MOST_BYTES) -> None:
        self._monotonic, self._most_bytes = monotonic, most_bytes
        self._changed = threading.Condition()
        self._packets: deque[Packet] = deque()
        self._bytes = 0
        self._awaits_key = True
        self._has_begun = self._is_woken = False
        self.frame_at: float | None = None
        self.packet_at: float | None = None
        self.frames = self.packets = self.dropped = 0

    # ---- from the camera's threads

    def note_frame(self) -> None:
        """A frame came out of the camera, encoded or not."""
        with contextlib.suppress(Exception):
            self.frame_at = self._monotonic()
            self.frames += 1

    def put(self, data: Any, is_key: bool, time_us: int | None) -> None:
        with contextlib.suppress(Exception):
            arrived = self._monotonic()
            if data is not None and time_us is not None:
                self._queue(Packet(bytes(data), bool(is_key), int(time_us), arrived))

    def _queue(self, packet: Packet) -> None:
        with self._changed:
            self.packet_at = packet.arrived
            self.packets += 1
            has_room = self._bytes + len(packet.data) <= self._most_bytes
            if not has_room or (self._awaits_key and not packet.is_key):
                self.dropped += self._has_begun
                self._awaits_key = True
                return
            self._awaits_key, self._has_begun = False, True
            self._packets.append(packet)
            self._bytes += len(packet.data)
            self._changed.notify()

    # ---- from the muxer's thread, and from whoever wakes it

    def take(self, limit_s: float) -> list[Packet]:
        """All that is there; waits for the first one, for `wake`, or for the limit."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._packets) or self._is_woken, limit_s)
            taken, self._bytes = list(self._packets), 0
            self._packets.clear()
            return taken

    def wake(self) -> None:
        """From now on nobody waits in `take`."""
        with self._changed:
            self._is_woken = True
            self._changed.notify()


def silence(queue: PacketQueue, now: float, began: float, limit_s: float) -> str:
    """Why the camera counts as lost at `now`; empty while it does not. `began`: when it was started.

    Frames and packets are watched apart: a hardware encoder can freeze while the sensor goes on.
    """
    frame_age_s = now - (queue.frame_at or began)
    packet_age_s = now - (queue.packet_at or began)
    # The last frame of all comes a moment after the last packet; it makes no frozen encoder.
    if frame_age_s > limit_s or (packet_age_s > limit_s and frame_age_s > limit_s * _ALMOST):
        return f"no frames for {limit_s:g} s"
    if packet_age_s > limit_s:
        return f"frames come, but for {limit_s:g} s the encoder has made nothing of them"
    return ""
