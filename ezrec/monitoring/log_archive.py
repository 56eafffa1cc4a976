"""Log archives: what the services wrote since the last one, in a zip. Nothing is sent twice, nothing secret.

How far was read stands in `EZREC_STATE/logs_sent.json`: bytes by file (known by its inode and its first
bytes, because a rotated file keeps them and changes its name) and the journal's cursors by unit.

1. look what is new, in files of LOGS_DIR and in the journal
2. write the zip, beside it how far it reaches: `logs_sent.next.json`, with the job that will hold it
3. the job goes into the spool, or the zip into the job
4. `logs_sent.next.json` becomes `logs_sent.json`

A crash before 3 is as if nothing had been done; after it, the next collector does 4.
"""

from __future__ import annotations

import os
import re
import stat
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
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

STATE, NEXT = "logs_sent.json", "logs_sent.next.json"
NOTE = "NOTE.txt"
MOST_BYTES = 32 << 20  # of one archive, unpacked
_HEAD = 256  # bytes by which a file is known again
_QUIET_S = 10.0  # a last line without an end is whole when nobody has gone on with it for so long
_NAME = re.compile(r"([\w.-]+\.log)(?:\.(\d{1,4}))?")
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
class _Piece:
    """What is new in one file."""

    name: str
    path: Path
    begins: int
    ends: int
    written: float


# ---- how far


def read_sent(state: Path, spool: Spool) -> Sent:
    """How far was read, with step 4 done for whoever died before it."""
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
    """True when a file was rotated away that has something unsent: later rotations would lose it."""
    return any(not piece.path.name.endswith(".log") for piece in _pieces(directory, sent)[0])


def _pieces(directory: Path, sent: Sent) -> tuple[list[_Piece], dict[str, Mark]]:
    """What is new in the log files, the oldest part of each first; and how far that reaches."""
    pieces: list[_Piece] = []
    marks: dict[str, Mark] = {}
    for name, path in _files(directory):
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
                pieces.append(_Piece(name, path, begins, ends, info.st_mtime))
    return pieces, marks


def _files(directory: Path) -> Iterator[tuple[str, Path]]:
    """`(recorder.log, …/recorder.log.2)`, the oldest part first."""
    found = []
    with suppress(OSError):
        for path in directory.iterdir():
            match = _NAME.fullmatch(path.name)
            if match and not path.name.startswith(".") and stat.S_ISREG(path.lstat().st_mode):
                found.append((match[1], -int(match[2] or 0), path))
    for name, _, path in sorted(found):
        yield name, path


def _is_known(file: BinaryIO, mark: Mark, size: int) -> bool:
    """True for the file that was read before: not one that was emptied, or that has got its inode."""
    file.seek(0)
    return size >= mark.size and zlib.crc32(file.read(mark.length)) == mark.head


def _end(file: BinaryIO, begins: int, info: os.stat_result, *, is_rotated: bool) -> int:
    """Where the whole lines end: half a line could hold half a secret, which nobody would recognise."""
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
    pieces, marks = _pieces(directory, sent)
    spoken: dict[str, str] = {}
    cursors = dict(sent.cursors)
    for unit in journald.UNITS:
        found = read_journal(
            unit, sent.cursors.get(unit) or sent.cursors.get(journald.FORMER.get(unit, unit))
        )
        if found is not None:
            spoken[unit], cursors[unit] = found
    if not pieces and not spoken:
        return None
    cut = _cut(spoken, most_bytes // 2)
    room = most_bytes - sum(len(text) for text in spoken.values())
    pieces, dropped = _bounded(pieces, room)
    dropped |= cut
    try:
        with zipfile.ZipFile(target, "x", zipfile.ZIP_DEFLATED) as archive:
            for name in sorted({piece.name for piece in pieces}):
                with archive.open(name, "w", force_zip64=True) as member:
                    for piece in pieces:
                        if piece.name == name:
                            member.write(redacted(_read(piece)).encode())
            for unit, text in spoken.items():
                archive.writestr(f"journal_{unit}.log", redacted(text))
            if dropped:
                archive.writestr(NOTE, _note(dropped))
        durable.sync_file(target)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return replace(sent, files=marks, cursors=cursors)


def _cut(spoken: dict[str, str], most: int) -> dict[str, int]:
    """Leave each unit the newest of what it said, an equal share of `most`; what that left out, by name."""
    share, dropped = most // max(1, len(spoken)), {}
    for unit, text in spoken.items():
        if len(text) > share:
            spoken[unit] = text[-share:].partition("\n")[2]
            dropped[f"journal_{unit}.log"] = len(text) - len(spoken[unit])
    return dropped


def _bounded(pieces: list[_Piece], room: int) -> tuple[list[_Piece], dict[str, int]]:
    """What fits, and how many bytes of each log were dropped: the oldest go first."""
    excess = sum(piece.ends - piece.begins for piece in pieces) - max(0, room)
    kept: list[_Piece] = []
    dropped: dict[str, int] = {}
    for piece in sorted(pieces, key=lambda piece: piece.written):
        cut = min(max(0, excess), piece.ends - piece.begins)
        excess -= cut
        if cut:
            dropped[piece.name] = dropped.get(piece.name, 0) + cut
        if piece.begins + cut < piece.ends:
            kept.append(replace(piece, begins=piece.begins + cut))
    order = {piece.path: number for number, piece in enumerate(pieces)}
    return sorted(kept, key=lambda piece: order[piece.path]), dropped


def _note(dropped: dict[str, int]) -> str:
    lines = [f"{name}: the oldest {count} bytes" for name, count in sorted(dropped.items())]
    return "\n".join(["Left out, because an archive is bounded in size:", *lines, ""])


def _read(piece: _Piece) -> str:
    with plain_files.opened(piece.path, shared=True) as file:
        file.seek(piece.begins)
        return file.read(piece.ends - piece.begins).decode(errors="replace")


def stamp_after(last: str, now: datetime) -> str:
    """The time in an archive's name: now, but never that of an archive before it, which it would replace."""
    with suppress(ValueError):
        earliest = datetime.strptime(last, _STAMP).replace(tzinfo=UTC) + timedelta(seconds=1)
        if now < earliest < now + _DAY:  # further ahead: the clock was once wrong by more than that
            return f"{earliest:{_STAMP}}"
    return f"{now:{_STAMP}}"
