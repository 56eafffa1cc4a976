"""The supervisor of a child, over real children: started again after whatever death, ended when asked to."""

from __future__ import annotations

import itertools
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ezrec.runtime import supervised_process
from ezrec.runtime.supervised_process import SupervisedProcess
from tests.support.starving import no_free_descriptor
from tests.support.wait import LIMIT_S, eventually

LOG = logging.getLogger("test.supervise")
# Each child says when it began and who it is.
_BEGIN = """import os, signal, sys, time
print(time.monotonic(), os.getpid(), file=open({log!r}, "a"), flush=True)
"""


@contextmanager
def kept(log: Path, then: str, **limits: Any) -> Iterator[tuple[SupervisedProcess, threading.Event]]:
    hopeless = threading.Event()
    argv = [sys.executable, "-S", "-c", _BEGIN.format(log=str(log)) + then]
    supervisor = SupervisedProcess(argv, LOG, hopeless.set, **{"end_limit_s": LIMIT_S, **limits})
    supervisor.start()
    try:
        yield supervisor, hopeless
    finally:
        supervisor.stop()


def births(log: Path) -> list[tuple[float, int]]:
    try:
        lines = log.read_text().splitlines()
    except FileNotFoundError:
        return []
    return [(float(line.split()[0]), int(line.split()[1])) for line in lines if len(line.split()) == 2]


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_killed_child_is_started_again(tmp_path: Path) -> None:
    log = tmp_path / "births"
    with kept(log, "time.sleep(600)"):
        assert eventually(lambda: births(log))
        os.kill(births(log)[0][1], signal.SIGKILL)
        assert eventually(lambda: len(births(log)) == 2)
        assert births(log)[0][1] != births(log)[1][1]
    assert not any(is_there(pid) for _, pid in births(log))


def test_the_pause_grows_while_the_child_dies_young(tmp_path: Path) -> None:
    log = tmp_path / "births"
    with kept(log, "sys.exit(1)"):
        assert eventually(lambda: len(births(log)) >= 5)
    moments = [moment for moment, _ in births(log)]
    pauses = [later - sooner for sooner, later in itertools.pairwise(moments)]
    for pause_s, least_s in zip(pauses, (0.0, 0.5, 1.0, 2.0), strict=False):
        assert pause_s >= least_s


def test_a_child_that_gives_no_sign_of_life_is_killed_and_started_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "births"
    falls_silent = "os.write(0, b'alive'); time.sleep(600)"
    with kept(log, falls_silent, silence_limit_s=1.0):
        assert eventually(lambda: len(births(log)) == 2)
        (born, first), (again, _) = births(log)
        assert again - born >= 1.0
        assert not is_there(first)
    assert "gave no sign of life for 1 s" in caplog.text


def test_a_child_that_never_says_a_word_is_given_up_too(tmp_path: Path) -> None:
    log = tmp_path / "births"
    with kept(log, "time.sleep(600)", start_limit_s=1.0):
        assert eventually(lambda: len(births(log)) == 2)


def test_a_child_that_stops_being_run_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "births"
    with kept(log, "while True: os.write(0, b'alive'); time.sleep(0.1)", silence_limit_s=2.0):
        assert eventually(lambda: births(log))
        os.kill(births(log)[0][1], signal.SIGSTOP)
        assert eventually(lambda: len(births(log)) == 2)
        assert not is_there(births(log)[0][1])


def test_a_child_that_speaks_is_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "births"
    with kept(log, "while True: os.write(0, b'alive'); time.sleep(0.2)", silence_limit_s=5.0):
        assert eventually(lambda: births(log))
        time.sleep(7)
        assert len(births(log)) == 1


def test_a_wrong_configuration_is_not_tried_again(tmp_path: Path) -> None:
    log = tmp_path / "births"
    with kept(log, "sys.exit(78)") as (_, hopeless):
        assert hopeless.wait(LIMIT_S)
        time.sleep(1)
        assert len(births(log)) == 1


def test_a_child_is_asked_to_end_before_it_is_killed(tmp_path: Path) -> None:
    log, closed = tmp_path / "births", tmp_path / "closed"
    polite = (
        f"signal.signal(signal.SIGTERM, lambda *_: (open({str(closed)!r}, 'w').close(), sys.exit(0)))\n"
        f"open({str(tmp_path / 'ready')!r}, 'w').close()\n"
        "time.sleep(600)\n"
    )
    with kept(log, polite) as (supervisor, _):
        assert eventually((tmp_path / "ready").exists)
        supervisor.stop()
        assert closed.exists()
        assert not is_there(births(log)[0][1])
    assert len(births(log)) == 1


def test_a_stubborn_child_is_killed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = tmp_path / "births"
    stubborn = (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"open({str(tmp_path / 'ready')!r}, 'w').close()\n"
        "time.sleep(600)\n"
    )
    with kept(log, stubborn, end_limit_s=0.5) as (supervisor, _):
        assert eventually((tmp_path / "ready").exists)
        supervisor.stop()
        assert not is_there(births(log)[0][1])
    assert "is killed" in caplog.text


