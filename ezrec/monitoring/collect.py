"""Gathers the snapshot of this box from its files: reads, and changes nothing.

Works with no recorder, with a dead one that left its `health.json`, and with an empty spool. Uses no network
and starts no process: `ezrec status` must answer while everything else hangs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import TypeVar

import msgspec

from ezrec.domain import branding, cloud_state, disk_policy, health, json_decode, status_file
from ezrec.domain.alerts import Alert, Severity, judge
from ezrec.domain.booking import BadBooking, Booking
from ezrec.domain.cloud_state import Cloud
from ezrec.domain.disk_policy import DiskMeasures, OtherDisk
from ezrec.domain.health import Health
from ezrec.domain.job import OPEN, Job
from ezrec.domain.machine import Machine
from ezrec.domain.ports import Clock
from ezrec.domain.redaction import cleaned
from ezrec.domain.snapshot import (
    Blocked,
    FailedJob,
    Recorder,
    Snapshot,
    Upcoming,
    Uploads,
    Waiting,
    is_alive,
    measured_rate,
)
from ezrec.domain.stages import DIRECTORIES, State
from ezrec.domain.status_file import StatusFile
from ezrec.domain.upload_schedule import UPLOAD_STATE, Deadline, Wait
from ezrec.settings import Settings
from ezrec.spool.booking_intake import read_booking
from ezrec.spool.spool import Entry, Spool, UnknownFile
from ezrec.system import host, plain_files

T = TypeVar("T")
ALERTS = "alerts.json"  # in EZREC_STATE
# While nothing happens the status files are written only so often: a memory card wears by writing, and these
# few kilobytes cost it 60 each time with what the file system adds (bench/results/status.md).
IDLE_S = 300.0
FAILED_TOLD = 20  # each costs `status.json` 250 bytes every time; `ezrec spool ls` shows them all
_TOLD = 500  # characters of a reason
_DAY = timedelta(days=1)
_LARGEST = 1 << 16  # bytes of a booking or a `health.json` that are read; real ones have a few hundred
_MEASURES_VALID_S = 3600.0  # a disk measure that nobody has confirmed for so long is no longer in force
_MISSED_WRITES = 3  # with `status.json` older than so many intervals (and IDLE_S) the services are silent
# A job that waits for the hours or a recording is as it should be; a cure has an alert of its own.
_AS_MEANT = (Wait.HOURS, Wait.RECORDING, Wait.CURE)
_WAITING = (State.RAW, State.PROCESSED, State.DEFERRED)
_UNPUBLISHED = (State.RECORDING, State.RAW, State.PROCESSING, State.PROCESSED, State.DEFERRED, State.FAILED)


def look(settings: Settings, clock: Clock) -> tuple[Snapshot, list[Alert]]:
    """The box now, and its alerts, raised or about to be: the worst first. Secrets are masked."""
    last = read_status_file(settings.state)
    before = last.facts if last else None
    machine = _machine(settings.spool, before, clock.now())
    snapshot = collect(
        Spool(settings.spool), settings, clock, machine, before, before.versions if before else None
    )
    if before is not None:
        snapshot = replace(snapshot, forecast_short=before.forecast_short)
    snapshot = with_disk_measure(snapshot, settings.state)
    judged = judge(snapshot, read_alerts(settings.state), settings.upload_stall_h * 3600)
    found = [alert for alert in judged.alerts if alert.gone_s is None]
    found += _silent_services(snapshot, before, settings.status_interval_s)
    order = list(Severity)[::-1]
    found.sort(key=lambda alert: (order.index(alert.severity), not alert.is_raised))
    return cleaned(snapshot), [cleaned(alert) for alert in found]


def read_branding_faults(state: Path) -> tuple[str, ...]:
    with suppress(OSError, ValueError):
        found = json_decode.decode((state / branding.UNUSABLE).read_bytes(), _BrandingFaults)
        return tuple(fault[:_TOLD] for fault in found.faults)
    return ()


class _BrandingFaults(msgspec.Struct):
    faults: tuple[str, ...] = ()


def _machine(spool: Path, before: Snapshot | None, now: datetime) -> Machine:
    """The last measurements unless they are old, with the disk, the load and the uptime of this moment."""
    is_fresh = before is not None and abs((now - before.at).total_seconds()) < 2 * IDLE_S
    one, five, fifteen = (round(load, 2) for load in os.getloadavg())
    disk = os.statvfs(host.nearest(spool))
    return replace(
        before.machine if before is not None and is_fresh else Machine(),
        uptime_s=time.clock_gettime(time.CLOCK_BOOTTIME),
        load=(one, five, fifteen),
        disk_bytes=disk.f_blocks * disk.f_frsize,
        disk_free_bytes=disk.f_bavail * disk.f_frsize,
    )


def _silent_services(snapshot: Snapshot, before: Snapshot | None, interval_s: float) -> Iterator[Alert]:
    """An alert when nobody writes `status.json` any more: then nobody raises the other alerts either."""
    limit_s = _MISSED_WRITES * interval_s + IDLE_S
    if before is not None and abs((snapshot.at - before.at).total_seconds()) <= limit_s:
        return
    message = "EZREC's services are silent" if before else "EZREC's services have never run here"
    remedy = "systemctl status ezrec; without systemd: ezrec run"
    at = before.at if before and before.at <= snapshot.at else None
    yield Alert("services_silent", Severity.WARNING, message, remedy, snapshot.boot_id, 0.0, at)


def collect(
    spool: Spool,
    settings: Settings,
    clock: Clock,
    machine: Machine,
    before: Snapshot | None = None,
    versions: Mapping[str, str] | None = None,
) -> Snapshot:
    """The snapshot of this moment. `before`: the last one, for what is measured between the two."""
    now = clock.now()
    is_synchronised = clock.is_synchronised()
    seen = {state: spool.look(state) for state in DIRECTORIES}
    entries: dict[State, list[Entry]] = {state: found for state, (found, _) in seen.items()}
    loose = list(_loose_bookings(spool, seen[State.INCOMING][1], settings.zone))
    recorder = _recorder(spool, settings, entries, clock)
    if is_synchronised:
        recorder = replace(recorder, expected=tuple(sorted(_expected(entries, loose, now))))
    failed = _failed(entries[State.FAILED])
    camera_error = recorder.health.last_error if recorder.health and recorder.is_alive else ""
    return Snapshot(
        at=now,
        boot_id=clock.boot_id(),
        machine=machine,
        recorder=recorder,
        jobs={str(state): len(found) for state, found in entries.items()},
        oldest=_oldest(entry for state in _WAITING for entry in entries[state]),
        failed=failed,
        longest_booking=_longest(entries, loose, now),
        blocked=_blocked(entries[State.DEFERRED]),
        uploads=_uploads(entries, now, machine.uptime_s, before, clock.boot_id()),
        unpublished_bytes=sum(_weight(entry.job) for state in _UNPUBLISHED for entry in entries[state]),
        to_process_bytes=_to_process(entries),
        branding_faults=read_branding_faults(settings.state),
        recording_bytes_a_minute=_bytes_a_minute(recorder, settings.bitrate),
        clock_synchronised=is_synchronised,
        booking_cache_at=_written(settings.booking_cache),
        next_booking=_next(entries, loose, now),
        booked_s=_booked_s(entries, loose, now),
        versions=dict(versions or {}),
        cloud_reached_at=before.cloud_reached_at if before else None,
        cloud_fault=before.cloud_fault if before else "",
        cloud=read_cloud(settings),
        last_error=failed[-1].reason if failed else camera_error,
        other_disks=other_disks(settings),
    )


def with_disk_measure(snapshot: Snapshot, state: Path) -> Snapshot:
    """The snapshot with the measure against a full disk that is in force, in words."""
    measures = read_disk_measures(state, snapshot.at)
    return replace(snapshot, disk_measure=measures.told if measures else "")


def other_disks(settings: Settings) -> tuple[OtherDisk, ...]:
    """The disks that hold something of ours beside the spool's."""
    places = {
        "EZREC_STATE": settings.state,
        "LOGS_DIR": settings.logs,
        "MEDIA_CACHE_DIR": settings.media_cache,
        "BOOKING_CACHE_FILE": settings.booking_cache.parent,
    }
    if settings.backend == "local":
        places["EZREC_HOME"] = settings.local_store
    return host.other_disks(settings.spool, places)


