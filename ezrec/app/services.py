"""Everything that one process runs: the workers of its stages, its periodic tasks, and what wakes them.

The recorder never imports the cloud's client, so what imports it is imported where it is needed.
"""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from ezrec.app import periodic
from ezrec.app.common import clock, hooks, spool
from ezrec.app.processing import process_handlers
from ezrec.app.publishing import upload_handlers, upload_policy
from ezrec.app.recording import record_handlers, recorder_liveness
from ezrec.domain.ports import Camera
from ezrec.domain.stages import RETRY, STAGES, State
from ezrec.runtime.worker import Worker
from ezrec.settings import Settings
from ezrec.spool.intake import Intake
from ezrec.system import log_setup

if TYPE_CHECKING:
    from ezrec.runtime.liveness import Liveness
    from ezrec.runtime.periodic import PeriodicTask
    from ezrec.runtime.scheduler import Services

NAMES = (*STAGES, *periodic.TASKS)  # what `ezrec run --only` knows
_ALIVE_S = 3600.0  # where no watchdog asks for more
_RECORDER_ALIVE_S = 2.0  # a camera that hangs costs a match …
_WORKER_ALIVE_S = 10.0  # … an upload can wait


def worker(name: str, settings: Settings, wait_s: float = -1, liveness: Liveness | None = None) -> Worker:
    """The worker of one stage, ready to be run. `liveness`: the recorder's, where the process has one."""
    from ezrec.media.mp4.boxes import lacks
    from ezrec.sync.booking_sync import known_booking

    log, stage = log_setup.logger(name), STAGES[name]
    jobs, now = spool(settings), clock(settings)
    made = Worker(
        stage,
        jobs,
        hooks(settings, log, has_network=name != "record"),
        now,
        log,
        handlers={},
        intake=Intake(
            spool=jobs,
            state=stage.takes_from,
            clock=now,
            zone=settings.zone,
            log=log,
            lead_s=settings.pre_roll_s + settings.arm_s,
            known_booking=known_booking(settings.booking_cache, settings.zone),
            lacks=lacks,
        ),
        wait_s=wait_s,
        keeps=settings.keep_uploaded > timedelta(0),
    )
    if name == "record":
        liveness = liveness or recorder_liveness(settings)
        made.handlers = record_handlers(settings, log, liveness)
        made.heartbeat = liveness.stage_heartbeat
        made.wide = True
    elif name == "process":
        made.handlers = process_handlers(settings, log)
    elif name == "upload":
        policy = upload_policy(settings)
        made.handlers = upload_handlers(settings, log, policy)
        made.order = policy.order or made.order
    else:
        made.come = upload_policy(settings).ended_waits
    return made


def build(settings: Settings, names: Sequence[str], camera: Camera | None = None) -> Services:
    """The workers and periodic tasks of these names. `camera`: another than the settings name."""
    from ezrec.runtime.scheduler import Services
    from ezrec.system.clock import on_step

    with contextlib.suppress(OSError):
        (settings.state / "key.said").unlink()  # each start warns again of a key that is too strong
    liveness = recorder_liveness(settings, camera) if "record" in names else None
    workers = [worker(name, settings, liveness=liveness) for name in STAGES if name in names]
    tasks = {name: periodic.periodic_task(name, settings) for name in periodic.TASKS if name in names}
    watched = _watched(settings, workers, tasks, liveness)
    made = Services(
        workers, list(tasks.values()), watched, settings.rescan_s, log_setup.logger("run"), liveness
    )
    on_step(made.nudge)
    return made


def _watched(
    settings: Settings,
    workers: Sequence[Worker],
    tasks: dict[str, PeriodicTask],
    liveness: Liveness | None,
) -> dict[Path, Callable[[], None]]:
    """The directories to watch, and what to call when something arrives there."""
    from ezrec.cloud.connectivity import Connectivity, WakeOnReturn
    from ezrec.recording import snapshot_requests

    wakes: defaultdict[Path, list[Callable[[], None]]] = defaultdict(list)
    retry = []
    for made in workers:
        wakes[made.spool.directory(made.stage.takes_from)].append(made.wake_up.set)
        if made.stage is RETRY:
            retry.append(made.wake_up.set)
            wakes[made.spool.directory(State.RAW)].append(made.wake_up.set)  # a recording ended
    if liveness is not None:
        asked = settings.spool / snapshot_requests.DIRECTORY
        if _is_watchable(asked):
            requests = snapshot_requests.SnapshotRequests(asked, liveness.camera, log_setup.logger("record"))
            wakes[asked].append(requests.wake)
    for name, task in tasks.items():
        for directory in filter(_is_watchable, periodic.wakes(name, settings)):
            wakes[directory].append(task.wake_up.set)
    pausing = [tasks[name].wake_up.set for name in periodic.PAUSE_OFFLINE if name in tasks]
    if (retry or pausing) and _is_watchable(settings.reach):
        returned = WakeOnReturn(Connectivity(settings.reach), clock(settings), retry, pausing)
        wakes[settings.reach].append(returned)
    return {directory: _all(calls) for directory, calls in wakes.items()}


def _is_watchable(directory: Path) -> bool:
    """False where the kernel would refuse the watch: without events the next regular look finds the same."""
    with contextlib.suppress(OSError):
        directory.mkdir(parents=True, exist_ok=True)
    return os.access(directory, os.R_OK | os.X_OK)


def _all(calls: Sequence[Callable[[], None]]) -> Callable[[], None]:
    def call_all() -> None:
        for call in calls:
            call()

    return call_all


def serve(running: Services, *, kept: bool = False) -> None:
    """Run services to their end, and report to whoever supervises this process: systemd, or (`kept`) the
    first process of `ezrec run`.
    """
    from ezrec.system.sd_notify import notify, notify_supervisor, watchdog_s

    say = notify_supervisor if kept else notify
    kept_s = _RECORDER_ALIVE_S if running.is_recorder else _WORKER_ALIVE_S
    alive_s = kept_s if kept else watchdog_s() or _ALIVE_S
    try:
        running.run(ready=lambda: say("READY=1"), alive=lambda: say("WATCHDOG=1"), alive_s=alive_s)
    finally:
        say("STOPPING=1")
