"""`CameraClock`: the stamps of a camera with a clock of its own, held against the arrival of its pictures.

Such a clock is not time. It is set by NTP in mid-match and jumps by hours either way, it stands still, it
runs too fast. What arrives on our monotonic clock cannot be wrong by more than it waited on its way. So:

1. A picture may come late, in a burst, or after a stall: its stamp is right, and nothing is changed.
2. A stamp may not run ahead of what the earliest arrivals of the last minute allow. Where one step does, the
   clock jumped: the step is closed up to what the arrival says.
3. Stamps that part from the arrival bit by bit are re-timed, so gently that nobody sees it.

Jumps back, and forward by more than an honest camera is silent for, come from FFmpeg as steps of `MARK_S`:
a muxer carries no time that goes back (`ffmpeg_sources.py`). Pure: fragments in, buffered fragments out.
"""

from __future__ import annotations

import itertools
import statistics
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from ezrec.camera.ring_buffer import BufferedFragment
from ezrec.media.mp4.fragments import BadStream, Fragment, with_durations

HONEST_S = 3.0  # a longer step between two pictures is no pause: a camera so silent counts as lost
MARK_S = 5.0
_IS_MARK_S = 4.0
_LONG = 3.0  # times the usual step: from here on a step is asked whether it is a jump
_AHEAD_S = 0.3  # so far a stamp may run ahead of the arrival, and a step be long without being asked
_EARLY_S = 0.1  # the take's time has run ahead, by jumps that were closed up too far
_PAUSE_S = 0.5  # a camera that sets its clock may pause; less is the network's jitter
_SETTLING_S = 12.0  # the first pictures come in a burst, and late; longer than `Lags` takes to see a slope
_STORM = (10, 2.0)  # so many jumps in so many seconds: no muxer's order of pictures can be trusted any more
_CALM_S = 5.0
_WARN_EVERY_S = 60.0
# Re-timing begins when stamps and arrival are so far apart, and ends when they are so near again.
_APART_S, _NEAR_S = 0.25, 0.02
_GENTLE = 0.02  # of a picture's time; more only where the distance exceeds half a second
_SHARE = 0.2  # of the distance, with each fragment
_DRIFT = 0.0005  # 1.8 s in an hour: two crystals are never further apart


