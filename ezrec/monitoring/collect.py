"""The survey: gathers the facts about this box from its files. Looks, and changes nothing.

Works with no recorder, with a dead one whose last word still stands, and with a spool that is empty.
Asks nobody over a network and starts no process: `ezrec status` has to answer while everything is stuck.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import msgspec

from ezrec.domain import cloud_state, json_decode, snapshot, status_file
from ezrec.domain import health as healths
from ezrec.domain.booking import BadBooking, Booking, parse_booking
from ezrec.domain.cloud_state import Cloud
from ezrec.domain.disk_policy import OtherDisk
from ezrec.domain.health import Health
from ezrec.domain.job import OPEN, Job
from ezrec.domain.machine import Machine
from ezrec.domain.ports import Clock
from ezrec.domain.snapshot import Blocked, FailedJob, Recorder, Snapshot, Upcoming, Uploads, Waiting
from ezrec.domain.stages import DIRECTORIES, State
from ezrec.domain.status_file import StatusFile
from ezrec.domain.upload_schedule import UPLOAD_STATE, Deadline, Wait
from ezrec.settings import Settings
from ezrec.spool.spool import Entry, Spool, UnknownFile
from ezrec.system import host, plain_files

FAILED_TOLD = 20  # each costs the state file 250 bytes a beat; the listing of the spool has them all
_TOLD = 500  # characters of a reason
_DAY = timedelta(days=1)
_LARGEST = 1 << 16  # bytes of a booking or a health that is read; real ones have a few hundred
# Who waits for the hours or a recording gets on as he is meant to, and of a cure another alert tells.
_AS_MEANT = (Wait.HOURS, Wait.RECORDING, Wait.CURE)
_WAITING = (State.RAW, State.PROCESSED, State.DEFERRED)
_UNPUBLISHED = (State.RECORDING, State.RAW, State.PROCESSING, State.PROCESSED, State.DEFERRED, State.FAILED)


def survey(
    spool: Spool,
    settings: Settings,
    clock: Clock,
    machine: Machine,
    before: Snapshot | None = None,
    versions: Mapping[str, str] | None = None,
) -> Snapshot:
    """The facts of this moment. `before`: the last ones, for what is measured between two looks."""
    now = clock.now()
    is_synchronised = clock.is_synchronised()
    seen = {state: spool.look(state) for state in DIRECTORIES}
    entries: dict[State, list[Entry]] = {state: found for state, (found, _) in seen.items()}
    loose = list(_loose_bookings(spool, seen[State.INCOMING][1], settings.zone))
    recorder = _recorder(spool, settings, entries, clock)
    if is_synchronised:
        recorder = replace(recorder, expected=tuple(sorted(_expected(entries, loose, now))))
    failed = _failed(entries[State.FAILED])
    last_word = recorder.health.last_error if recorder.health and recorder.is_alive else ""
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
        recording_bytes_a_minute=_bytes_a_minute(recorder, settings.bitrate),
        clock_synchronised=is_synchronised,
        booking_cache_at=_written(settings.booking_cache),
        next_booking=_next(entries, loose, now),
        booked_s=_booked_s(entries, loose, now),
        versions=dict(versions or {}),
        cloud_reached_at=before.cloud_reached_at if before else None,
        cloud_fault=before.cloud_fault if before else "",
        cloud=read_cloud(settings),
        last_error=failed[-1].reason if failed else last_word,
        other_disks=other_disks(settings),
    )


def other_disks(settings: Settings) -> tuple[OtherDisk, ...]:
    """The disks that hold something of ours beside the spool's."""
    places = {
        "EZREC_STATE": settings.state,
        "LOGS_DIR": settings.logs,
        "MEDIA_CACHE_DIR": settings.media_cache,
        "BOOKING_CACHE_FILE": settings.booking_cache.parent,
    }
    if settings.backend == "local":
        places["EZREC_LOCAL_STORE"] = settings.local_store
    return host.other_disks(settings.spool, places)


# ---- the recorder


