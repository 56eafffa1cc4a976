"""Releases: each version in a folder of its own, and a link to the one in use.

A release's name ends with a fingerprint of its source, so that the same source is built once and a half-built
release is never used.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from pathlib import Path

from ezrec.domain.errors import Refused
from ezrec.install import system
from ezrec.install.layout import APP, CURRENT, PREVIOUS, PYTHON, RELEASES
from ezrec.install.steps import Step, StepFailed

_READY = ".ready"
_PARTS = ("pyproject.toml", "README.md", "LICENSE", "ezrec", "systemd")  # what a wheel is made of


def name_of(source: Path) -> str:
    """`<version>-<fingerprint>` of a clone or a wheel."""
    if source.is_file() and source.suffix == ".whl":
        parts = source.name.split("-")
        if parts[0] != "ezrec" or len(parts) < 3:
            raise Refused(f"{source.name} is no wheel of EZREC")
        return f"{parts[1]}-{hashlib.sha256(source.read_bytes()).hexdigest()[:10]}"
    init = source / "ezrec" / "__init__.py"
    if not init.is_file() or not (source / "pyproject.toml").is_file():
        raise Refused(f"{source} is neither a clone nor a wheel of EZREC")
    version = re.search(r'__version__ = "([\w.+]+)"', init.read_text())
    digest = hashlib.sha256()
    for path in _files(source):
        digest.update(str(path.relative_to(source)).encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{version[1] if version else '0'}-{digest.hexdigest()[:10]}"


def _files(clone: Path) -> list[Path]:
    found: list[Path] = []
    for part in _PARTS:
        path = clone / part
        found += [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sorted(path for path in found if "__pycache__" not in path.parts)


def folder(release: str) -> Path:
    return RELEASES / release


def program(release: str) -> Path:
    return folder(release) / "venv" / "bin" / "ezrec"


def is_ready(release: str) -> bool:
    return (folder(release) / _READY).exists()


def current() -> str | None:
    """The release in use; None when there is none."""
    return _named(CURRENT)


def previous() -> str | None:
    return _named(PREVIOUS)


def _named(link: Path) -> str | None:
    if not link.is_symlink():
        return None
    parts = Path(os.readlink(link)).parts
    return parts[-2] if len(parts) >= 2 and is_ready(parts[-2]) else None


def build(release: str, source: Path) -> None:
    """Build a release in its final folder: a venv cannot be moved. What fails leaves nothing behind."""
    place = folder(release)
    if place.exists():
        shutil.rmtree(place)  # a half-built one
    place.mkdir(parents=True, mode=0o755)
    try:
        _fill(place, release, source)
    except BaseException:
        forget(release)
        raise


def _fill(place: Path, release: str, source: Path) -> None:
    venv = place / "venv"
    # picamera2 comes from Debian and is seen only through the system's packages.
    system.must(PYTHON, "-m", "venv", "--system-site-packages", str(venv), limit_s=system.LONG_S)
    system.pip_install(venv, source)
    said = system.must(str(program(release)), "--version").split()
    if not said or said[0] != "ezrec":
        raise StepFailed(f"{program(release)} does not answer as EZREC does")
    system.write(place / _READY, f"{source}\n")


def forget(release: str) -> None:
    """Remove a release that failed, unless it is in use, or is the one to go back to."""
    if release in (current(), previous()):
        return
    system.remove(folder(release))
    for path in (RELEASES, APP):
        with contextlib.suppress(OSError):  # what holds something stays
            path.rmdir()


def switch(release: str) -> None:
    """Link to this release, and remember the one before."""
    before = current()
    if CURRENT.is_dir() and not CURRENT.is_symlink():
        CURRENT.rename(CURRENT.with_name(".venv.before"))  # from an installation by hand
    if before is not None and before != release:
        system.link(PREVIOUS, folder(before) / "venv")
    system.link(CURRENT, folder(release) / "venv")


def build_step(release: str, source: Path) -> Step:
    return Step(
        f"build release {release} from {source}",
        "each version has a folder of its own, so that the one before stays whole",
        lambda: build(release, source),
        lambda: is_ready(release),
    )


def switch_step(release: str) -> Step:
    return Step(
        f"point {CURRENT} to release {release}",
        "one rename: there is no moment without a program",
        lambda: switch(release),
        lambda: system.points_to(CURRENT, folder(release) / "venv"),
    )


def outdated_step() -> Step:
    return Step(
        "remove releases that are neither in use nor the one before",
        "each takes some 100 MB",
        lambda: system.remove(*outdated()),
        lambda: not outdated(),
    )


def outdated() -> list[Path]:
    """The releases that are neither in use nor the one before."""
    kept = {current(), previous()}
    return [path for path in sorted(RELEASES.glob("*")) if path.name not in kept]
