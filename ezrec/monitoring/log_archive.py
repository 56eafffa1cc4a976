"""Log archives: what the services wrote since the last archive, in a zip; no line twice, and no secret.

How far was read stands in `EZREC_STATE/logs_sent.json`: bytes by file (known by its inode and its first
bytes, which a rotation keeps), and the journal's cursors by unit.

1. find what is new in the files of LOGS_DIR and in the journal
2. write the zip, and beside it how far it reaches: `logs_sent.next.json`, with the job that will hold it
3. put the job into the spool, or the zip into the job
4. rename `logs_sent.next.json` to `logs_sent.json`

A crash before 3 changes nothing; after a crash behind 3, the next collector does 4.
"""

from __future__ import annotations

import os
import time
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import msgspec

from ezrec.domain import json_decode
from ezrec.domain.redaction import redacted
from ezrec.spool.spool import Spool
from ezrec.system import durable, journald, plain_files
from ezrec.system.log_setup import log_files

STATE, NEXT = "logs_sent.json", "logs_sent.next.json"
NOTE = "NOTE.txt"
MOST_BYTES = 32 << 20  # of one archive, unpacked
_HEAD = 256  # bytes by which a file is recognised
_QUIET_S = 10.0  # a last line without a newline counts as whole after so long without a change
_STAMP = "%Y%m%d_%H%M%S"
_DAY = timedelta(days=1)
Journal = Callable[[str, str | None], tuple[str, str] | None]


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a file was read. `head`: the checksum of its first `length` bytes."""

    size: int
    head: int
    length: int


@dataclass(frozen=True, slots=True)
class Sent:
    """How far everything was read. `stamp`: the time in the name of the last archive."""

    files: dict[str, Mark] = field(default_factory=dict)  # by inode
    cursors: dict[str, str] = field(default_factory=dict)  # by unit
    stamp: str = ""


@dataclass(frozen=True, slots=True)
class Pending:
    """An archive on its way into the spool: in which job, under which name, and how far it reaches."""

    job: str
    file: str
    sent: Sent


@dataclass(frozen=True, slots=True)
class _NewPart:
    """What is new in one file."""

    name: str
    path: Path
    begins: int
    ends: int
    written: float


# ---- how far


def read_sent(state: Path, spool: Spool) -> Sent:
    """How far was read; first does step 4 for a collector that died before it."""
    with suppress(OSError, msgspec.DecodeError):
        pending = json_decode.decode((state / NEXT).read_bytes(), Pending)
        if _is_in(spool, pending):
            keep(state)
    with suppress(OSError):
        (state / NEXT).unlink(missing_ok=True)
    try:
        return json_decode.decode((state / STATE).read_bytes(), Sent)
    except (OSError, msgspec.DecodeError):
        return Sent()


def _is_in(spool: Spool, pending: Pending) -> bool:
    entry = spool.find(pending.job)
    if entry is not None:
        return (entry.path / pending.file).exists()
    return spool.finished(pending.job) is not None


def prepare(state: Path, pending: Pending) -> None:
    """Step 2's second half."""
    state.mkdir(parents=True, exist_ok=True)
    durable.write(state / NEXT, msgspec.json.encode(pending))


def keep(state: Path) -> None:
    """Step 4: the archive is in the spool."""
    pending = json_decode.decode((state / NEXT).read_bytes(), Pending)
    durable.write(state / STATE, msgspec.json.format(msgspec.json.encode(pending.sent), indent=1))
    (state / NEXT).unlink(missing_ok=True)


# ---- what is new


def is_rotated_and_new(directory: Path, sent: Sent) -> bool:
    """True when a rotated file has something unsent: a later rotation would delete it."""
    return any(not part.path.name.endswith(".log") for part in _new_parts(directory, sent)[0])


def _new_parts(directory: Path, sent: Sent) -> tuple[list[_NewPart], dict[str, Mark]]:
    """What is new in the log files, the oldest part of each first; and how far that reaches."""
    parts: list[_NewPart] = []
    marks: dict[str, Mark] = {}
    for name, path in log_files(directory):
        with suppress(OSError):
            with plain_files.opened(path, shared=True) as file:
                info = os.fstat(file.fileno())
                before = sent.files.get(str(info.st_ino))
                begins = before.size if before and _is_known(file, before, info.st_size) else 0
                ends = _end(file, begins, info, is_rotated=path.name != name)
                file.seek(0)
                head = file.read(min(_HEAD, ends))
            marks[str(info.st_ino)] = Mark(ends, zlib.crc32(head), len(head))
            if ends > begins:
                parts.append(_NewPart(name, path, begins, ends, info.st_mtime))
    return parts, marks


