"""The settings that an installation takes over and writes: `.env` and the keys.

Reads and writes `.env` line by line, so that a person's comments and unknown lines stay as they were.
"""

from __future__ import annotations

from collections.abc import Mapping
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
