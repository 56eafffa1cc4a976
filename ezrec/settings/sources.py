"""Where settings stand beside the environment: `.env`, and the device's keys in files of their own.

Which file a key is in decides who can read it. Three ways, all above `.env` and under the environment:

1. a file like `.env`: EZREC_DEVICE_CREDENTIALS, or systemd's credential `ezrec-device`;
2. a file a variable: systemd's `LoadCredential=ezrec:DIRECTORY` hands over `ezrec_<VARIABLE>` of each;
3. that directory itself, `/etc/ezrec/credentials`, for a command that root types.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

from ezrec.domain import env_lines
from ezrec.domain.errors import NEEDS_RIGHTS
from ezrec.settings.definitions import CREDENTIALS, EXACT, TABLE

CREDENTIAL = "ezrec-device"
PREFIX = "ezrec_"
KEPT = Path("/etc/ezrec/credentials")


def env_file(path: Path, problems: list[str]) -> dict[str, str]:
    try:
        return parsed(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except PermissionError:
        problems.append(f"{path} may not be read by this user: {NEEDS_RIGHTS}")
        return {}
    except (OSError, UnicodeDecodeError) as fault:
        problems.append(f"{path} cannot be read: {fault}")
        return {}


def parsed(text: str) -> dict[str, str]:
    """What the text of an `.env` sets."""
    from dotenv import dotenv_values  # only where there is a file to read: it costs 10 ms

    apart = env_lines.set_apart(text)
    return apart.put_back(dotenv_values(stream=io.StringIO(apart.text), interpolate=False))


def credentials(
    given: Mapping[str, str], from_file: Mapping[str, str], problems: list[str]
) -> list[dict[str, str]]:
    """The device's key and account from files which fewer may read than `.env`; what wins comes first."""
    folder = given.get("CREDENTIALS_DIRECTORY")  # systemd sets it where a unit has credentials
    found = [_device_file(given, from_file, folder, problems)]
    if folder:
        found.append(one_a_file(Path(folder), PREFIX, problems))
    return found


def one_a_file(folder: Path, prefix: str, problems: list[str]) -> dict[str, str]:
    """Every credential that has a file of its name in `folder`; none where we may not look."""
    found = {}
    for name in sorted(_allowed()):
        try:
            text = (folder / f"{prefix}{name}").read_text(encoding="utf-8")
            text = text.removesuffix("\n") if name in EXACT else text.strip()
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
        except (OSError, UnicodeDecodeError):
            problems.append(f"{folder / (prefix + name)} cannot be read as text")
            continue
        if text:
            found[name] = text
    return found


def _device_file(
    given: Mapping[str, str], from_file: Mapping[str, str], folder: str | None, problems: list[str]
) -> dict[str, str]:
    named = given.get("EZREC_DEVICE_CREDENTIALS") or from_file.get("EZREC_DEVICE_CREDENTIALS")
    path = Path(named) if named else Path(folder) / CREDENTIAL if folder else None
    if path is None or (not named and not path.exists()):
        return {}
    if not path.is_file():
        problems.append(f"EZREC_DEVICE_CREDENTIALS is {str(path)[:80]!r}: there is no such file")
        return {}
    found, allowed = env_file(path, problems), _allowed()
    strange = sorted(set(found) - allowed)
    problems.extend(f"{path} sets {name[:40]}: it may set {', '.join(CREDENTIALS)}" for name in strange)
    return {name: value for name, value in found.items() if name in allowed}


def _allowed() -> set[str]:
    return {
        name
        for item in TABLE
        if item.metadata["name"] in CREDENTIALS
        for name in (item.metadata["name"], *item.metadata["older"])
    }
