"""drain(stage): does all the work that is due in one directory, whoever called.

Rule 1: nobody tells a drain what there is to do; it looks. Its steps:

1. wait for the stage's lock (the kernel frees it when its holder dies)
2. recover: what stands in the directory of work has a dead owner
3. adopt loose files
4. while an entry is due: claim it by rename, count the attempt, handle it, write its record, move it
   by one rename, tell the hooks – and list again
5. return how long the caller may sleep

When a drain returns, nothing due is left in its queue, so a level-triggered path unit cannot spin.
The one broad `except` of the program stands here.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from ezrec.adopt import Adopter, take_in_strangers
from ezrec.domain.errors import Reject, Retry, Stopped
from ezrec.domain.job import Job, Kind
from ezrec.domain.stages import (
    RETRY,
    Closed,
    Crash,
    Died,
    Done,
    LaidDown,
    Later,
    No,
    Outcome,
    Stage,
    State,
    settle,
)
from ezrec.hooks import Hooks
from ezrec.ports import Clock
from ezrec.spool import Entry, Gone, Spool
from ezrec.task import Bell, Task

Handler = Callable[[Entry, Task], Done | Closed]
_STUCK_S = 5.0
_LOOK_AGAIN_S = 60.0  # the longest sleep while jobs are in hand: the net under the bell


@dataclass(slots=True)
class Drain:
    """One stage in one process. `handlers` by kind; none for the retry stage, whose entries only move.

    `wide`: as many jobs may be in hand as are due (the recorder), each in a thread; else one at a time.
    `wait_s`: how long to wait for the stage's lock (-1: as long as it takes), else `Busy`.
    """

    stage: Stage
    spool: Spool
    hooks: Hooks
    clock: Clock
    log: logging.Logger
    handlers: Mapping[Kind, Handler]
    adopter: Adopter | None = None
    wide: bool = False
    wait_s: float = -1
    bell: Bell = field(default_factory=Bell)
    chance: Callable[[], float] = random.random
    _stopping: threading.Event = field(default_factory=threading.Event)
    _tasks: dict[str, Task] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def stop(self) -> None:
        """Lay the work down: jobs in hand go back where they came from."""
        self._stopping.set()
        self.nudge()
        with self._guard:
            tasks = list(self._tasks.values())
        for task in tasks:
            task.stop()

    def nudge(self) -> None:
        """Something changed (a file, the clock): let everybody look again."""
        self.bell.ring()
        with self._guard:
            for task in self._tasks.values():
                task.bell.ring()

    def run(self) -> float | None:
        """Drain the stage. Seconds until there is something to do again; None when nothing waits.

        Raises `Busy` when another process holds the stage for longer than `wait_s`, or until `stop`.
        """
        with self.spool.lock(self.stage.name).held(self.wait_s, self.stage.name, self._stopping.is_set):
            self._recover()
            try:
                return self._work()
            finally:
                self._join()

    # ---- step 2

    def _recover(self) -> None:
        """Give back what a dead owner had in hand, and move out what strangers left there."""
        stage = self.stage
        if stage is RETRY:
            return
        entries, strangers = self.spool.look(stage.works_in)
        if stage.works_in is not stage.takes_from and self.adopter is not None:
            take_in_strangers(replace_state(self.adopter, stage.works_in), strangers)
        for entry in entries:
            if stage.works_in is stage.takes_from and not entry.job.boot_id:
                continue  # it waits here; only the mark of an owner tells work in place from waiting
            with contextlib.suppress(Gone):
                if entry.job.boot_id:
                    self._settle(entry, Died(power_cut=entry.job.boot_id != self.clock.boot_id()))
                else:  # claimed, but not begun
                    self.spool.move(entry, stage.takes_from)
                self.log.info(
                    "job %s: its %s worker died; it goes on in %s/", entry.id, stage.name, entry.state
                )

    # ---- steps 3 to 5

    def _work(self) -> float | None:
        while True:
            due, rest = self._look()
            if self._stopping.is_set():
                return 0.0 if due else rest
            moved = [self._take(entry) for entry in due if not self._stopping.is_set()]
            if any(moved):
                continue  # list again until nothing is due
            if due:  # what cannot be moved now (a full disk, a name taken twice) must not make us spin
                rest = min(_STUCK_S, rest or _STUCK_S)
            if not self._tasks:
                return rest
            self.bell.wait(min(rest if rest is not None else _LOOK_AGAIN_S, _LOOK_AGAIN_S))

    def _look(self) -> tuple[list[Entry], float | None]:
        """The entries that are due now, oldest first, and in how many seconds the next thing is."""
        entries, strangers = self.spool.look(self.stage.takes_from)
        soon: list[float] = []
        if strangers and self.adopter is not None:
            adopted, look_again_s = self.adopter.adopt(strangers)
            for entry in adopted:
                self.hooks.announce(entry.state, "adopt", entry.path, entry.job)
            if adopted:
                entries = self.spool.entries(self.stage.takes_from)
                self._nudge_tasks(adopted)
            if look_again_s is not None:
                soon.append(look_again_s)
        self._put_by(entries)
        now = self.clock.now()
        free = [entry for entry in entries if entry.id not in self._tasks and not entry.job.held]
        due = [entry for entry in free if entry.job.is_due(now)]
        soon += [
            (entry.job.due - now).total_seconds() for entry in free if entry.job.due and entry.job.due > now
        ]
        due.sort(key=lambda entry: (entry.job.due or entry.job.created, entry.id))
        return due, min(soon, default=None)

    def _put_by(self, entries: list[Entry]) -> None:
        """Take held jobs out of the run queue: a hold that a crash cut in two would keep a unit spinning."""
        if self.stage is RETRY:
            return
        for entry in entries:
            if entry.job.held and entry.id not in self._tasks:
                with contextlib.suppress(Gone):
                    self.spool.move(entry, State.DEFERRED)

    def _nudge_tasks(self, adopted: list[Entry]) -> None:
        with self._guard:
            for entry in adopted:
                if entry.id in self._tasks:
                    self._tasks[entry.id].bell.ring()

    def _take(self, entry: Entry) -> bool:
        """Claim an entry and do its work: here, or in a thread where the stage is wide. False: not moved."""
        try:
            if self.stage is RETRY:
                self._settle(entry, Done())
                return True
            entry = self.spool.claim(entry, self.stage.works_in)
            entry.update(**self._attempted(entry.job))
        except Gone as fault:
            self.log.debug("somebody else moved %s", fault)
            return False
        except OSError as fault:
            self.log.error("job %s cannot be taken in hand: %s", entry.id, fault)
            with contextlib.suppress(OSError, Gone):
                self.spool.move(entry, self.stage.takes_from)
            return False
        task = Task()
        with self._guard:
            self._tasks[entry.id] = task
        if not self.wide:
            return self._do(entry, task)
        name = f"{self.stage.name} {entry.id}"
        threading.Thread(target=self._do, args=(entry, task), name=name).start()
        return True

    def _attempted(self, job: Job) -> dict[str, object]:
        marked = job.with_attempt(self.stage.name, self.clock.boot_id() or "unknown")
        if self.stage.works_in is not self.stage.takes_from:
            marked = marked.arrived(self.stage.works_in, self.clock.now())
        changed = ("attempts", "boot_id", "due", "reason", "remedy", "arrivals")
        return {name: getattr(marked, name) for name in changed}

    def _do(self, entry: Entry, task: Task) -> bool:
        try:
            if self._stopping.is_set():
                task.stop()
            self.hooks.announce(self.stage.works_in, self.stage.name, entry.path, entry.job)
            outcome = self._handled(entry, task)
            with contextlib.suppress(Gone):
                self._settle(entry, outcome)
            return True
        except OSError:
            self.log.exception("job %s cannot be moved on; it is taken up again later", entry.id)
            return False
        finally:
            with self._guard:
                del self._tasks[entry.id]
            self.bell.ring()

    def _handled(self, entry: Entry, task: Task) -> Outcome:
        handler = self.handlers.get(entry.job.kind)
        if handler is None:
            return No(
                f"{self.stage.name} knows no jobs of kind {entry.job.kind}",
                f"remove it: ezrec spool rm {entry.id}",
            )
        try:
            return handler(entry, task)
        except Stopped:
            return LaidDown()
        except Retry as fault:
            return Later(fault.reason, fault.after_s, fault.blameless)
        except Reject as fault:
            return No(fault.reason, fault.remedy)
        except Exception as fault:  # noqa: BLE001 - the one broad except: a bug must not end the stage
            self.log.error("job %s: %s met a bug\n%s", entry.id, self.stage.name, traceback.format_exc())
            return Crash(f"{type(fault).__name__}: {fault}"[:500])

    def _settle(self, entry: Entry, outcome: Outcome) -> None:
        """Decide by the table, then one rename, then the hooks."""
        state, job = settle(self.stage, entry.job, outcome, self.clock.now(), self.chance())
        path = entry.path
        if state is State.DONE:
            self.spool.leave(entry, job)
        else:
            path = self.spool.move(entry, state, job).path
        self._say(outcome, job, state)
        self.hooks.announce(state, self.stage.name, path, job)

    def _say(self, outcome: Outcome, job: Job, state: State) -> None:
        match outcome:
            case Later(reason):
                self.log.warning("job %s: %s; again at %s", job.id, reason, job.due)
            case No(reason, remedy):
                self.log.error("job %s → failed/: %s; what to do: %s", job.id, reason, remedy)
            case Closed(named, reason):
                self.log.warning("job %s is over, %s: %s", job.id, named, reason)
            case _:
                self.log.info("job %s → %s/", job.id, state if state is not State.DONE else ".done")

    def _join(self) -> None:
        """Wait for what is in hand; the process may be about to end."""
        while self._tasks:
            self.bell.wait(_LOOK_AGAIN_S)


def replace_state(adopter: Adopter, state: State) -> Adopter:
    return replace(adopter, state=state)
