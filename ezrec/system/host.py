"""The ground the spool stands on, as the kernel tells it: file systems, held locks, limits. Judges nothing.

Reads alone: a look at the machine must leave no file behind, and must take no lock that somebody waits for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ezrec.domain.disk_policy import OtherDisk

_PROC = Path("/proc")
_ESCAPED = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system: its type, and where it is mounted."""

    type: str
    point: Path
    read_only: bool


def nearest(path: Path) -> Path:
    """`path`, or the nearest directory above it that exists."""
    return next((place for place in (path, *path.parents) if place.is_dir()), Path("/"))


def mount_of(path: Path) -> Mount | None:
    """The mount that an existing `path` lies on; None where the kernel does not tell."""
    try:
        lines = (_PROC / "self/mountinfo").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    real = path.resolve()
    found: Mount | None = None
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split()
        point = Path(_ESCAPED.sub(lambda code: chr(int(code[1], 8)), fields[4]))
        is_deeper = found is None or len(point.parts) >= len(found.point.parts)
        if real.is_relative_to(point) and is_deeper:  # of two at the same point the later one lies on top
            kind, _, super_options = after.split(" ", 2)
            options = {*fields[5].split(","), *super_options.split()[-1].split(",")}
            found = Mount(kind, point, "ro" in options)
    return found


def other_disks(root: Path, places: Mapping[str, Path]) -> tuple[OtherDisk, ...]:
    """The disks, other than that of `root`, on which `places` lie (setting → path), as far as they answer."""
    found: dict[int, OtherDisk] = {}
    try:
        here = os.stat(nearest(root)).st_dev
    except OSError:
        return ()
    for name, path in places.items():
        place = nearest(path)
        try:
            number, disk = os.stat(place).st_dev, os.statvfs(place)
        except OSError:
            continue
        known = found.get(number)
        if known is not None:
            found[number] = replace(known, holds=(*known.holds, name))
        elif number != here:
            found[number] = OtherDisk(
                (name,),
                str(place),
                disk.f_bavail * disk.f_frsize,
                disk.f_favail if disk.f_files else None,
                bool(disk.f_flag & os.ST_RDONLY),
            )
    return tuple(found.values())


def has_process(pid: int) -> bool:
    """Whether a process of that id lives, whoever's it is."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return pid > 0


def inotify_limits() -> dict[str, int]:
    """How much one user may watch: instances, watches, queued events."""
    limits = {}
    for name in ("instances", "watches", "queued_events"):
        try:
            text = (
                _PROC / f"sys/fs/inotify/max_{'user_' if name != 'queued_events' else ''}{name}"
            ).read_text()
        except OSError:
            continue
        limits[name] = int(text)
    return limits
