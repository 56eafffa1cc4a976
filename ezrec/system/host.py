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
from ezrec.domain.proof_of_life import ProcessState

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


def process_state(pid: int) -> ProcessState:
    """What the kernel says of a process, whoever's it is. One that has ended and lies unburied is gone."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        pass
    except (ProcessLookupError, OverflowError):
        return ProcessState.GONE
    if pid <= 0:
        return ProcessState.GONE
    fields = _stat(pid)
    if not fields:
        return ProcessState.RUNS  # a sandbox may hide it: it is there, and no more can be known
    return _STATES.get(fields[0], ProcessState.RUNS)


_STATES = {
    "T": ProcessState.STOPPED, "t": ProcessState.STOPPED,
    "Z": ProcessState.GONE, "X": ProcessState.GONE, "x": ProcessState.GONE,
}  # fmt: skip


def has_process(pid: int) -> bool:
    """Whether a process of that id is there, whoever's it is."""
    return process_state(pid) is not ProcessState.GONE


def parent_of(pid: int) -> int:
    """The id of its parent; 0 where that cannot be known."""
    fields = _stat(pid)
    return int(fields[1]) if len(fields) > 1 else 0


def command_of(pid: int) -> list[str]:
    """The words that a process was started with; none where they cannot be read."""
    try:
        data = (_PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return []
    return [word.decode(errors="replace") for word in data.split(b"\0") if word]


def _stat(pid: int) -> list[str]:
    """The fields of `/proc/PID/stat` behind the name of the program, which may hold anything."""
    try:
        return (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


# ---- who starts EZREC here

UNITS = Path("/etc/systemd/system")
SYSTEMD = Path("/run/systemd/system")  # there only where systemd is the first process
# What a person starts, and the files by which it can be seen which home its recorder works in.
_STARTED = {
    "ezrec": ("ezrec.service",),
    "ezrec.target": ("recorder.service", "recorder.service.d/*.conf", "ezrec-.service.d/*.conf"),
}


def unit_for(home: Path, units: Path | None = None, systemd: Path | None = None) -> str:
    """What `systemctl start` wants for the EZREC that works in `home`; empty where systemd does not start it.

    Of two shapes that are installed it is the one that a boot starts.
    """
    units, systemd = units or UNITS, systemd or SYSTEMD
    if not systemd.is_dir():
        return ""
    found = [name for name, patterns in _STARTED.items() if _speaks_of(units, patterns, home)]
    enabled = [name for name in found if _is_enabled(units, name)]
    return next(iter(enabled or found), "")


def _is_enabled(units: Path, name: str) -> bool:
    file = name if "." in name else f"{name}.service"
    return os.path.lexists(units / "multi-user.target.wants" / file)


def _speaks_of(units: Path, patterns: tuple[str, ...], home: Path) -> bool:
    for pattern in patterns:
        for path in units.glob(pattern):
            try:
                if re.search(rf"{re.escape(str(home))}(?=[/\s]|$)", path.read_text(errors="replace")):
                    return True
            except OSError:
                continue
    return False


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
