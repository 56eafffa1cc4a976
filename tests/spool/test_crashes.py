"""Every transition is killed in every call that changes anything, and refused room in each of them.

Afterwards a fresh process finds the job exactly once and all its footage, and can do the transition again.
"""

from __future__ import annotations

import logging
import re
from datetime import timedelta
from pathlib import Path

import pytest

from ezrec.domain.stages import DIRECTORIES, RETRY, State
from ezrec.runtime.hooks import Hooks
from ezrec.runtime.worker import Worker
from ezrec.spool.spool import REASON, Spool
from tests.fakes.clock import StandingClock
from tests.spool.syscalls import CALLS, WHEN, Crash, calls_in, count, needs_strace, run_traced
from tests.spool.transitions import TRANSITIONS, ends, lay_out
from tests.support.spooling import NOW, finish_off, footage_in

pytestmark = needs_strace


Calls = dict[str, list[tuple[int, str, str]]]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Calls]:
    """The calls of each transition when nothing goes wrong, and where that was."""
    folder = tmp_path_factory.mktemp("plain")
    crashes = [Crash(name, "none", 0) for name in TRANSITIONS]
    lay_out(folder, crashes)
    run_traced("tests.spool.transitions", [str(folder)], folder / "log")
    calls, ended = calls_in(folder / "log"), ends(folder)
    found = {}
    for crash in crashes:
        pid, status = ended[crash.name]
        assert status == 0, crash
        found[crash.transition] = [call for call in calls if call[0] == pid]
    return folder, found


def every_crash(plain: Calls, kinds: tuple[str, ...]) -> list[Crash]:
    crashes = []
    for name, calls in plain.items():
        counted = count(calls, calls[0][0])
        assert max(counted.values()) < WHEN
        crashes += [Crash(name, kind, n) for kind in kinds for n in range(1, counted[kind] + 1)]
    return crashes


@pytest.mark.timeout(300)  # hundreds of processes, each traced
@pytest.mark.parametrize(
    ("fate", "kinds"),
    [
        ("signal=KILL", CALLS),
        ("error=ENOSPC", ("mkdir", "write", "fsync", "rename")),
        ("error=EIO", ("fsync",)),
    ],
)
def test_a_crash_in_any_call_loses_nothing_and_doubles_nothing(
    tmp_path: Path, plain: tuple[Path, Calls], fate: str, kinds: tuple[str, ...]
) -> None:
    crashes = every_crash(plain[1], kinds)
    lay_out(tmp_path / "crash", crashes)
    inject = ("-e", f"inject={','.join(kinds)}:{fate}:when={WHEN}")
    run_traced("tests.spool.transitions", [str(tmp_path / "crash")], tmp_path / "crash.log", *inject)
    expected = (9,) if "KILL" in fate else (0, 3)  # a label for people may fail without harm
    statuses = ends(tmp_path / "crash")
    for crash in crashes:
        assert statuses[crash.name][1] in expected, crash
        _check(crash, tmp_path / "crash" / crash.name / "spool", statuses[crash.name][1] == 0)
    assert len(crashes) > (100 if len(kinds) > 1 else 40)


def _check(crash: Crash, root: Path, acknowledged: bool) -> None:
    transition = TRANSITIONS[crash.transition]
    spool = Spool(root)
    if acknowledged:
        assert transition.ends_in in _places(spool), crash
    spool.prepare()
    finish_off(spool)
    assert spool.is_tidy(), crash
    _sound(crash, spool)
    transition.act(spool)
    finish_off(spool)
    assert _places(spool) == [transition.ends_in], crash
    assert all(not spool.look(state)[1] for state in (State.RAW, State.INCOMING)), crash
    _sound(crash, spool)


@pytest.mark.timeout(300)  # hundreds of processes, each traced
@pytest.mark.parametrize(
    ("fate", "kinds"),
    [
        ("signal=KILL", CALLS),
        ("error=ENOSPC", ("mkdir", "write", "fsync", "rename")),
        ("error=EIO", ("write", "fsync", "rename", "unlink")),
    ],
)
def test_a_job_goes_on_by_itself_when_a_persons_verb_was_broken_off(
    tmp_path: Path, plain: tuple[Path, Calls], fate: str, kinds: tuple[str, ...]
) -> None:
    """Nobody repeats the verb: what stands there is a job that its stage takes up, finished video and all,
    or that waits as it did before.
    """
    crashes = [crash for crash in every_crash(plain[1], kinds) if TRANSITIONS[crash.transition].taken_up_in]
    lay_out(tmp_path / "crash", crashes)
    inject = ("-e", f"inject={','.join(kinds)}:{fate}:when={WHEN}")
    run_traced("tests.spool.transitions", [str(tmp_path / "crash")], tmp_path / "crash.log", *inject)
    for crash in crashes:
        _goes_on(crash, Spool(tmp_path / "crash" / crash.name / "spool"))
    assert len(crashes) > 40


