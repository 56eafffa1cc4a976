"""The last seconds of a running camera in memory, placed on the monotonic clock.

So that a take asked for now can begin with a frame of a moment ago. Bounded in seconds and in bytes.
Not for threads: whoever owns it holds a lock.
"""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass

from ezrec.adapters.fragments import Fragment

_SEEN = 300  # fragments: about a minute


@dataclass(frozen=True, slots=True)
class Piece:
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

    A fragment can come late but never before its end: so the earliest arrival, measured by the stream's
    time, is the truth. Only the last minute counts, because no two clocks run equally fast.
    """

    def __init__(self) -> None:
        self._leads: deque[float] = deque(maxlen=_SEEN)

    def place(self, fragment: Fragment) -> Piece:
        self._leads.append(fragment.arrived - fragment.end_time / fragment.timescale)
        return Piece(fragment, fragment.pts_s + min(self._leads))


class Ring:
    """The newest pieces: at most `seconds` and `most_bytes` of them, but always the newest one."""

    def __init__(self, seconds: float, most_bytes: int) -> None:
        self._seconds, self._most_bytes = seconds, most_bytes
        self._pieces: deque[Piece] = deque()
        self._bytes = 0

    def add(self, piece: Piece) -> None:
        self._pieces.append(piece)
        self._bytes += len(piece.fragment.data)
        while len(self._pieces) > 1 and self._is_over(piece):
            self._bytes -= len(self._pieces.popleft().fragment.data)

    def since(self, moment: float) -> list[Piece]:
        """From the last key frame at or before `moment`, else from the first one after it, to the newest."""
        keys = [n for n, piece in enumerate(self._pieces) if piece.fragment.starts_with_key]
        if not keys:
            return []
        first = max((n for n in keys if self._pieces[n].began <= moment), default=keys[0])
        return list(itertools.islice(self._pieces, first, None))

    def rate(self) -> float | None:
        """Frames a second in memory; None while there is less than a second."""
        seconds = self._pieces[-1].ended - self._pieces[0].began if self._pieces else 0.0
        return sum(piece.fragment.frames for piece in self._pieces) / seconds if seconds >= 1 else None

    def _is_over(self, newest: Piece) -> bool:
        return self._bytes > self._most_bytes or newest.ended - self._pieces[0].ended > self._seconds
