"""The root of the command line: exit codes, one clear line for each fault, and a quick start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import click
import pytest

from ezrec.cli import main
from ezrec.domain import errors
from ezrec.domain.stages import State
from ezrec.spool.spool import Spool
from tests.support.jobs import ezrec, laid

HEAVY = ("supabase", "rich", "psutil", "watchdog", "asyncio", "ffmpeg", "dotenv", "httpx")
FAULTS: list[tuple[BaseException, int, str]] = [
    (errors.NoSuchJob("no job of that id"), 2, "ezrec: no job of that id\n"),
    (errors.Refused("it is in hand", "wait"), 3, "ezrec: it is in hand – wait\n"),
    (errors.Reject("not a video", "copy it again"), 3, "ezrec: not a video – copy it again\n"),
    (errors.Busy("pid 7 was faster"), 4, "ezrec: pid 7 was faster\n"),
    (errors.Retry("no network"), 75, "ezrec: no network\n"),
    (errors.ConfigError(["A is bad", "B is bad"]), 78, "ezrec: A is bad\nezrec: B is bad\n"),
    (PermissionError(13, "Permission denied", "/x"), 78, "ezrec: Permission denied: /x\n"),
    (OSError(28, "No space left on device"), 75, "ezrec: No space left on device\n"),
    (errors.NoSuchJob("\x1b[2Jclear\nall"), 2, "ezrec: \\x1b[2Jclear\\nall\n"),
    (KeyboardInterrupt(), 130, ""),
    (errors.Stopped("asked to end"), 130, "ezrec: asked to end\n"),
]


def _program(fault: BaseException | None) -> click.Command:
    @click.command()
    def program() -> None:
        if fault is not None:
            raise fault

    return program


@pytest.mark.parametrize(("fault", "code", "said"), FAULTS, ids=lambda value: type(value).__name__)
def test_each_fault_has_its_exit_code_and_its_line(
    capsys: pytest.CaptureFixture[str], fault: BaseException, code: int, said: str
) -> None:
    assert main.run([], _program(fault)) == code
    told = capsys.readouterr()
    assert (told.out, told.err.lstrip("\n")) == ("", said)


def test_who_may_not_is_told_of_sudo_and_of_the_group(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main.run([], _program(PermissionError(13, "Permission denied", "/x"))) == 78
    said = capsys.readouterr().err
    assert said.startswith("ezrec: Permission denied: /x – type it with sudo; or join the group ezrec")
    assert said.count("\n") == 1


def test_what_goes_well_is_0_and_a_bug_is_not_hidden() -> None:
    assert main.run([], _program(None)) == 0
    with pytest.raises(ZeroDivisionError):
        main.run([], _program(ZeroDivisionError("a bug")))


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["spool", "nonsense"], ["spool", "ls", "nowhere"], ["spool", "retry"], ["--nonsense"],
     ["spool", "ls", "--since", "yesterday"], ["spool", "put", "x.mp4"]],
)  # fmt: skip
def test_wrong_usage_is_1(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(arguments) == 1
    assert "Usage: ezrec" in capsys.readouterr().err


def _arrange(home: Path) -> None:
    spool = Spool(home / "spool")
    spool.prepare()
    laid(spool, State.RAW, "queued")
    laid(spool, State.FAILED, "broken")


CODES = [
    (("spool", "show", "queued"), 0),
    (("spool", "show"), 1),
    (("spool", "show", "nobody"), 2),
    (("spool", "rm", "queued"), 3),
    (("run-stage", "process"), 4),
    (("spool", "wait", "queued", "--timeout", "0.2s"), 75),
]


@pytest.mark.parametrize(("arguments", "code"), CODES)
def test_the_documented_exit_codes_reach_the_shell(
    tmp_path: Path, arguments: tuple[str, ...], code: int
) -> None:
    _arrange(tmp_path)
    with Spool(tmp_path / "spool").lock("process").held(10) if code == 4 else nullcontext():
        found = ezrec(tmp_path, *arguments)
    assert found.returncode == code, found.stderr
    assert len(found.stderr.splitlines()) == (0 if code == 0 else 1) or code == 1
    assert "Traceback" not in found.stderr


def test_wrong_settings_are_78_and_all_told_at_once(tmp_path: Path) -> None:
    found = ezrec(tmp_path, "config", RECORDING_FPS="fast", RESOLUTION="big")
    assert found.returncode == 78
    assert len(found.stderr.splitlines()) == 2
    assert "RECORDING_FPS" in found.stderr
    assert "RESOLUTION" in found.stderr


def test_a_spool_that_cannot_be_made_is_a_matter_of_settings(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = ezrec(tmp_path, "spool", "ls", EZREC_SPOOL=str(tmp_path / "file" / "spool"))
    assert found.returncode == 78
    assert "EZREC_SPOOL" in found.stderr


def test_a_reader_that_goes_away_is_nobodys_fault(tmp_path: Path) -> None:
    _arrange(tmp_path)
    reading, writing = os.pipe()
    os.close(reading)
    environ = {"PATH": os.environ["PATH"], "EZREC_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "ezrec", "spool", "ls"]
    with open(writing, "wb") as pipe:
        found = subprocess.run(
            command, env=environ, stdout=pipe, stderr=subprocess.PIPE, timeout=60, check=False
        )
    assert (found.returncode, found.stderr) == (0, b"")


def test_help_tells_every_command_and_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--help"]) == 0
    told = capsys.readouterr().out
    for name, (_, text) in main.COMMANDS.items():
        assert name in told
        assert text in told
    listed = [
        line.split()[0]
        for line in told.splitlines()
        if line.startswith("  ") and line.split()[0] in main.COMMANDS
    ]
    assert sorted(listed) == sorted(main.COMMANDS), "each command stands in one section"
    for code in ("0 ", "1 ", "2 ", "3 ", "4 ", "75 ", "78 "):
        assert code in told


@pytest.mark.parametrize(
    "command", ["ls", "show", "put", "retry", "hold", "release", "rm", "restore", "wait"]
)
def test_every_verb_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["spool", command, "--help"]) == 0
    assert command in capsys.readouterr().out


def test_the_schema_is_printed_whatever_the_settings_are(tmp_path: Path) -> None:
    done = ezrec(tmp_path, "schema")
    assert (done.returncode, done.stderr) == (0, "")
    assert "create policy" in done.stdout


def test_the_version_is_told(tmp_path: Path) -> None:
    found = ezrec(tmp_path, "--version")
    assert found.returncode == 0
    assert found.stdout.startswith("ezrec ")


@pytest.mark.parametrize("arguments", [["--help"], ["spool", "ls"], ["spool", "show", "queued"]])
def test_looking_imports_nothing_heavy(tmp_path: Path, arguments: list[str]) -> None:
    _arrange(tmp_path)
    program = (
        "import json, sys; from ezrec.cli.main import run\n"
        f"code = run({arguments!r})\n"
        f"print(json.dumps([code, [name for name in {HEAVY!r} if name in sys.modules]]))"
    )
    environ = {"PATH": os.environ["PATH"], "EZREC_HOME": str(tmp_path)}
    found = subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(found.stdout.splitlines()[-1]) == [0, []]


def test_config_masks_secrets_and_tells_where_each_setting_comes_from(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SUPABASE_ANON_KEY=very-secret\nUSER_ID=u1\nRECORDING_FPS=25\n")
    found = ezrec(tmp_path, "config", SUPABASE_URL="https://abc.example", RECORDING_FPS="50")
    assert found.returncode == 0, found.stderr
    lines = {line.split()[0]: line.split()[1:] for line in found.stdout.splitlines()}
    assert "very-secret" not in found.stdout
    assert lines["SUPABASE_KEY"] == ["***", ".env", "as", "SUPABASE_ANON_KEY"]
    assert lines["RECORDING_FPS"] == ["50", "environment"]
    assert lines["USER_ID"] == ["u1", ".env"]
    assert lines["EZREC_PRE_ROLL"][-1] == "default"


def test_config_speaks_json(tmp_path: Path) -> None:
    found = ezrec(tmp_path, "config", "--json", SUPABASE_KEY="very-secret")
    shown = json.loads(found.stdout)
    assert shown["SUPABASE_KEY"] == "***"
    assert shown["EZREC_HOME"] == str(tmp_path)
