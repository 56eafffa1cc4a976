"""Every transition of the spool as a function, so that it can be done under strace, killed, and done again.

`python -m tests.transitions FOLDER` does what `FOLDER/plan.json` names, each in a child of its own, and
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
from datetime import UTC
from pathlib import Path

from ezrec.adopt import Adopter
from ezrec.domain.job import Job, JobOutcome
from ezrec.domain.outcomes import Done, Later, No, Outcome
from ezrec.domain.stages import PROCESS, RETRY, UPLOAD, Stage, State, settle
from ezrec.spool import Entry, Spool
from tests.spooling import (
    FOOTAGE,
    NOW,
    TAKE,
    StillClock,
    booking,
    booking_job,
    clip_job,
    new_spool,
    put_clip,
)
from tests.syscalls import Crash, in_child


@dataclass(frozen=True)
class Transition:
    """`act` may be done again after a crash: it does nothing where it finds its work done."""

    prepare: Callable[[Spool], object]
    act: Callable[[Spool], object]
    ends_in: str
    has_footage: bool = True


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
        adopter = Adopter(spool, state, StillClock(), UTC, logging.getLogger("test"))
        adopter.adopt(spool.look(state)[1])
        if spool.look(state)[1] or adopter.is_left():  # it logs its faults and goes on; here they count
            raise OSError("not adopted")

    return act


def _loose(state: State, name: str, data: bytes = FOOTAGE) -> Callable[[Spool], object]:
    return lambda spool: (spool.directory(state) / name).write_bytes(data)


_ROW = json.dumps(
    {"id": "b1", "start_time": "2026-07-01T17:00:00Z", "end_time": "2026-07-01T18:00:00Z"}
).encode()


def _trashed(spool: Spool) -> None:
    spool.throw_away(put_clip(spool), clip_job().arrived(State.RAW, NOW))


TRANSITIONS = {
    "create a booking": Transition(
        lambda spool: None, _create(State.INCOMING, booking_job()), "incoming", has_footage=False
    ),
    "create a clip": Transition(_loose(State.RAW, "x.mp4"), _create(State.RAW, clip_job(), "x.mp4"), "raw"),
    "claim": Transition(put_clip, _claim, "processing"),
    "move on": Transition(
        lambda spool: put_clip(spool, State.PROCESSING), _settled(PROCESS, Done()), "processed"
    ),
    "fail": Transition(
        lambda spool: put_clip(spool, State.PROCESSING), _settled(PROCESS, No("why", "what to do")), "failed"
    ),
    "defer": Transition(
        lambda spool: put_clip(spool, State.PROCESSING), _settled(PROCESS, Later("soon")), "deferred"
    ),
    "return": Transition(
        lambda spool: put_clip(spool, State.DEFERRED, return_to="raw"), _settled(RETRY, Done()), "raw"
    ),
    "leave": Transition(lambda spool: put_clip(spool, State.PROCESSED), _settled(UPLOAD, Done()), ".done"),
    "throw away": Transition(lambda spool: put_clip(spool, State.FAILED, reason="x"), _throw_away, ".trash"),
    "restore": Transition(_trashed, _restore, "raw"),
    "amend": Transition(lambda spool: put_clip(spool, State.RECORDING), _amend, "recording"),
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