def test_a_child_that_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    recorder, ran = tmp_path / "recorder", tmp_path / "ran"
    supervisor = SupervisedProcess([str(recorder)], LOG, lambda: None)
    supervisor.start()
    try:
        time.sleep(0.2)
        hidden = tmp_path / "new"
        hidden.write_text(f"#!/bin/sh\ntouch {ran}\nexec sleep 600\n")
        hidden.chmod(0o755)
        hidden.rename(recorder)
        assert eventually(ran.exists)
    finally:
        supervisor.stop()


def test_stop_ends_the_pause_too(tmp_path: Path) -> None:
    log = tmp_path / "births"
    with kept(log, "sys.exit(1)") as (supervisor, _):
        assert eventually(lambda: len(births(log)) >= 3)
        supervisor.stop()
        number = len(births(log))
        time.sleep(0.2)
        assert len(births(log)) == number


def test_a_child_hears_by_its_standard_input_that_its_supervisor_is_gone(tmp_path: Path) -> None:
    log, heard = tmp_path / "births", tmp_path / "heard"
    listening = f"sys.stdin.read(); open({str(heard)!r}, 'w').close(); os._exit(0)\n"
    script = (
        "import logging, sys\n"
        "from ezrec.runtime.supervised_process import SupervisedProcess\n"
        "SupervisedProcess(sys.argv[1:], logging.getLogger(), lambda: None).start()\n"
    )
    argv = [sys.executable, "-c", script, sys.executable, "-S", "-c"]
    daemon = subprocess.Popen([*argv, _BEGIN.format(log=str(log)) + listening])
    try:
        assert eventually(lambda: births(log))
    finally:
        daemon.kill()
        daemon.wait(LIMIT_S)
    assert eventually(heard.exists)


# ---- whatever the machine lacks


def test_a_supervisor_outlives_the_want_of_descriptors(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "births"
    with kept(log, "time.sleep(600)") as (supervisor, _):
        assert eventually(lambda: births(log))
        (_, first) = births(log)[0]
        with no_free_descriptor() as take_all:
            os.kill(first, signal.SIGKILL)
            for _ in range(30):  # at once, after half a second, after another one
                take_all()
                time.sleep(0.1)
            assert "Too many open files" in caplog.text
        assert eventually(lambda: len(births(log)) == 2)
        assert supervisor.is_well()


def test_a_supervisor_with_a_thousand_descriptors_hears_its_child(tmp_path: Path) -> None:
    """select(2) knows none above 1023, and raises no OSError for it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard > 1200, "the machine allows too few for this test"
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    log = tmp_path / "births"
    try:
        with kept(log, "os.write(0, b'READY=1'); time.sleep(600)") as (supervisor, _):
            assert supervisor.ready.wait(LIMIT_S)
            os.kill(births(log)[0][1], signal.SIGKILL)
            assert eventually(lambda: len(births(log)) == 2)
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_supervisor_that_meets_a_bug_is_not_well_and_says_that_it_ends() -> None:
    ended = threading.Event()
    supervisor = SupervisedProcess(["a name with a \0 in it"], LOG, ended.set)
    met: list[object] = []
    before, threading.excepthook = threading.excepthook, met.append
    try:
        supervisor.start()
        assert ended.wait(LIMIT_S)
        assert eventually(lambda: not supervisor.is_well())
    finally:
        threading.excepthook = before
        supervisor.stop()
    assert met


def test_a_supervisor_whose_thread_stands_still_is_not_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk to which it logs does not answer, say: who restarts the service has to hear of it."""
    monkeypatch.setattr(supervised_process, "_LATE_S", 0.5)
    answers = threading.Event()

    class Disk(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            answers.wait(LIMIT_S)

    log = logging.Logger("stuck")
    log.addHandler(Disk())
    supervisor = SupervisedProcess([sys.executable, "-S", "-c", "raise SystemExit(1)"], log, lambda: None)
    supervisor.start()
    try:
        assert eventually(lambda: not supervisor.is_well())
        answers.set()
        assert eventually(supervisor.is_well)
    finally:
        answers.set()
        supervisor.stop()


def test_a_child_that_is_not_vital_is_tried_again_when_its_settings_may_be_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The recorder is not to be ended because somebody edits the settings while an encoder dies."""
    monkeypatch.setattr(supervised_process, "_CURED_S", 0.2)
    log, ended = tmp_path / "births", threading.Event()
    argv = [sys.executable, "-S", "-c", _BEGIN.format(log=str(log)) + "sys.exit(78)"]
    supervisor = SupervisedProcess(argv, LOG, ended.set, name="the worker", is_vital=False)
    supervisor.start()
    try:
        assert eventually(lambda: len(births(log)) >= 3)
    finally:
        supervisor.stop()
    assert not ended.is_set()
    assert "the worker ended with 78; again in 0.2 s" in caplog.text
