"""The longest tests first, a share of them for each worker, so that none begins when all others are done."""

from __future__ import annotations

from itertools import islice
from typing import TypeVar

T = TypeVar("T")

# Beginnings of the names of tests that take the longest, the longest first.
LONGEST = (
    "tests/spool/test_passing_faults.py",
    "tests/whole_box/test_lost_seconds.py",
    "tests/spool/test_kills.py",
    "tests/whole_box/test_processes.py::test_deaths_of_the_supervisor",
    "tests/recording/test_turnovers.py",
    "tests/whole_box/test_daemon.py::test_the_demonstration",
    "tests/spool/test_crashes.py",
    "tests/camera/test_network_camera.py",
    "tests/whole_box/test_full_disks.py::test_record",
    "tests/media/render/test_hour_of_sound.py",
    "tests/faults/test_many_uploads.py",
    "tests/faults/test_uploader_kills.py",
    "tests/camera/test_software_camera.py",
    "tests/camera/test_camera_faults.py",
    "tests/recording/test_audio.py",
    "tests/media/render/test_encode_segments.py",
    "tests/media/render/test_logo_segments.py",
)


def rank(name: str) -> int:
    """The place among the longest; behind all of them for any other test."""
    return next((n for n, begin in enumerate(LONGEST) if name.startswith(begin)), len(LONGEST))


def dealt(tests: list[T], ranks: list[int], workers: int) -> list[T]:
    """As xdist deals them out (`worksteal`): one run of neighbours a worker; it steals from the ends."""
    sizes, left = list[int](), len(tests)
    for worker in range(workers):
        sizes.append(left // (workers - worker))
        left -= sizes[-1]
    shares: list[list[int]] = [[] for _ in sizes]
    order = sorted(range(len(tests)), key=lambda n: ranks[n])
    count = sum(rank < len(LONGEST) for rank in ranks)
    for n in order[:count]:  # to whoever has the fewest yet
        min((share for share, size in zip(shares, sizes, strict=True) if len(share) < size), key=len).append(
            n
        )
    others = iter(order[count:])
    for share, size in zip(shares, sizes, strict=True):
        share += islice(others, size - len(share))
    return [tests[n] for share in shares for n in share]