# ---- what the services wrote into EZREC_STATE; None where there is no readable file


def read_status_file(state: Path) -> StatusFile | None:
    """What the status task last wrote."""
    return _read(state / status_file.FILE, status_file.decode, limit=1 << 24)


def read_health(state: Path) -> Health | None:
    """What the recorder last wrote."""
    return _read(state / health.FILE, health.decode)


def read_cloud(settings: Settings) -> Cloud | None:
    """How the cloud last treated this box; None without Supabase: the file is then of an earlier time."""
    if settings.backend != "supabase":
        return None
    return _read(settings.state / cloud_state.FILE, cloud_state.decode)


def read_alerts(state: Path) -> tuple[Alert, ...]:
    """The alerts as last remembered; none where there is no readable file."""
    return _read(state / ALERTS, lambda data: json_decode.decode(data, tuple[Alert, ...]), 1 << 24) or ()


def read_disk_measures(state: Path, now: datetime) -> DiskMeasures | None:
    """The disk measures in force; None when none was confirmed within an hour: then all is as usual."""
    measures = _read(state / disk_policy.FILE, disk_policy.decode)
    is_valid = measures is not None and abs((now - measures.at).total_seconds()) <= _MEASURES_VALID_S
    return measures if is_valid else None


def _read(path: Path, decode: Callable[[bytes], T], limit: int = _LARGEST) -> T | None:
    try:
        return decode(plain_files.read(path, limit, shared=True))
    except (OSError, ValueError):
        return None


