"""A video that is published as it was recorded, because the disk has no room to make another of it.

The take itself gets the video's name as a second one: that takes no room, and nothing is copied. It lacks
intro and logo: a last resort, and better than the next match unrecorded. It is given one index where that
can be done in its own place; else, as a file of many fragments, it is slow to open in a browser, and the job
says so.
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
    """The one take as the result; None where there are several, or sound beside it: they are to be joined.

    None as well for a take of which the beginning may not be published.

    `give_index` makes a plain file of one in fragments, in its own place; it raises `Reject` for a clip that
    holds what its owner cut off.
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
        return None  # a file system without second names, or without room for one
    durable.sync_directory(entry.path)
    entry.update(takes=(replace(take, size=output.stat().st_size),))
    # With a mark of its own: who makes it again when there is room gets the whole video.
    return Result(
        output.name, take.duration_s, output.stat().st_size, (*made_from, "as recorded"), notes=tuple(notes)
    )
