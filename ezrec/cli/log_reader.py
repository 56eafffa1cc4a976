"""Reads the services' log files for a person, from the rotated parts to what is being written now.

Opens plain files alone, follows no link, and changes nothing.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ezrec.system import plain_files
from ezrec.system.log_setup import log_files

_AT_ONCE = 1 << 16
_LOOK_S = 5.0  # the net under the file events
_DATED = re.compile(r"\d{4}-\d\d-\d\d |\{")  # what begins an entry; other lines belong to the one above


@dataclass(frozen=True, slots=True)
class LogTail:
    """The lines `(service, line)`, and where each service's file ended: its inode and size."""

    lines: list[tuple[str, str]]
    ends: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def _parts(directory: Path, service: str) -> list[Path]:
    """The files of a service, the oldest first: `recorder.log.2`, `recorder.log.1`, `recorder.log`."""
    return [path for name, path in log_files(directory) if name == f"{service}.log"]


def tail(directory: Path, services: Sequence[str], count: int) -> LogTail:
    """The last `count` lines of all these services together, by their times."""
    entries: list[tuple[str, str, list[str]]] = []
    ends: dict[str, tuple[int, int]] = {}
    for service in services:
        files = _parts(directory, service)
        lines: list[str] = []
        for path in reversed(files):
            with suppress(OSError):
                text, end = _last_lines(path, count - len(lines) + 1)
                lines = text + lines
                if path.suffix == ".log":
                    ends[service] = end
            if len(lines) >= count:
                break
        entries += _entries(service, lines[-count:] if count else [])
        ends.setdefault(service, (0, 0))
    entries.sort(key=lambda entry: entry[0])
    merged = [(service, line) for _, service, block in entries for line in block]
    return LogTail(merged[-count:] if count else [], ends)


def _entries(service: str, lines: Sequence[str]) -> list[tuple[str, str, list[str]]]:
    """Lines in blocks that begin with a time: a traceback stays with the line that it explains."""
    found: list[tuple[str, str, list[str]]] = []
    for line in lines:
        if _DATED.match(line) or not found:
            found.append((_time_of(line), service, [line]))
        else:
            found[-1][2].append(line)
    return found


def _time_of(line: str) -> str:
    match = re.search(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[,.]\d+)?", line)
    return match[0].replace("T", " ").replace(".", ",") if match else ""


def _last_lines(path: Path, count: int) -> tuple[list[str], tuple[int, int]]:
    """The last lines of a file, read from its end, and its inode and size at that moment."""
    with plain_files.opened(path, shared=True) as file:
        info = os.fstat(file.fileno())
        at, data = info.st_size, b""
        while at > 0 and data.count(b"\n") <= count:
            step = min(_AT_ONCE, at)
            at -= step
            file.seek(at)
            data = file.read(step) + data
    lines = data.decode(errors="replace").splitlines()
    return lines[-count:] if count else [], (info.st_ino, info.st_size)


def follow_on(
    directory: Path,
    ends: Mapping[str, tuple[int, int]],
    show: Callable[[str, str], None],
    stopped: threading.Event | None = None,
) -> None:
    """Show what is written from there on, through every rotation, until interrupted (or `stopped`)."""
    from watchdog.events import FileSystemEvent, FileSystemEventHandler
    from watchdog.observers import Observer

    news = threading.Event()

    class WakeUp(FileSystemEventHandler):
        def on_any_event(self, event: FileSystemEvent) -> None:
            if event.event_type in ("modified", "created", "moved"):
                news.set()

    at = dict(ends)
    observer = Observer()
    observer.schedule(WakeUp(), str(directory), recursive=False)
    observer.start()
    try:
        while stopped is None or not stopped.is_set():
            for service in at:
                at[service] = _go_on(directory, service, at[service], show)
            news.wait(_LOOK_S)
            news.clear()
    finally:
        observer.stop()
        observer.join(_LOOK_S)


def _go_on(
    directory: Path, service: str, end: tuple[int, int], show: Callable[[str, str], None]
) -> tuple[int, int]:
    """Show whole lines behind `end`, first those of the file that was rotated away meanwhile."""
    inode, size = end
    files = [(path, path.lstat().st_ino) for path in _parts(directory, service)]
    numbers = [number for _, number in files]
    begin = numbers.index(inode) if inode in numbers else 0
    for path, number in files[begin:]:
        with suppress(OSError):
            begins_at = size if number == inode else 0
            inode, size = number, _show_from(path, begins_at, service, show)
    return inode, size


def _show_from(path: Path, begins_at: int, service: str, show: Callable[[str, str], None]) -> int:
    with plain_files.opened(path, shared=True) as file:
        if os.fstat(file.fileno()).st_size < begins_at:
            begins_at = 0  # somebody emptied it
        file.seek(begins_at)
        data = file.read()
    whole = data[: data.rfind(b"\n") + 1]
    for line in whole.decode(errors="replace").splitlines():
        show(service, line)
    return begins_at + len(whole)
