"""Takes without what lies before their recording's window, for as long as the video is being made.

A take begins with a key frame. Where those are rare, it may show half a minute of whoever played before.
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

# To cut within a group of pictures costs encoding the whole video: usual key frames are nearer than this.
MOST_S = 3.0

# The take, how many seconds to leave out at its beginning, the file to be made, and how it is stopped.
Trim = Callable[[Path, float, Path, OnStop], None]


def is_early(take: Take) -> bool:
    """Whether it shows more of the time before its recording's window than may be published."""
    return take.early_s > MOST_S


@contextlib.contextmanager
def trimmed(entry: Entry, takes: Sequence[Take], trim: Trim | None, task: Task) -> Iterator[tuple[Take, ...]]:
    """The takes to make the video of; one that begins too early is a hidden file that is removed afterwards.

    Raises what `trim` raises: a video that shows others is not published.
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
    """What is known of the take once its early seconds are left out."""
    sound = tuple(replace(one, offset_s=round(one.offset_s - take.early_s, 6)) for one in take.sound)
    seconds = round(max(0.0, take.duration_s - take.early_s), 6)
    return replace(take, file=file, duration_s=seconds, early_s=0.0, sound=sound)
