"""One take, one file: whole whatever the disk does, and never in the camera's way."""

from __future__ import annotations

import errno
import itertools
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ezrec.camera.ring_buffer import BufferedFragment
from ezrec.camera.take_writer import Disk, TakeWriter
from ezrec.domain.errors import Retry
from ezrec.media.mp4.boxes import check_whole
from ezrec.media.mp4.fragments import FragmentReader
from tests.fakes.camera import footage, header
from tests.support import media
from tests.support.wait import eventually

ZERO = datetime(2026, 5, 1, 12, tzinfo=UTC)
LIMIT_S = 20.0


def pieces(count: int, skip: int = 0) -> list[BufferedFragment]:
    return [BufferedFragment(f, 100 + f.pts_s) for f in itertools.islice(footage(100), skip, skip + count)]


def writer_for(path: Path, disk: Disk | None = None, queue_bytes: int = 1 << 20) -> TakeWriter:
    return TakeWriter(path, header(), ZERO, disk=disk, queue_bytes=queue_bytes)


class StuckDisk(Disk):
    """Writes only while its gate is open."""

    def __init__(self) -> None:
        self.gate = threading.Event()

    def write(self, fd: int, data: memoryview) -> int:
        assert self.gate.wait(LIMIT_S)
        return super().write(fd, data)


class TrickleDisk(Disk):
    """Takes seven bytes at a time."""

    def write(self, fd: int, data: memoryview) -> int:
        return super().write(fd, data[:7])


class BreakingDisk(Disk):
    """Fails with `fault` behind `room` bytes, or at the first sync."""

    def __init__(self, fault: int, room: int | None) -> None:
        self.fault, self.room = fault, room

    def write(self, fd: int, data: memoryview) -> int:
        if self.room is None:
            return super().write(fd, data)
        if self.room == 0:
            raise OSError(self.fault, os.strerror(self.fault))
        done = super().write(fd, data[: self.room])
        self.room -= done
        return done

    def sync(self, fd: int) -> None:
        if self.room is None:
            raise OSError(self.fault, os.strerror(self.fault))


class CountingDisk(Disk):
    def __init__(self) -> None:
        self.syncs: list[float] = []

    def sync(self, fd: int) -> None:
        self.syncs.append(time.monotonic())
        super().sync(fd)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "take.mp4"


@pytest.mark.parametrize("disk", [Disk(), TrickleDisk()])
def test_a_take_holds_all_that_was_handed_over_and_says_so(path: Path, disk: Disk) -> None:
    writer = writer_for(path, disk)
    for piece in pieces(20):
        writer.accept(piece)
    take = writer.finish(LIMIT_S)
    assert (take.file, take.ended_by, take.size) == ("take.mp4", "", path.stat().st_size)
    assert take.started == ZERO + timedelta(seconds=100)
    assert take.duration_s == pytest.approx(4.0, abs=0.001)
    check_whole(path)
    assert media.count_samples(path, 1) == 60
    assert not writer.lost.is_set()


def test_a_take_begins_with_a_key_frame_and_at_zero(path: Path) -> None:
    writer = writer_for(path)
    for piece in pieces(12, skip=2):
        writer.accept(piece)
    take = writer.finish(LIMIT_S)
    first = FragmentReader().feed(path.read_bytes(), 0)[0]
    assert first.starts_with_key
    assert first.base_time == 0
    assert take.started == ZERO + timedelta(seconds=101)
    assert writer.dropped == 0


def test_a_take_that_got_no_frame_says_that_it_is_empty(path: Path) -> None:
    take = writer_for(path).finish(LIMIT_S)
    assert take.duration_s == 0
    assert path.read_bytes() == header().data


def test_a_take_never_overwrites_and_follows_no_link(path: Path, tmp_path: Path) -> None:
    path.write_bytes(b"footage")
    link = tmp_path / "link.mp4"
    link.symlink_to(tmp_path / "nowhere.mp4")
    for taken in (path, link):
        with pytest.raises(Retry, match="exists already"):
            writer_for(taken)
    assert path.read_bytes() == b"footage"
    assert not (tmp_path / "nowhere.mp4").exists()
    with pytest.raises(Retry, match="cannot be created"):
        writer_for(tmp_path / "no such folder" / "t.mp4")


def test_each_fragment_reaches_the_file_without_waiting_for_the_next(path: Path) -> None:
    writer = writer_for(path)
    size = len(header().data)
    for piece in pieces(5):
        writer.accept(piece)
        size += len(piece.fragment.data)
        assert eventually(lambda: path.stat().st_size == size, LIMIT_S)  # noqa: B023 - called at once
        check_whole(path)
    writer.finish(LIMIT_S)


def test_data_are_synced_about_once_a_second_while_there_are_new_ones(path: Path) -> None:
    disk = CountingDisk()
    writer = writer_for(path, disk)
    first, second = pieces(2)
    writer.accept(first)
    assert eventually(lambda: len(disk.syncs) == 1, LIMIT_S)
    writer.accept(second)
    assert eventually(lambda: len(disk.syncs) == 2, LIMIT_S)
    time.sleep(1.2)
    assert len(disk.syncs) == 2
    assert disk.syncs[1] - disk.syncs[0] > 0.9
    writer.finish(LIMIT_S)


