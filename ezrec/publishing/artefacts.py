"""Publishes what accompanies a video: poster, preview, storyboard, loudness.

Best effort, after the video is published: what cannot be sent is logged and given up. The keys lie a folder
deeper than the videos, so that no list of videos shows them.

The upload policy is not checked: it has just let the video through, and these are less than a hundredth of
it. Waiting for the night would keep a published match on the disk all day, and show it without its poster.
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
    """The key prefix of the artefacts of the video `name`, in the bucket of the video."""
    return f"{owner}/{FOLDER}/{name.removesuffix('.mp4')}"


def publish(entry: Entry, task: Task, backend: Backend, bucket: str, below: str, log: logging.Logger) -> None:
    """Store them `below` that prefix, each with the job's mark. Never overwrites another video's."""
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
    """The files that are not empty; the service would refuse an empty one for ever."""
    if plain_files.is_folder(folder):
        for name in _NAMES:
            with suppress(OSError):
                if plain_files.look(folder / name).st_size:
                    yield folder / name
