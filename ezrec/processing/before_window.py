"""Hides what a take shows of the time before its recording's window, while the video is made.

A take begins with a key frame. If the camera sends those rarely, it may show half a minute of the match
before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ezrec.domain.job import Take
from ezrec.domain.ports import OnStop
from ezrec.spool.spool import Entry
from ezrec.system.task import Task

# A cut within a group of pictures means that the whole video is encoded; most cameras' key frames are closer.
MOST_S = 3.0

# The take, how many seconds to leave out at its beginning, the file to make, and `on_stop`.
Trim = Callable[[Path, float, Path, OnStop], None]


def is_early(take: Take) -> bool:
    """True when it shows more of the time before its recording's window than may be published."""
    return take.early_s > MOST_S


@contextlib.contextmanager
def with_trimmed(
    entry: Entry, takes: Sequence[Take], trim: Trim | None, task: Task
) -> Iterator[tuple[Take, ...]]:
    """The takes to make the video of. For one that begins too early, a hidden file is made and removed.

    Raises what `trim` raises: a video that shows the match before is not published.
    """
    made: list[Path] = []
    try:
        yield tuple(_from_window(entry, take, trim, task, made) for take in takes)
    finally:
        for path in made:
            path.unlink(missing_ok=True)


def _from_window(entry: Entry, take: Take, trim: Trim | None, task: Task, made: list[Path]) -> Take:
    if trim is None or not is_early(take):
        return take
    task.check()
    output = entry.path / f".trimmed_{take.file}"
    made.append(output)
    trim(entry.path / take.file, take.early_s, output, task.on_stop)
    return without_beginning(take, output.name)


def without_beginning(take: Take, file: str) -> Take:
    """The record of the take without its early seconds; it is in `file`."""
    sound = tuple(replace(one, offset_s=round(one.offset_s - take.early_s, 6)) for one in take.sound)
    seconds = round(max(0.0, take.duration_s - take.early_s), 6)
    return replace(take, file=file, duration_s=seconds, early_s=0.0, sound=sound)
