"""Who speaks to systemd: the main process does, and those that it keeps do not."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ezrec.runtime import supervisor as supervisor_module
from ezrec.runtime.supervisor import Supervisor
from tests.support.daemon import children
from tests.support.wait import eventually

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


def test_a_service_of_all_parts_is_ready_when_both_its_processes_are(
    tmp_path: Path, manager: socket.socket
) -> None:
    daemon = start(manager, tmp_path, stdin=subprocess.DEVNULL)
    try:
        assert [manager.recv(4096), manager.recv(4096)] == [b"READY=1", b"WATCHDOG=1"]
        assert len(children(daemon.pid)) == 2
        assert manager.recv(4096) == b"WATCHDOG=1"
        daemon.terminate()
        assert daemon.wait(LIMIT_S) == 0
        assert heard(manager)[-1] == "STOPPING=1"
    finally:
        daemon.kill()
        daemon.wait(LIMIT_S)


@dataclass
class Child:
    """As `SupervisedProcess` shows itself to who runs it."""

    well: bool = True
    ready: threading.Event = field(default_factory=threading.Event)
    heard: list[str] = field(default_factory=list)

    def start(self) -> None:
        self.heard.append("start")

    def is_well(self) -> bool:
        return self.well

    def ask(self) -> None:
        self.heard.append("ask")

    def stop(self) -> None:
        self.heard.append("stop")


@pytest.fixture
def children_of_nobody(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Child, Child]]:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.getsockname())
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    pair, supervisor = (Child(), Child()), Supervisor()
    thread = threading.Thread(target=supervisor.supervise, args=(pair,))
    thread.start()
    yield pair
    supervisor.end()
    thread.join(LIMIT_S)
    assert not thread.is_alive()
    assert [child.heard for child in pair] == [["start", "ask", "stop"]] * 2


def test_the_watchdog_is_fed_only_while_every_child_is_looked_after(
    children_of_nobody: tuple[Child, Child], manager: socket.socket
) -> None:
    one, other = children_of_nobody
    time.sleep(0.5)
    assert heard(manager) == [], "no child is ready"
    one.ready.set()
    other.ready.set()
    assert eventually(lambda: "WATCHDOG=1" in heard(manager))
    other.well = False
    time.sleep(0.5)
    heard(manager)
    time.sleep(1)
    assert heard(manager) == []


def test_a_child_that_does_not_begin_keeps_the_service_from_being_ready_for_half_a_minute_alone(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """systemd ends a service that is not ready in time: a recording would end with it."""
    assert supervisor_module._READY_S <= 30
    monkeypatch.setattr(supervisor_module, "_READY_S", 0.5)
    request.getfixturevalue("children_of_nobody")
    assert eventually(lambda: "READY=1" in heard(manager))


def test_a_recorder_that_is_kept_by_another_process_speaks_to_that_one_alone(
    tmp_path: Path, manager: socket.socket
) -> None:
    supervisor, end = socket.socketpair()
    supervisor.settimeout(LIMIT_S)
    with end:
        child = start(manager, tmp_path, "--only", "record", "--kept", stdin=end.fileno())
    try:
        with supervisor, supervisor.makefile() as words:
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
