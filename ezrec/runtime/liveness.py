"""`Liveness`: the evidence that the recorder works, gathered from those who do its work.

Sessions and the worker set deadlines for what they do (`HeartbeatRegistry.expect`); the camera is asked for
its counts. Both make a `Health`, which is written to `health.json`, and judged for whoever supervises this
process. Judging touches no disk, so that a slow card is not taken for a hung recorder.

It also ends the process when the camera hangs: nobody calls `stop()` on a hung camera.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import math
import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from ezrec.domain import camera_address
from ezrec.domain import health as healths
from ezrec.domain.health import Activity, Deadline, Health, Moved, Patience, camera_state
from ezrec.domain.ports import Camera, CameraHealth, Clock
from ezrec.system import durable

HUNG = 75  # exit code (EX_TEMPFAIL): the camera hangs; a fresh recorder may have it
_ACTIVE_S = 1.0
_IDLE_S = 12.0
_REST_S = (
    300.0  # with the camera off: each writing costs a memory card 45 kB, and 900 s of silence are believed
)
_MEASURED_S = 120.0
_LEAST_MEASURED_S = 5.0
_CLOSING_S = 5.0  # what takes get to be closed before the process leaves a hung camera


class HeartbeatRegistry:
    """By when who will have reported again. Safe in any thread. `changed` is set when an activity changes."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._deadlines: dict[str, Deadline] = {}
        self._guard = threading.Lock()
        self.changed = threading.Event()
        self.last_fault = ""
        self.is_elsewhere = False  # another process holds the stage, and writes its health

    def set_elsewhere(self, is_elsewhere: bool) -> None:
        if is_elsewhere is not self.is_elsewhere:
            self.is_elsewhere = is_elsewhere
            self.changed.set()

    def expect(self, who: str, doing: str, within_s: float, activity: Activity | None = None) -> None:
        """`who` is `doing` something, and will report again within `within_s` seconds."""
        now = self._monotonic()
        with self._guard:
            before = self._deadlines.get(who)
            goes_on = before is not None and before.activity is activity
            since = before.since if before is not None and goes_on else now
            self._deadlines[who] = Deadline(doing, now + within_s, since, activity)
        if not goes_on:
            self.changed.set()

    def done(self, who: str) -> None:
        """`who` has ended: nothing more is expected."""
        with self._guard:
            kept = self._deadlines.pop(who, None)
        if kept is not None:
            self.changed.set()

    def fault(self, reason: str) -> None:
        self.last_fault = reason

    def all(self) -> dict[str, Deadline]:
        with self._guard:
            return dict(self._deadlines)


