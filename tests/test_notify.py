"""Who speaks to systemd: the main process does, the recorder that it keeps does not."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

LIMIT_S = 60


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """A socket that hears what systemd would hear."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "n"))
        listening.settimeout(LIMIT_S)
        yield listening


def start(
    manager: socket.socket,
    tmp_path: Path,
    *arguments: str,
    stdin: int = subprocess.PIPE,
    watchdog_us: int = 200_000,
) -> subprocess.Popen[bytes]:
    environ = {
        "PATH": os.environ["PATH"],
        "EZREC_HOME": str(tmp_path / "home"),
        "NOTIFY_SOCKET": manager.getsockname(),
        "WATCHDOG_USEC": str(watchdog_us),
    }
    (tmp_path / "home").mkdir()
    return subprocess.Popen(
        [sys.executable, "-m", "ezrec", "run", *arguments],
        env=environ, stdin=stdin, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def heard(manager: socket.socket) -> list[str]:
    """Everything that was said so far."""
    words: list[str] = []
    manager.setblocking(False)
    try:
        while True:
            words.append(manager.recv(4096).decode())
    except BlockingIOError:
        return words


def test_a_service_says_ready_then_alive_and_at_last_that_it_stops(
    tmp_path: Path, manager: socket.socket
) -> None:
    child = start(manager, tmp_path, "--only", "retry")
    try:
        assert [manager.recv(4096), manager.recv(4096)] == [b"READY=1", b"WATCHDOG=1"]
        child.terminate()
        assert child.wait(LIMIT_S) == 0
        assert heard(manager)[-1] == "STOPPING=1"
    finally:
        child.kill()
        child.communicate(timeout=LIMIT_S)


def test_a_request_to_end_that_the_kernel_gave_to_another_thread_is_heard_at_once(
    tmp_path: Path, manager: socket.socket
) -> None:
    child = start(manager, tmp_path, "--only", "retry", watchdog_us=400_000_000)
    try:
        assert manager.recv(4096) == b"READY=1"
        tasks = sorted(int(task.name) for task in Path(f"/proc/{child.pid}/task").iterdir())
        other = tasks[-1]  # a lane, or who watches: they live as long as the process
        assert ctypes.CDLL(None).tgkill(child.pid, other, signal.SIGTERM) == 0
        assert child.wait(30) == 0, "its rounds are 60 s long"
    finally:
        child.kill()
        child.communicate(timeout=LIMIT_S)


def test_a_recorder_that_is_kept_by_another_process_speaks_to_that_one_alone(
    tmp_path: Path, manager: socket.socket
) -> None:
    keeper, end = socket.socketpair()
    keeper.settimeout(LIMIT_S)
    with end:
        child = start(manager, tmp_path, "--only", "record", "--kept", stdin=end.fileno())
    try:
        with keeper, keeper.makefile() as words:
            assert [next(words), next(words), next(words)] == ["READY=1\n", "WATCHDOG=1\n", "WATCHDOG=1\n"]
        assert child.wait(LIMIT_S) == 0  # nobody keeps it any more, so it ends
    finally:
        child.kill()
        child.wait(LIMIT_S)
    assert heard(manager) == []


def test_a_recorder_whose_standard_input_is_no_socket_is_silent_and_lives(
    tmp_path: Path, manager: socket.socket
) -> None:
    child = start(manager, tmp_path, "--only", "record", "--kept")
    child.communicate(timeout=LIMIT_S)  # closes its standard input: nobody keeps it any more, so it ends
    assert child.returncode == 0
    assert heard(manager) == []
