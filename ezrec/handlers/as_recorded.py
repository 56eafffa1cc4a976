"""A video that is published as it was recorded, because the disk has no room to make another of it.

The take itself gets the video's name as a second one: that takes no room, and nothing is copied. It lacks
intro and logo, and as a file of many fragments it is slow to open in a browser: a last resort, and better
than the next match unrecorded.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from ezrec import durable
from ezrec.domain.job import Result, Take
from ezrec.domain.names import published_name
from ezrec.spool import Entry

NOTE = "published as it was recorded, without intro and logo: the disk was short"


def as_recorded(entry: Entry, takes: Sequence[Take], made_from: tuple[str, ...]) -> Result | None:
    """The one take as the result; None where there are several, or sound beside it: they are to be joined."""
    if len(takes) != 1 or takes[0].sound:
        return None
    take = takes[0]
    output = entry.path / published_name(take.file)
    output.unlink(missing_ok=True)
    try:
        os.link(entry.path / take.file, output)
    except OSError:
        return None  # a file system without second names, or without room for one
    durable.sync_directory(entry.path)
    # With a mark of its own: who makes it again when there is room gets the whole video.
    return Result(
        output.name, take.duration_s, output.stat().st_size, (*made_from, "as recorded"), notes=(NOTE,)
    )
