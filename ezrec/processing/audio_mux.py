"""Makes takes with the sound that was recorded beside them; they are removed when the video is made.

Sound that cannot be used is left out, and a note says so: it never keeps a video from being published.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ezrec.domain.errors import Reject, Retry
from ezrec.domain.job import Sound, Take
from ezrec.domain.ports import OnStop
from ezrec.spool.progress import ProgressMeter
from ezrec.spool.spool import Entry
from ezrec.system import plain_files
from ezrec.system.task import Task

# The take, its sounds, its seconds, the file to make, `on_stop` and `on_pause`.
MuxAudio = Callable[[Path, Sequence[Sound], float, Path, OnStop, Callable[[str], None]], None]


@contextlib.contextmanager
def with_audio(
    entry: Entry, takes: Sequence[Take], mux_audio: MuxAudio | None, task: Task, log: logging.Logger
) -> Iterator[tuple[tuple[Path, ...], tuple[str, ...]]]:
    """The files to make the video of, and a note for each take whose sound is left out."""
    made: list[Path] = []
    notes: list[str] = []
    try:
        yield tuple(_file(entry, take, mux_audio, task, log, made, notes) for take in takes), tuple(notes)
    finally:
        for path in made:
            path.unlink(missing_ok=True)


def _file(
    entry: Entry,
    take: Take,
    mux_audio: MuxAudio | None,
    task: Task,
    log: logging.Logger,
    made: list[Path],
    notes: list[str],
) -> Path:
    silent = entry.path / take.file
    sounds = [
        sound for sound in take.sound if sound.duration_s and plain_files.is_plain(entry.path / sound.file)
    ]
    if mux_audio is None or not sounds:
        return silent
    task.check()
    output = entry.path / f".dubbed_{take.file}"  # hidden, because it is not another take
    try:
        rest = ProgressMeter(entry, "process", "adding the sound", take.duration_s).rest
        mux_audio(silent, sounds, take.duration_s, output, task.on_stop, rest)
    except (Reject, Retry) as fault:
        if isinstance(fault, Retry) and entry.job.attempts.get("process", 0) < 3:
            raise
        log.warning("job %s: %s without its sound: %s", entry.id, take.file, fault.reason)
        notes.append(f"{take.file} is published without its sound: {fault.reason}")
        return silent
    made.append(output)
    return output
