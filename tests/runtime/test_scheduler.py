"""What wakes the stages: the real observer over real directories; what it misses is found by the rescan."""

from __future__ import annotations

import errno
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from ezrec.domain.errors import Busy, Retry
from ezrec.domain.outcomes import Done
from ezrec.domain.stages import State
from ezrec.runtime import worker_thread
from ezrec.runtime.file_events import DirectoryWatcher, Unwatchable
from ezrec.runtime.handling import Handler
from ezrec.runtime.periodic import PeriodicTask, PeriodicWork
from ezrec.runtime.scheduler import Services
from ezrec.runtime.worker import Worker
from ezrec.runtime.worker_thread import WorkerThread
from ezrec.spool.spool import Entry
from ezrec.system.clock import SystemClock
from ezrec.system.task import Task, WakeUp
from tests.fakes.clock import StandingClock
from tests.support.stagework import a_drain, a_spool, put, running_thread, where
from tests.support.starving import no_free_descriptor
from tests.support.wait import LIMIT_S, eventually

LOG = logging.getLogger("test.watch")
NEVER_S = 3600.0  # so long that only something else can have done it


@dataclass(frozen=True)
class Call(PeriodicWork):
    function: Callable[[], float | None]

    def __call__(self) -> float | None:
        return self.function()


def periodic(name: str, interval_s: float, function: Callable[[], float | None]) -> PeriodicTask:
    return PeriodicTask(name, interval_s, Call(function), LOG)


@dataclass
class Serving:
    services: Services
    ready: threading.Event = field(default_factory=threading.Event)
    signs_of_life: list[float] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)

    def run(self, alive_s: float) -> None:
        try:
            self.services.run(self.ready.set, lambda: self.signs_of_life.append(time.monotonic()), alive_s)
        except (Unwatchable, Retry) as fault:
            self.faults.append(fault)


@contextmanager
def serving(services: Services, alive_s: float = NEVER_S) -> Iterator[Serving]:
    """Services that run in a thread as long as the context lasts."""
    running = Serving(services)
    thread = threading.Thread(target=running.run, args=(alive_s,))
    thread.start()
    try:
        assert running.ready.wait(LIMIT_S)
        yield running
    finally:
        services.stop()
        thread.join(LIMIT_S)
        assert not thread.is_alive()


def services_of(
    *drains: Worker, pulses: tuple[PeriodicTask, ...] = (), rescan_s: float = NEVER_S
) -> Services:
    watched = {drain.spool.directory(drain.stage.takes_from): drain.wake_up.set for drain in drains}
    return Services(drains, pulses, watched, rescan_s, LOG)


@contextmanager
def watching(directory: Path, ring: Callable[[], None]) -> Iterator[DirectoryWatcher]:
    watcher = DirectoryWatcher({directory: ring}, LOG)
    watcher.arm()
    try:
        yield watcher
    finally:
        watcher.disarm()


def drop(directory: Path, name: str) -> None:
    (directory.parent / name).write_bytes(b"pictures")
    (directory.parent / name).rename(directory / name)


# ---- what wakes a stage


