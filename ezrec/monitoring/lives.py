"""Finds out whether what should run here does: the recorder, the worker, their supervisor.

Asks the kernel, and reads what each of them leaves, at this moment: nothing that a dead process wrote counts
as a sign of life. Takes no lock and starts no process.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from ezrec.domain.health import Health
from ezrec.domain.job import OPEN
from ezrec.domain.ports import Clock
from ezrec.domain.proof_of_life import (
    SILENT_S,
    Life,
    ProcessState,
    Starter,
    age_of,
    of_recorder,
    of_services,
)
from ezrec.domain.snapshot import Recorder, ServicesLife, Snapshot
from ezrec.domain.status_file import StatusFile
from ezrec.monitoring.state_files import read_health
from ezrec.settings import Settings
from ezrec.spool.spool import Entry, Spool
from ezrec.system import host

_SUPERVISOR = "ezrec.runtime.supervisor"  # the module that it runs as


def recorder(
    spool: Spool,
    settings: Settings,
    in_hand: Sequence[Entry],
    clock: Clock,
    expected_since: Mapping[str, datetime],
) -> Recorder:
    """The recorder as it is now. `expected_since`: the bookings in play, and since when each should be
    recorded; `in_hand`: the jobs in recording/."""
    found, now = read_health(settings.state), clock.now()
    is_needed = any((now - since).total_seconds() > SILENT_S for since in expected_since.values())
    process = host.process_state(found.pid) if found else ProcessState.GONE
    life = of_recorder(found, process, _age_s(found, clock), clock.boot_id(), is_needed=is_needed)
    recording: tuple[str, ...] = ()
    if life is Life.LIVES and found is not None:
        recording = found.recording
    elif life in (Life.NEVER, Life.SILENT):  # its file may be lost, or its disk may take no writes
        recording = tuple(_growing(in_hand)) if life is Life.SILENT else tuple(_open(spool, in_hand))
        life = Life.LIVES if recording or (life is Life.NEVER and _works(spool)) else life
    return Recorder(
        life.is_alive, tuple(sorted(expected_since)), recording, found, life, dict(expected_since)
    )


def recorder_lives(settings: Settings, clock: Clock) -> bool:
    """Whether a recorder runs that writes its health, wherever its spool is."""
    found = read_health(settings.state)
    process = host.process_state(found.pid) if found else ProcessState.GONE
    return of_recorder(found, process, _age_s(found, clock), clock.boot_id()) is Life.LIVES


def _age_s(found: Health | None, clock: Clock) -> float:
    return age_of(found, clock.now(), clock.monotonic(), clock.boot_id()) if found else 0.0


def _works(spool: Spool) -> bool:
    """Whether the process runs that holds the record stage, or held it last."""
    lock = spool.lock("record")
    if lock.is_held():
        return host.process_state(lock.last_pid()) is ProcessState.RUNS
    pid = lock.last_pid()
    return host.process_state(pid) is ProcessState.RUNS and "record" in host.command_of(pid)


def _open(spool: Spool, in_hand: Sequence[Entry]) -> Iterator[str]:
    """The jobs with an open take, while somebody holds the record stage's lock."""
    if not in_hand or not spool.lock("record").is_held():
        return
    for entry in in_hand:
        if any(take.ended_by == OPEN for take in entry.job.takes):
            yield entry.id


def _growing(in_hand: Sequence[Entry]) -> Iterator[str]:
    """The jobs with an open take to which something was written just now."""
    now = time.time()
    for entry in in_hand:
        for take in entry.job.takes:
            with suppress(OSError):
                if take.ended_by == OPEN and 0 <= now - os.stat(entry.path / take.file).st_mtime < SILENT_S:
                    yield entry.id


def services(last: StatusFile | None, seen: Snapshot, limit_s: float) -> ServicesLife:
    """The worker and the periodic tasks, by what they wrote `last` and by the process that wrote it. `seen`:
    this moment."""
    if last is None:
        return ServicesLife(Life.NEVER)
    said, uptime_s, then_s = last.facts.at, seen.machine.uptime_s, last.facts.machine.uptime_s
    if last.facts.boot_id and last.facts.boot_id != seen.boot_id:
        return ServicesLife(Life.ENDED, said, last.pid)
    process = host.process_state(last.pid) if last.pid else None
    age_s = (seen.at - said).total_seconds()
    if last.facts.boot_id and uptime_s is not None and then_s is not None:  # which no step of a clock changes
        age_s = uptime_s - then_s
    return ServicesLife(of_services(age_s, process, limit_s), said, last.pid)


def starter(settings: Settings, recorder: Recorder, services: ServicesLife) -> tuple[Starter, ServicesLife]:
    """How EZREC is started here, and what has to be ended first; and whether a supervisor is stopped."""
    pids = [recorder.health.pid if recorder.health else 0, services.pid]
    supervisors = [pid for pid in map(_supervisor_of, pids) if pid]
    stopped = next((pid for pid in supervisors if host.process_state(pid) is ProcessState.STOPPED), 0)
    hangs = [
        pid for pid, life in zip(pids, (recorder.proof, services.life), strict=True) if life.is_in_the_way
    ]
    first = stopped or (next(iter(supervisors), hangs[0]) if hangs else 0)
    found = Starter(host.unit_for(settings.home), first)
    return found, replace(services, stopped_supervisor=stopped)


def _supervisor_of(pid: int) -> int:
    """The supervisor that keeps a process; 0 where none does."""
    parent = host.parent_of(pid) if pid > 0 else 0
    return parent if parent > 1 and _SUPERVISOR in host.command_of(parent) else 0
