"""Lists one directory of the spool again and again, reading only the records that changed.

Reading 20,000 records to find the next job takes a second. Reads, and never moves.
"""

from __future__ import annotations

import os

from ezrec.domain.names import shown
from ezrec.domain.stages import State
from ezrec.spool.entry import JOB, Entry, UnknownFile
from ezrec.spool.layout import SpoolLayout

_Mark = tuple[int, int, int, int]


class Listing:
    """Remembers each record with its file's inode, size and times: a record is replaced whole, so a changed
    one is another file. The names are read each time.
    """

    def __init__(self, places: SpoolLayout, state: State) -> None:
        self._places, self._state = places, state
        self._known: dict[str, tuple[_Mark, Entry]] = {}

    def look(self) -> tuple[list[Entry], list[UnknownFile]]:
        """As `SpoolLayout.look`."""
        before, self._known = self._known, {}
        entries: list[Entry] = []
        unknown_files: list[UnknownFile] = []
        directory = f"{self._places.root}/{self._state}"
        for name in self._places.names(self._state):
            try:
                info = os.stat(f"{directory}/{name}/{JOB}", follow_symlinks=False)
                mark = (info.st_ino, info.st_mtime_ns, info.st_ctime_ns, info.st_size)
            except NotADirectoryError:
                unknown_files.append(UnknownFile(name, f"{shown(name)} is a loose file, not a job"))
                continue
            except OSError:
                mark = None  # `look_at` says what is wrong
            known = before.get(name)
            if mark is not None and known is not None and known[0] == mark:
                self._known[name] = known
                entries.append(Entry(f"{directory}/{name}", known[1].job))
                continue
            match self._places.look_at(self._state, name):
                case Entry() as entry:
                    entries.append(entry)
                    if mark is not None:
                        self._known[name] = (mark, Entry(f"{directory}/{name}", entry.job))
                case UnknownFile() as unknown_file:
                    unknown_files.append(unknown_file)
        return entries, unknown_files
