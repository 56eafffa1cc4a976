"""The periodic task `ahead`: encodes what a video will need while its recording is still being written.

Runs at the lowest priority for CPU and disk, and pauses when the recorder loses frames. It claims no entry
and writes no record: its segments are in a folder beside the takes, where the process stage finds them. It
holds the entry's directory by a descriptor, because the entry may be moved meanwhile.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ezrec.domain.branding import Assets
from ezrec.domain.errors import Reject, Retry
from ezrec.domain.ports import PARTS, Clock, RenderOptions, RenderPlan, Transcoder
from ezrec.domain.stages import State
from ezrec.processing import branding_fallback
from ezrec.processing.before_window import is_early
from ezrec.runtime.periodic import PeriodicWork
from ezrec.spool.spool import Entry, Spool
from ezrec.system import plain_files

LOG = "ahead.log"
_LOOK_S = 5.0  # between two turns during a recording: a file that grows each second makes too many events
_PAUSE_S = 300.0  # after lost frames, or a fault
_GRACE_S = 10.0  # for the segment being made when the recording ends: its video waits for it
_SPARE_BYTES = 2 << 30  # that the recording may need; as much as the takes' size must be free beside it


@dataclass(slots=True)
class Prerenderer(PeriodicWork):
    """`dropped`: how many frames the recorder has lost since its start; None if unknown.

    Each of `prepare` is called first, with a function that answers whether it may go on. With `follows` False
    nothing else is done, and not while something is recorded.
    """

    spool: Spool
    transcoder: Transcoder
    assets: Callable[[], Assets]
    options: RenderOptions
    dropped: Callable[[], int | None]
    clock: Clock
    log: logging.Logger
    spare_bytes: int = _SPARE_BYTES
    prepare: tuple[Callable[[Callable[[], bool]], None], ...] = ()
    follows: bool = True
    _rests_until: float = -1e9
    _stopping: threading.Event = field(default_factory=threading.Event)
    _checked: tuple[Assets, Assets] | None = None

    def stop(self) -> None:
        self._stopping.set()

    def __call__(self) -> float | None:
        """Make what can be made now; returns the seconds until the next turn, None: at a recording."""
        names = sorted(self.spool.names(State.RECORDING))
        if names and not self.follows:
            return None
        if self.clock.monotonic() < self._rests_until:
            return _LOOK_S if names else None
        guard = _Guard(self._stopping, self.dropped)
        for prepare in self.prepare:
            prepare(guard if self.follows else lambda: guard() and not self.spool.names(State.RECORDING))
        if not names:
            return None
        entries, _ = self.spool.look(State.RECORDING)
        for entry in sorted(entries, key=lambda one: one.id):
            self._follow(entry, guard)
        return _LOOK_S

    def _follow(self, entry: Entry, guard: _Guard) -> None:
        with contextlib.suppress(FileNotFoundError), _held(entry.path) as here:
            made, turn = 0, _Turn(guard, entry.path, self.clock)
            try:
                while (
                    turn.is_ours
                    and (plan := self._plan(entry, here))
                    and self.transcoder.prerender(plan, turn)
                ):
                    made += 1
            except (Retry, Reject) as fault:
                self._rest(f"job {entry.id}: nothing is encoded ahead: {fault}")
            if guard.lost:
                self._rest(f"{guard.lost} frames were lost while a part was encoded: pausing")
            if made:
                self.log.info("job %s: %d parts of its video encoded while it is recorded", entry.id, made)

    def _rest(self, why: str) -> None:
        self._rests_until = self.clock.monotonic() + _PAUSE_S
        self.log.warning("%s; again in %g s", why, _PAUSE_S)

    def _plan(self, entry: Entry, here: Path) -> RenderPlan | None:
        """The plan of the video, as far as it is known; None if nothing can be encoded ahead."""
        job = self.spool.last_word(entry.id)
        takes = [take for take in job.takes if plain_files.is_plain(here / take.file)] if job else []
        if not takes or any(take.burned_in or is_early(take) for take in takes):
            return None
        if not self._has_room(here, sum((here / take.file).stat().st_size for take in takes)):
            return None
        branding = self._usable()
        plan = RenderPlan(
            [here / take.file for take in takes], here / ".ahead", here / LOG,
            logo=branding.logo, sponsors=branding.sponsors, parts=here / PARTS, options=self.options,
        )  # fmt: skip
        return plan if plan.wants_logo_always else None

    def _usable(self) -> Assets:
        """The logos that pass their check, as in the process stage."""
        branding = self.assets()
        if self._checked is None or self._checked[0] != branding:
            bare = Assets(branding.is_known, None, branding.logo, branding.sponsors)
            self._checked = branding, branding_fallback.usable(self.transcoder, bare)[0]
        return self._checked[1]

    def _has_room(self, here: Path, footage: int) -> bool:
        space = os.statvfs(here)
        return space.f_bavail * space.f_frsize >= self.spare_bytes + footage


@dataclass(slots=True)
class _Guard:
    """True while the work may go on: nothing stops it, and the recorder has lost no frames since it began."""

    stopping: threading.Event
    dropped: Callable[[], int | None]
    lost: int = 0
    _before: int | None = None

    def __call__(self) -> bool:
        if self.stopping.is_set():
            return False
        now = self.dropped()
        if now is not None:
            before, self._before = self._before, now
            if before is not None and now > before:
                self.lost += now - before
        return not self.lost


@dataclass(slots=True)
class _Turn:
    """True while the recording goes on, and for ten seconds after it.

    Once it has ended, the process stage makes the remaining segments: it has a higher priority, and on a busy
    machine it waited minutes for what it makes in seconds. So no segment is begun after the end, and one that
    is not done soon is given up.
    """

    guard: _Guard
    recording: Path  # where the entry is while it is recorded
    clock: Clock
    _ended: float | None = None

    @property
    def is_ours(self) -> bool:
        return self.recording.is_dir()

    def __call__(self) -> bool:
        if not self.guard():
            return False
        if self.is_ours:
            return True
        now = self.clock.monotonic()
        self._ended = now if self._ended is None else self._ended
        return now - self._ended < _GRACE_S


@contextlib.contextmanager
def _held(path: Path) -> Iterator[Path]:
    """The directory under a name that stays valid when it is moved, for this process and its children."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield Path(f"/proc/{os.getpid()}/fd/{fd}")
    finally:
        os.close(fd)
