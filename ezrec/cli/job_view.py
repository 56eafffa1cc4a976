"""`ezrec spool show`: one job on one page. Reads its directory; moves nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, tzinfo
from typing import Any

import click

from ezrec.cli.drawing import folded
from ezrec.cli.formatting import length, moment, printable, size, span, utc, window
from ezrec.cli.next_step import NextStep, next_step
from ezrec.domain.incidents import percent, without
from ezrec.domain.job import Job, encode
from ezrec.domain.progress import number_in, part_done
from ezrec.domain.redaction import cleaned
from ezrec.spool.lookup import DONE, TRASH, JobMatch

_LABEL = 11  # columns of the first page part: "Booking    …"


def as_json(found: JobMatch, now: datetime) -> dict[str, Any]:
    """The whole record, with what its directory and progress file add."""
    progress = found.entry.progress_now(found.place) if found.entry else {}
    step = next_step(found.job, found.place, now, progress)
    return {
        **json.loads(encode(found.job)),
        "state": found.place,
        "path": str(found.entry.path) if found.entry else None,
        "next": step.text,
        "next_at": utc(step.at),
        "why": step.why,
        "cure": step.cure,
        "called": list(step.called),
        "progress": part_done(progress),
        "eta_s": number_in(progress, "eta_s"),
        "speed": number_in(progress, "speed"),
        "files": [{"name": name, "size": count} for name, count in _files(found)],
    }


def draw(found: JobMatch, now: datetime, zone: tzinfo, width: int | None, colour: bool = False) -> list[str]:
    """The page, in lines."""
    bold: Callable[[str], str] = (lambda text: click.style(text, bold=True)) if colour else str
    found = replace(found, job=cleaned(found.job))
    progress = found.entry.progress_now(found.place) if found.entry else {}
    step = next_step(found.job, found.place, now, progress)
    lines = [bold(f"{found.job.id}  {found.place}")]
    for label, text in (*_facts(found.job, zone, now), *_next_step(found, step, zone, now)):
        lines += folded(f"{label:<{_LABEL}}{printable(text)}", width, " " * _LABEL, indent=2)
    for title, rows in _sections(found, zone):
        if rows:
            lines += ["", bold(title)]
            for text in rows:
                lines += folded(printable(text), width, "    ", indent=2)
    return lines


def _facts(job: Job, zone: tzinfo, now: datetime) -> Iterator[tuple[str, str]]:
    booking = job.booking
    if booking is not None:
        yield "Booking", f"{window(booking.start, booking.end, zone, now)} ({span(booking.window.length_s)})"
        yield "", f"camera {booking.camera_id}, account {booking.user_id or '–'}, {booking.status}"
    else:
        yield "Kind", f"{job.kind}, no booking known"
    if job.recording is not None or job.coverage_pct is not None:
        covered = f", {percent(job)} of the window" if percent(job) else ""
        yield "Recording", f"{job.recording or 'under way'}{covered}"
    if job.result is not None:
        lacks = f", {without(job)}" if without(job) else ""
        intro = f", intro {job.result.intro_s:.1f} s" if job.result.intro_s else ""
        yield (
            "Video",
            f"{length(job.result.duration_s)}, {size(job.result.size)}{intro}{lacks}: {job.result.file}",
        )
        if job.published_as:
            yield "", f"published as {job.published_as}: its own name was another video's"
        for note in job.result.notes:
            yield "", note
    if job.attempts:
        yield "Tries", ", ".join(f"{stage} {count}" for stage, count in job.attempts.items() if count)
    if job.recoveries or job.power_cuts:
        yield "Restarts", f"{job.recoveries} after its worker died, {job.power_cuts} after a power cut"


def _next_step(found: JobMatch, step: NextStep, zone: tzinfo, now: datetime) -> Iterator[tuple[str, str]]:
    if step.why:
        yield "Why", step.why
    if found.place == DONE:
        yield "Outcome", step.shown
    else:
        at = f" ({moment(step.at, zone)})" if step.at and step.at > now else ""
        yield "Next", _NEXT.get(step.text, step.text) + at
    if step.cure:
        yield "What to do", step.cure


_NEXT = {
    "needs you": "nothing happens by itself: it waits for a person",
    "held": "nothing happens by itself: it is held",
    "removed": "nothing: it lies in the trash",
}


def _sections(found: JobMatch, zone: tzinfo) -> Iterator[tuple[str, list[str]]]:
    job = found.job
    yield "Life", list(_life(job, zone))
    yield (
        "Takes",
        [
            f"{moment(take.started, zone)}  {length(take.duration_s)}  {size(take.size):>7}  {take.file}"
            + (f"  ({take.ended_by})" if take.ended_by else "")
            for take in job.takes
        ],
    )
    yield "Gaps", list(_gaps(job, zone))
    yield "Faults", list(_faults(job, zone))
    where = "the trash" if found.place == TRASH else str(found.entry.path) if found.entry else ""
    yield f"Files in {where}", [f"{size(count):>7}  {name}" for name, count in _files(found)]


def _gaps(job: Job, zone: tzinfo) -> Iterator[str]:
    for gap in job.gaps:
        yield f"{moment(gap.start, zone)}  {gap.length_s:.1f} s without a picture"
    if job.gap_count > len(job.gaps):
        yield f"and {job.gap_count - len(job.gaps)} shorter ones: {job.missing_s:.1f} s are missing in all"


def _life(job: Job, zone: tzinfo) -> Iterator[str]:
    """Where it was, since when and for how long."""
    ends = [arrival.at for arrival in job.arrivals[1:]]
    for n, arrival in enumerate(job.arrivals):
        stay = f"for {span((ends[n] - arrival.at).total_seconds())}" if n < len(ends) else "until now"
        if arrival.state == DONE:
            stay = ""
        yield f"{moment(arrival.at, zone)}  {arrival.state:<10}  {stay}".rstrip()


def _faults(job: Job, zone: tzinfo) -> Iterator[str]:
    for fault in job.errors:
        remedy = f" → {fault.remedy}" if fault.remedy else ""
        yield f"{moment(fault.at, zone)}  {fault.stage} ({fault.kind}): {fault.message}{remedy}"


def _files(found: JobMatch) -> list[tuple[str, int]]:
    if found.entry is None:
        return []
    try:
        with os.scandir(found.entry.path) as files:
            seen = [(file.name, file.stat(follow_symlinks=False).st_size) for file in files]
    except OSError:
        return []
    return sorted(seen)