def test_what_lies_there_at_the_start_is_done(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    put(spool, State.RAW, "entry")
    drop(spool.directory(State.RAW), "loose.mp4")
    with serving(services_of(a_drain("process", spool))):
        assert eventually(lambda: where(spool) == {"entry": "processed", "loose": "processed"})


def test_a_file_that_is_dropped_wakes_its_stage(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    with serving(services_of(a_drain("process", spool), a_drain("upload", spool))):
        drop(spool.directory(State.RAW), "match.mp4")
        assert eventually(lambda: where(spool) == {"match": "done"})


def test_a_file_that_is_copied_slowly_is_taken_when_it_is_whole(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    sizes = []

    def measure(entry: Entry, task: Task) -> Done:
        sizes.append((entry.path / entry.job.takes[0].file).stat().st_size)
        return Done()

    with serving(services_of(a_drain("process", spool, measure, clock=SystemClock()))):
        with open(spool.directory(State.RAW) / "match.mp4", "wb", buffering=0) as file:
            for _ in range(10):
                file.write(b"x" * 100)
                time.sleep(0.03)
        assert eventually(lambda: where(spool) == {"match": "processed"})
    assert sizes == [1000]


def test_a_job_wakes_its_stage_when_it_is_due(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    clock = SystemClock()
    put(spool, State.DEFERRED, "a", return_to="raw", due=clock.now() + timedelta(seconds=0.5))
    with serving(services_of(a_drain("retry", spool, clock=clock))):
        assert eventually(lambda: where(spool) == {"a": "raw"})


def test_a_stepped_clock_lets_every_stage_look_again(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    clock = StandingClock()
    looked = threading.Event()
    put(spool, State.DEFERRED, "a", return_to="raw", due=clock.now() + timedelta(hours=1))
    services = services_of(a_drain("retry", spool, clock=clock), pulses=(periodic("p", NEVER_S, looked.set),))
    with serving(services):
        assert looked.wait(LIMIT_S)
        clock.pass_time(3600)
        services.nudge()
        assert eventually(lambda: where(spool) == {"a": "raw"})


def test_reading_files_wakes_nobody(tmp_path: Path) -> None:
    (tmp_path / "watched").mkdir()
    file = tmp_path / "watched" / "match.mp4"
    file.write_bytes(b"pictures")
    rings: list[int] = []
    with watching(tmp_path / "watched", lambda: rings.append(1)):
        for _ in range(10):
            file.read_bytes()
            list(file.parent.iterdir())
        time.sleep(0.7)
        assert rings == []
        drop(file.parent, "news.mp4")
        assert eventually(lambda: rings)


def test_an_idle_service_does_not_turn(tmp_path: Path) -> None:
    """A lock or a record inside a watched directory would wake its own watcher, for ever."""
    spool = a_spool(tmp_path)
    services = services_of(*(a_drain(name, spool) for name in ("record", "process", "upload", "retry")))
    put(spool, State.RAW, "a")
    put(spool, State.FAILED, "b")
    with serving(services):
        assert eventually(lambda: where(spool)["a"] == "done")
        time.sleep(1)
        before = {path.name: path.stat().st_mtime_ns for path in (spool.root / ".locks").iterdir()}
        time.sleep(1)
        assert {path.name: path.stat().st_mtime_ns for path in (spool.root / ".locks").iterdir()} == before


# ---- what events do not tell


@contextmanager
def small_queue(length: int) -> Iterator[None]:
    path = Path("/proc/sys/fs/inotify/max_queued_events")
    before = path.read_text()
    try:
        path.write_text(str(length))
    except OSError as fault:
        pytest.skip(f"making the kernel's event queue small needs root: {fault.strerror}")
    try:
        yield
    finally:
        path.write_text(before)


def test_of_twenty_thousand_files_none_is_missed_though_events_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "watched"
    directory.mkdir()
    names = {f"{number}.mp4" for number in range(20_000)}
    seen: set[str] = set()
    rings: list[int] = []
    wake_up = WakeUp()

    def take_all() -> None:
        for name in os.listdir(directory):
            seen.add(name)
            os.unlink(directory / name)

    def ring() -> None:
        rings.append(1)
        wake_up.set()

    with small_queue(16):
        watcher = DirectoryWatcher({directory: ring}, LOG)
        watcher.arm()
    lane = WorkerThread("taker", take_all, wake_up, 0.2, LOG)
    lane.start()
    try:
        for name in names:
            os.close(os.open(directory / name, os.O_WRONLY | os.O_CREAT))
        assert eventually(lambda: seen == names)
    finally:
        lane.stop()
        lane.join(LIMIT_S)
        watcher.disarm()
    lost_some = len(rings) < 2 * len(names) or "overflow" in caplog.text
    assert lost_some, "the queue was small enough"


SWAPS = {
    "renamed away": lambda path: path.rename(path.with_name("away")),
    "removed": lambda path: path.rmdir(),
}


@pytest.mark.parametrize("swap", SWAPS.values(), ids=SWAPS.keys())
def test_a_directory_swapped_under_the_watch_is_watched_anew(
    tmp_path: Path, swap: Callable[[Path], None]
) -> None:
    spool = a_spool(tmp_path)
    raw = spool.directory(State.RAW)
    with serving(services_of(a_drain("process", spool)), alive_s=0.1) as running:
        swap(raw)
        with suppress(FileExistsError):
            raw.mkdir()
        drop(raw, "first.mp4")
        assert eventually(lambda: running.faults or where(spool) == {"first": "processed"})
        if running.faults:  # it looked in the moment between: then a fresh process has to do better
            return
        drop(raw, "second.mp4")
        assert eventually(lambda: where(spool) == {"first": "processed", "second": "processed"})


def test_a_check_finds_a_successor_of_the_same_number(tmp_path: Path) -> None:
    directory = tmp_path / "watched"
    directory.mkdir()
    rings: list[int] = []
    threads, handles = threading.active_count(), len(os.listdir("/proc/self/fd"))
    with watching(directory, lambda: rings.append(1)) as watcher:
        assert watcher.check()
        for _ in range(3):  # a file system gives a free number to whoever comes next
            directory.rmdir()
            directory.mkdir()
            assert not watcher.check()
            assert watcher.check()
        rings.clear()
        drop(directory, "a")
        assert eventually(lambda: rings)
    assert threading.active_count() <= threads
    assert len(os.listdir("/proc/self/fd")) <= handles


def test_check_wakes_everybody_when_it_watches_anew(tmp_path: Path) -> None:
    rings: list[str] = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    watcher = DirectoryWatcher(
        {tmp_path / "a": lambda: rings.append("a"), tmp_path / "b": lambda: rings.append("b")}, LOG
    )
    watcher.arm()
    try:
        (tmp_path / "a").rename(tmp_path / "away")
        (tmp_path / "a").mkdir()
        assert not watcher.check()
        assert rings == ["a", "b"]
    finally:
        watcher.disarm()


def test_an_exception_in_an_event_handler_is_found_and_cured(tmp_path: Path) -> None:
    directory = tmp_path / "watched"
    directory.mkdir()
    rings: list[int] = []

    def fragile() -> None:
        rings.append(1)
        if len(rings) == 1:
            raise ZeroDivisionError

    caught: list[object] = []
    threads, handles = threading.active_count(), len(os.listdir("/proc/self/fd"))
    before, threading.excepthook = threading.excepthook, caught.append
    try:
        with watching(directory, fragile) as watcher:
            drop(directory, "a")
            assert eventually(lambda: caught)
            assert eventually(lambda: not watcher.check())
            rings.append(1)
            number = len(rings)
            drop(directory, "b")
            assert eventually(lambda: len(rings) > number)
    finally:
        threading.excepthook = before
    assert eventually(lambda: threading.active_count() <= threads)
    assert len(os.listdir("/proc/self/fd")) <= handles, "what died is cleared away"


def test_a_directory_that_stays_away_ends_the_service(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    with serving(services_of(a_drain("process", spool)), alive_s=0.1) as running:
        spool.directory(State.RAW).rmdir()
        assert eventually(lambda: running.faults)


def test_what_is_not_there_cannot_be_watched(tmp_path: Path) -> None:
    watcher = DirectoryWatcher({tmp_path / "nowhere": lambda: None}, LOG)
    with pytest.raises(Unwatchable, match="nowhere"):
        watcher.arm()


def test_without_a_free_handle_nothing_can_be_watched(tmp_path: Path) -> None:
    directories = [tmp_path / name for name in "abc"]
    for directory in directories:
        directory.mkdir()
    rings: list[int] = []
    watcher = DirectoryWatcher(dict.fromkeys(directories, lambda: rings.append(1)), LOG)
    with no_free_descriptor(but=4), pytest.raises(Unwatchable):
        watcher.arm()
    watcher.arm()
    drop(directories[2], "x")
    assert eventually(lambda: rings)
    watcher.disarm()


# ---- lanes and pulses


def test_a_turn_that_fails_does_not_end_its_lane(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    turns: list[int] = []

    def fail_once() -> None:
        turns.append(1)
        if len(turns) == 1:
            raise ZeroDivisionError("a bug")

    with running_thread(fail_once, WakeUp()) as lane:
        assert eventually(lambda: len(turns) == 2)
        assert lane.is_alive()
    assert "ZeroDivisionError" in caplog.text


def test_a_lane_waits_as_long_as_the_other_side_named(caplog: pytest.LogCaptureFixture) -> None:
    def refused() -> None:
        raise Retry("the cloud refuses this device's key", 300)

    with running_thread(refused, WakeUp()):
        assert eventually(lambda: "again in" in caplog.text)
    assert "again in 300 s" in caplog.text


def test_a_bug_in_a_handler_does_not_end_the_service(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)

    def fragile(entry: Entry, task: Task) -> Done:
        if entry.id == "bad":
            raise ZeroDivisionError
        return Done()

    with serving(services_of(a_drain("process", spool, fragile))):
        drop(spool.directory(State.RAW), "bad.mp4")
        assert eventually(lambda: where(spool) == {"bad": "deferred"})
        drop(spool.directory(State.RAW), "good.mp4")
        assert eventually(lambda: where(spool) == {"bad": "deferred", "good": "processed"})


def test_what_may_pass_is_said_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    turns: list[int] = []

    def away() -> None:
        turns.append(1)
        raise Retry("the network is away")

    with running_thread(away, WakeUp()):
        assert eventually(lambda: caplog.records)
    assert "lane: the network is away; again in" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_busy_stage_is_waited_for() -> None:
    wake_up, turns = WakeUp(), []

    def busy() -> None:
        turns.append(1)
        raise Busy("held by somebody")

    with running_thread(busy, wake_up) as lane:
        assert eventually(lambda: len(turns) == 1)
        wake_up.set()
        assert eventually(lambda: len(turns) == 2)
        assert lane.is_alive()


def test_a_lane_looks_again_after_its_longest_pause() -> None:
    turns: list[int] = []
    with running_thread(lambda: turns.append(1), WakeUp(), longest_s=0.05):
        assert eventually(lambda: len(turns) >= 5)


def test_a_pulse_beats_within_a_tenth_of_its_interval() -> None:
    pulse = periodic("p", 100.0, lambda: None)
    waits = [pulse.turn() for _ in range(1000)]
    assert all(90 <= wait <= 110 for wait in waits)
    assert max(waits) - min(waits) > 10, "it is spread"


def test_a_periodic_task_runs_when_it_is_woken() -> None:
    beats: list[int] = []
    pulse = periodic("p", NEVER_S, lambda: beats.append(1))
    with serving(Services([], [pulse], {}, NEVER_S, LOG)):
        assert eventually(lambda: len(beats) == 1)
        pulse.wake_up.set()
        assert eventually(lambda: len(beats) == 2)


# ---- all together


def test_the_watch_is_armed_before_the_first_turn(tmp_path: Path) -> None:
    """What arrives during the first look must make an event, or nobody would see it before the rescan."""
    (tmp_path / "watched").mkdir()
    rings = threading.Event()
    first = periodic("first", NEVER_S, lambda: drop(tmp_path / "watched", "file"))
    with serving(Services([], [first], {tmp_path / "watched": rings.set}, NEVER_S, LOG)):
        assert rings.wait(LIMIT_S)


def test_hooks_still_hear_of_what_was_done_last(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    hook = tmp_path / "hooks" / "processed" / "note"
    hook.parent.mkdir(parents=True)
    hook.write_text(f"#!/bin/sh\nsleep 0.2; touch {tmp_path}/heard\n")
    hook.chmod(0o755)
    put(spool, State.RAW, "a")
    with serving(services_of(a_drain("process", spool))):
        assert eventually(lambda: where(spool) == {"a": "processed"})
    assert (tmp_path / "heard").exists()


def test_signs_of_life_are_given_again_and_again() -> None:
    with serving(Services([], [], {}, NEVER_S, LOG), alive_s=0.05) as running:
        assert eventually(lambda: len(running.signs_of_life) >= 3)


def test_a_signal_handler_can_stop_everything(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    begun = threading.Event()

    def patient(entry: Entry, task: Task) -> Done:
        begun.set()
        while True:
            task.check()
            task.wait(LIMIT_S)

    put(spool, State.RAW, "a")
    services = services_of(a_drain("process", spool, patient))

    def interrupt() -> None:
        begun.wait(LIMIT_S)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, lambda *_: services.stop())
    other = threading.Thread(target=interrupt)
    other.start()
    try:
        services.run(lambda: None, lambda: None, NEVER_S)
    finally:
        other.join()
        signal.signal(signal.SIGUSR1, before)
    assert begun.is_set()
    assert where(spool) == {"a": "raw"}, "laid down"


def test_a_pulse_beats_with_a_tenth_of_jitter_so_that_boxes_do_not_beat_as_one() -> None:
    spans = [periodic("status", 15.0, lambda: None).turn() for _ in range(200)]
    assert 13.5 <= min(spans) < 14.5
    assert 15.5 < max(spans) <= 16.5


# ---- a process that is worn out


def _starve() -> None:
    raise OSError(errno.EMFILE, "Too many open files")


def test_a_lane_without_descriptors_ends_its_process_for_a_fresh_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    services = Services([], [periodic("status", NEVER_S, _starve)], {}, NEVER_S, LOG)
    with serving(services, alive_s=0.1) as running:
        assert eventually(lambda: running.faults)
    assert "status fails again and again" in str(running.faults[0])
    assert "this process ends, and a fresh one goes on" in caplog.text


def test_a_process_without_descriptors_ends_though_no_lane_says_so() -> None:
    """A heartbeat that cannot be written, say, is suppressed: so somebody has to ask."""
    with serving(Services([], [], {}, NEVER_S, LOG), alive_s=0.1) as running:
        with no_free_descriptor():
            assert eventually(lambda: running.faults)
        assert "no file can be opened" in str(running.faults[0])


def _recording(began: threading.Event, whistle: threading.Event) -> Handler:
    """A handler that records from `began` to the `whistle`."""

    def record(entry: Entry, task: Task) -> Done:
        began.set()
        while not whistle.wait(0.05):
            task.check()
        return Done()

    return record


def test_a_recorder_without_descriptors_records_to_the_end_first(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    began, whistle = threading.Event(), threading.Event()
    put(spool, State.INCOMING, "match")
    drain = a_drain("record", spool, _recording(began, whistle), wide=True)
    services = services_of(drain, pulses=(periodic("other", NEVER_S, _starve),))
    with serving(services, alive_s=0.1) as running:
        assert began.wait(LIMIT_S)
        time.sleep(1)
        assert not running.faults
        assert len(running.signs_of_life) > 3
        whistle.set()
        assert eventually(lambda: running.faults)
    assert where(spool) == {"match": "raw"}


def test_a_recorder_whose_watch_is_lost_for_good_records_to_the_end_first(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    began, whistle = threading.Event(), threading.Event()
    put(spool, State.INCOMING, "match")
    drain = a_drain("record", spool, _recording(began, whistle), wide=True)
    with serving(services_of(drain), alive_s=0.1) as running:
        assert began.wait(LIMIT_S)
        spool.directory(State.INCOMING).rmdir()
        time.sleep(1)
        assert not running.faults
        whistle.set()
        assert eventually(lambda: running.faults)
    assert isinstance(running.faults[0], Unwatchable)
    assert where(spool) == {"match": "raw"}


def test_a_lane_that_fails_on_and_on_ends_its_process_when_no_job_is_in_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_thread, "_MOST_BUGS", 1)
    spool = a_spool(tmp_path)
    began, done = threading.Event(), threading.Event()

    def encode(entry: Entry, task: Task) -> Done:
        began.set()
        assert done.wait(LIMIT_S)
        return Done()

    def fail() -> None:
        raise ZeroDivisionError("a bug")

    put(spool, State.RAW, "a")
    services = services_of(a_drain("process", spool, encode), pulses=(periodic("tidy", NEVER_S, fail),))
    with serving(services, alive_s=0.1) as running:
        assert began.wait(LIMIT_S)
        time.sleep(1)
        assert not running.faults
        done.set()
        assert eventually(lambda: running.faults)
    assert "tidy fails again and again (ZeroDivisionError: a bug)" in str(running.faults[0])


def test_a_lane_that_fails_ends_nothing_as_long_as_it_may_be_chance() -> None:
    def fail() -> None:
        raise ZeroDivisionError("a bug")

    pulse = periodic("tidy", NEVER_S, fail)
    with serving(Services([], [pulse], {}, NEVER_S, LOG), alive_s=0.1) as running:
        for _ in range(5):
            pulse.wake_up.set()
            time.sleep(0.2)
        assert not running.faults
