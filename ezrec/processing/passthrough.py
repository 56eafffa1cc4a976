"""Publishes a take as it was recorded, when the disk has no room for a finished video beside it.

The take gets the video's name as a second one (a hard link), which takes no room. It has no intro and no
logo: a last resort, but better than not recording the next match. It gets a single index if that is possible
in its place; else, as a fragmented file, browsers open it slowly, and the job says so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ezrec.domain.errors import Reject
from ezrec.domain.job import Result, Take
from ezrec.domain.names import published_name
from ezrec.processing.before_window import is_early
from ezrec.spool.spool import Entry
from ezrec.system import durable

SLOW = "slow to open: it is in fragments still"
NOTE = "published as it was recorded, without intro and logo: the disk was short"


def as_recorded(
    entry: Entry, takes: Sequence[Take], made_from: tuple[str, ...], give_index: Callable[[Path], int]
) -> Result | None:
    """The take as the result; None if there are several, if its sound is in another file, or if its beginning
    must not be published.

    `give_index` turns a fragmented file into a plain one in its place; it raises `Reject` for a clip that
    still holds what its owner cut off.
    """
    if len(takes) != 1 or takes[0].sound or is_early(takes[0]):
        return None
    take, notes = takes[0], [NOTE]
    path, output = entry.path / take.file, entry.path / published_name(take.file)
    output.unlink(missing_ok=True)
    try:
        give_index(path)
    except Reject:
        return None
    except ValueError as fault:
        notes.append(f"{SLOW}: {fault}")
    except OSError as fault:
        notes.append(f"{SLOW}: {fault.strerror}")
    try:
        os.link(path, output)
    except OSError:
        return None  # a file system without hard links, or without room for a name
    durable.sync_directory(entry.path)
    entry.update(takes=(replace(take, size=output.stat().st_size),))
    # `made_from` differs from that of a finished video: a retry, when there is room, makes one.
    return Result(
        output.name, take.duration_s, output.stat().st_size, (*made_from, "as recorded"), notes=tuple(notes)
    )
