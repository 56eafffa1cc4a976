"""Gathers the snapshot of this box from its files: reads, and changes nothing.

Works with no recorder, with a dead one that left its `health.json`, and with an empty spool. Uses no network
and starts no process: `ezrec status` must answer while everything else hangs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

from ezrec.domain import installed, trial_picture
from ezrec.domain.alerts import Alert, as_seen, judge
from ezrec.domain.booking import BadBooking, Booking
from ezrec.domain.disk_policy import OtherDisk
from ezrec.domain.incidents import day
from ezrec.domain.job import Job
from ezrec.domain.machine import Machine
from ezrec.domain.ports import Clock
from ezrec.domain.redaction import cleaned
from ezrec.domain.snapshot import (
    Blocked,
    FailedJob,
    HeldBooking,
    ServicesLife,
    Snapshot,
    Upcoming,
)
from ezrec.domain.stages import DIRECTORIES, State
from ezrec.domain.upload_schedule import Wait
from ezrec.monitoring import lives, outcomes, uploads
from ezrec.monitoring.outcomes import History
from ezrec.monitoring.state_files import (
    read_alerts,
    read_branding_faults,
    read_cloud,
    read_disk_measures,
    read_put_away,
    read_status_file,
    recording_rate,
)
from ezrec.settings import Settings
from ezrec.spool.booking_intake import read_booking
from ezrec.spool.spool import Entry, Spool, UnknownFile
from ezrec.system import host, plain_files

# While nothing happens the status files are written only so often: a memory card wears by writing, and these
# few kilobytes cost it 60 each time with what the file system adds (bench/results/status.md).
IDLE_S = 300.0
FAILED_TOLD = 20  # each costs `status.json` 250 bytes every time; `ezrec spool ls` shows them all
INCIDENTS_TOLD = 200  # of a month; `ezrec alerts clear --all` knows them all
_LARGEST = 1 << 20  # of a file that we have written
_TOLD = 500  # characters of a reason
_DAY = timedelta(days=1)
_MISSED_WRITES = 3  # with `status.json` older than so many intervals (and IDLE_S) the services are silent
_WAITING = (State.RAW, State.PROCESSED, State.DEFERRED)
_UNPUBLISHED = (State.RECORDING, State.RAW, State.PROCESSING, State.PROCESSED, State.DEFERRED, State.FAILED)


Loose = list[tuple[Booking, datetime]]  # bookings, and since when each is known


def look(settings: Settings, clock: Clock) -> tuple[Snapshot, list[Alert]]:
    """The box now, and its alerts, raised or about to be: the worst first. Secrets are masked.

    All is judged at this moment: what a dead process last wrote keeps no alert from being raised.
    """
    last = read_status_file(settings.state)
    before = last.facts if last else None
    machine = _machine(settings.spool, before, clock.now())
    snapshot = collect(
        Spool(settings.spool), settings, clock, machine, before, before.versions if before else None
    )
    if before is not None:
        snapshot = replace(snapshot, forecast_short=before.forecast_short)
    snapshot = with_disk_measure(snapshot, settings.state)
    limit_s = _MISSED_WRITES * settings.status_interval_s + IDLE_S
    snapshot = _with_lives(snapshot, settings, lives.services(last, snapshot, limit_s))
    judged = judge(snapshot, read_alerts(settings.state))
    return cleaned(snapshot), [cleaned(alert) for alert in as_seen(judged, snapshot)]


def _with_lives(snapshot: Snapshot, settings: Settings, services: ServicesLife) -> Snapshot:
    """The snapshot with who lives beside the recorder, and how it is all started."""
    starter, services = lives.starter(settings, snapshot.recorder, services)
    return replace(snapshot, starter=starter, services=services)


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


def collect(
    spool: Spool,
    settings: Settings,
    clock: Clock,
    machine: Machine,
    before: Snapshot | None = None,
    versions: Mapping[str, str] | None = None,
    history: History | None = None,
) -> Snapshot:
    """The snapshot of this moment. `before`: the last one, for what is measured between the two. `history`:
    what is remembered of finished jobs from one look to the next."""
    now = clock.now()
    is_synchronised = clock.is_synchronised()
    seen = {state: spool.look(state) for state in DIRECTORIES}
    entries: dict[State, list[Entry]] = {state: found for state, (found, _) in seen.items()}
    loose = list(_loose_bookings(spool, seen[State.INCOMING][1], settings.zone))
    recorder = lives.recorder(
        spool, settings, entries[State.RECORDING], clock, _expected_since(entries, loose, now)
    )
    jobs = [entry.job for found in entries.values() for entry in found]
    digests = outcomes.digests(history or History(spool.done), jobs)
    incidents = outcomes.waiting(digests, read_put_away(settings.state))
    failed = _failed(entries[State.FAILED])
    camera_error = recorder.health.last_error if recorder.health and recorder.is_alive else ""
    found = Snapshot(
        at=now,
        boot_id=clock.boot_id(),
        machine=machine,
        recorder=recorder,
        jobs={str(state): len(found) for state, found in entries.items()},
        oldest=uploads.oldest_of(entry for state in _WAITING for entry in entries[state]),
        failed=failed,
        longest_booking=_longest(entries, loose, now),
        blocked=_blocked(entries[State.DEFERRED]),
        uploads=uploads.seen(entries, now, machine.uptime_s, before, clock.boot_id()),
        unpublished_bytes=sum(_weight(entry.job) for state in _UNPUBLISHED for entry in entries[state]),
        to_process_bytes=_to_process(entries),
        under_way=tuple(
            Upcoming(found.id, found.start, found.end)
            for entry in entries[State.RECORDING]
            if (found := entry.job.booking) is not None
        ),
        branding_faults=read_branding_faults(settings.state),
        recording_bytes_a_minute=recording_rate(settings),
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
        films_no_court=films_no_court(settings),
        has_cloud=settings.backend != "local",
        held=_held(entries[State.INCOMING], now),
        unjudged=0 if is_synchronised else _unjudged(entries, now),
        incidents=tuple(incidents[-INCIDENTS_TOLD:]),
        day=day(digests, now),
    )
    return _with_lives(found, settings, ServicesLife(said_at=now))


def films_no_court(settings: Settings) -> str:
    """What is wrong when this box is an installed one and films the test picture; else nothing."""
    try:
        conf = plain_files.read(installed.TMPFILES, _LARGEST).decode("utf-8", "replace")
    except OSError:
        return ""
    return trial_picture.films_no_court(settings.camera, settings.home, installed.installed_home(conf))


def with_disk_measure(snapshot: Snapshot, state: Path) -> Snapshot:
    """The snapshot with the measure against a full disk that is in force, in words."""
    measures = read_disk_measures(state, snapshot.at)
    return replace(snapshot, disk_measure=measures.shown if measures else "")


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


# ---- bookings


def _loose_bookings(
    spool: Spool, unknown: list[UnknownFile], zone: tzinfo
) -> Iterator[tuple[Booking, datetime]]:
    """Bookings that lie in incoming/ and are no jobs yet, and since when: without a recorder nobody else sees
    them."""
    for file in unknown:
        if file.name.endswith(".json"):
            path = spool.directory(State.INCOMING) / file.name
            with suppress(OSError, BadBooking):
                yield read_booking(path, zone), _written(path) or datetime.fromtimestamp(0, UTC)


def _expected_since(entries: Mapping[State, list[Entry]], loose: Loose, now: datetime) -> dict[str, datetime]:
    """Bookings whose window is now, and since when each should be recorded.

    By the clock as it stands, whoever vouches for it: the recorder goes by the same.
    """
    return {
        found.id: max(found.start, known)
        for found, known in _known_bookings(entries, loose)
        if now in found.window
    }


def _known_bookings(entries: Mapping[State, list[Entry]], loose: Loose) -> Loose:
    """Those that wait or are in hand, and that nobody took back; and since when each is known."""
    waiting = [entry.job for entry in (*entries[State.INCOMING], *entries[State.RECORDING])]
    bookings = [(job.booking, job.created) for job in waiting if job.booking and not job.held]
    return [one for one in (*bookings, *loose) if not (one[0].is_cancelled or one[0].is_finished)]


def _bookings(entries: Mapping[State, list[Entry]], loose: Loose) -> list[Booking]:
    return [found for found, _ in _known_bookings(entries, loose)]


def _held(incoming: list[Entry], now: datetime) -> HeldBooking | None:
    """The next booking that a person holds, or that is held in its window."""
    held = [
        HeldBooking(booking.id, booking.start, booking.end, entry.job.held[:_TOLD])
        for entry in incoming
        if entry.job.held
        and (booking := entry.job.booking)
        and booking.end > now
        and not booking.is_cancelled
    ]
    return min(held, key=lambda found: found.start, default=None)


def _unjudged(entries: Mapping[State, list[Entry]], now: datetime) -> int:
    """How many bookings are over, have no footage, and wait for a clock that can be trusted."""
    waiting = [entry.job for entry in (*entries[State.INCOMING], *entries[State.RECORDING])]
    return sum(
        job.booking is not None and job.booking.end <= now and not job.takes and not job.held
        for job in waiting
    )


def _booked_s(entries: Mapping[State, list[Entry]], loose: Loose, now: datetime) -> float:
    """Seconds that are still to be recorded within a day; overlapping bookings have a file each."""
    spans = [
        (min(found.end, now + _DAY) - max(found.start, now)).total_seconds()
        for found in _bookings(entries, loose)
    ]
    return sum(max(0.0, span) for span in spans)


def _next(entries: Mapping[State, list[Entry]], loose: Loose, now: datetime) -> Upcoming | None:
    coming = [found for found in _bookings(entries, loose) if found.start > now]
    first = min(coming, key=lambda found: found.start, default=None)
    return None if first is None else Upcoming(first.id, first.start, first.end)


def _longest(entries: Mapping[State, list[Entry]], loose: Loose, now: datetime) -> Upcoming | None:
    coming = [found for found in _bookings(entries, loose) if found.end > now]
    found = max(coming, key=lambda found: found.end - found.start, default=None)
    return None if found is None else Upcoming(found.id, found.start, found.end)


# ---- what waits


def _failed(entries: list[Entry]) -> tuple[FailedJob, ...]:
    """The newest, the oldest of them first: how many there are, `jobs` says."""
    newest = sorted(entries, key=lambda entry: (entry.job.since, entry.id))[-FAILED_TOLD:]
    return tuple(
        FailedJob(entry.id, entry.job.since, entry.job.reason[:_TOLD], entry.job.remedy[:_TOLD])
        for entry in newest
    )


def _blocked(deferred: list[Entry]) -> Blocked | None:
    found = [entry for entry in deferred if entry.job.waits_for == Wait.CURE and not entry.job.held]
    return Blocked(len(found), _failed(found)[-1]) if found else None


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
