"""Locks between processes: one holder, freed by the kernel, labelled for people."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ezrec.domain.errors import Busy
from ezrec.system.locks import Lock, holder_pid
from tests.support.wait import eventually

_HOLD = """
import sys, time
from pathlib import Path
from ezrec.system.locks import Lock
with Lock(Path(sys.argv[1])).held(10, "record job b1"):
    print("held", flush=True)
    sys.stdin.read()
print("released", flush=True)
"""


@contextmanager
def another_holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until its standard input is closed."""
    child = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdin is not None
    try:
        assert child.stdout.readline() == "held\n"
        yield child
    finally:
        child.stdin.close()
        child.wait(30)
        child.stdout.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "record.lock"


def test_a_held_lock_is_busy_and_names_its_holder(path: Path) -> None:
    with another_holder(path) as child:
        with pytest.raises(Busy, match=f"record.lock is held by pid {child.pid} record job b1"):
            Lock(path).held(0).__enter__()
        assert Lock(path).holder() == f"pid {child.pid} record job b1", "asking does not wipe the label"


def test_the_same_holder_writes_its_label_once(path: Path) -> None:
    for _ in range(3):
        with Lock(path).held(0, "process"):
            assert Lock(path).holder() == f"pid {os.getpid()} process"
            os.utime(path, (1, 1))
    assert path.stat().st_mtime == 1


def test_a_released_lock_is_free_and_has_no_label(path: Path) -> None:
    with another_holder(path):
        pass
    with Lock(path).held(0):
        assert Lock(path).holder() == f"pid {os.getpid()}"
    assert Lock(path).holder() == ""
    assert path.exists(), "a lock file is never unlinked: two might hold two files of one name"


def test_the_lock_of_a_killed_holder_is_free_at_once(path: Path) -> None:
    with another_holder(path) as child:
        child.kill()
        child.wait(30)
        with Lock(path).held(0, "mine"):
            assert Lock(path).holder() == f"pid {os.getpid()} mine"


def test_who_waits_gets_the_lock_when_it_is_released(path: Path) -> None:
    with another_holder(path) as child:
        timer = threading.Timer(0.3, lambda: child.stdin and child.stdin.close())
        timer.start()
        with Lock(path).held(30):
            assert child.wait(30) == 0
        timer.join()


def test_who_gives_up_waiting_hears_busy(path: Path) -> None:
    stop = threading.Event()
    with another_holder(path):
        timer = threading.Timer(0.2, stop.set)
        timer.start()
        began = time.monotonic()
        with pytest.raises(Busy):
            Lock(path).held(-1, given_up=stop.is_set).__enter__()
        assert time.monotonic() - began < 25
        timer.join()


def test_two_threads_exclude_each_other_as_two_processes_do(path: Path) -> None:
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(5):
            with Lock(path).held(30):
                inside += 1
                most = max(most, inside)
                time.sleep(0.001)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == 1


def test_a_lock_is_released_when_its_work_fails(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Lock(path).held(0):
        raise ZeroDivisionError
    with Lock(path).held(0):
        assert Lock(path).holder()


def test_a_missing_directory_is_not_made_again(tmp_path: Path) -> None:
    """It would hide that the spool was moved away under us."""
    with pytest.raises(Busy, match="missing"):
        Lock(tmp_path / "moved" / "record.lock").held(0).__enter__()
    assert not (tmp_path / "moved").exists()


def test_a_lock_can_be_shared_within_the_group(path: Path) -> None:
    """One user a service, all of one group."""
    with Lock(path).held(0):
        assert path.stat().st_mode & 0o060 == 0o060


def test_a_label_can_change_while_the_lock_is_held(path: Path) -> None:
    lock = Lock(path)
    with lock.held(0, "process"):
        lock.label("process job b7")
        assert lock.holder() == f"pid {os.getpid()} process job b7"


def test_a_lock_without_a_file_has_no_holder(path: Path) -> None:
    assert Lock(path).holder() == ""
    assert not eventually(path.exists, within_s=0.05)


def test_a_file_is_known_by_its_device_and_its_inode_and_who_waits_is_no_holder(path: Path) -> None:
    path.touch()
    info, table = path.stat(), path.with_name("locks")
    device = f"{os.major(info.st_dev):02x}:{os.minor(info.st_dev):02x}"
    table.write_text(
        f"1: FLOCK  ADVISORY  WRITE 11 ff:77:{info.st_ino} 0 EOF\n"  # of the same inode, on another disk
        f"2: POSIX  ADVISORY  WRITE 12 {device}:{info.st_ino} 0 EOF\n"
        f"2: -> FLOCK  ADVISORY  WRITE 13 {device}:{info.st_ino} 0 EOF\n"
    )
    assert holder_pid(path, table) is None
    with table.open("a") as file:
        file.write(f"3: FLOCK  ADVISORY  WRITE 14 {device}:{info.st_ino} 0 EOF\n")
    assert holder_pid(path, table) == 14
    assert holder_pid(path.with_name("none"), table) is None


def test_a_holder_whose_label_is_anothers_is_told_by_its_number(path: Path) -> None:
    with another_holder(path) as child:
        path.write_text("pid 1 of old")
        assert Lock(path).holder() == f"pid {child.pid}"
