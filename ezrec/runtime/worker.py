"""A worker does all the work that is due in one stage's directory, whoever calls it: `run` drains the stage.

Nobody tells a worker what there is to do; it looks. Its steps:

1. wait for the stage's lock (the kernel frees it when its holder dies)
2. recover: what stands in the directory of work has a dead owner
3. while an entry is due: claim it by rename, count the attempt, handle it, write its record, move it
   by one rename, run the hooks – and list again
4. adopt loose files
5. return how long the caller may sleep

Due work goes first. Recovery and adoption are done in slices of a second, with a look at what is due and a
heartbeat between two of them: a thousand bookings that come at once keep none from its start.

When `run` returns, nothing due is left in the directory, so a level-triggered path unit cannot spin. What
could not be moved (a full disk, a name taken twice) is left alone for some seconds, so that we do not either.
Faults stay with the job they belong to: neither a bug in a handler nor an unknown file that cannot be adopted
keeps the other jobs from their work. A broad `except` stands here.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ezrec.domain.job import Job, Kind, first_come
from ezrec.domain.outcomes import Crashed, Done, Interrupted, Outcome
from ezrec.domain.ports import Clock
from ezrec.domain.stages import RETRY, Stage, State
from ezrec.runtime.due_queue import DueQueue
from ezrec.runtime.handling import Handler, outcome_of
from ezrec.runtime.hooks import Hooks
from ezrec.runtime.orphans import Ownerless
from ezrec.runtime.settler import Settler
from ezrec.spool.intake import Intake, adopt_unknown_files
from ezrec.spool.spool import Entry, Gone, Spool, UnknownFile
from ezrec.system.task import Task, Tasks, WakeUp

_STALE_S = 1.0  # after work of so long a narrow stage lists again before it takes the next
_LOOKS_SHARE = 10  # or after so many times what the look took, where there is much to list
_SLICE_S = 1.0  # of recovery or adoption, before the next look at what is due
_STUCK_S = 5.0  # for so long a job is let alone that could not be moved
_LOOK_S = 60.0  # what a look may take: hundreds of files to adopt, on a slow card
_LOOK_AGAIN_S = 60.0  # the longest sleep while jobs are in hand: in case a wake-up is missed


@dataclass(slots=True)
class Worker:
    """One stage in one process. `handlers` by kind; none for the retry stage, whose entries only move.

    `wide`: as many jobs may be in hand as are due (the recorder), each in a thread; else one at a time.
    `heartbeat` is called at each look with the seconds within which the worker will look again (None: another
    process may hold the stage's lock).
    `wait_s`: how long to wait for the stage's lock (-1: as long as it takes), else `Busy`.
    `keeps`: finished videos stay for a while when their job leaves the spool.
    `order` sorts what is due. `come` tells which of the things that jobs wait for are there now.
    """

    stage: Stage
    spool: Spool
    hooks: Hooks
    clock: Clock
    log: logging.Logger
    handlers: Mapping[Kind, Handler]
    intake: Intake | None = None
    wide: bool = False
    wait_s: float = -1
    keeps: bool = False
    wake_up: WakeUp = field(default_factory=WakeUp)
    heartbeat: Callable[[float | None], None] = lambda _: None
    order: Callable[[Job], Any] = first_come
    come: Callable[[], Collection[str]] = frozenset
    _stopping: threading.Event = field(default_factory=threading.Event)
    _tasks: Tasks = field(default_factory=Tasks)
    _is_stale: bool = False
    _queue: DueQueue = field(init=False)
    _ownerless: Ownerless = field(default_factory=Ownerless)
    _settler: Settler = field(init=False)
    _in_the_way: list[UnknownFile] = field(default_factory=list)  # among the jobs in hand

    def __post_init__(self) -> None:
        self._queue = DueQueue(self.stage, self.spool, self.clock)
        self._settler = Settler(self.stage, self.spool, self.hooks, self.clock, self.log, self.keeps)

    def stop(self) -> None:
        """Lay the work down: jobs in hand go back where they came from."""
        self._stopping.set()
        self.nudge()
        self._tasks.stop()

    def nudge(self) -> None:
        """Something changed (a file, the clock): let everybody look again."""
        self.wake_up.set()
        self._tasks.wake()

    @property
    def watched(self) -> list[Path]:
        """The directories where an arrival gives it something to do."""
        states = [self.stage.takes_from]
        if self.stage is RETRY:
            states.append(State.RAW)  # a recording ended
        return [self.spool.directory(state) for state in states]

    @property
    def is_busy(self) -> bool:
        """Whether a job is in hand."""
        return len(self._tasks) > 0

    def run(self) -> float | None:
        """Drain the stage. Seconds until there is something to do again; None when nothing waits.

        Raises `Busy` when another process holds the stage for longer than `wait_s`, or until `stop`.
        """
        self.heartbeat(None)
        with self.spool.lock(self.stage.name).held(self.wait_s, self.stage.name, self._stopping.is_set):
            self.heartbeat(_LOOK_S)
            self._recover()
            try:
                return self._work()
            finally:
                self._join()
                self.heartbeat(math.inf)  # from here on the thread is waited for, not the worker

    # ---- step 2

    def _recover(self) -> None:
        """Find what a dead owner had in hand, and give it back: what is in play first."""
        stage = self.stage
        if stage is RETRY:
            return
        entries, unknown = self.spool.look(stage.works_in)
        if stage.works_in is stage.takes_from:  # only the mark of an owner tells work in place from waiting
            entries = [entry for entry in entries if entry.job.boot_id]
        else:
            self._in_the_way = unknown
        self._ownerless.find(entries, self.clock.now())
        self._give_some_back()

    def _give_some_back(self) -> float:
        """A slice of what has no owner; in how many seconds the rest has its turn."""
        return self._ownerless.give_some(self._given_back, self.clock.monotonic, _SLICE_S, _STUCK_S)

    def _given_back(self, entry: Entry) -> bool:
        is_left = True
        with self._kept_to("job %s, whose owner died,", entry.id):
            self._give_back(entry)
            is_left = False
        return not is_left

    def _give_back(self, entry: Entry) -> None:
        if self._settler.settled_again(entry):  # its worker was this one, and is not dead
            return
        with contextlib.suppress(Gone):
            if entry.job.boot_id:
                self._settler.settle(entry, Crashed(power_cut=entry.job.boot_id != self.clock.boot_id()))
            else:  # claimed, but not begun; or settled, but not moved
                self.spool.move(entry, self.stage.takes_from)
        self.log.info("job %s: its %s worker died; it goes on in %s/", entry.id, self.stage.name, entry.state)

    @contextlib.contextmanager
    def _kept_to(self, what: str, *names: object) -> Iterator[None]:
        """A fault of one thing that lies in the spool is logged, and the stage goes on with the others."""
        try:
            yield
        except Exception:  # what lies in a spool may fail in ways unknown here
            self.log.exception(f"{what} cannot be moved; it is tried again", *names)

    # ---- steps 3 to 5

    def _work(self) -> float | None:
        while True:
            self.heartbeat(_LOOK_S)
            began = self.clock.monotonic()
            due, rest = self._look_again()
            if self._stopping.is_set():
                return 0.0 if due else rest
            self._take_all(due, max(_STALE_S, _LOOKS_SHARE * (self.clock.monotonic() - began)))
            more = self._do_a_slice()
            if due or more == 0:
                continue  # list again until nothing is due
            rest = min((s for s in (rest, more) if s is not None), default=None)
            if not self._tasks:
                return rest
            self._wait(min(rest if rest is not None else _LOOK_AGAIN_S, _LOOK_AGAIN_S))

    def _take_all(self, due: list[Entry], stale_s: float) -> None:
        looked, self._is_stale = self.clock.monotonic(), False
        for entry in due:
            if self.wide:
                self.heartbeat(_LOOK_S)  # a card may take a second for each
            if not self._stopping.is_set() and not self._take(entry):
                self._queue.let_rest(entry.id, _STUCK_S)
            if not self.wide and (self._is_stale or self.clock.monotonic() - looked > stale_s):
                break  # meanwhile something may have come that goes first

    def _do_a_slice(self) -> float | None:
        """Some of what may wait for a second: what has no owner, what lies in the way, what lies loose.

        In how many seconds to go on (0: at once); None when nothing is left.
        """
        if self._stopping.is_set():
            return None
        soon: list[float] = []
        if self._ownerless:
            self.heartbeat(_LOOK_S)
            soon.append(self._give_some_back())
        if self._in_the_way and self.intake is not None:
            self.heartbeat(_LOOK_S)
            some, self._in_the_way = self._in_the_way[:1], self._in_the_way[1:]
            with self._kept_to("what lies loose in %s/", self.stage.works_in):
                adopt_unknown_files(replace(self.intake, state=self.stage.works_in), some)
            soon.append(0.0)
        if self.intake is not None and (self._queue.unknown or self.intake.is_pending):
            self.heartbeat(_LOOK_S)
            wait_s: float | None = _STUCK_S
            with self._kept_to("what lies loose in %s/", self.stage.takes_from):
                wait_s = self._adopt(self.intake, self._queue.unknown)
            soon += [] if wait_s is None else [wait_s]
        return min(soon, default=None)

    def _wait(self, limit_s: float) -> None:
        self.heartbeat(limit_s + _LOOK_S)
        self.wake_up.wait(limit_s)

    def _look_again(self) -> tuple[list[Entry], float | None]:
        """As `_look`; while jobs are in hand a directory that cannot be read ends nothing, for the worker
        would wait for their end and begin no other.
        """
        try:
            return self._look()
        except OSError:
            if not self._tasks:
                raise
            self.log.exception("%s/ cannot be read; again in %g s", self.stage.takes_from, _STUCK_S)
            return [], _STUCK_S

    def _look(self) -> tuple[list[Entry], float | None]:
        """The entries that are due now, in their order, and in how many seconds the next thing is."""
        ownerless = self._ownerless.paths()  # work in place is settled before it is taken again
        due, next_s = self._queue.look(
            lambda entry: entry.id not in self._tasks and entry.path not in ownerless, self.come
        )
        due.sort(key=lambda entry: self.order(entry.job))
        return due, next_s

    def _adopt(self, intake: Intake, unknown: list[UnknownFile]) -> float | None:
        """Adopt some of what is complete; in how many seconds to look at the rest."""
        adopted, look_again_s = intake.adopt(unknown, _SLICE_S)
        for entry in adopted:
            self.hooks.announce(entry.state, "adopt", entry.path, entry.job)
        self._tasks.wake({entry.id for entry in adopted})  # an amendment of a job in hand
        return 0.0 if adopted else look_again_s

    def _take(self, entry: Entry) -> bool:
        """Claim an entry and do its work: here, or in a thread where the stage is wide.

        False: it could not be moved, and is still there.
        """
        try:
            if self.stage is RETRY:
                return self._settler.settled(entry, Done())
            entry = self.spool.claim(entry, self.stage.works_in)
            entry.forget_progress(self.stage.name)
            entry.update(**self._attempted(entry.job))
        except (Gone, FileNotFoundError) as fault:
            self.log.debug("somebody else moved %s", fault)
            return not entry.path.exists()
        except OSError as fault:
            self.log.error("job %s cannot be taken in hand: %s", entry.id, fault)
            self._put_back(entry)
            return False
        task = self._tasks.begin(entry.id)
        if not self.wide:
            return self._do(entry, task)
        try:
            name = f"{self.stage.name} {entry.id}"
            threading.Thread(target=self._do, args=(entry, task), name=name).start()
        except RuntimeError as fault:  # the machine has no threads left
            self.log.error("job %s cannot be taken in hand: %s", entry.id, fault)
            self._tasks.end(entry.id)
            self._put_back(entry)
            return False
        return True

    def _put_back(self, entry: Entry) -> None:
        try:
            self.spool.move(entry, self.stage.takes_from)
        except Gone:
            return
        except OSError:
            self._ownerless.add(entry)  # nobody else would look there while other jobs are in hand

    def _attempted(self, job: Job) -> dict[str, object]:
        marked = job.with_attempt(self.stage.name, self.clock.boot_id() or "unknown")
        if self.stage.works_in is not self.stage.takes_from:
            marked = marked.arrived(self.stage.works_in, self.clock.now())
        changed = ("attempts", "boot_id", "due", "waits_for", "reason", "remedy", "arrivals")
        return {name: getattr(marked, name) for name in changed}

    def _do(self, entry: Entry, task: Task) -> bool:
        claimed = entry.id  # it may come to lie under another id, where its own is taken
        try:
            if self._stopping.is_set():
                task.stop()
            self.hooks.announce(self.stage.works_in, self.stage.name, entry.path, entry.job)
            outcome = self._work_on(entry, task)
            done = self._settler.settled(entry, outcome)
            # A wide stage looks after dead owners only when nothing is in hand any more, which may be never.
            while not done and self.wide and not self._stopping.wait(_STUCK_S):
                done = self._settler.settled(entry, outcome)
            return done
        finally:
            self._tasks.end(claimed)
            if self.wide:  # a narrow one looks again by itself, and must not wake itself over what is stuck
                self.wake_up.set()

    def _work_on(self, entry: Entry, task: Task) -> Outcome:
        outcome = outcome_of(self.handlers, self.stage.name, entry, task, self.log)
        if isinstance(outcome, Interrupted):
            self._is_stale = True  # perhaps it made way for another
        return outcome

    def _join(self) -> None:
        """Wait for what is in hand; the process may be about to end."""
        while self._tasks:
            self._wait(_LOOK_AGAIN_S)
