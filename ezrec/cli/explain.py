"""`ezrec explain ID`: in plain sentences why there is a video, or none, and what happens next."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any

import click

from ezrec.cli.drawing import folded
from ezrec.cli.formatting import length, moment, printable, size, span, terminal, when, window
from ezrec.cli.next_step import NextStep, next_step
from ezrec.domain.booking import Booking
from ezrec.domain.errors import NoSuchJob
from ezrec.domain.job import OPEN, Job, JobOutcome, Kind
from ezrec.domain.names import shown
from ezrec.domain.redaction import cleaned
from ezrec.spool.lookup import DONE, TRASH, JobMatch

if TYPE_CHECKING:
    from ezrec.cli.main import Context
    from ezrec.settings import Settings

_GAPS_NAMED = 5


@click.command()
@click.argument("job_id", metavar="BOOKING|JOB")
@click.pass_obj
def explain(obj: Context, job_id: str) -> None:
    """Explain in plain sentences why there is a video, or none, and what happens next.

    Name a booking or a job by its id or the beginning of it.
    """
    from ezrec.spool.lookup import find
    from ezrec.sync.booking_sync import known_booking

    zone, now = obj.settings.zone, obj.now
    try:
        found = find(obj.spool, job_id)
    except NoSuchJob:
        booking = known_booking(obj.settings.booking_cache, zone)(job_id)
        if booking is None:
            raise NoSuchJob(_unknown(job_id, obj.settings)) from None
        sentences = list(of_a_booking(booking, now, zone))
    else:
        progress = found.entry.progress() if found.entry else {}
        sentences = list(of_a_job(found, now, zone, progress))
    for sentence in sentences:
        click.echo("\n".join(folded(printable(sentence), terminal()[0], "  ", whole_words=True)))


def of_a_job(found: JobMatch, now: datetime, zone: tzinfo, progress: Mapping[str, Any]) -> Iterator[str]:
    """What it is, what was recorded, what became of the video, what happens next: a sentence each."""
    job = cleaned(found.job)
    yield _what(job, now, zone)
    if job.kind is Kind.BOOKING:
        yield from _recorded(found, job, now, zone)
    yield from _video(found, job)
    yield from _next(found, next_step(job, found.place, now, progress), now, zone)


def of_a_booking(booking: Booking, now: datetime, zone: tzinfo) -> Iterator[str]:
    """Of one that was fetched and has no job, in the spool or in its history."""
    yield f"Booking {booking.id} is for {window(booking.start, booking.end, zone, now)}."
    if booking.is_cancelled:
        yield "It is cancelled, so nothing is recorded."
    elif booking.is_finished:
        yield f"Its row says {booking.status}: this box does not record it again."
    elif booking.end <= now:
        yield "It was over before this box knew of it, so there is no recording."
    else:
        yield f"It is known and starts {when(booking.start, now)}; the next fetch of bookings makes it a job."
        yield "If that does not happen within a minute: ezrec doctor"


def _what(job: Job, now: datetime, zone: tzinfo) -> str:
    if job.kind is Kind.LOGS:
        return f"{job.id} is an archive of this box's logs."
    if job.booking is None:
        return (
            f"{job.id} is a video that was put in on {moment(job.created, zone)}; no booking is known for it."
        )
    times = window(job.booking.start, job.booking.end, zone, now)
    return f"Booking {job.booking.id} is for {times}, camera {job.booking.camera_id}."


def _recorded(found: JobMatch, job: Job, now: datetime, zone: tzinfo) -> Iterator[str]:
    booking = job.booking
    if booking is not None and booking.is_cancelled:
        yield "It was cancelled."
    if found.place == "recording":
        if any(take.ended_by == OPEN for take in job.takes):
            yield f"It is being recorded{_until(booking, now, zone)}."
        elif booking is not None and now < booking.start:
            yield f"The camera is made ready; the recording starts {when(booking.start, now)}."
        else:
            yield "It should be recorded now, and nothing is: ezrec status tells why."
    elif not job.takes:
        if booking is not None and now < booking.end and found.place == "incoming":
            yield f"Nothing is recorded yet: it starts {when(booking.start, now)}."
        else:
            yield f"Nothing was recorded{_because(job.reason)}."
        return
    seconds = sum(take.duration_s for take in job.takes)
    if found.place != "recording":
        covered = "" if job.coverage_pct is None else f", {job.coverage_pct:.1f} % of its time"
        yield f"{length(seconds)} was recorded{covered}."
    yield from _gaps(job, zone)


def _until(booking: Booking | None, now: datetime, zone: tzinfo) -> str:
    if booking is None:
        return ""
    if now >= booking.end:
        return " and ends now"
    return f" until {booking.end.astimezone(zone):%H:%M}"


def _gaps(job: Job, zone: tzinfo) -> Iterator[str]:
    """Each gap with what ended the take before it: power, the camera, the disk."""
    for gap in job.gaps[:_GAPS_NAMED]:
        before = [take for take in job.takes if take.started <= gap.start]
        why = f": {before[-1].ended_by}" if before and before[-1].ended_by else ""
        begin, end = gap.start.astimezone(zone), gap.end.astimezone(zone)
        yield f"Missing: {begin:%H:%M:%S} to {end:%H:%M:%S} ({gap.length_s:.1f} s){why}."
    if job.gap_count > _GAPS_NAMED:
        yield f"In all {job.gap_count} gaps, {job.missing_s:.1f} s: ezrec spool show {job.id}"


def _video(found: JobMatch, job: Job) -> Iterator[str]:
    if job.result is None:
        if found.place in ("raw", "deferred", "failed") and job.takes:
            yield "Its video is not made yet."
        return
    made = f"{length(job.result.duration_s)} long, {size(job.result.size)}"
    if job.outcome is JobOutcome.PUBLISHED:
        name = job.published_as or job.result.file
        yield f"Its video is published, {made}: {name}."
    elif found.place != DONE:
        yield f"Its video is made, {made}, and not published yet."
    for note in job.result.notes:
        yield f"About the video: {note}."


_NOW = {
    "raw": "It waits for its turn to be made into a video.",
    "processing": "The video is being made: {text}.",
    "processed": "The upload: {text}.",
}
_UNDER_WAY = {"processing": "it has begun", "uploading": "it has begun"}


def _next(found: JobMatch, step: NextStep, now: datetime, zone: tzinfo) -> Iterator[str]:
    if found.place == DONE:
        if found.job.outcome is not JobOutcome.PUBLISHED and found.job.takes:
            yield f"It ended as {step.text}{_because(step.why)}."
        yield "Nothing more happens to it."
        return
    if found.place == TRASH:
        yield "It lies in the trash, and nothing happens to it."
    elif step.needs_you:
        yield f"Nothing happens by itself{_because(step.why)}."
    elif found.place == "deferred":
        at = f" at {moment(step.at, zone)} ({when(step.at, now)})" if step.at else ""
        yield f"It waits{_because(step.why)}. It goes on by itself{at}."
    elif found.place in _NOW:
        yield _NOW[found.place].format(text=_UNDER_WAY.get(step.text, step.text))
        if step.why:
            yield f"It rests: {step.why}."
    if step.cure:
        yield f"What to type: {step.cure}"


def _because(reason: str) -> str:
    return f": {reason.rstrip('.')}" if reason else ""


def _unknown(wanted: str, settings: Settings) -> str:
    """Why a booking may be unknown here: the id is another, or its row is not one of this camera's."""
    try:
        age_s = max(0.0, time.time() - settings.booking_cache.stat().st_mtime)
        fetched = f"the bookings were fetched {span(age_s)} ago"
    except OSError:
        fetched = "no bookings were fetched yet (ezrec doctor)"
    return (
        f"this box knows no booking or job {shown(wanted)}: {fetched}, those of account {settings.user_id} "
        f"and camera {settings.camera_id} alone; compare user_id and camera_id in its row"
    )
