"""Hooks: what they are told, in which order, and that nothing they do reaches the jobs."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ezrec.domain.job import Job, Kind
from ezrec.domain.names import safe_id
from ezrec.runtime.hooks import Hooks
from tests.support.stagework import CREATED
from tests.support.wait import LIMIT_S, eventually

LOG = logging.getLogger("test.hooks")
JOB = Job(safe_id("match-7"), Kind.CLIP, CREATED, reason="why not")
Hook = Callable[..., Path]


@pytest.fixture
def hook(tmp_path: Path) -> Hook:
    """Writes a hook: `hook("raw", "10-note", "echo hello")`."""

    def write(directory: str, name: str, script: str, mode: int = 0o755) -> Path:
        path = tmp_path / "hooks" / directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(mode)
        return path

    return write


def tell(tmp_path: Path, directory: str = "raw", limit_s: float = LIMIT_S) -> None:
    """Tell the hooks of a directory that the job has arrived there, and let them end."""
    hooks = Hooks(tmp_path / "hooks", limit_s, LOG)
    hooks.announce(directory, "process", tmp_path / "spool" / "raw" / JOB.id, JOB)
    hooks.finish(2 * LIMIT_S)


def is_alive(pid: int) -> bool:
    """A killed process whose parent has not asked for it yet counts as dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_hooks_run_in_sorted_order(tmp_path: Path, hook: Hook) -> None:
    for name in ("20-second", "10-first", "30-third"):
        hook("raw", name, f"echo {name} >> {tmp_path}/order")
    tell(tmp_path)
    assert (tmp_path / "order").read_text().split() == ["10-first", "20-second", "30-third"]


def test_only_the_hooks_of_the_directory_run(tmp_path: Path, hook: Hook) -> None:
    hook("raw", "note", f"echo raw >> {tmp_path}/ran")
    hook("failed", "note", f"echo failed >> {tmp_path}/ran")
    tell(tmp_path, "failed")
    assert (tmp_path / "ran").read_text().split() == ["failed"]


def test_a_hook_is_told_job_entry_stage_and_event(tmp_path: Path, hook: Hook) -> None:
    hook("raw", "note", f"env > {tmp_path}/env; pwd > {tmp_path}/pwd")
    tell(tmp_path)
    told = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    assert {name: value for name, value in told.items() if name.startswith("EZREC_")} == {
        "EZREC_JOB": "match-7",
        "EZREC_ENTRY": f"{tmp_path}/spool/raw/match-7",
        "EZREC_STAGE": "process",
        "EZREC_EVENT": "raw",
    }
    assert (tmp_path / "pwd").read_text() == "/\n"


