"""Everything that one process runs: the workers of its stages, its periodic tasks, and what wakes them.

The recorder never imports the cloud's client, so what imports it is imported where it is needed.
"""

from __future__ import annotations

import contextlib
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
from ezrec.domain.stages import RETRY, STAGES
from ezrec.runtime.worker import Worker
from ezrec.settings import Settings
from ezrec.spool.intake import Intake
from ezrec.system import log_setup

if TYPE_CHECKING:
    from ezrec.runtime.liveness import Liveness
    from ezrec.runtime.periodic import PeriodicTask
    from ezrec.runtime.scheduler import Services

NAMES = (*STAGES, *periodic.TASKS)  # what `ezrec run --only` knows


def worker(name: str, settings: Settings, wait_s: float = -1, liveness: Liveness | None = None) -> Worker:
    """The worker of one stage, ready to be run. `liveness`: the recorder's, where the process has one."""
    from ezrec.media.mp4.boxes import lacks
    from ezrec.sync.booking_sync import known_booking

    log, stage = log_setup.logger(name), STAGES[name]
    jobs, now = spool(settings), clock(settings)
    intake = Intake(
        spool=jobs, state=stage.takes_from, clock=now, zone=settings.zone, log=log,
        lead_s=settings.pre_roll_s + settings.arm_s,
        known_booking=known_booking(settings.booking_cache, settings.zone),
        lacks=lacks,
    )  # fmt: skip
    made = Worker(
        stage, jobs, hooks(settings, log, has_network=name != "record"), now, log, handlers={}, intake=intake,
        wait_s=wait_s,
        keeps=settings.keep_uploaded > timedelta(0),
    )  # fmt: skip
    if name == "record":
        liveness = liveness or recorder_liveness(settings)
        made.handlers = record_handlers(settings, log, liveness)
        made.heartbeat, made.wide = liveness.stage_heartbeat, True
    elif name == "process":
        made.handlers = process_handlers(settings, log)
    elif name == "upload":
        policy = upload_policy(settings)
        made.handlers, made.order = upload_handlers(settings, log, policy), policy.order
    else:
        made.come = upload_policy(settings).ended_waits
    return made


def build(settings: Settings, names: Sequence[str], camera: Camera | None = None) -> Services:
    """The workers and periodic tasks of these names. `camera`: another than the settings name."""
    from ezrec.runtime.file_events import combined
    from ezrec.runtime.scheduler import Services
    from ezrec.system.clock import on_step

    with contextlib.suppress(OSError):
        (settings.state / "key.said").unlink()  # each start warns again of a key that is too strong
    liveness = recorder_liveness(settings, camera) if "record" in names else None
    workers = [worker(name, settings, liveness=liveness) for name in STAGES if name in names]
    tasks = [periodic.periodic_task(name, settings) for name in periodic.TASKS if name in names]
    wakes = [(where, worker.wake_up.set) for worker in workers for where in worker.watched]
    wakes += [(where, task.wake_up.set) for task in tasks for where in task.watched]
    if liveness is not None:
        wakes.append(_pictures(settings, liveness))
    watched = combined([*wakes, *_on_return(settings, workers, tasks)])
    made = Services(workers, tasks, watched, settings.rescan_s, log_setup.logger("run"), liveness)
    on_step(made.nudge)
    return made


def _pictures(settings: Settings, liveness: Liveness) -> tuple[Path, Callable[[], None]]:
    """Who is woken when somebody asks for a picture."""
    from ezrec.recording.snapshot_requests import DIRECTORY, SnapshotRequests

    asked = settings.spool / DIRECTORY
    return asked, SnapshotRequests(asked, liveness.camera, log_setup.logger("record")).wake


def _on_return(
    settings: Settings, workers: Sequence[Worker], tasks: Sequence[PeriodicTask]
) -> list[tuple[Path, Callable[[], None]]]:
    """Who is woken when the cloud can be reached again."""
    from ezrec.cloud.connectivity import Connectivity, WakeOnReturn

    retry = [each.wake_up.set for each in workers if each.stage is RETRY]
    pausing = [task.wake_up.set for task in tasks if task.pauses_offline]
    if not retry and not pausing:
        return []
    return [(settings.reach, WakeOnReturn(Connectivity(settings.reach), clock(settings), retry, pausing))]
