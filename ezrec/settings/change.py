"""Changes one setting in `.env`, after a check that EZREC would still start with it.

A key that has a file of its own in `/etc/ezrec/credentials` is changed there: that file wins over `.env`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ezrec.domain import env_lines, setting_names
from ezrec.domain.errors import ConfigError, Refused
from ezrec.settings import sources
from ezrec.settings.definitions import CREDENTIALS, DEFAULT_HOME, EXACT, FIELDS, NAMES, RETIRED
from ezrec.settings.load import home_of, load, read_value
from ezrec.system import durable

_MODE = 0o640


@dataclass(frozen=True, slots=True)
class Change:
    """A file as it is to be written; `before`: what it holds now, or None."""

    name: str
    path: Path
    before: str | None
    after: str

    def write(self) -> None:
        """Replace the file, whole and durably; its owner, group and mode stay. Raises `Refused`."""
        try:
            like = os.stat(self.path) if self.before is not None else None
            durable.write(self.path, self.after.encode(), mode=_MODE, like=like)
        except PermissionError:
            raise Refused(f"you may not write {self.path}", "type the command with sudo") from None


def known(name: str) -> Mapping[str, Any]:
    """What the table says of a setting, by any of its names. Raises `Refused` where none can be changed."""
    if name in RETIRED:
        raise Refused(f"{name} is no longer a setting")
    if name not in FIELDS:
        raise Refused(setting_names.note(name, setting_names.nearest(name, NAMES)))
    meta = FIELDS[name].metadata
    if meta["name"] == "EZREC_HOME":
        raise Refused("EZREC_HOME says where .env lies, so it cannot stand there", "see systemd/README.md")
    return meta


def prepared(name: str, value: str, environ: Mapping[str, str] | None = None) -> Change:
    """The change that sets a setting, or with an empty value brings back its default. Writes nothing.

    Raises `Refused` for a name that is none, and `ConfigError` where EZREC would not start any more.
    """
    meta = known(name)
    name, older = meta["name"], meta["older"]
    value = value if name in EXACT else value.strip()
    if not env_lines.is_writable(value):
        raise Refused(f"the value of {name} holds a line break, or is no text", "give it on one line")
    problems: list[str] = []
    home = home_of(os.environ if environ is None else environ, problems)
    if value:  # the environment may set it too, and hide from `_check` what is written here
        read_value(name, value, meta["parse"], problems)
    if home is None or problems:
        raise ConfigError(problems)
    own = sources.KEPT / name
    if name in CREDENTIALS and home == DEFAULT_HOME and own.is_file():
        return _of_own_file(name, own, value)
    path = Path(os.path.realpath(home / ".env"))
    before = _text(path)
    sets = {name: value} if value else {}
    after = env_lines.rewritten(before or "", sets, {*older, *(() if value else (name,))})
    _check(after, environ)
    return Change(name, path, before, after)


def _of_own_file(name: str, path: Path, value: str) -> Change:
    if not value:
        raise Refused(f"{name} has a file of its own, {path}", f"remove it with: sudo rm {path}")
    return Change(name, path, _text(path), f"{value}\n")


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except PermissionError:
        raise Refused(f"you may not read {path}", "type the command with sudo") from None
    except UnicodeDecodeError:
        raise Refused(f"{path} holds something that is no text", "correct it with an editor") from None


def _check(after: str, environ: Mapping[str, str] | None) -> None:
    """Raise `ConfigError` for what is wrong only with the change: an old fault must not stand in its way."""
    before = set(_problems(environ, None))
    if new := [one for one in _problems(environ, sources.parsed(after)) if one not in before]:
        raise ConfigError(new)


def _problems(environ: Mapping[str, str] | None, file: Mapping[str, str] | None) -> list[str]:
    try:
        load(environ, file=file)
    except ConfigError as fault:
        return fault.problems
    return []
