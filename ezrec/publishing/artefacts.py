"""What accompanies a video goes to the service after it: poster, preview, storyboard, loudness.

Best effort. The video is published and told before the first byte of these is sent; one that cannot be sent
is logged and let go. Their keys lie a folder deeper than the videos, where no list of videos looks.

They keep no hours and wait for no recording: the gate let their video through a moment ago, and beside one of
an hour they are less than a hundredth. To wait for the night would hold a published match on the disk all
day, and show it without its poster.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ezrec.domain.errors import Reject, Retry, Stopped
from ezrec.domain.ownership import Whose, mark
from ezrec.domain.ports import Backend
from ezrec.spool.spool import Entry
from ezrec.system import plain_files
from ezrec.system.task import Task

FOLDER = "artefacts"
_NAMES = ("poster.jpg", "preview.mp4", "storyboard.jpg", "storyboard.vtt", "loudness.json")


def prefix(owner: str, name: str) -> str:
    """Where the artefacts of a video of that name lie, in the bucket that holds the video."""
    return f"{owner}/{FOLDER}/{name.removesuffix('.mp4')}"


def publish(entry: Entry, task: Task, backend: Backend, bucket: str, below: str, log: logging.Logger) -> None:
    """Store them `below` that prefix, each under the job's mark: never over those of another video."""
    for path in _found(entry.path / FOLDER):
        key = f"{below}/{path.name}"
        try:
            task.check()
            info = path.stat()
            mine = mark(entry.job.id, entry.job.created, info.st_size, info.st_mtime_ns)
            whose = backend.whose(bucket, key, path, mine)
            if whose is Whose.OURS:
                continue
            if whose is Whose.ANOTHERS or not backend.store(
                bucket, key, path, lambda _: task.check(), on_stop=task.on_stop, mark=mine
            ):
                log.warning("job %s: %s/%s is another video's, and is left as it is", entry.id, bucket, key)
        except (Retry, Reject, Stopped, OSError) as fault:
            log.warning("job %s: %s/%s and what follows is not published: %s", entry.id, bucket, key, fault)
            return


def _found(folder: Path) -> Iterator[Path]:
    """Files of ours that have something in them; an empty one the service would refuse for ever."""
    if plain_files.is_folder(folder):
        for name in _NAMES:
            with suppress(OSError):
                if plain_files.look(folder / name).st_size:
                    yield folder / name
