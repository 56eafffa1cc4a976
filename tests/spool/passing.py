"""What a stage does to its jobs, as scenes to be played while one call of the kernel's fails once.

`python -m tests.spool.passing FOLDER` plays what `FOLDER/plan.json` names, each in a child of its own, and
writes how the children ended to `FOLDER/ends.json`. The stage is called again and again, as its thread would,
until long after the fault has passed.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

from ezrec.domain.booking import Booking
from ezrec.domain.errors import Busy, Reject
from ezrec.domain.job import Job, Kind
from ezrec.domain.names import safe_id
from ezrec.domain.outcomes import Done
from ezrec.domain.stages import STAGES, State
from ezrec.spool.spool import Entry, Spool
from ezrec.system.task import Task
from tests.fakes.clock import StandingClock
from tests.spool.syscalls import Crash, in_child, wait_for_tracer
from tests.support.spooling import FOOTAGE, finish_off, footage_in, new_spool, put_clip
from tests.support.stagework import a_drain, where

START = StandingClock().now() + timedelta(hours=5)
LATER = START + timedelta(hours=2)
_PAUSES_S = (1.0, 6.0, 61.0, 61.0, 700.0)  # between the calls of a stage


@dataclass(frozen=True)
class Scene:
    """`stage` works what `prepare` laid out; then the one job stands in `ends_in`, with its footage."""

    prepare: Callable[[Spool], object]
    stage: str
    ends_in: dict[str, str]
    footage: int = 1
    end: bool = False  # its booking has to end at `LATER`
    handler: Callable[[Entry, Task], Done] = lambda entry, task: Done()


def _loose(state: State, name: str, data: bytes = FOOTAGE) -> Callable[[Spool], object]:
    return lambda spool: (spool.directory(state) / name).write_bytes(data)


def _row(end: object) -> bytes:
    return json.dumps({"id": "b1", "start_time": str(START), "end_time": str(end)}).encode()


def _booking(state: State, spool: Spool, **known: object) -> Entry:
    now = StandingClock().now()
    booking = Booking(safe_id("b1"), START, START + timedelta(hours=1))
    job = replace(Job(safe_id("b1"), Kind.BOOKING, now, booking, due=START), **known)  # type: ignore[arg-type]
    return spool.create(state, job)


def _amend(state: State, spool: Spool) -> None:
    _booking(state, spool)
    _loose(State.INCOMING, "b1.json", _row(LATER))(spool)


def _reject(entry: Entry, task: Task) -> Done:
    raise Reject("why", "what to do")


def _in_hand(state: State, spool: Spool) -> None:
    put_clip(spool, state, boot_id="boot-1", attempts={"record": 1, "process": 1, "upload": 1})


_IN_RAW = partial(put_clip, state=State.RAW)
SCENES = {
    "adopt a clip": Scene(_loose(State.RAW, "b1.mp4"), "process", {"b1": "processed"}),
    "adopt a booking": Scene(
        _loose(State.INCOMING, "b1.json", _row(LATER)), "record", {"b1": "incoming"}, 0, end=True
    ),
    "amend what waits": Scene(partial(_amend, State.INCOMING), "record", {"b1": "incoming"}, 0, end=True),
    "refuse": Scene(_loose(State.RAW, "b1.avi"), "process", {"b1-rejected": "failed"}),
    "ask for the logs": Scene(_loose(State.RAW, "logs", b""), "process", {"logs": "processed"}, 0),
    "record": Scene(partial(put_clip, state=State.INCOMING), "record", {"b1": "raw"}),
    "process": Scene(_IN_RAW, "process", {"b1": "processed"}),
    "upload": Scene(partial(put_clip, state=State.PROCESSED), "upload", {"b1": "done"}, 0),
    "return": Scene(lambda spool: put_clip(spool, State.DEFERRED, return_to="raw"), "retry", {"b1": "raw"}),
    "fail": Scene(_IN_RAW, "process", {"b1": "failed"}, handler=_reject),
    "go on with a recording": Scene(partial(_in_hand, State.RECORDING), "record", {"b1": "raw"}),
    "go on with a video": Scene(partial(_in_hand, State.PROCESSING), "process", {"b1": "processed"}),
    "go on with an upload": Scene(partial(_in_hand, State.PROCESSED), "upload", {"b1": "done"}, 0),
    "clear an unknown file out": Scene(
        _loose(State.PROCESSING, "b1.mp4"), "process", {"b1-rejected": "failed"}
    ),
}


def play(scene: Scene, spool: Spool) -> None:
    """Call the stage, and who brings back what was put off, until whatever passes has passed."""
    clock = StandingClock()
    drains = [a_drain(scene.stage, spool, scene.handler, clock=clock)]
    if scene.stage != "retry":
        drains.append(a_drain("retry", spool, clock=clock, intake=None))
    for pause_s in _PAUSES_S:
        for drain in drains:
            try:
                drain.run()
            except (OSError, Busy):  # as its lane: later again
                continue
        clock.pass_time(pause_s)
    for _ in range(2):  # each start of a process does so
        with contextlib.suppress(OSError):
            finish_off(spool)


def wrong(scene: Scene, root: Path) -> str:
    """What is not as it should be in the end; nothing if all is well."""
    spool = Spool(root)
    found = where(spool)
    named = sorted((name.partition("-20")[0], state) for name, state in found.items())  # a request has a date
    if named != sorted(scene.ends_in.items()):
        return f"the jobs stand in {found}"
    if (copies := footage_in(root).total()) != scene.footage:
        return f"its footage lies there {copies} times"
    for name, state in found.items():
        if state == "done":
            continue
        entry = spool.read(State(state), name)
        if scene.end and (entry.job.booking is None or entry.job.booking.end != LATER):
            return f"its booking is {entry.job.booking}"
        if state != "failed" and (entry.path / "reason.txt").exists():
            return "a reason stands beside a sound job"
    if not spool.is_tidy():
        return "something half built is left"
    return ""


def lay_out(folder: Path, points: list[Crash]) -> None:
    """A spool for each child, ready for its scene."""
    for name, scene in SCENES.items():
        scene.prepare(new_spool(folder / "templates" / name / "spool"))
    for point in points:
        shutil.copytree(folder / "templates" / point.transition / "spool", folder / point.name / "spool")
    (folder / "plan.json").write_text(json.dumps([[p.transition, p.call, p.nth] for p in points]))


def main(folder: Path, when: int) -> None:
    logging.disable()
    wait_for_tracer()
    points = [Crash(*row) for row in json.loads((folder / "plan.json").read_text())]
    found = {}
    for point in points:
        spool, scene = Spool(folder / point.name / "spool"), SCENES[point.transition]
        found[point.name] = in_child(partial(play, scene, spool), point if point.nth else None, when)
    fd = os.open(folder / "ends.json", os.O_WRONLY | os.O_CREAT, 0o600)
    os.pwrite(fd, json.dumps(found).encode(), 0)


if __name__ == "__main__":
    assert STAGES
    main(Path(sys.argv[1]), int(sys.argv[2]))
