"""What steps do to the machine: files, programs, systemd. Each function says why it failed.

`write` is stricter than `durable.write`: the file has its owner, group and mode before it has its name.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from ezrec.install.layout import CURRENT, GROUP, UNITS, USERS
from ezrec.install.steps import NoNetwork, StepFailed
from ezrec.system.durable import sync_directory
from ezrec.system.journald import FORMER

_LIMIT_S = 120.0
LONG_S = 3600.0  # a package manager on a small Pi with a slow line
_LAST_LINES = 8
_STARTED_BY_UNITS = str(CURRENT / "bin" / "ezrec")


def call(*argv: str, limit_s: float = _LIMIT_S) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, whatever its exit code."""
    try:
        return subprocess.run(
            argv, capture_output=True, text=True, timeout=limit_s, check=False, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError:
        return subprocess.CompletedProcess(argv, 127, "", f"there is no {argv[0]}")
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(argv, 124, "", f"it did not end within {limit_s:.0f} s")


def must(*argv: str, limit_s: float = _LIMIT_S) -> str:
    """Run a program; returns its output. Raises `StepFailed` unless it ends with 0."""
    done = call(*argv, limit_s=limit_s)
    if done.returncode:
        words = (done.stdout + done.stderr).strip().splitlines()[-_LAST_LINES:]
        raise StepFailed(f"`{' '.join(argv)}` ended with {done.returncode}: " + "\n    ".join(words))
    return done.stdout


def write(path: Path, text: str, mode: int = 0o644, group: int = 0) -> None:
    """Replace a file whole and durably; at no moment can others read it than with `mode`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.new")
    part.unlink(missing_ok=True)
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(fd, "w", encoding="utf-8") as file:
        os.fchown(fd, 0, group)
        os.fchmod(fd, mode)
        file.write(text)
        file.flush()
        os.fsync(fd)
    part.rename(path)
    sync_directory(path.parent)


def says(path: Path, text: str) -> bool:
    try:
        return path.read_text() == text
    except (OSError, UnicodeDecodeError):
        return False


def write_all(texts: Mapping[Path, str]) -> None:
    for path, text in texts.items():
        write(path, text)


def say_all(texts: Mapping[Path, str]) -> bool:
    return all(says(path, text) for path, text in texts.items())


def link(path: Path, target: Path) -> None:
    """Point a link somewhere else, in one rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.new")
    part.unlink(missing_ok=True)
    part.symlink_to(target)
    part.rename(path)
    sync_directory(path.parent)


def points_to(path: Path, target: Path) -> bool:
    return path.is_symlink() and Path(os.readlink(path)) == target


def remove(*paths: Path) -> None:
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def gid() -> int:
    """The number of the group; root's before it exists."""
    try:
        return grp.getgrnam(GROUP).gr_gid
    except KeyError:
        return 0


def has_users() -> bool:
    known = {entry.pw_name for entry in pwd.getpwall()}
    return known.issuperset(USERS) and gid() != 0


def as_user(user: str, *argv: str, environ: Mapping[str, str], limit_s: float = _LIMIT_S) -> str:
    """As `must`, as one of the services' users."""
    words = [f"{name}={value}" for name, value in environ.items()]
    return must("runuser", "-u", user, "--", "env", *words, *argv, limit_s=limit_s)


# ---- people


def person() -> str:
    """Who typed sudo; empty where root did it alone."""
    name = os.environ.get("SUDO_USER", "")
    return name if name not in ("", "root") and is_user(name) else ""


def is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def is_member(name: str) -> bool:
    """Whether a user is in our group, by the machine's list: a session that is open does not know yet."""
    try:
        return name in grp.getgrnam(GROUP).gr_mem
    except KeyError:
        return False


# ---- packages


def is_installed(package: str) -> bool:
    return "install ok installed" in call("dpkg-query", "-W", "-f", "${Status}", package).stdout


def is_to_be_had(package: str) -> bool:
    policy = call("apt-cache", "policy", package).stdout
    return "Candidate:" in policy and "Candidate: (none)" not in policy


def apt_update() -> None:
    """Fetch the package lists. Raises `NoNetwork`: apt itself would end well with half of them."""
    _apt(
        "anything, for its package lists are not to be had",
        "update",
        "-q",
        "-o",
        "APT::Update::Error-Mode=any",
    )


def apt_install(*packages: str) -> None:
    _apt(", ".join(packages), "install", "-y", "-q", "--no-install-recommends", *packages)


def _apt(what: str, *words: str) -> None:
    done = call("env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8", "apt-get", *words, limit_s=LONG_S)
    if done.returncode:
        _raise_fault(f"apt cannot install {what}", done)


def _raise_fault(what: str, done: subprocess.CompletedProcess[str]) -> None:
    lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    if silent := [line for line in lines if any(word in line for word in _NOT_FETCHED)]:
        raise NoNetwork(f"{what}: {silent[0][:160]} – {AGAIN}")
    raise StepFailed(f"{what}: {_last_fault(lines) or f'it ended with {done.returncode}'}")


# What apt and pip say when nobody answers; pip without an index finds no version of anything.
_NOT_FETCHED = (
    "Cannot initiate the connection", "Failed to fetch", "Unable to fetch", "Could not connect",
    "unreachable", "Temporary failure", "Could not resolve", "Could not find a version", "NewConnectionError",
    "Max retries exceeded", "ConnectTimeout", "ReadTimeout", "ConnectionError", "NameResolutionError",
)  # fmt: skip


def pip_install(venv: Path, source: Path) -> None:
    """Install EZREC with all that it needs. Raises `NoNetwork` where that cannot be fetched."""
    pip = (str(venv / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", "--retries", "2")
    done = call(*pip, str(source), limit_s=LONG_S)
    if done.returncode:
        _raise_fault("pip cannot install what EZREC needs", done)


AGAIN = "connect this machine to the network (ping deb.debian.org), then type the same command again"


def _last_fault(lines: list[str]) -> str:
    """The line that says most: the first error, else the first warning, else the last line."""
    for mark in ("E:", "ERROR:", "W:"):
        for line in lines:
            if line.startswith(mark):
                return line.removeprefix(mark).strip()[:200]
    return lines[-1][:200] if lines else ""


def lists_age_s(lists: Path = Path("/var/lib/apt/lists")) -> float:
    """Seconds since apt's package lists were last fetched; endless where there are none."""
    if not any(lists.glob("*Packages*")):
        return float("inf")
    newest = 0.0
    for path in (lists, lists / "partial"):
        with contextlib.suppress(OSError):
            newest = max(newest, path.stat().st_mtime)
    return time.time() - newest


# ---- systemd


def is_enabled(unit: str) -> bool:
    return call("systemctl", "is-enabled", "--quiet", unit).returncode == 0


def is_active(unit: str) -> bool:
    return call("systemctl", "is-active", "--quiet", unit).returncode == 0


def is_ours(path: Path) -> bool:
    """Whether a unit file starts this EZREC, whatever its name."""
    try:
        return _STARTED_BY_UNITS in path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # only root changes anything, and root may read it
        return False


def older_unit(name: str) -> Path | None:
    """The file (or link) of an older EZREC's service that has the name of ours; None where there is none."""
    path = UNITS / f"{name}.service"
    return path if path.is_file() and not is_ours(path) else None


def former_unit(name: str) -> Path | None:
    """A service's file under its former name, where now an alias (a link) belongs."""
    path = UNITS / f"{FORMER[name]}.service"
    return path if path.is_file() and not path.is_symlink() else None
