"""The system's journal, read by `journalctl` from where it was last read. A machine without one has none.

Bounded in time and in bytes: a journal can be damaged, or full of somebody else's talk.
"""

from __future__ import annotations

import os
import re
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ezrec.system.child_process import with_parent_death_signal

UNITS = (
    "ezrec",
    "recorder",
    "video_worker",
    "ezrec-upload",
    "booking_sync",
    "system_status",
    "log_collector",
    "ezrec-sweep",
    "ezrec-retry",
    "ezrec-ahead",
)
PLACES = (Path("/run/log/journal"), Path("/var/log/journal"))
# What the checklist's five were called before, and are as aliases: the journal keeps the name of the day.
FORMER = {
    "recorder": "ezrec-recorder",
    "video_worker": "ezrec-process",
    "booking_sync": "ezrec-sync",
    "system_status": "ezrec-status",
    "log_collector": "ezrec-logs",
}
_MOST_LINES = 5000
_MOST_BYTES = 8 << 20
_LIMIT_S = 20.0
_END_LIMIT_S = 5.0
_CURSOR = re.compile(rb"^-- cursor: (\S+)\s*\Z", re.MULTILINE)


def read(unit: str, after: str | None) -> tuple[str, str] | None:
    """What the journal has of a unit since the cursor `after`, and the new cursor; None for nothing.

    A cursor that the journal does not know any more (it was emptied) is as good as none.
    """
    said = _ask(unit, ("--after-cursor", after)) if after else _ask(unit, ())
    if said is None and after:
        said = _ask(unit, ())
    if said is None:
        return None
    cursor = _CURSOR.search(said)
    text = said[: cursor.start()] if cursor else b""
    if not text.strip() or cursor is None:
        return None
    return text.decode(errors="replace"), cursor[1].decode(errors="replace")


def is_closed(places: Sequence[Path] = PLACES) -> bool:
    """True where there is a journal that this process may not read; who has none loses nothing."""
    may_read = [_may_read(folder / "system.journal") for place in places for folder in _folders(place)]
    return False in may_read and True not in may_read


def _folders(place: Path) -> list[Path]:
    """One a machine; `place` itself where we may not even look."""
    try:
        return list(place.iterdir())
    except PermissionError:
        return [place]
    except OSError:
        return []


def _may_read(path: Path) -> bool | None:
    """None where there is nothing to read."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))  # not by `open`, which leaks a directory's
        return True
    except PermissionError:
        return False
    except OSError:
        return None


def _ask(unit: str, since: tuple[str, ...]) -> bytes | None:
    """What journalctl says, or None when it fails, is not there or does not end."""
    program = shutil.which("journalctl")
    if program is None:
        return None
    names = [word for name in (unit, FORMER.get(unit)) if name for word in ("--unit", name)]
    command = [
        program, *names, "--output", "short-iso", "--quiet", "--no-pager", "--show-cursor",
        "--lines", str(_MOST_LINES), *since,
    ]  # fmt: skip
    try:
        child = subprocess.Popen(
            [*with_parent_death_signal(), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
        )
    except OSError:
        return None
    try:
        said = _listen(child)
        return said if said is not None and child.wait(_END_LIMIT_S) == 0 else None
    except subprocess.TimeoutExpired:
        return None
    finally:
        _end(child)


def _listen(child: subprocess.Popen[bytes]) -> bytes | None:
    """The newest bytes of what it says until it ends; None when that takes too long."""
    assert child.stdout is not None
    ends, said = time.monotonic() + _LIMIT_S, b""
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while (left_s := ends - time.monotonic()) > 0:
            if selector.select(left_s):
                talk = os.read(child.stdout.fileno(), 1 << 16)
                if not talk:
                    return said
                said = (said + talk)[-_MOST_BYTES:]
    return None


def _end(child: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    if child.stdout:
        child.stdout.close()
    with suppress(subprocess.TimeoutExpired):
        child.wait(_END_LIMIT_S)