# ---- the recorder


def _recorder(
    spool: Spool, settings: Settings, entries: Mapping[State, list[Entry]], clock: Clock
) -> Recorder:
    found = read_health(settings.state)
    if found is None:
        return Recorder(recording=tuple(_open_takes(spool, entries[State.RECORDING])))
    alive = is_alive(found, clock.now(), clock.boot_id(), has_process=host.has_process(found.pid))
    return Recorder(alive, recording=found.recording if alive else (), health=found)


def recorder_lives(settings: Settings, clock: Clock) -> bool:
    """Whether a recorder runs that writes its health, wherever its spool is."""
    found = read_health(settings.state)
    return found is not None and is_alive(
        found, clock.now(), clock.boot_id(), has_process=host.has_process(found.pid)
    )


def _open_takes(spool: Spool, entries: list[Entry]) -> Iterator[str]:
    """Without a `health.json`: the jobs with an open take, while somebody holds the record stage's lock."""
    if not entries or not spool.lock("record").is_held():
        return
    for entry in entries:
        if any(take.ended_by == OPEN for take in entry.job.takes):
            yield entry.id


def _bytes_a_minute(recorder: Recorder, bitrate: int) -> float:
    measured = recorder.health.bytes_a_minute if recorder.health else None
    return float(measured or bitrate * 60 / 8)


# ---- bookings


def _loose_bookings(spool: Spool, unknown: list[UnknownFile], zone: tzinfo) -> Iterator[Booking]:
    """Bookings that lie in incoming/ and are no jobs yet: without a recorder nobody else sees them."""
    for file in unknown:
        if file.name.endswith(".json"):
            with suppress(OSError, BadBooking):
                yield read_booking(spool.directory(State.INCOMING) / file.name, zone)


def _expected(entries: Mapping[State, list[Entry]], loose: list[Booking], now: datetime) -> set[str]:
    """Bookings whose window is now."""
    return {found.id for found in _bookings(entries, loose) if now in found.window}


def _bookings(entries: Mapping[State, list[Entry]], loose: list[Booking]) -> list[Booking]:
    """Those that wait or are in hand, and that nobody took back."""
    waiting = [*entries[State.INCOMING], *entries[State.RECORDING]]
    bookings = [entry.job.booking for entry in waiting if entry.job.booking and not entry.job.held]
    return [found for found in (*bookings, *loose) if not (found.is_cancelled or found.is_finished)]


def _booked_s(entries: Mapping[State, list[Entry]], loose: list[Booking], now: datetime) -> float:
    """Seconds that are still to be recorded within a day; overlapping bookings have a file each."""
    spans = [
        (min(found.end, now + _DAY) - max(found.start, now)).total_seconds()
        for found in _bookings(entries, loose)
    ]
    return sum(max(0.0, span) for span in spans)


def _next(entries: Mapping[State, list[Entry]], loose: list[Booking], now: datetime) -> Upcoming | None:
    coming = [found for found in _bookings(entries, loose) if found.start > now]
    first = min(coming, key=lambda found: found.start, default=None)
    return None if first is None else Upcoming(first.id, first.start, first.end)


def _longest(entries: Mapping[State, list[Entry]], loose: list[Booking], now: datetime) -> Upcoming | None:
    coming = [found for found in _bookings(entries, loose) if found.end > now]
    found = max(coming, key=lambda found: found.end - found.start, default=None)
    return None if found is None else Upcoming(found.id, found.start, found.end)