class Liveness:
    """`path` is the file. `leave` is called with the reason when the camera hangs, and does not return: by
    default it ends this process.
    """

    def __init__(
        self,
        camera: Camera,
        camera_name: str,
        clock: Clock,
        path: Path,
        log: logging.Logger,
        leave: Callable[[str], None] | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.camera = camera
        self._name, self._clock = camera_address.shown(camera_name), clock
        self._path, self._log = path, log
        self._leave = leave or functools.partial(_leave_a_hung_camera, log)
        self._patience = patience or Patience()
        self.heartbeats = HeartbeatRegistry(clock.monotonic)
        self._looking = threading.Lock()
        now = clock.monotonic()
        self._moved, self._counts = Moved(now, now, now), (0, 0, 0)
        self._last_frame: float | None = None
        self._sizes: deque[tuple[float, int]] = deque()
        self._alarm = ""
        self._last_written: tuple[Health, float, object] | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._live, name="liveness", daemon=True)

    def start(self) -> None:
        with contextlib.suppress(OSError):  # a full or read-only disk of its own stops no recording
            self._path.parent.mkdir(parents=True, exist_ok=True)
        self._thread.start()

    def stop(self) -> None:
        """Write for the last time: nothing is recorded any more."""
        self._over.set()
        self.heartbeats.changed.set()
        self._thread.join(_CLOSING_S)

    def stage_heartbeat(self, within_s: float | None) -> None:
        """The worker of the record stage looks again within so many seconds; None: another holds its lock."""
        self.heartbeats.set_elsewhere(within_s is None)
        doing = "the stage's lock" if within_s is None else "its look around"
        self.heartbeats.expect("record stage", doing, math.inf if within_s is None else within_s)

    def is_well(self) -> bool:
        """True while the evidence says that the recorder does what it should. Waits for no disk."""
        alarm = self.look().alarm
        if alarm and alarm != self._alarm:
            self._log.critical("%s: this process no longer reports to the supervisor that it is well", alarm)
        self._alarm = alarm
        return not alarm

    def look(self) -> Health:
        """One look at everything, now."""
        with self._looking:
            camera, now = self.camera.health(), self._clock.monotonic()
            deadlines = self.heartbeats.all()
            self._note_moves(camera, now)
            activities = tuple(
                deadline.activity for deadline in deadlines.values() if deadline.activity is not None
            )
            recording = sorted(
                who for who, deadline in deadlines.items() if deadline.activity is Activity.WRITES
            )
            fault = camera.hung or camera.fault
            return Health(
                at=self._clock.now(),
                pid=os.getpid(),
                boot_id=self._clock.boot_id(),
                camera=self._name,
                camera_state=camera_state(
                    activities, running=camera.running, hung=bool(camera.hung), broke_off=bool(fault)
                ),
                expected_to_record=any(
                    activity in (Activity.LACKS, Activity.WRITES) for activity in activities
                ),
                recording=tuple(recording),
                last_frame_at=self._wall(self._last_frame, now),
                frames_in=camera.frames,
                packets_out=camera.packets,
                bytes_written=camera.written,
                dropped=camera.dropped,
                restarts=camera.restarts,
                key_every_s=None if camera.key_every_s is None else round(camera.key_every_s, 1),
                fps=None if camera.fps is None else round(camera.fps, 2),
                bytes_a_minute=self._bytes_a_minute() if recording else None,
                last_error=fault or self.heartbeats.last_fault,
                alarm=healths.alarm(deadlines, self._moved, now, self._patience),
                monotonic=round(now, 3),
            )

    # ---- evidence

    def _note_moves(self, camera: CameraHealth, now: float) -> None:
        counts = (camera.frames, camera.packets, camera.written)
        before, moved = self._counts, self._moved
        self._moved = Moved(
            *(now if count > old else moment for count, old, moment in zip(
                counts, before, (moved.frames, moved.packets, moved.written), strict=True
            ))
        )  # fmt: skip
        if camera.awaits_key:  # nothing can be written yet, and that is not the recorder's fault
            self._moved = replace(self._moved, written=now)
        self._counts = counts
        if camera.frame_age_s is not None:
            self._last_frame = now - camera.frame_age_s
        if not self._sizes or now - self._sizes[-1][0] >= _ACTIVE_S:
            self._sizes.append((now, camera.written))
        while now - self._sizes[0][0] > _MEASURED_S:
            self._sizes.popleft()

    def _bytes_a_minute(self) -> int | None:
        """How fast the files grow, measured from where they began to."""
        sizes = list(self._sizes)
        rises = (n for n, (one, other) in enumerate(itertools.pairwise(sizes)) if other[1] > one[1])
        (began, first), (ended, last) = sizes[next(rises, -1)], sizes[-1]
        return round((last - first) * 60 / (ended - began)) if ended - began >= _LEAST_MEASURED_S else None

    def _wall(self, moment: float | None, now: float) -> datetime | None:
        return None if moment is None else self._clock.now() - timedelta(seconds=now - moment)

    # ---- the thread that writes

    def _live(self) -> None:
        while not self._over.is_set():
            self.heartbeats.changed.clear()
            health = self.look()
            if not self.heartbeats.is_elsewhere and not self._is_written(health):
                self._write(health)
            hung = health.camera_state is healths.CameraState.HUNG
            if hung:
                self._give_up(health.last_error)
            is_active = hung or any(
                activity.activity not in (None, Activity.WAITS) for activity in self.heartbeats.all().values()
            )
            if is_active:
                self._over.wait(_ACTIVE_S)  # and no oftener, whatever changes
            else:
                rests = health.camera_state is healths.CameraState.OFF
                self.heartbeats.changed.wait(_REST_S if rests else _IDLE_S)
        if not self.heartbeats.is_elsewhere:
            self._write(replace(self.look(), recording=(), expected_to_record=False))

    def _is_written(self, health: Health) -> bool:
        """At rest, when the file says so already: each look of the stage at its queue is no news. Another
        recorder's file, written while the stage was its, is another one."""
        if self._last_written is None or health.camera_state is not healths.CameraState.OFF:
            return False
        before, written, stamp = self._last_written
        is_ours = _stamp(self._path) == stamp
        is_young = self._clock.monotonic() - written < _REST_S
        return is_ours and is_young and replace(before, at=health.at, monotonic=health.monotonic) == health

    def _write(self, health: Health) -> None:
        """Whole or not at all; not synced, because after a power cut nobody wants to know."""
        data = healths.encode(health)
        try:
            durable.swap(self._path, data)
            self._last_written = (health, self._clock.monotonic(), _stamp(self._path))
        except OSError:
            with contextlib.suppress(OSError):  # the age of what stands there says enough
                _overwrite(self._path, data)

    def _give_up(self, why: str) -> None:
        """Let takes be closed that can be, then end the process."""
        ends = self._clock.monotonic() + _CLOSING_S
        while self._clock.monotonic() < ends and self._is_closing() and not self._over.is_set():
            self._over.wait(0.05)
        self._leave(why)

    def _is_closing(self) -> bool:
        return any(
            deadline.activity in (Activity.WRITES, Activity.CLOSES)
            for deadline in self.heartbeats.all().values()
        )


def _stamp(path: Path) -> object:
    """What changes with whoever writes the file; equal to nothing where there is none."""
    try:
        info = os.stat(path)
    except OSError:
        return object()
    return info.st_ino, info.st_mtime_ns


def _overwrite(path: Path, data: bytes) -> None:
    """In place: on a full disk the file's own block is the only room there is to say so."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(fd, data.ljust(os.fstat(fd).st_size), 0)  # at once: cut afterwards, it would be read half
    finally:
        os.close(fd)


def _leave_a_hung_camera(log: logging.Logger, why: str) -> None:
    """Not by `sys.exit`, which would wait for threads that wait for the camera."""
    log.critical("the camera hangs (%s): this process ends with %d, a fresh one goes on", why, HUNG)
    logging.shutdown()
    os._exit(HUNG)