def test_secrets_do_not_reach_a_hook(tmp_path: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPABASE_KEY", "sb_secret_of_the_cloud")
    monkeypatch.setenv("EZREC_PASSWORD", "sesame")
    hook("raw", "note", f"cat /proc/self/environ > {tmp_path}/env")
    tell(tmp_path)
    told = (tmp_path / "env").read_text()
    assert "PATH=" in told
    assert "sb_secret" not in told
    assert "sesame" not in told


def test_the_record_comes_on_standard_input(tmp_path: Path, hook: Hook) -> None:
    hook("raw", "note", f"cat > {tmp_path}/record")
    tell(tmp_path)
    record = json.loads((tmp_path / "record").read_text())
    assert (record["id"], record["reason"]) == ("match-7", "why not")


def test_a_hook_need_not_read_its_standard_input(
    tmp_path: Path, hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    hook("raw", "10-deaf", "exec <&-")
    hook("raw", "20-next", f"touch {tmp_path}/next")
    big = Job(JOB.id, Kind.CLIP, CREATED, reason="x" * 300_000)
    hooks = Hooks(tmp_path / "hooks", LIMIT_S, LOG)
    hooks.announce("raw", "process", tmp_path, big)
    hooks.finish(2 * LIMIT_S)
    assert (tmp_path / "next").exists()
    assert caplog.records == []


def test_a_hook_that_takes_too_long_is_ended_with_all_it_started(
    tmp_path: Path, hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    hook("raw", "10-slow", f"sleep 600 & echo $! > {tmp_path}/pids; echo $$ >> {tmp_path}/pids; wait")
    hook("raw", "20-next", f"touch {tmp_path}/next")
    tell(tmp_path, limit_s=1.5)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 2
    assert eventually(lambda: not any(is_alive(pid) for pid in pids))
    assert "10-slow for job match-7 was ended" in caplog.text.replace("'", "")
    assert (tmp_path / "next").exists(), "the others go on"


def test_what_a_hook_leaves_in_the_background_is_not_waited_for_and_ended(
    tmp_path: Path, hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    hook("raw", "note", f"sleep 600 & echo $! > {tmp_path}/pid; echo said")
    caplog.set_level(logging.INFO)
    began = time.monotonic()
    tell(tmp_path, limit_s=10 * LIMIT_S)
    assert time.monotonic() - began < 5 * LIMIT_S
    assert eventually(lambda: not is_alive(int((tmp_path / "pid").read_text())))
    assert caplog.records[-1].message.endswith("said")


def test_a_failing_hook_is_logged_and_nothing_else(
    tmp_path: Path, hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    hook("raw", "10-bad", "echo no luck >&2; exit 3")
    hook("raw", "20-next", f"touch {tmp_path}/next")
    tell(tmp_path)
    (said,) = caplog.records
    assert said.levelname == "WARNING"
    assert "failed with 3: no luck" in said.message
    assert (tmp_path / "next").exists()


def test_a_hook_that_cannot_be_started_is_logged(
    tmp_path: Path, hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    path = hook("raw", "10-bad", "")
    path.write_text("#!/nowhere/at/all\n")
    hook("raw", "20-next", f"touch {tmp_path}/next")
    tell(tmp_path)
    assert "10-bad" in caplog.text
    assert (tmp_path / "next").exists()


def test_hidden_and_not_executable_files_are_no_hooks(tmp_path: Path, hook: Hook) -> None:
    ran = tmp_path / "ran"
    hook("raw", ".hidden", f"touch {ran}")
    hook("raw", "README.md", f"touch {ran}", mode=0o644)
    (tmp_path / "hooks" / "raw" / "directory").mkdir()
    tell(tmp_path)
    assert not ran.exists()


def test_of_what_a_hook_says_only_the_end_is_kept(
    tmp_path: Path, hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    hook("raw", "note", "head -c 50000000 /dev/zero | tr '\\0' x; echo; echo the end")
    caplog.set_level(logging.INFO)
    tell(tmp_path)
    (said,) = caplog.records
    assert said.message.endswith("the end")
    assert len(said.message) < 5000


def test_announcing_returns_at_once_and_the_hooks_of_many_jobs_queue(tmp_path: Path, hook: Hook) -> None:
    hook("raw", "note", f'sleep 0.05; echo "$EZREC_JOB" >> {tmp_path}/order')
    hooks = Hooks(tmp_path / "hooks", LIMIT_S, LOG)
    wanted = [f"j{number}" for number in range(8)]
    for job_id in wanted:
        hooks.announce("raw", "process", tmp_path, Job(safe_id(job_id), Kind.CLIP, CREATED))
    assert not (tmp_path / "order").exists() or len((tmp_path / "order").read_text().split()) < len(wanted)
    hooks.finish(LIMIT_S)
    assert (tmp_path / "order").read_text().split() == wanted


def test_finish_waits_no_longer_than_it_may(tmp_path: Path, hook: Hook) -> None:
    hook("raw", "slow", f"echo $$ > {tmp_path}/pid; exec sleep 600")
    hooks = Hooks(tmp_path / "hooks", 3, LOG)
    hooks.announce("raw", "process", tmp_path, JOB)
    assert eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    hooks.finish(0.2)
    assert is_alive(int((tmp_path / "pid").read_text()))
    hooks.finish(LIMIT_S)
    assert eventually(lambda: not is_alive(int((tmp_path / "pid").read_text())))


def test_a_hook_does_not_outlive_a_killed_daemon(tmp_path: Path, hook: Hook) -> None:
    hook("raw", "slow", f"echo $$ > {tmp_path}/pid; exec sleep 600")
    script = (
        "import logging, pathlib, sys, time\n"
        "from ezrec.runtime.hooks import Hooks\n"
        "from tests.runtime.test_hooks import JOB\n"
        "home = pathlib.Path(sys.argv[1])\n"
        "Hooks(home / 'hooks', 600, logging.getLogger()).announce('raw', 'process', home, JOB)\n"
        "time.sleep(600)\n"
    )
    daemon = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)])
    try:
        assert eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    finally:
        daemon.kill()
        daemon.wait(LIMIT_S)
    assert eventually(lambda: not is_alive(int((tmp_path / "pid").read_text())))
