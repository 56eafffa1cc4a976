"""Every transition of the spool as a function, so that it can be done under strace, killed, and done again.

`python -m tests.spool.transitions FOLDER` does what `FOLDER/plan.json` names, each in a child of its own, and
writes how the children ended to `FOLDER/ends.json`.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

from ezrec.domain.job import Fault, Job, JobOutcome
from ezrec.domain.outcomes import Done, Outcome, Rejected, RetryLater
from ezrec.domain.stages import PROCESS, RETRY, UPLOAD, Stage, State, settle
from ezrec.spool import actions
from ezrec.spool.imports import import_video
from ezrec.spool.intake import Intake
from ezrec.spool.spool import Entry, Spool
from tests.fakes.clock import StandingClock
from tests.spool.syscalls import Crash, in_child
from tests.support.spooling import (
    FOOTAGE,
    NOW,
    RESULT,
    TAKE,
    booking,
    booking_job,
    clip_job,
    new_spool,
    put_clip,
)


@dataclass(frozen=True)
class Transition:
    """`act` may be done again after a crash: it does nothing where it finds its work done.

    `has_footage`: None where it is a copy, which may be there or not yet.
    `taken_up_in`: where the job may stand when EZREC goes on by itself after the crash of a person's verb.
    """

    prepare: Callable[[Spool], object]
    act: Callable[[Spool], object]
    ends_in: str
    has_footage: bool | None = True
    taken_up_in: tuple[str, ...] = ()


def _at(spool: Spool, state: State) -> Entry | None:
    return next(iter(spool.entries(state)), None)


def _settled(stage: Stage, outcome: Outcome) -> Callable[[Spool], None]:
    def act(spool: Spool) -> None:
        entry = _at(spool, stage.works_in)
        if entry is not None:
            state, job = settle(stage, entry.job, outcome, NOW, 0.5)
            if state is State.DONE:
                spool.leave(entry, job)
            else:
                spool.move(entry, state, job)

    return act


def _create(state: State, job: Job, loose: str = "") -> Callable[[Spool], None]:
    def act(spool: Spool) -> None:
        media = (spool.directory(state) / loose, TAKE) if loose else None
        if not spool.knows(job.id):
            spool.create(state, job, media)

    return act


def _claim(spool: Spool) -> None:
    entry = _at(spool, State.RAW)
    if entry is not None:
        spool.claim(entry, State.PROCESSING)


def _throw_away(spool: Spool) -> None:
    entry = _at(spool, State.FAILED)
    if entry is not None:
        spool.throw_away(entry, replace(entry.job, outcome=JobOutcome.REMOVED))


def _restore(spool: Spool) -> None:
    for entry in spool.discarded():
        spool.move(entry, State.RAW, replace(entry.job, outcome=None).arrived(State.RAW, NOW))


def _amend(spool: Spool) -> None:
    entry = _at(spool, State.RECORDING)
    assert entry is not None
    spool.amend(entry, booking(status="cancelled"))
    entry.take_amendment()


def _adopt(state: State) -> Callable[[Spool], None]:
    def act(spool: Spool) -> None:
        intake = Intake(spool, state, StandingClock(NOW), UTC, logging.getLogger("test"))
        intake.adopt(spool.look(state)[1])
        if spool.look(state)[1] or intake.is_left():  # it logs its faults and goes on; here they count
            raise OSError("not adopted")

    return act


def _loose(state: State, name: str, data: bytes = FOOTAGE) -> Callable[[Spool], object]:
    return lambda spool: (spool.directory(state) / name).write_bytes(data)


_ROW = json.dumps(
    {"id": "b1", "start_time": "2026-07-01T17:00:00Z", "end_time": "2026-07-01T18:00:00Z"}
).encode()


def _trashed(spool: Spool) -> None:
    spool.throw_away(put_clip(spool), clip_job().arrived(State.RAW, NOW))


def _verb(state: State, act: Callable[[Spool, Entry], object]) -> Callable[[Spool], None]:
    """What a person does to the job in `state`; done again, it finds it elsewhere and does nothing."""

    def again(spool: Spool) -> None:
        entry = _at(spool, state)
        if entry is not None:
            act(spool, entry)

    return again


def _retry(stage: str | None = None) -> Callable[[Spool, Entry], object]:
    return lambda spool, entry: actions.retry(spool, entry, NOW, 35.0, stage)


def _release(spool: Spool, entry: Entry) -> object:
    return actions.release(spool, entry, NOW, 35.0)


def _hold(spool: Spool, entry: Entry) -> object:
    return entry if entry.job.held else actions.hold(spool, entry, NOW, "ask the club")


def _remove(spool: Spool, entry: Entry) -> object:
    return actions.remove(spool, entry, NOW, with_footage=True)


def _bring_back(spool: Spool) -> None:
    for entry in spool.discarded():
        actions.restore(spool, entry.id, NOW)


def _finished(state: State, **fields: Any) -> Callable[[Spool], object]:
    """A job with its finished video, which no crash may have made anew."""
    return lambda spool: put_clip(spool, state, result=RESULT, **fields)


def _failed(spool: Spool) -> object:
    fault = Fault(NOW, "process", "reject", "no picture", "copy it again")
    return put_clip(spool, State.FAILED, reason="no picture", remedy="copy it again", return_to="raw",
                    errors=(fault,))  # fmt: skip


def _removed(spool: Spool) -> None:
    _finished(State.PROCESSED)(spool)
    _remove(spool, spool.entries(State.PROCESSED)[0])


def _put(spool: Spool) -> None:
    if not spool.knows("b1"):
        import_video(spool, spool.root.parent.parent / "match.mp4", "b1", NOW, UTC)


def _outside(spool: Spool) -> None:
    (spool.root.parent.parent.parent / "match.mp4").write_bytes(FOOTAGE)


_LATER = NOW + timedelta(minutes=10)
_VERBS = {
    "retry what is deferred": Transition(
        _finished(State.DEFERRED, due=_LATER, return_to="processed", waits_for="network"),
        _verb(State.DEFERRED, _retry()), "processed", taken_up_in=("deferred", "processed"),
    ),
    "retry what is deferred from processing": Transition(
        _finished(State.DEFERRED, due=_LATER, return_to="processed"),
        _verb(State.DEFERRED, _retry("process")), "raw", taken_up_in=("deferred", "raw", "processed"),
    ),
    "retry what is held": Transition(
        _finished(State.DEFERRED, held="why", return_to="processed"),
        _verb(State.DEFERRED, _retry()), "processed", taken_up_in=("deferred", "processed"),
    ),
    "retry what failed": Transition(
        _failed, _verb(State.FAILED, _retry()), "raw", taken_up_in=("failed", "raw")
    ),
    "retry what is finished from processing": Transition(
        _finished(State.PROCESSED), _verb(State.PROCESSED, _retry("process")), "raw",
        taken_up_in=("processed", "raw"),
    ),
    "release": Transition(
        _finished(State.DEFERRED, held="why", return_to="processed"),
        _verb(State.DEFERRED, _release), "processed", taken_up_in=("deferred", "processed"),
    ),
    "hold what waits in its queue": Transition(
        _finished(State.PROCESSED), _verb(State.PROCESSED, _hold), "deferred",
        taken_up_in=("processed", "deferred"),
    ),
    "hold what is deferred": Transition(
        _finished(State.DEFERRED, due=_LATER, return_to="processed"),
        _verb(State.DEFERRED, _hold), "deferred", taken_up_in=("deferred", "processed"),
    ),
    "remove": Transition(
        _finished(State.PROCESSED), _verb(State.PROCESSED, _remove), ".trash",
        taken_up_in=("processed", ".trash"),
    ),
    "bring back": Transition(_removed, _bring_back, "processed", taken_up_in=(".trash", "processed")),
}  # fmt: skip

TRANSITIONS = _VERBS | {
    "create a booking": Transition(
        lambda spool: None, _create(State.INCOMING, booking_job()), "incoming", has_footage=False
    ),
    "create a clip": Transition(_loose(State.RAW, "x.mp4"), _create(State.RAW, clip_job(), "x.mp4"), "raw"),
    "claim": Transition(put_clip, _claim, "processing"),
    "move on": Transition(
        lambda spool: put_clip(spool, State.PROCESSING), _settled(PROCESS, Done()), "processed"
    ),
    "fail": Transition(
        lambda spool: put_clip(spool, State.PROCESSING),
        _settled(PROCESS, Rejected("why", "what to do")),
        "failed",
    ),
    "defer": Transition(
        lambda spool: put_clip(spool, State.PROCESSING), _settled(PROCESS, RetryLater("soon")), "deferred"
    ),
    "return": Transition(
        lambda spool: put_clip(spool, State.DEFERRED, return_to="raw"), _settled(RETRY, Done()), "raw"
    ),
    "leave": Transition(lambda spool: put_clip(spool, State.PROCESSED), _settled(UPLOAD, Done()), ".done"),
    "throw away": Transition(lambda spool: put_clip(spool, State.FAILED, reason="x"), _throw_away, ".trash"),
    "restore": Transition(_trashed, _restore, "raw"),
    "amend": Transition(lambda spool: put_clip(spool, State.RECORDING), _amend, "recording"),
    "put": Transition(_outside, _put, "raw", has_footage=None),
    "adopt a clip": Transition(_loose(State.RAW, "b1.mp4"), _adopt(State.RAW), "raw"),
    "adopt what is no clip": Transition(_loose(State.RAW, "b1.avi"), _adopt(State.RAW), "failed"),
    "adopt a booking": Transition(
        _loose(State.INCOMING, "b1.json", _ROW), _adopt(State.INCOMING), "incoming", has_footage=False
    ),
}


def lay_out(folder: Path, crashes: list[Crash]) -> None:
    """A spool for each child, ready for its transition."""
    templates = folder / "templates"
    for name, transition in TRANSITIONS.items():
        transition.prepare(new_spool(templates / name / "spool"))
    for crash in crashes:
        shutil.copytree(templates / crash.transition / "spool", folder / crash.name / "spool")
    plan = [[crash.transition, crash.call, crash.nth] for crash in crashes]
    (folder / "plan.json").write_text(json.dumps(plan))


def ends(folder: Path) -> dict[str, tuple[int, int]]:
    """Pid and status of each child, by the name of its crash."""
    found = json.loads((folder / "ends.json").read_text())
    return {name: (pid, status) for name, (pid, status) in found.items()}


def main(folder: Path) -> None:
    crashes = [Crash(*row) for row in json.loads((folder / "plan.json").read_text())]
    found = {}
    for crash in crashes:
        spool = Spool(folder / crash.name / "spool")
        act = TRANSITIONS[crash.transition].act
        found[crash.name] = in_child(lambda act=act, spool=spool: act(spool), crash if crash.nth else None)  # type: ignore[misc]
    fd = os.open(folder / "ends.json", os.O_WRONLY | os.O_CREAT, 0o600)
    os.pwrite(fd, json.dumps(found).encode(), 0)  # not write(), whose calls are counted


if __name__ == "__main__":
    main(Path(sys.argv[1]))