def _is_known(file: BinaryIO, mark: Mark, size: int) -> bool:
    """True for the file that was read before; False when it was emptied, or another has its inode now."""
    file.seek(0)
    return size >= mark.size and zlib.crc32(file.read(mark.length)) == mark.head


def _end(file: BinaryIO, begins: int, info: os.stat_result, *, is_rotated: bool) -> int:
    """Where the last whole line ends: half a line could hold half a secret, which no pattern matches."""
    if is_rotated or time.time() - info.st_mtime > _QUIET_S:
        return info.st_size
    at = info.st_size
    while at > begins:
        step = min(1 << 16, at - begins)
        file.seek(at - step)
        line_end = file.read(step).rfind(b"\n")
        if line_end >= 0:
            return at - step + line_end + 1
        at -= step
    return begins


# ---- the archive


def pack(
    target: Path,
    directory: Path,
    sent: Sent,
    read_journal: Journal = journald.read,
    most_bytes: int = MOST_BYTES,
) -> Sent | None:
    """Write what is new into the new zip `target`; how far it reaches, or None when there is nothing."""
    parts, marks = _new_parts(directory, sent)
    journal: dict[str, str] = {}
    cursors = dict(sent.cursors)
    for unit in journald.UNITS:
        found = read_journal(
            unit, sent.cursors.get(unit) or sent.cursors.get(journald.FORMER.get(unit, unit))
        )
        if found is not None:
            journal[unit], cursors[unit] = found
    if not parts and not journal:
        return None
    cut = _cut(journal, most_bytes // 2)
    room = most_bytes - sum(len(text) for text in journal.values())
    parts, dropped = _bounded(parts, room)
    dropped |= cut
    try:
        with zipfile.ZipFile(target, "x", zipfile.ZIP_DEFLATED) as archive:
            for name in sorted({part.name for part in parts}):
                with archive.open(name, "w", force_zip64=True) as member:
                    for part in parts:
                        if part.name == name:
                            member.write(redacted(_read(part)).encode())
            for unit, text in journal.items():
                archive.writestr(f"journal_{unit}.log", redacted(text))
            if dropped:
                archive.writestr(NOTE, _note(dropped))
        durable.sync_file(target)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return replace(sent, files=marks, cursors=cursors)


def _cut(journal: dict[str, str], most: int) -> dict[str, int]:
    """Cut each unit's text to its newest part, an equal share of `most`; the bytes left out, by log name."""
    share, dropped = most // max(1, len(journal)), {}
    for unit, text in journal.items():
        if len(text) > share:
            journal[unit] = text[-share:].partition("\n")[2]
            dropped[f"journal_{unit}.log"] = len(text) - len(journal[unit])
    return dropped


def _bounded(parts: list[_NewPart], room: int) -> tuple[list[_NewPart], dict[str, int]]:
    """What fits, and how many bytes of each log were dropped: the oldest go first."""
    excess = sum(part.ends - part.begins for part in parts) - max(0, room)
    kept: list[_NewPart] = []
    dropped: dict[str, int] = {}
    for part in sorted(parts, key=lambda part: part.written):
        cut = min(max(0, excess), part.ends - part.begins)
        excess -= cut
        if cut:
            dropped[part.name] = dropped.get(part.name, 0) + cut
        if part.begins + cut < part.ends:
            kept.append(replace(part, begins=part.begins + cut))
    order = {part.path: number for number, part in enumerate(parts)}
    return sorted(kept, key=lambda part: order[part.path]), dropped


def _note(dropped: dict[str, int]) -> str:
    lines = [f"{name}: the oldest {count} bytes" for name, count in sorted(dropped.items())]
    return "\n".join(["Left out, because an archive is bounded in size:", *lines, ""])


def _read(part: _NewPart) -> str:
    with plain_files.opened(part.path, shared=True) as file:
        file.seek(part.begins)
        return file.read(part.ends - part.begins).decode(errors="replace")


def stamp_after(last: str, now: datetime) -> str:
    """The time in an archive's name: now, or a second after the last archive, which it must not replace."""
    with suppress(ValueError):
        earliest = datetime.strptime(last, _STAMP).replace(tzinfo=UTC) + timedelta(seconds=1)
        if now < earliest < now + _DAY:  # further ahead: the clock was once wrong by more than that
            return f"{earliest:{_STAMP}}"
    return f"{now:{_STAMP}}"
