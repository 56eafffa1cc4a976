"""The periodic task `ahead`: encodes what a video will need while its recording is still being written.

Runs at the lowest priority for CPU and disk, and not at all while the recorder loses frames. It takes no
entry in hand and writes no record: what it makes lies in a folder beside the takes, where the process stage
finds it. The entry is held by its directory's descriptor, so that it may move on meanwhile.
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
_LOOK_S = 5.0  # while something is recorded: a file that grows by the second makes too many events
_PAUSE_S = 300.0  # after frames were lost, or anything went wrong
_GRACE_S = 10.0  # for the part in hand when its recording ends: from then on its video waits for it
_SPARE_BYTES = 2 << 30  # the recording's own; beside it, as much as the takes have


@dataclass(slots=True)
class Prerenderer(PeriodicWork):
    """`dropped` tells how many frames the recorder has lost since its start, None where nobody knows.

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
        """Make what can be made now; in how many seconds to look again, None: when something is recorded."""
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
                self._rest(f"{guard.lost} frames were lost while a part was encoded: it makes way")
            if made:
                self.log.info("job %s: %d parts of its video encoded while it is recorded", entry.id, made)

    def _rest(self, why: str) -> None:
        self._rests_until = self.clock.monotonic() + _PAUSE_S
        self.log.warning("%s; again in %g s", why, _PAUSE_S)

    def _plan(self, entry: Entry, here: Path) -> RenderPlan | None:
        """What the video will be made of, as far as it is known; None where nothing can be done ahead."""
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
        """The branding as the process stage will use it: what does not pass its check is left out there."""
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
    """Asked about once a second whether the work may go on."""

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
    """What is left when the recording has ended is the process stage's: it has more weight than we have, and
    on a busy machine waited for minutes for what it makes in seconds. So no part is begun after that, and
    the one in hand is given up where it is not soon done.
    """

    guard: _Guard
    recording: Path  # the entry, where it lies as long as it is recorded
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
    """The same directory under a name that stays when it is moved, for us and for our children."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield Path(f"/proc/{os.getpid()}/fd/{fd}")
    finally:
        os.close(fd)
