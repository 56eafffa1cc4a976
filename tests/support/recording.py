"""What the recorder's tests share: frame numbers read from pixels, a clock that steps, children of ours."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from ezrec.camera.ffmpeg_sources import STRIP_BITS, block_side


class SteppingClock:
    """The machine's clock, which a test may set; the monotonic one goes on as it does in life."""

    def __init__(self) -> None:
        self.step = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.step

    def monotonic(self) -> float:
        return time.monotonic()

    def is_synchronised(self) -> bool:
        return True

    def boot_id(self) -> str:
        return "test"


def frame_numbers(path: Path, width: int = 320) -> list[int]:
    """The number of every frame that can be decoded, read from the software camera's strip."""
    side = block_side(width)
    strip = f"crop={side * STRIP_BITS}:{side}:0:ih-{side},scale={STRIP_BITS}:1:flags=area,format=gray"
    argv = ["ffmpeg", "-v", "error", "-xerror", "-nostdin", "-i", f"file:{path}", "-vf", strip]
    argv += ["-fps_mode", "passthrough", "-f", "rawvideo", "-"]
    done = subprocess.run(argv, capture_output=True, timeout=60)
    assert done.returncode == 0, (path.name, path.stat().st_size, done.stderr.decode(errors="replace"))
    rows = done.stdout
    return [_number(rows[n : n + STRIP_BITS]) for n in range(0, len(rows), STRIP_BITS)]


def _number(row: bytes) -> int:
    return int("".join("1" if block > 127 else "0" for block in row), 2)


def are_in_a_row(numbers: list[int]) -> bool:
    return bool(numbers) and numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def breaks_in(numbers: list[int]) -> list[tuple[int, int]]:
    """The numbers on both sides of each place where they are not in a row."""
    return [(one, other) for one, other in pairwise(numbers) if other != one + 1]


def our_children() -> list[int]:
    """Process ids of the children that any thread of this process has."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        try:
            found += [int(pid) for pid in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def our_cameras() -> list[int]:
    return [pid for pid in our_children() if "pipe:1" in command_of(pid)]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class Call:
    """Counts how often it was called."""

    def __init__(self) -> None:
        self.count = 0
        self.happened = threading.Event()

    def __call__(self) -> None:
        self.count += 1
        self.happened.set()
