"""Reads the settings from the environment and from EZREC_HOME/.env: once, and all faults at once."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from datetime import tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from ezrec.domain import setting_names
from ezrec.domain.errors import ConfigError
from ezrec.domain.redaction import redacted
from ezrec.settings import sources, types
from ezrec.settings.definitions import DEFAULT_HOME, EXACT, NAMES, RETIRED, SECRETS, TABLE, Settings

_PLAIN_CAMERA = re.compile(r"[A-Za-z0-9]{1,20}|v4l2:[\w./-]*")
NO_KEY = "SUPABASE_KEY is not set, and the Supabase backend needs it"


def load(environ: Mapping[str, str] | None = None, *, file: Mapping[str, str] | None = None) -> Settings:
    """Read the environment, under it the device's credentials, and under both `EZREC_HOME/.env`.

    `file`: what that file is to be taken to set, before it is written. Raises `ConfigError` with every fault.
    """
    given = dict(os.environ if environ is None else environ)
    problems: list[str] = []
    home = home_of(given, problems)
    if file is not None:
        from_file = dict(file)
    else:
        from_file = {} if home is None else sources.env_file(home / ".env", problems)
    home = home or DEFAULT_HOME  # go on, to find the other faults as well
    secrets = sources.credentials(given, from_file, problems)
    if environ is None and home == DEFAULT_HOME:  # a person's command: what only root can read
        secrets.append(sources.one_a_file(sources.KEPT, "", problems))
    merged = _merged(given, *secrets, from_file) | {"EZREC_HOME": str(home)}
    values: dict[str, Any] = {}
    for item in TABLE:
        meta = item.metadata
        text = merged.get(meta["name"])
        if text is None:
            text = _default(item.name, meta["default"], home, merged)
        values[item.name] = read_value(meta["name"], text, meta["parse"], problems) if text else text
    values["home"] = home
    values["retired"] = tuple(name for name in RETIRED if given.get(name) or from_file.get(name))
    values["unknown"] = setting_names.unknown(given, from_file, NAMES, RETIRED)
    if values["zone"] is None:
        values["zone"] = _system_zone(given, problems)
    _check_together(values, merged, problems)
    if problems:
        hidden = [merged[name] for name in SECRETS if name in merged]
        raise ConfigError([redacted(problem, hidden) for problem in problems])
    return Settings(**values)


def home_of(given: Mapping[str, str], problems: list[str]) -> Path | None:
    text = given.get("EZREC_HOME") or str(DEFAULT_HOME)
    found: Path | None = read_value("EZREC_HOME", text, types.path, problems)
    return found


def defaults(settings: Settings) -> Settings:
    """The settings as they would be if nothing but EZREC_HOME were set. The zone is the system's."""
    values: dict[str, Any] = {}
    set_here = {"SUPABASE_URL": settings.supabase_url} if settings.supabase_url else {}
    for item in TABLE:
        text = _default(item.name, item.metadata["default"], settings.home, set_here)
        values[item.name] = item.metadata["parse"](text) if text else text
    values |= {"home": DEFAULT_HOME, "zone": _system_zone(os.environ, [])}
    return Settings(**values)


def _merged(*sources: Mapping[str, str]) -> dict[str, str]:
    """Every setting under its newest name, from the first source that has it under any of its names."""
    merged: dict[str, str] = {}
    for source in sources:
        for item in TABLE:
            names = (item.metadata["name"], *item.metadata["older"])
            text = next((source[name] for name in names if source.get(name)), None)
            if text is not None:
                merged.setdefault(item.metadata["name"], text)
    return merged


def _default(name: str, default: str | None, home: Path, merged: Mapping[str, str]) -> str | None:
    if name == "backend":
        return "supabase" if merged.get("SUPABASE_URL") else "local"
    return None if default is None else default.replace("{home}", str(home))


def read_value(name: str, text: str, parse: Callable[[str], Any], problems: list[str]) -> Any:
    """The value of a setting's text; None, and a problem more, where it is none."""
    try:
        return parse(text if name in EXACT else text.strip())
    except (ValueError, OverflowError) as fault:
        problems.append(f"{name} {_told(name, text)}: {fault}")
        return None


def _told(name: str, text: str) -> str:
    """A wrong value as people may read it. A camera's is shown only where it can hold no password."""
    if name in SECRETS or (name == "EZREC_CAMERA" and not _PLAIN_CAMERA.fullmatch(text)):
        return "is set to something unusable"
    return f"is {redacted(text)[:80]!r}"


def _check_together(values: dict[str, Any], merged: Mapping[str, str], problems: list[str]) -> None:
    if values["backend"] != "supabase":
        return
    missing = [name for name in ("SUPABASE_URL", "USER_ID") if not merged.get(name)]
    problems.extend(f"{name} is not set, and the Supabase backend needs it" for name in missing)
    # Alone it is no fault: only processes that talk to the cloud get the key, and they report its lack.
    if problems and not values["supabase_key"]:
        problems.append(NO_KEY)


def _system_zone(environ: Mapping[str, str], problems: list[str]) -> tzinfo:
    """The device's zone with its daylight-saving rules, not only today's offset."""
    name = environ.get("TZ", "").lstrip(":")
    try:
        if name and not name.startswith("/"):
            return ZoneInfo(name)
        with open(name or "/etc/localtime", "rb") as file:
            return ZoneInfo.from_file(file, key="localtime")
    except (OSError, ValueError, KeyError):
        if name:  # to guess UTC would be to record every match at the wrong hour
            problems.append(f"TZ is {name[:80]!r}: not a zone that can be read; set LOCAL_TIMEZONE")
        return ZoneInfo("UTC")