def _goes_on(crash: Crash, spool: Spool) -> None:
    transition = TRANSITIONS[crash.transition]
    finish_off(spool)
    for _ in range(2):  # at once, and when every wait is over
        (where,) = _places(spool)
        assert where in transition.taken_up_in, (crash, where)
        found = [entry.job for state in DIRECTORIES for entry in spool.entries(state)]
        for job in found:
            assert "retry what failed" in crash.transition or job.result, crash
            assert where == "deferred" or not job.held, crash
            if where == "failed":
                assert (job.reason, job.remedy) == ("no picture", "copy it again"), crash
        clock = StandingClock(NOW + timedelta(hours=1))
        log = logging.getLogger("test")
        Worker(RETRY, spool, Hooks(spool.root / "hooks", 5, log), clock, log, {}).run()


def _places(spool: Spool) -> list[str]:
    """Where the one job stands."""
    found = [str(state) for state in State if state is not State.DONE for _ in spool.entries(state)]
    found += [".trash"] * len(spool.discarded())
    return found or [".done"] * len(list(spool.done.glob("*.json")))


def _sound(crash: Crash, spool: Spool) -> None:
    """The job once at most; its footage once, or confirmed and gone; nothing half under a final name."""
    assert len(_places(spool)) <= 1, crash
    has_footage = TRANSITIONS[crash.transition].has_footage
    copies = footage_in(spool.root).total()
    gone = _places(spool) == [".done"]
    assert has_footage is None or copies == (1 if has_footage and not gone else 0), (crash, copies)
    for state in (State.FAILED, State.DEFERRED, State.PROCESSING, State.PROCESSED, State.RECORDING):
        assert not spool.look(state)[1], crash
    for path in spool.root.rglob("*"):
        if path.is_file() and re.fullmatch(r"[^.].*", path.name) and ".locks" not in path.parts:
            assert path.stat().st_size > 0, (crash, path)
    for entry in spool.entries(State.FAILED):
        assert (entry.path / REASON).read_text().startswith(entry.job.reason), crash
        assert entry.job.reason, crash


def test_every_name_is_durable_before_and_after_it_is_given(plain: tuple[Path, Calls]) -> None:
    """fsync of the file, rename, fsync of both directories: for each rename of each transition."""
    folder, found = plain
    for name, calls in found.items():
        root = str(folder / f"{name}-none-0" / "spool")
        trace = [(call, arguments) for _, call, arguments in calls]
        for at, (call, arguments) in enumerate(trace):
            if call != "rename":
                continue
            source, target = re.findall(r'"([^"]*)"', arguments)
            if PROGRESS_OR_LABEL.search(target):
                continue
            before = [text for kind, text in trace[:at] if kind == "fsync"]
            after = [text for kind, text in trace[at:] if kind == "fsync"]
            if source.endswith((".new", ".mp4")):
                assert any(f"<{source}>" in text for text in before), (
                    name,
                    source,
                    "content before its name",
                )
            for parent in {str(Path(source).parent), str(Path(target).parent)}:
                assert any(_is_of(parent, trace[at:], text) for text in after), (name, source, parent)
        assert root in str(trace)


PROGRESS_OR_LABEL = re.compile(r"progress\.json|\.taken$")


def _is_of(directory: str, later: list[tuple[str, str]], fsync: str) -> bool:
    """True when an fsync is of the directory, under its name or the one that it is given later."""
    names = {directory}
    for call, arguments in later:
        if call == "rename":
            source, target = re.findall(r'"([^"]*)"', arguments)
            if source in names:
                names.add(target)
    return any(f"<{name}>" in fsync for name in names)


def test_the_check_above_would_notice_a_directory_that_is_not_synced() -> None:
    rename = ("rename", '"/s/.new/x", "/s/raw/x") = 0')
    assert not _is_of("/s/.new", [rename], "5</s/raw>) = 0")
    assert _is_of("/s/.new", [rename], "5</s/.new>) = 0")
    assert _is_of("/s/.new/x", [rename], "5</s/raw/x>) = 0")