def test_a_slow_disk_costs_frames_up_to_a_key_frame_and_never_the_cameras_time(path: Path) -> None:
    disk, all_of_them = StuckDisk(), pieces(45)
    room = sum(len(piece.fragment.data) for piece in all_of_them[:12])
    writer = writer_for(path, disk, room)
    for piece in all_of_them[:40]:
        writer.accept(piece)  # would hang here if it waited for the disk
    disk.gate.set()
    assert eventually(lambda: media.count_samples(path, 1) == 12 * 3, LIMIT_S)
    for piece in all_of_them[40:45]:
        writer.accept(piece)
    take = writer.finish(LIMIT_S)
    assert writer.dropped == 28 * 3
    found = FragmentReader().feed(path.read_bytes(), 0)
    jumps = [n for n, (a, b) in enumerate(itertools.pairwise(found), 1) if a.end_time != b.base_time]
    assert len(jumps) == 1
    assert found[jumps[0]].starts_with_key
    assert take.duration_s == pytest.approx(9.0, abs=0.001)
    assert not writer.lost.is_set()


def test_finish_keeps_its_limit_on_a_disk_that_hangs(path: Path) -> None:
    disk = StuckDisk()
    writer = writer_for(path, disk)
    writer.accept(pieces(1)[0])
    take = writer.finish(0.2)
    assert take.ended_by == "the disk did not answer in time"
    assert take.duration_s == 0
    disk.gate.set()


@pytest.mark.parametrize(
    ("fault", "said"),
    [(errno.ENOSPC, "disk full"), (errno.EDQUOT, "disk full"), (errno.EIO, "the disk failed: Input/output")],
)
@pytest.mark.parametrize("fragments", [0, 3])
def test_a_disk_that_fails_ends_the_take_behind_its_last_whole_fragment(
    path: Path, fault: int, said: str, fragments: int
) -> None:
    handed = pieces(10)
    whole = len(header().data) + sum(len(piece.fragment.data) for piece in handed[:fragments])
    writer = writer_for(path, BreakingDisk(fault, whole + 50))
    for piece in handed:
        writer.accept(piece)
    assert writer.lost.wait(LIMIT_S)
    take = writer.finish(LIMIT_S)
    assert take.ended_by.startswith(said)
    assert take.size == path.stat().st_size == whole
    assert media.count_samples(path, 1) == fragments * 3
    assert take.duration_s == pytest.approx(fragments * 0.2, abs=0.001)


def test_a_disk_without_room_for_the_header_loses_the_take_and_says_so(path: Path) -> None:
    writer = writer_for(path, BreakingDisk(errno.ENOSPC, 10))
    assert writer.lost.wait(LIMIT_S)
    take = writer.finish(LIMIT_S)
    assert (take.ended_by, take.size, take.duration_s) == ("disk full", 0, 0)
    assert path.stat().st_size == 0


def test_a_disk_without_room_for_the_first_fragment_leaves_an_empty_take(path: Path) -> None:
    """Its length was below zero for a camera that had run before, and so it was kept."""
    room = len(header().data)
    writer = writer_for(path, BreakingDisk(errno.ENOSPC, room + 10))
    for piece in pieces(20, skip=30):
        writer.accept(piece)
    assert writer.lost.wait(LIMIT_S)
    assert writer.span is None
    take = writer.finish(LIMIT_S)
    assert (take.ended_by, take.size, take.duration_s) == ("disk full", room, 0)


def test_a_failed_sync_ends_the_take(path: Path) -> None:
    writer = writer_for(path, BreakingDisk(errno.EIO, None))
    writer.accept(pieces(1)[0])
    assert writer.lost.wait(LIMIT_S)
    assert writer.finish(LIMIT_S).ended_by.startswith("the disk failed")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True, timeout=20
        ).returncode
    )
    if not mounted:
        pytest.skip("mounting needs root")
    yield place
    subprocess.run(["umount", "-l", place], check=True, timeout=20)


def test_a_disk_that_is_really_full_keeps_what_it_holds(small_disk: Path) -> None:
    path = small_disk / "take.mp4"
    writer = writer_for(path)
    fragments = (BufferedFragment(f, 100 + f.pts_s) for f in footage(100))
    while not writer.lost.is_set():
        writer.accept(next(fragments))
        time.sleep(0.002)
    take = writer.finish(LIMIT_S)
    assert take.ended_by == "disk full"
    assert take.duration_s > 1
    assert take.size == path.stat().st_size > 40_000
    check_whole(path)
    assert media.count_samples(path, 1) / 15 == pytest.approx(take.duration_s, abs=0.001)


def test_no_thread_and_no_open_file_is_left_behind(path: Path) -> None:
    writer = writer_for(path)
    writer.accept(pieces(1)[0])
    writer.finish(LIMIT_S)
    assert eventually(lambda: not [t for t in threading.enumerate() if path.name in t.name])
    assert not [fd for fd in Path("/proc/self/fd").iterdir() if os.path.realpath(fd) == str(path)]
