"""Where the answers of an installation come from, and who judges them.

They come, the first that has one: from `--answers`, the environment, what the machine has, the defaults; or
from a person, who is offered all of that. The program that was just built judges them: it has the cloud's
client and the cameras.
"""

from __future__ import annotations

import argparse
import difflib
import getpass
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ezrec.domain import env_lines
from ezrec.domain.errors import Refused
from ezrec.domain.trial_picture import TEST_PICTURE
from ezrec.install import env_file, layout, plan, questions, releases, system
from ezrec.install.questions import Checked, Conversation, Question

_CHECK_LIMIT_S = 180.0  # a network camera may take a minute to its first picture
_LAST_SCREEN_LIMIT_S = 180.0
_KEPT_ENVIRONMENT = ("TERM", "COLORTERM", "LANG", "LC_ALL", "LC_CTYPE", "COLUMNS", "NO_COLOR")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NOT_WRITTEN = ("EZREC_HOME",)  # says where, and is no setting of the file


def complete(target: plan.Installation, options: argparse.Namespace, *, asks: bool) -> plan.Installation:
    """The installation with its settings. Raises `Refused` for what cannot be right."""
    program = releases.program(target.release) if releases.is_ready(target.release) else None
    known = plan.known(target.home)
    given = {} if options.release else _given(options.answers, program)
    values = questions.merged(known, given)
    if asks and program is not None:
        return _asked(target, values, known, program)
    values = questions.with_defaults(values)
    env_file.check(values)
    if program is not None:
        _refuse_wrong_form(program, values)
        if given:
            _refuse_wrong(program, values, {name for name in given if values.get(name) != known.get(name)})
    return replace(target, values=values)


def _given(file: Path | None, program: Path | None) -> dict[str, str]:
    """What the file of answers and the environment set."""
    names = _names(program)
    around = {name: os.environ[name] for name in names if os.environ.get(name)}
    from_file: dict[str, str] = {}
    if file is not None:
        try:
            from_file = env_file.read(file.read_text(encoding="utf-8"))
        except OSError as fault:
            raise Refused(f"{file}: {fault.strerror}") from None
        except UnicodeDecodeError:
            raise Refused(f"{file} is no text", "give a file like .env") from None
        if program is not None:
            _refuse_unknown(file, from_file, names)
    found = questions.merged(around, from_file)
    return {name: value for name, value in found.items() if name not in _NOT_WRITTEN}


def _names(program: Path | None) -> set[str]:
    """Every name that a setting has; those that are asked for where the program is not built yet."""
    if program is None:
        return {question.name for question in questions.questions()} | set(env_file.ALL_SECRETS)
    return set(_told(program, {}, "names").split())


def _refuse_unknown(file: Path, found: Mapping[str, str], names: set[str]) -> None:
    """A slip in one of our names. Of other names an older EZREC's file may be full."""
    for name in found:
        if name.startswith("EZREC_") and name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            raise Refused(f"{file}: there is no setting {name}", f"is {near[0]} meant?" if near else "")


# ---- asking


def _asked(
    target: plan.Installation, values: Mapping[str, str], known: Mapping[str, str], program: Path
) -> plan.Installation:
    print(_GREETING)
    is_running = system.is_active(layout.RECORDERS[target.shape])

    def check(name: str, tried: Mapping[str, str]) -> Checked:
        text = tried.get(name, "")
        if not env_lines.is_writable(text):
            return Checked("it holds a line break, or is no text")
        if name == "EZREC_CAMERA" and is_running and text == known.get(name) != TEST_PICTURE:
            return Checked(note="as it is, and in use")
        found = _checked(program, name, tried)
        if found.unanswered and text and text == known.get(name):
            return Checked(note=f"as it is, though not checked: {found.fault}")
        return found

    talk = Conversation(values, _ask, check, print)
    talk.go_through(questions.questions(_zone(values)))
    _refuse_wrong_form(program, talk.values)
    operator = target.operator or _ask_operator()
    return replace(target, values=talk.values, cleared=frozenset(talk.cleared), operator=operator)


_GREETING = """
Each answer is tried as soon as it is typed. Enter keeps what stands in [ ], - leaves it empty, and
back returns to the question before.
"""


def _zone(values: Mapping[str, str]) -> str:
    older = ("SYSTEM_TIMEZONE", "TIMEZONE", "TIMEZONE_NAME")
    return next((values[name] for name in older if values.get(name)), questions.system_zone())


def _ask(question: Question, offered: str) -> str:
    shown = "as it is" if question.secret and offered else offered
    text = f"{question.name}: {question.text}{f' [{shown}]' if shown else ''}\n> "
    return getpass.getpass(text) if question.secret else input(text)


def _ask_operator() -> str:
    person = system.person()
    if not person or system.is_member(person):
        return ""
    while True:
        text = input(
            f"May {person} use ezrec without sudo (group {layout.GROUP})? yes or no [yes]\n> "
        ).strip()
        if text.lower() in ("", "y", "yes"):
            return person
        if text.lower() in ("n", "no"):
            return ""
        print("  no: type yes or no")


# ---- judging


def _refuse_wrong_form(program: Path, values: Mapping[str, str]) -> None:
    if wrong := json.loads(_told(program, values, "check")):
        raise Refused("; ".join(wrong), "nothing was written; correct it and type the same command again")


def _refuse_wrong(program: Path, values: Mapping[str, str], names: set[str]) -> None:
    """What nobody was asked for is refused only when somebody has said that it is wrong."""
    for question in questions.questions():
        if question.name not in names:
            continue
        found = _checked(program, question.name, values)
        if not found.fault:
            continue
        if found.doubtful or found.unanswered or question.name == "EZREC_CAMERA":
            print(f"  warning   {question.name}: {found.told}")
        else:
            raise Refused(f"{question.name}: {found.fault}", found.remedy or "nothing was written")


def _checked(program: Path, name: str, values: Mapping[str, str]) -> Checked:
    try:
        return Checked(**json.loads(_told(program, values, "check", name)))
    except subprocess.TimeoutExpired:
        return Checked("it took too long", "try again", unanswered=True)


def _told(program: Path, values: Mapping[str, str], *words: str) -> str:
    """What the program answers, with `values` for its settings and nothing else of this machine's."""
    done = subprocess.run(
        (str(program), "setup", *words), env={"PATH": _PATH, "LANG": "C.UTF-8", **values}, text=True,
        capture_output=True, timeout=_CHECK_LIMIT_S, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode:
        raise Refused(f"the program cannot judge the answers: {done.stderr.strip()[-300:]}")
    return done.stdout


# ---- the end


def show_last_screen(home: Path) -> None:
    """As the recorder's user: what root makes, the services could not replace."""
    shape = plan.shape()
    if shape is None:
        return
    user = "ezrec" if shape == "one" else "ezrec-rec"
    kept = [f"{name}={os.environ[name]}" for name in _KEPT_ENVIRONMENT if os.environ.get(name)]
    person = system.person()
    member = ["--member"] if person and system.is_member(person) else []
    words = ["setup", "done", "--person", person, *member]
    sys.stdout.flush()
    try:
        subprocess.run(
            ["runuser", "-u", user, "--", "env", f"EZREC_HOME={home}", *kept, str(layout.PROGRAM), *words],
            timeout=_LAST_SCREEN_LIMIT_S, check=False, stdin=subprocess.DEVNULL, cwd="/",
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        print("The camera or the cloud takes long to answer. Type: sudo ezrec doctor")
