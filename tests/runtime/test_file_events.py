"""Which file events wake a stage, and which do not."""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from watchdog.events import FileSystemEvent, FileSystemEventHandler

from ezrec.runtime.file_events import ArrivalObserver
from tests.support.wait import LIMIT_S

Heard = queue.SimpleQueue[FileSystemEvent]


@contextmanager
def listening(directory: Path) -> Iterator[Heard]:
    class Note(FileSystemEventHandler):
        def on_any_event(self, event: FileSystemEvent) -> None:
            if event.src_path != str(directory):  # "the directory changed" comes with all of them
                heard.put(event)

    heard: Heard = queue.SimpleQueue()
    observer = ArrivalObserver(LIMIT_S)
    observer.schedule(Note(), str(directory), recursive=False)
    observer.start()
    try:
        yield heard
    finally:
        observer.stop()
        observer.join(LIMIT_S)


def _write(path: Path) -> None:
    path.write_bytes(b"footage")


ARRIVALS: dict[str, Callable[[Path, Path], object]] = {
    "a directory renamed in": lambda raw, aside: os.rename(aside / "job", raw / "new"),
    "a file renamed in": lambda raw, aside: os.rename(aside / "file", raw / "new"),
    "a file renamed within": lambda raw, aside: os.rename(raw / "old", raw / "new"),
    "a directory made": lambda raw, aside: (raw / "new").mkdir(),
    "a file written": lambda raw, aside: _write(raw / "new"),
}


@pytest.mark.parametrize("arrival", ARRIVALS)
def test_every_way_in_is_heard(tmp_path: Path, arrival: str) -> None:
    raw, aside = tmp_path / "raw", tmp_path / "aside"
    for path in (raw, aside, aside / "job"):
        path.mkdir()
    _write(aside / "file")
    _write(raw / "old")
    with listening(raw) as heard:
        ARRIVALS[arrival](raw, aside)
        assert heard.get(timeout=LIMIT_S).src_path == str(raw / "new")


def test_a_file_is_heard_again_when_its_writer_closes_it(tmp_path: Path) -> None:
    with listening(tmp_path) as heard:
        _write(tmp_path / "new")
        assert [heard.get(timeout=LIMIT_S).event_type for _ in range(2)] == ["created", "closed"]


def test_partings_and_reads_hold_no_arrival_back(tmp_path: Path) -> None:
    """A parting that is told first is told half a second late, and what came after it later still."""
    raw, aside = tmp_path / "raw", tmp_path / "aside"
    for path in (raw, aside, raw / "first", aside / "second"):
        path.mkdir()
    _write(raw / "file")
    with listening(raw) as heard:
        os.rename(raw / "first", aside / "first")
        (raw / "file").read_bytes()
        (raw / "file").unlink()
        os.rename(aside / "second", raw / "second")
        assert heard.get(timeout=LIMIT_S).src_path == str(raw / "second")