def _recorder(
    spool: Spool, settings: Settings, entries: Mapping[State, list[Entry]], clock: Clock
) -> Recorder:
    health = read_health(settings.state)
    if health is None:
        return Recorder(recording=tuple(_open_takes(spool, entries[State.RECORDING])))
    alive = snapshot.is_alive(health, clock.now(), clock.boot_id(), has_process=_has_process(health.pid))
    return Recorder(alive, recording=health.recording if alive else (), health=health)


def recorder_lives(settings: Settings, clock: Clock) -> bool:
    """Whether a recorder that is alive left its word, wherever its spool is."""
    health = read_health(settings.state)
    return health is not None and snapshot.is_alive(
        health, clock.now(), clock.boot_id(), has_process=_has_process(health.pid)
    )


def last_report(state: Path) -> StatusFile | None:
    """What the status pulse last wrote; None where there is nothing, or nothing readable."""
    try:
        return status_file.decode((state / status_file.FILE).read_bytes())
    except (OSError, ValueError):
        return None


def read_health(state: Path) -> Health | None:
    """The recorder's last word; None where there is none, or no readable one."""
    try:
        return healths.decode(_read_small(state / healths.FILE))
    except (OSError, ValueError):
        return None


def read_cloud(settings: Settings) -> Cloud | None:
    """How the cloud last treated this box; None where nothing readable says so, or no cloud is set."""
    if settings.backend != "supabase":
        return None  # what stands there is of another time
    try:
        return cloud_state.decode(_read_small(settings.state / cloud_state.FILE))
    except (OSError, ValueError):
        return None


def _open_takes(spool: Spool, entries: list[Entry]) -> Iterator[str]:
    """Without a health: a take is open, and somebody holds the camera's lock."""
    if not entries or host.holder_of(spool.root / ".locks" / "record.lock") is None:
        return
    for entry in entries:
        if any(take.ended_by == OPEN for take in entry.job.takes):
            yield entry.id


def _has_process(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return pid > 0


def _bytes_a_minute(recorder: Recorder, bitrate: int) -> float:
    measured = recorder.health.bytes_a_minute if recorder.health else None
    return float(measured or bitrate * 60 / 8)


# ---- bookings


def _loose_bookings(spool: Spool, strangers: list[UnknownFile], zone: tzinfo) -> Iterator[Booking]:
    """Bookings that nobody has adopted: when no recorder runs they would be seen by nobody else."""
    for stranger in strangers:
        if stranger.name.endswith(".json"):
            with suppress(OSError, BadBooking, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                content = _read_small(spool.directory(State.INCOMING) / stranger.name)
                yield parse_booking(msgspec.json.decode(content), zone)


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
    return min((arrival.at for arrival in job.arrivals if arrival.state == queue), default=_arrived(job))


def _arrived(job: Job) -> datetime:
    return job.arrivals[-1].at if job.arrivals else job.created


def _failed(entries: list[Entry]) -> tuple[FailedJob, ...]:
    """The newest, the oldest of them first: how many there are, `jobs` says."""
    newest = sorted(entries, key=lambda entry: (_arrived(entry.job), entry.id))[-FAILED_TOLD:]
    return tuple(
        FailedJob(entry.id, _arrived(entry.job), entry.job.reason[:_TOLD], entry.job.remedy[:_TOLD])
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
        bytes_a_second=snapshot.measured_rate(then, found, seconds),
        moved_at=now if has_moved else then.moved_at,
    )


def _expires(entry: Entry) -> datetime | None:
    """When the address of an upload ends, where the service told."""
    try:
        return json_decode.decode(_read_small(entry.path / UPLOAD_STATE), Deadline).expires
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
    """Bytes of footage and video in a job, as its record tells them."""
    return sum(take.size for take in job.takes) + (job.result.size if job.result else 0)


# ---- files


def _written(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except (OSError, OverflowError, ValueError):
        return None


def _read_small(path: Path) -> bytes:
    """A small plain file; follows no link, and hangs on no FIFO."""
    return plain_files.read(path, _LARGEST, shared=True)
