"""The process stage's handler: makes one finished video of a job's takes, with the club's intro and logo.

Uses no network: the branding comes from the media cache. May be run again: a video that was made from the
same takes and branding is not made again.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from ezrec.domain.booking import instant_of
from ezrec.domain.branding import Assets
from ezrec.domain.errors import Reject, Retry, disk_full
from ezrec.domain.job import OPEN, Kind, Result, Take
from ezrec.domain.names import published_name, shown
from ezrec.domain.outcomes import Done
from ezrec.domain.ports import (
    NO_OPTIONS,
    PARTS,
    MediaInfo,
    RenderOptions,
    RenderPlan,
    Repair,
    Repaired,
    Transcoder,
)
from ezrec.domain.recording_outcome import UNNAMED_S, measured_anew
from ezrec.processing import branding_fallback
from ezrec.processing.audio_mux import MuxAudio, with_audio
from ezrec.processing.before_window import Trim, is_early, with_trimmed
from ezrec.processing.passthrough import as_recorded
from ezrec.spool.found_takes import as_found, damage_notes
from ezrec.spool.progress import ProgressMeter
from ezrec.spool.spool import Entry
from ezrec.system import plain_files
from ezrec.system.task import Task

LOG = "ffmpeg.log"
FOUND = "found"  # `ended_by` of a take that a person has put into the job's directory
_ROOM = 1.3  # times the footage's size has to be free for the finished video
_SPARE_BYTES = 64 << 20
_NOTHING_BYTES = 64 << 10
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,150}\.mp4")  # file names that a job's record may hold


def process(
    entry: Entry,
    task: Task,
    *,
    transcoder: Transcoder,
    assets: Callable[[], Assets],
    repair: Repair,
    log: logging.Logger,
    options: RenderOptions = NO_OPTIONS,
    mux_audio: MuxAudio | None = None,
    trim: Trim | None = None,
    is_short: Callable[[], bool] = lambda: False,
    give_index: Callable[[Path], int] = lambda path: 0,
) -> Done:
    """The handler of bookings and clips.

    `assets`: the branding as it is now. `options`: what the settings say about every video. `mux_audio` adds
    the sound that was recorded beside a take; `trim` hides what a take shows of the time before its window.
    `is_short`: True when the disk has no room for a video beside its footage. `give_index` turns a fragmented
    file, in its place, into one that browsers open at once.
    """
    takes, damage = _measure_takes(entry, transcoder, repair, log)
    branding = assets()
    if not branding.is_known:
        raise Retry("the branding was not fetched yet", 30, blameless=True)
    made_from = (
        *(f"{take.file}:{take.size}" for take in takes),
        *(f"{sound.file}:{sound.size}" for take in takes for sound in take.sound),
        f"intro:{branding.intro}",
        f"logo:{branding.logo}",
        *(f"sponsor:{path}" for path in branding.sponsors),
    )
    if _is_made(entry, made_from):
        return _finished(entry)
    if is_short() and (bare := as_recorded(entry, takes, made_from, give_index)):
        bare = replace(bare, notes=(*bare.notes, *damage))
        log.warning("job %s: %s %s", entry.id, bare.file, "; ".join(bare.notes))
        return _finished(entry, bare)
    _check_room(entry, takes)
    job = entry.job
    first = next((take for take in takes if take.ended_by != FOUND), takes[0])
    output = entry.path / published_name(first.file)
    output.unlink(missing_ok=True)  # made from other takes or branding, or never recorded in the job
    with (
        with_trimmed(entry, takes, trim, task) as shown_takes,
        with_audio(entry, shown_takes, mux_audio, task, log) as (footage, silent),
    ):
        seconds = sum(take.duration_s for take in shown_takes)
        burned_in = tuple(path for path, take in zip(footage, takes, strict=True) if take.burned_in)
        made: list[MediaInfo] = []

        def render(assets: Assets, notes: tuple[str, ...]) -> None:
            task.check()
            parts = entry.path / PARTS if _has_room_for_parts(entry, takes) else None
            plan = RenderPlan(
                footage, output, entry.path / LOG, assets.intro, assets.logo, assets.sponsors,
                burned_in, notes, parts, options,
            )  # fmt: skip
            meter = ProgressMeter(entry, "process", "making the video", seconds)
            made.append(transcoder.render(plan, meter, task.on_stop, meter.rest))

        used, notes = branding_fallback.rendered(
            render, *branding_fallback.usable(transcoder, branding), job.attempts.get("process", 0), log
        )
    info = made[-1]
    result = Result(
        file=output.name,
        duration_s=info.duration_s,
        size=output.stat().st_size,
        made_from=made_from,
        intro_s=max(0.0, info.duration_s - seconds) if used.intro else 0.0,
        notes=(*notes, *silent, *damage),
    )
    notes_text = "".join(f"; {note}" for note in result.notes)
    log.info("job %s: %s is ready, %.1f s%s", job.id, result.file, result.duration_s, notes_text)
    return _finished(entry, result)


def _finished(entry: Entry, result: Result | None = None) -> Done:
    """Record the result, and remove the segments that it was made of."""
    if result:
        entry.update(result=result)
    shutil.rmtree(entry.path / PARTS, ignore_errors=True)
    return Done()


def _measure_takes(
    entry: Entry, transcoder: Transcoder, repair: Repair, log: logging.Logger
) -> tuple[tuple[Take, ...], tuple[str, ...]]:
    """The takes on disk, in the order of their starts, our own repaired; and a note for each damage found."""
    known = {take.file: take for take in entry.job.takes}
    takes, damage, names = [], [], _footage(entry)
    for name in names:
        path, take = entry.path / name, known.get(name)
        found = _repaired(entry, take, repair) if take else None
        try:
            info = transcoder.probe(path)
        except Reject as fault:
            if len(names) > 1 and path.lstat().st_size < _NOTHING_BYTES:
                # a power cut in its first second: it has no whole picture
                log.warning("job %s: %s is left out: %s", entry.id, name, fault.reason)
                continue
            raise
        size, written = path.stat().st_size, instant_of(path.stat().st_mtime)
        if take is None:
            take = Take(name, written - timedelta(seconds=info.duration_s), 0.0, 0, FOUND)
        if found is not None and found.seconds:
            take = as_found(take, found, entry.path, repair)
            damage += [f"{name}: {said}" for said in damage_notes(found)]
        takes.append(replace(take, duration_s=info.duration_s, size=size))
    if not takes:
        raise Reject("there is no footage in the job", f"remove it: ezrec spool rm {entry.id}")
    takes.sort(key=lambda take: (take.started, take.file))
    news = {} if _are_as_known(takes, known) else measured_anew(replace(entry.job, takes=tuple(takes)))
    entry.update(takes=tuple(takes), **news)
    for note in damage:
        log.warning("job %s: %s", entry.id, note)
    return tuple(takes), tuple(damage)


def _repaired(entry: Entry, take: Take, repair: Repair) -> Repaired | None:
    """What a take of our own holds; None for a file of somebody else, which is never changed."""
    if entry.job.kind is not Kind.BOOKING or take.ended_by == FOUND:
        return None
    found = repair(entry.path / take.file)
    if found.seconds is None and found.may_pass:
        raise Retry(f"{take.file} cannot be read: {found.why}", blameless=True)
    return None if found.seconds is None else found


def _are_as_known(takes: Sequence[Take], known: dict[str, Take]) -> bool:
    """True when each take begins, ends and has the gaps that the recorder wrote down."""
    return all(
        (before := known.get(take.file)) is not None
        and before.ended_by != OPEN
        and (before.started, before.holes) == (take.started, take.holes)
        and abs(before.duration_s - take.duration_s) < UNNAMED_S
        for take in takes
    )


def _footage(entry: Entry) -> list[str]:
    """The files of all takes: those of the record, and those that a person has put into the directory."""
    made = {entry.job.result.file} if entry.job.result else set()
    names = [
        name
        for name in sorted(os.listdir(entry.path))
        if name.endswith(".mp4") and not name.startswith((".", "processed_")) and name not in made
    ]
    missing = [take.file for take in entry.job.takes if take.file not in names]
    if missing:
        raise Reject(
            f"footage of the job is missing: {', '.join(missing)}",
            f"put it back into the job's directory; then: ezrec spool retry {entry.id}",
        )
    odd = [name for name in names if not _NAME.fullmatch(name)]
    if odd:
        raise Reject(
            f"the name {shown(odd[0])} in the job's directory is not allowed for footage",
            f"rename it to letters, digits, '.', '_' and '-'; then: ezrec spool retry {entry.id}",
        )
    return names


def _is_made(entry: Entry, made_from: tuple[str, ...]) -> bool:
    result = entry.job.result
    if result is None or result.made_from != made_from:
        return False
    try:
        return plain_files.look(entry.path / result.file).st_size == result.size
    except FileNotFoundError:
        return False


def _check_room(entry: Entry, takes: Sequence[Take]) -> None:
    needed = (
        int(sum(take.size * (_ROOM + bool(take.sound) + is_early(take)) for take in takes)) + _SPARE_BYTES
    )
    free = _free_bytes(entry)
    if free < needed:
        raise disk_full(f"{needed >> 20} MiB are needed for the finished video, {free >> 20} MiB are free")


def _has_room_for_parts(entry: Entry, takes: Sequence[Take]) -> bool:
    """True when the disk can hold the video and all its segments; else it is made in one pass."""
    kept = sum(path.stat().st_size for path in (entry.path / PARTS).glob("*.mp4"))
    return _free_bytes(entry) + kept >= sum(take.size for take in takes) * 2 * _ROOM + _SPARE_BYTES


def _free_bytes(entry: Entry) -> int:
    space = os.statvfs(entry.path)
    return space.f_bavail * space.f_frsize