class CameraClock:
    """`warn` is called about jumps and drifts, in the camera's thread. `fault`: the word for a drift."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self.fault = ""
        self._lags = Lags()
        self._began: float | None = None
        self._shift = 0  # ticks that closed jumps have put between the camera's time and the take's
        self._slewed = 0  # ticks by which the take's time was stretched
        self._reference, self._settled_at = 0.0, 0.0  # the least lag when the stream had settled, and when
        self._is_slewing = False
        self._usual_s: float | None = None
        self._jumps: deque[float] = deque(maxlen=_STORM[0])
        self._warned_at = float("-inf")
        self._was_calm = False

    def place(self, fragment: Fragment) -> BufferedFragment:
        """The fragment with times that hold, and its place on the monotonic clock.

        Raises `BadStream` when the stamps go to and fro: only a new connection helps.
        """
        if self._began is None:
            self._began = fragment.arrived
        straight = self._without_jump(fragment)
        self._lags.note(straight.arrived, straight.arrived - straight.end_time / straight.timescale)
        least = self._lags.least(straight.arrived)
        assert least is not None
        return BufferedFragment(self._re_timed(straight, least), straight.pts_s + least)

    def _is_settled(self, moment: float) -> bool:
        return self._began is not None and moment - self._began >= _SETTLING_S

    # ---- jumps

    def _without_jump(self, fragment: Fragment) -> Fragment:
        scale, base = fragment.timescale, fragment.base_time + self._shift
        step_s = fragment.last_duration / scale
        last_frame_s = (base + fragment.duration - fragment.last_duration) / scale
        least = self._lags.least(fragment.arrived)
        by_arrival_s = None if least is None else fragment.arrived - least - last_frame_s
        if self._is_honest(step_s, by_arrival_s):
            self._note_calm(fragment)
            return replace(fragment, base_time=base) if self._shift else fragment
        wanted = max(1, round(self._real_step_s(by_arrival_s) * scale))
        self._shift += wanted - fragment.last_duration
        self._note_jump(fragment.arrived, step_s, wanted / scale)
        return replace(with_durations(fragment, (*fragment.durations[:-1], wanted)), base_time=base)

    def _is_honest(self, step_s: float, by_arrival_s: float | None) -> bool:
        if step_s >= _IS_MARK_S:
            return False
        if step_s <= max(_AHEAD_S, _LONG * (self._usual_s or 0.0)):
            return True
        return by_arrival_s is None or step_s - by_arrival_s <= _AHEAD_S

    def _real_step_s(self, by_arrival_s: float | None) -> float:
        usual_s = self._usual_s
        if by_arrival_s is None:
            return usual_s or 0.0
        if usual_s is None or not usual_s - _EARLY_S <= by_arrival_s <= usual_s + _PAUSE_S:
            return by_arrival_s
        return usual_s

    def _note_calm(self, fragment: Fragment) -> None:
        usual = fragment.durations[:-1] or fragment.durations
        self._usual_s = sum(usual) / len(usual) / fragment.timescale
        since = self._jumps[-1] if self._jumps else self._began
        self._was_calm = self._was_calm or (since is not None and fragment.arrived - since >= _CALM_S)

    def _note_jump(self, at: float, step_s: float, real_s: float) -> None:
        self._jumps.append(at)
        most, within_s = _STORM
        if self._was_calm and len(self._jumps) == most and at - self._jumps[0] < within_s:
            raise BadStream("its time stamps go to and fro")
        if self._usual_s is not None and at - self._warned_at >= _WARN_EVERY_S:
            self._warned_at = at
            by = "" if step_s >= _IS_MARK_S else f" by {step_s - real_s:.1f} s"
            self._warn(
                f"the camera's clock jumped{by}: closed up by the arrival of its pictures; "
                "let it take its time from one NTP server"
            )

    # ---- drift

    def _re_timed(self, straight: Fragment, least: float) -> Fragment:
        scale, base = straight.timescale, straight.base_time + self._slewed
        if not self._is_settled(straight.arrived):
            self._reference, self._settled_at = least, straight.arrived
            return straight
        apart_s = least - self._reference - self._slewed / scale
        if abs(apart_s) >= _APART_S:
            self._is_slewing = True
        elif abs(apart_s) <= _NEAR_S:
            self._is_slewing = False
        change = round(_gently(apart_s, straight.duration_s) * scale) if self._is_slewing else 0
        if not change:
            return replace(straight, base_time=base) if self._slewed else straight
        self._note_drift(least, straight.arrived)
        made = with_durations(straight, _spread(straight.durations, change))
        self._slewed += made.duration - straight.duration
        return replace(made, base_time=base)

    def _note_drift(self, least: float, now: float) -> None:
        rate = (least - self._reference) / (now - self._settled_at)
        if abs(rate) < _DRIFT:
            self.fault = ""
            return
        how = "slow" if rate > 0 else "fast"
        fault = (
            f"its clock runs {100 * abs(rate):.2g} % too {how}: its pictures are re-timed by their arrival"
        )
        if not self.fault:
            self._warn(f"the camera: {fault}")
        self.fault = fault


class Lags:
    """How late fragments came against their own stamps: the least of the last minute.

    A clock that runs slow makes all of them later by the same measure; that is followed, so that the least
    is not one of a minute ago.
    """

    _SLOT_S, _SLOTS, _LEAST_SLOTS = 2.0, 30, 5
    _SLOW = 0.004
    _STRAY_S, _STRAY = 0.08, 0.25  # of a straight line: so far its points may lie apart

    def __init__(self) -> None:
        self._slots: deque[tuple[float, float]] = deque(maxlen=self._SLOTS)  # moment and lag of the least
        self._slot = float("-inf")
        self._slope = 0.0

    def note(self, at: float, lag: float) -> None:
        if at - self._slot >= self._SLOT_S:
            self._slope = self._measured()
            self._slot = at
            self._slots.append((at, lag))
        elif lag < self._slots[-1][1]:
            self._slots[-1] = (at, lag)

    def least(self, now: float) -> float | None:
        """The lag that a fragment would have now which was not delayed; None before the first."""
        while len(self._slots) > 1 and now - self._slots[0][0] > self._SLOT_S * self._SLOTS:
            self._slots.popleft()
        return min((lag + self._slope * (now - at) for at, lag in self._slots), default=None)

    def _measured(self) -> float:
        """Seconds a second by which the lag grows, where it does so steadily; else 0."""
        points = list(self._slots)
        if len(points) < self._LEAST_SLOTS:
            return 0.0
        slope = statistics.median((b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.combinations(points, 2))
        if slope < self._SLOW:
            return 0.0
        rests = [lag - slope * at for at, lag in points]
        grown = slope * (points[-1][0] - points[0][0])
        return slope if max(rests) - min(rests) <= max(self._STRAY_S, self._STRAY * grown) else 0.0


def _gently(apart_s: float, duration_s: float) -> float:
    """By how much to stretch a fragment, or to shorten it, towards where it belongs."""
    most_s = (_GENTLE + max(0.0, abs(apart_s) - 0.5)) * duration_s
    return max(-min(most_s, 0.75 * duration_s), min(_SHARE * apart_s, most_s))


def _spread(durations: Sequence[int], change: int) -> list[int]:
    """The change over all frames alike, to the tick; none is left without a duration."""
    old, new = sum(durations), max(len(durations), sum(durations) + change)
    edges = [round(edge * new / old) for edge in itertools.accumulate(durations, initial=0)]
    return [max(1, later - earlier) for earlier, later in itertools.pairwise(edges)]
