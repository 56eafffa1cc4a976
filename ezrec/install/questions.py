"""The questions of an installation, in order, and the dialogue: each answer is checked when it is typed.

An answer that is wrong is asked for again and never kept. What is set already is offered; Enter keeps it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ezrec.install import env_file

BACK, NOTHING = "back", "-"
_ZONES = "/zoneinfo/"


@dataclass(frozen=True, slots=True)
class Question:
    """A setting that an installation asks for."""

    name: str
    text: str
    default: str = ""
    secret: bool = False
    cloud: bool = False  # asked only where SUPABASE_URL was given
    needs: str = ""  # asked only where this one was answered


@dataclass(frozen=True, slots=True)
class Checked:
    """The program's word on an answer; see `diagnostics/answers.py`, which gives it."""

    fault: str = ""
    remedy: str = ""
    note: str = ""
    doubtful: bool = False
    unanswered: bool = False

    @property
    def told(self) -> str:
        return f"{self.fault} – {self.remedy}" if self.remedy else self.fault


Check = Callable[[str, Mapping[str, str]], Checked]
Ask = Callable[[Question, str], str]


def questions(zone: str = "") -> tuple[Question, ...]:
    email = "EZREC_DEVICE_EMAIL"
    return (
        Question("SUPABASE_URL", "the Supabase project's URL; empty: all stays on this machine"),
        Question("SUPABASE_KEY", "the project's publishable (anon) key", secret=True, cloud=True),
        Question(email, "this device's account in Supabase Auth; empty: the key alone", cloud=True),
        Question("EZREC_DEVICE_PASSWORD", "its password", secret=True, cloud=True, needs=email),
        Question("USER_ID", "the account to which the camera belongs", cloud=True),
        Question("CAMERA_ID", "the camera's id in `cameras`", "0"),
        Question("EZREC_CAMERA", "auto (the camera that is there), v4l2:/dev/video0, rtsp://…", "auto"),
        Question("LOCAL_TIMEZONE", "the court's time zone, such as Europe/Madrid", zone),
    )  # fmt: skip


def system_zone(link: Path = Path("/etc/localtime"), text: Path = Path("/etc/timezone")) -> str:
    """The name of this machine's time zone; empty where it has none."""
    try:
        target = os.readlink(link)
    except OSError:
        target = ""
    if _ZONES in target:
        return target.partition(_ZONES)[2]
    try:
        return text.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def merged(known: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """All settings under their newest secrets' names; a given key replaces a known one, whatever its name."""
    values: dict[str, str] = {}
    for source in (known, given):
        plain = {name: value for name, value in source.items() if value and name not in env_file.ALL_SECRETS}
        values |= plain | env_file.secrets_of(source)
    return values


def with_defaults(values: Mapping[str, str]) -> dict[str, str]:
    """The settings with the defaults of what nobody has answered."""
    defaults = {question.name: question.default for question in questions() if question.default}
    return {**defaults, **values}


class Conversation:
    """Asks a person all that is to be asked, until each answer is right. `values`: what is set."""

    def __init__(self, values: Mapping[str, str], ask: Ask, check: Check, say: Callable[[str], None]) -> None:
        self.values = dict(values)
        self.cleared: set[str] = set()  # settings to be taken out of the file
        self._ask, self._check, self._say = ask, check, say
        self._doubted: set[tuple[str, str]] = set()

    def go_through(self, asked: tuple[Question, ...]) -> None:
        at, before = 0, list[int]()
        while at < len(asked):
            question = asked[at]
            if not self._is_asked(question):
                at += 1
                continue
            text = self._typed(question)
            if text == BACK:
                at = before.pop() if before else at
            elif self._is_taken(question, text):
                self._keep(question.name, text)
                before.append(at)
                at += 1
            elif question.needs:  # a sign-in is two answers, and either may be wrong
                at = before.pop()

    def _is_asked(self, question: Question) -> bool:
        if question.cloud and not self.values.get("SUPABASE_URL"):
            return False
        return not question.needs or bool(self.values.get(question.needs))

    def _typed(self, question: Question) -> str:
        """What an answer means: Enter keeps what is offered, `-` is nothing."""
        offered = self.values.get(question.name, "") or question.default
        text = self._ask(question, offered)
        if text.strip() in (BACK, NOTHING):
            return BACK if text.strip() == BACK else ""
        return (text if question.name == env_file.EXACT else text.strip()) or offered

    def _is_taken(self, question: Question, text: str) -> bool:
        tried = {name: value for name, value in self.values.items() if name != question.name}
        if text:
            tried[question.name] = text
        found = self._check(question.name, tried)
        is_repeated = (question.name, text) in self._doubted
        if found.fault and not (found.doubtful and is_repeated):
            if found.doubtful:
                self._doubted.add((question.name, text))
            self._say(f"  no: {found.told}")
            return False
        told = "taken, as you typed it twice" if found.fault else found.note
        self._say(f"  ok{f': {told}' if told else ''}")
        return True

    def _keep(self, name: str, text: str) -> None:
        self.cleared.discard(name)
        if text:
            self.values[name] = text
            return
        gone = [name, *env_file.SECRETS] if name == "SUPABASE_URL" else [name]
        self.cleared.update(one for one in gone if self.values.pop(one, None) is not None)
