"""The settings that an installation asks for, takes over and writes: `.env` and the keys.

Reads and writes `.env` line by line, so that a person's comments and unknown lines stay as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ezrec.domain import env_lines
from ezrec.domain.errors import Refused

# Each secret's names, the newest first.
SECRETS = {
    "SUPABASE_KEY": ("SUPABASE_KEY", "SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_ANON_KEY"),
    "EZREC_DEVICE_EMAIL": ("EZREC_DEVICE_EMAIL",),
    "EZREC_DEVICE_PASSWORD": ("EZREC_DEVICE_PASSWORD",),
}
EXACT = "EZREC_DEVICE_PASSWORD"  # may begin or end with a blank; of everything else that is a slip


@dataclass(frozen=True, slots=True)
class Question:
    """A setting that an installation asks for."""

    name: str
    text: str
    default: str = ""
    secret: bool = False
    cloud: bool = False  # asked only where SUPABASE_URL was given


def questions(camera: str) -> tuple[Question, ...]:
    return (
        Question("SUPABASE_URL", "the Supabase project's URL; empty: all stays on this machine"),
        Question("SUPABASE_KEY", "the project's publishable (anon) key", secret=True, cloud=True),
        Question("EZREC_DEVICE_EMAIL", "this device's account in Supabase Auth", cloud=True),
        Question("EZREC_DEVICE_PASSWORD", "its password", secret=True, cloud=True),
        Question("USER_ID", "the account to which the camera belongs", cloud=True),
        Question("CAMERA_ID", "the camera's id in `cameras`", "0"),
        Question("EZREC_CAMERA", "auto (the camera module), v4l2:/dev/video0, rtsp://… or software", camera),
    )  # fmt: skip


def read(text: str) -> dict[str, str]:
    """The settings of an `.env` text, without empty ones; the last line of a name counts."""
    found = {}
    for line in env_lines.lines(text):
        if one := env_lines.setting(line):
            found[one[0]] = env_lines.value_of(one[1])
    return {name: value for name, value in found.items() if value}


def read_file(path: Path) -> dict[str, str]:
    return read(path.read_text(encoding="utf-8", errors="replace")) if path.is_file() else {}


rewritten = env_lines.rewritten


def check(values: Mapping[str, str]) -> None:
    """Raises `Refused` for what cannot be laid down: a file of settings has a line for each."""
    for name, value in values.items():
        if not env_lines.is_writable(value):
            raise Refused(f"{name} holds a line break, or is no text", "give it another value, on one line")


def secrets_of(known: Mapping[str, str]) -> dict[str, str]:
    """The secrets among `known`, each under its newest name."""
    found = {}
    for name, names in SECRETS.items():
        value = next((known[one] for one in names if known.get(one)), None)
        if value is not None:
            found[name] = value
    return found


ALL_SECRETS = frozenset(name for names in SECRETS.values() for name in names)


def answered(
    known: Mapping[str, str], given: Mapping[str, str], camera: str, ask: Callable[[Question], str] | None
) -> dict[str, str]:
    """Every setting to write: from `given`, else `known`, else the answer to `ask`, else the default."""
    values: dict[str, str] = {}
    for source in (known, given):  # a given key replaces a known one, whatever its name
        plain = {name: value for name, value in source.items() if value and name not in ALL_SECRETS}
        values |= plain | secrets_of(source)
    for question in questions(camera):
        is_known = any(values.get(name) for name in SECRETS.get(question.name, (question.name,)))
        is_chosen = question.name == "SUPABASE_URL" and bool(known)  # an older file has decided that
        if is_known or is_chosen or (question.cloud and not values.get("SUPABASE_URL")):
            continue
        answer = (ask(question) if ask else "") or question.default
        if answer:
            values[question.name] = answer if question.name == EXACT else answer.strip()
    check(values)
    return values
