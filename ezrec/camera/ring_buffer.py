"""The last seconds of a running camera in memory, placed on the monotonic clock.

So that a take asked for now can begin with a frame of a moment ago. Bounded in bytes.
Not for threads: whoever owns it holds a lock.
"""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass

from ezrec.media.mp4.fragments import Fragment

_SEEN = 300  # fragments: about a minute


@dataclass(frozen=True, slots=True)
class BufferedFragment:
    """A fragment and the monotonic time at which its first frame was taken."""

    fragment: Fragment
    began: float

    @property
    def ended(self) -> float:
        return self.began + self.fragment.duration_s

    @property
    def last_frame(self) -> float:
        return self.began + self.fragment.last_frame_s


class Timeline:
    """Places fragments on the monotonic clock by their own times; how late each one came does not matter.

    A fragment can arrive late, but never before its end. So the least delay of the last minute, measured by
    the stream's own time, is the true one; only a minute, because no two clocks run equally fast.
    """

    fault = ""

    def __init__(self) -> None:
        self._leads: deque[float] = deque(maxlen=_SEEN)

    def place(self, fragment: Fragment) -> BufferedFragment:
        self._leads.append(fragment.arrived - fragment.end_time / fragment.timescale)
        return BufferedFragment(fragment, fragment.pts_s + min(self._leads))


class RingBuffer:
    """The newest fragments, beginning with a key frame: the last `seconds`, and all since the newest key
    frame.

    Never more than `most_bytes`; the oldest are dropped first. If the fragments since one key frame exceed
    that (a minute at 6 Mbit/s is 45 MB), all are dropped, because a part cannot be decoded: the next take
    then begins with the next key frame.
    """

    def __init__(self, seconds: float, most_bytes: int) -> None:
        self._seconds, self._most_bytes = seconds, most_bytes
        self._fragments: deque[BufferedFragment] = deque()
        self._keys: deque[int] = deque()  # which fragments begin with one, counted from the first of all
        self._first = 0  # how many were forgotten
        self._bytes = 0

    @property
    def has_key(self) -> bool:
        return bool(self._keys)

    def add(self, buffered: BufferedFragment) -> None:
        if buffered.fragment.starts_with_key:
            self._keys.append(self._first + len(self._fragments))
        elif not self._keys:
            return
        self._fragments.append(buffered)
        self._bytes += len(buffered.fragment.data)
        while len(self._keys) > 1 and self._is_over(buffered):
            self._forget(self._keys[1])
        if self._bytes > self._most_bytes and len(self._fragments) > 1:
            self.clear()

    def clear(self) -> None:
        self._forget(self._first + len(self._fragments))

    def since(self, moment: float) -> list[BufferedFragment]:
        """From the last key frame at or before `moment`, else from the first one after it, to the newest."""
        if not self._keys:
            return []
        keys = (key for key in reversed(self._keys) if self._at(key).began <= moment)
        first = next(keys, self._keys[0]) - self._first
        return list(itertools.islice(self._fragments, first, None))

    def rate(self) -> float | None:
        """Frames a second of late; None while there is less than a second in memory."""
        if not self._fragments:
            return None
        ended, frames, began = self._fragments[-1].ended, 0, self._fragments[-1].ended
        for buffered in reversed(self._fragments):
            if ended - buffered.began > self._seconds:
                break
            frames, began = frames + buffered.fragment.frames, buffered.began
        return frames / (ended - began) if ended - began >= 1 else None

    def _at(self, key: int) -> BufferedFragment:
        return self._fragments[key - self._first]

    def _is_over(self, newest: BufferedFragment) -> bool:
        """True where what comes before the second key frame is needed by no take, or too much."""
        is_old = newest.ended - self._at(self._keys[1]).began >= self._seconds
        return is_old or self._bytes > self._most_bytes

    def _forget(self, until: int) -> None:
        while self._first < until:
            self._bytes -= len(self._fragments.popleft().fragment.data)
            self._first += 1
        while self._keys and self._keys[0] < until:
            self._keys.popleft()
