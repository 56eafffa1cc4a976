"""`ezrec local videos`: what was published, newest first, and copies under names that people can read."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ezrec.cli.drawing import columns
from ezrec.cli.formatting import printable
from ezrec.domain.errors import Refused, Reject
from ezrec.domain.incidents import called
from ezrec.domain.names import BadName, parse_clip_name, safe_id, stand_in
from ezrec.spool.spool import Spool
from ezrec.system import durable

if TYPE_CHECKING:
    from ezrec.cloud.local.backend import LocalBackend
    from ezrec.settings import Settings

_SHORT_ID = 8  # characters of a booking's id in a file's name


def show(store: LocalBackend, settings: Settings, copy_to: Path | None, *, as_json: bool) -> None:
    """List the videos; with `copy_to`, put those that are not there yet into that directory first."""
    zone = settings.zone
    rows = [{**row, "path": _path(store, row["filename"])} for row in store.videos()]
    rows.sort(key=lambda row: (_recorded(row, zone) or "", row["id"]), reverse=True)
    if copy_to is not None:
        for row in rows:
            row["copy"] = _copied(row, copy_to, zone)
    if as_json:
        click.echo(json.dumps(rows))
        return
    if not rows:
        click.echo("no videos")
        return
    head = ("RECORDED", "COURT", "BOOKING", "LENGTH", "SIZE", "VIDEO")
    cells = [tuple(map(printable, _cells(row, settings))) for row in rows]
    click.echo("\n".join(columns([head, *cells])))


def words_for(settings: Settings, job_id: str | None) -> tuple[str, ...]:
    """What the job of a booking is called: partial, missed, without logo; nothing where all went well."""
    job = None
    with contextlib.suppress(OSError, BadName):
        job = Spool(settings.spool).last_word(safe_id(job_id))
    return tuple(called(job)) if job else ()


def _cells(row: Mapping[str, Any], settings: Settings) -> tuple[str, ...]:
    seconds, size, zone = row["duration_seconds"], row["file_size"], settings.zone
    file = row.get("copy") or row["path"] or f"{row['filename']} (missing)"
    return (
        _recorded(row, zone) or "–",
        row["camera_id"] or "–",
        row["booking_id"] or "–",
        "–" if seconds is None else str(timedelta(seconds=round(seconds))),
        "–" if size is None else f"{size / 1e6:.1f} MB",
        ", ".join([file, *words_for(settings, row["booking_id"])]),
    )


def _recorded(row: Mapping[str, Any], zone: tzinfo) -> str | None:
    """When the recording began, on the club's clock: `2026-06-01 18:00`; None where nothing says it."""
    moment = row["recording_start_time"] or ""
    if not moment:
        try:
            started = parse_clip_name(row["filename"].removeprefix("processed_")).started
        except BadName:
            started = None
        moment = started.isoformat(sep=" ") if started else (row["created_at"] or "")
    try:
        at = datetime.fromisoformat(moment)
    except ValueError:
        return None
    return f"{at.astimezone(zone) if at.tzinfo else at:%Y-%m-%d %H:%M}"


def _copied(row: Mapping[str, Any], directory: Path, zone: tzinfo) -> str | None:
    """Where the copy lies; None for a video whose file is missing. What is there already stays."""
    if row["path"] is None:
        return None
    when = (_recorded(row, zone) or "undated").replace(" ", "_").replace(":", "-")
    court, booking = _word(row["camera_id"] or "0"), _word(row["booking_id"] or "clip")
    target = directory / f"{when}_court-{court}_{booking[:_SHORT_ID]}_{row['id']}.mp4"
    try:
        if not target.exists():
            directory.mkdir(parents=True, exist_ok=True)
            durable.copy(Path(row["path"]), target)
    except OSError as fault:
        raise Refused(
            f"{target} cannot be written: {fault.strerror}", "name a directory with enough room"
        ) from None
    return str(target)


def _word(text: str) -> str:
    return text if text.replace("-", "").replace("_", "").isalnum() and text.isascii() else stand_in(text)


def _path(store: LocalBackend, filename: str) -> str | None:
    try:
        path = store.video_path(filename)
    except Reject:  # a row whose name no object can have: listed, as missing
        return None
    return str(path) if path else None