# ---- what waits


def _oldest(entries: Iterator[Entry]) -> Waiting | None:
    waiting = [_waiting(entry) for entry in entries if not entry.job.held]
    return min(waiting, key=lambda found: found.since, default=None)


def _waiting(entry: Entry) -> Waiting:
    return Waiting(entry.id, str(entry.state), _since(entry.job, str(entry.state)))


def _since(job: Job, state: str) -> datetime:
    """Since when it waits for its stage: a job that is deferred again and again waits all the while."""
    queue = job.return_to if state == State.DEFERRED else state
    return min((arrival.at for arrival in job.arrivals if arrival.state == queue), default=job.since)


def _failed(entries: list[Entry]) -> tuple[FailedJob, ...]:
    """The newest, the oldest of them first: how many there are, `jobs` says."""
    newest = sorted(entries, key=lambda entry: (entry.job.since, entry.id))[-FAILED_TOLD:]
    return tuple(
        FailedJob(entry.id, entry.job.since, entry.job.reason[:_TOLD], entry.job.remedy[:_TOLD])
        for entry in newest
    )


def _blocked(deferred: list[Entry]) -> Blocked | None:
    found = _failed([entry for entry in deferred if entry.job.waits_for == Wait.CURE and not entry.job.held])
    return Blocked(len(found), found[-1]) if found else None


def _uploads(
    entries: Mapping[State, list[Entry]],
    now: datetime,
    uptime_s: float | None,
    before: Snapshot | None,
    boot_id: str,
) -> Uploads:
    waiting = list(entries[State.PROCESSED])
    waiting += [entry for entry in entries[State.DEFERRED] if entry.job.return_to == State.PROCESSED]
    sizes: dict[str, int] = {entry.id: _to_upload(entry) for entry in waiting}
    job, sent = _under_way(entries[State.PROCESSED], sizes)
    held = [entry for entry in waiting if entry.job.held]
    resting = [entry for entry in waiting if entry.job.waits_for in _AS_MEANT]
    oldest = _oldest(iter([entry for entry in waiting if entry not in (*held, *resting)]))
    expires = next((_expires(entry) for entry in entries[State.PROCESSED] if entry.id == job), None)
    found = Uploads(
        len(waiting), sum(sizes.values()), oldest, job, sent, job_bytes=sizes.get(job, 0), expires_at=expires
    )
    if before is None:
        return replace(found, moved_at=now if job else None)
    then = before.uploads
    seconds = 0.0
    if before.boot_id == boot_id and uptime_s is not None and before.machine.uptime_s is not None:
        seconds = uptime_s - before.machine.uptime_s
    has_moved = (
        (job, sent) != (then.job, then.sent_bytes) if job else bool(then.job) and then.job not in sizes
    )
    return replace(
        found,
        bytes_a_second=measured_rate(then, found, seconds),
        moved_at=now if has_moved else then.moved_at,
    )


def _expires(entry: Entry) -> datetime | None:
    """When the address of an upload ends, where the service told."""
    try:
        return json_decode.decode(plain_files.read(entry.path / UPLOAD_STATE, _LARGEST), Deadline).expires
    except (OSError, ValueError):
        return None


def _to_upload(entry: Entry) -> int:
    return entry.job.result.size if entry.job.result else entry.size()


def _under_way(entries: list[Entry], sizes: Mapping[str, int]) -> tuple[str, int]:
    """The upload that somebody has in hand, and how much of it is sent."""
    for entry in entries:
        note = entry.progress() if entry.job.boot_id else {}
        part = note.get("part")
        if note.get("stage") == "upload" and isinstance(part, int | float):
            return entry.id, int(min(1.0, max(0.0, part)) * sizes[entry.id])
    return "", 0


def _to_process(entries: Mapping[State, list[Entry]]) -> int:
    waiting = [*entries[State.RAW], *entries[State.PROCESSING]]
    waiting += [entry for entry in entries[State.DEFERRED] if entry.job.return_to == State.RAW]
    footage = (sum(take.size for take in entry.job.takes) for entry in waiting if entry.job.result is None)
    return max(footage, default=0)


def _weight(job: Job) -> int:
    """Bytes of footage and video in a job, by its record."""
    return sum(take.size for take in job.takes) + (job.result.size if job.result else 0)


# ---- files


def _written(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except (OSError, OverflowError, ValueError):
        return None
