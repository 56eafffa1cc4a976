"""The manual page and the shells' completion are made of the commands themselves, and name every one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from ezrec.cli import main, manual
from ezrec.settings.definitions import TABLE

SCRIPT = """
complete() {{ [ "$1" = -o ] && shift 2; [ "$1" = -F ] && shift; function=$1; }}
compopt() {{ :; }}
{script}
COMP_WORDS=({words}) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
$function ezrec
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def everything(command: click.Command, ctx: click.Context) -> list[str]:
    """Each command with its options, as typed."""
    options = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
    found = [ctx.command_path, *(option.opts[0] for option in options)]
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            below = command.get_command(ctx, name)
            assert below is not None
            found += everything(below, click.Context(below, info_name=name, parent=ctx))
    return found


def test_the_page_names_every_command_option_and_setting() -> None:
    page = manual.page().replace(r"\-", "-")
    named = everything(main.ezrec, click.Context(main.ezrec, info_name="ezrec"))
    assert len(named) > 60
    assert [what for what in named if what != "--version" and what not in page] == []
    assert [item.metadata["name"] for item in TABLE if item.metadata["name"] not in page] == []
    assert "78 the settings are wrong" in page


def test_the_page_is_read_by_man_without_a_complaint(tmp_path: Path) -> None:
    for line in manual.page().splitlines():
        assert not line.startswith("'"), line
        assert not line.startswith(".") or re.match(r"\.(TH|SH|SS|PP|TP|B|BR|nf|fi)\b", line), line
    if shutil.which("man"):
        path = tmp_path / "ezrec.1"
        path.write_text(manual.page())
        done = subprocess.run(
            ["man", "--warnings", "-l", path], capture_output=True, text=True, timeout=60, check=True,
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "MANWIDTH": "80"},
        )  # fmt: skip
        assert done.stderr == ""
        assert "ezrec spool ls" in done.stdout


@pytest.fixture(scope="module")
def path_with_ezrec(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("bin")
    program = folder / "ezrec"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m ezrec "$@"\n')
    program.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.mark.parametrize(
    ("words", "found"),
    [('ezrec "sta"', ["status"]), ('ezrec spool "re"', ["release", "restore", "retry"]),
     ('ezrec spool ls "--fa"', ["--failed"])],
)  # fmt: skip
def test_bash_completes_what_is_typed(path_with_ezrec: str, words: str, found: list[str]) -> None:
    script = subprocess.run(
        ["ezrec", "completion", "bash"], capture_output=True, text=True, timeout=60, check=True,
        env={"PATH": path_with_ezrec},
    ).stdout  # fmt: skip
    done = subprocess.run(
        ["bash", "-c", SCRIPT.format(script=script, words=words)], capture_output=True, text=True, timeout=60,
        check=True, env={"PATH": path_with_ezrec},
    )  # fmt: skip
    assert (done.stdout.split(), done.stderr) == (found, "")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_can_read_their_script(path_with_ezrec: str, shell: str, tmp_path: Path) -> None:
    script = tmp_path / "script"
    command = ["ezrec", "completion", shell]
    script.write_bytes(subprocess.check_output(command, timeout=60, env={"PATH": path_with_ezrec}))
    assert b"_EZREC_COMPLETE" in script.read_bytes()
    if shutil.which(shell):
        done = subprocess.run([shell, "-n", script], capture_output=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, b"")


def test_completing_a_command_loads_none(tmp_path: Path) -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "_EZREC_COMPLETE": "bash_complete",
        "COMP_WORDS": "ezrec ",
        "COMP_CWORD": "1",
    }
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "ezrec"], capture_output=True, text=True, timeout=60,
        check=False, env=environ,
    )  # fmt: skip
    assert [line.removeprefix("plain,") for line in done.stdout.splitlines()] == list(main.COMMANDS)
    assert re.findall(r"ezrec\.cli\.(?!main)\w+", done.stderr) == []
