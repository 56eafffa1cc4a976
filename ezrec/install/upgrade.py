"""Upgrade and removal. An upgrade that fails leaves the machine with what it had.

1. Nothing is recorded, and no booking is near.
2. The new release is built beside the old one.
3. The new one's own installer does the rest: settings, units, the link, the restart. So each release puts
   its own units in place.
4. When it fails, or what it started does not stay, the old one's installer does the same for the old one.
5. All but the new release and the one before are removed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ezrec.install import layout, plan, releases, safe_to_change, system
from ezrec.install.steps import Step, StepFailed, run
from ezrec.system.journald import FORMER

_STAYS_S = 6.0  # RestartSec of the units is 1 and 2 s: what falls does so within this


def upgrade(source: Path | None, home: Path, release: str, say: Callable[[str], None], *, dry: bool) -> int:
    """Switch to a release; returns how many steps changed something."""
    shape = plan.shape()
    if shape is None:
        raise StepFailed("no installation is in use: sudo ezrec install")
    before = releases.current()
    steps = [releases.build_step(release, source)] if source is not None else []
    steps.append(_look(release, home, shape))
    steps.append(_change(release, before, shape, home, say))
    steps.append(releases.outdated_step())
    try:
        return run(steps, say, dry=dry)
    except StepFailed:
        if source is not None:  # what was built for this upgrade; --back leaves both as they were
            releases.forget(release)
        raise


def _look(release: str, home: Path, shape: str) -> Step:
    user = "ezrec" if shape == "one" else "ezrec-work"
    argv = (str(releases.program(release)), "doctor", "--quick")
    return Step(
        f"run the doctor of release {release}",
        "before anything is switched",
        lambda: system.as_user(user, *argv, environ={"EZREC_HOME": str(home)}),
    )


def _change(release: str, before: str | None, shape: str, home: Path, say: Callable[[str], None]) -> Step:
    def place(which: str) -> None:
        argv = ("install", "--release", which, "--shape", shape, "--home", str(home), "--yes")
        for line in system.must(str(releases.program(which)), *argv, limit_s=system.LONG_S).splitlines():
            say(f"    {line}")

    def do() -> None:
        safe_to_change.refuse_if_busy(home, "upgrade")  # to build it may have taken minutes
        kept = releases.previous()
        try:
            place(release)
            _stay(shape)
        except StepFailed as fault:
            if before is None or before == release:
                raise
            say(f"  it failed; going back to release {before}: {fault}")
            place(before)
            _restore_previous(kept)
            raise StepFailed(
                f"release {release} failed and was undone, {before} is in use again: {fault}"
            ) from fault

    return Step(
        f"switch from release {before} to {release}",
        "its own installer writes its units; if that fails, the old one's does",
        do,
        lambda: releases.current() == release and layout.STARTED.exists(),
    )


def _restore_previous(kept: str | None) -> None:
    if kept is None:
        system.remove(layout.PREVIOUS)
    else:
        system.link(layout.PREVIOUS, releases.folder(kept) / "venv")


def _stay(shape: str) -> None:
    unit = layout.RECORDERS[shape]
    began = system.call("systemctl", "show", "-P", "NRestarts", unit).stdout
    time.sleep(_STAYS_S)
    if (
        not system.is_active(unit)
        or system.call("systemctl", "show", "-P", "NRestarts", unit).stdout != began
    ):
        raise StepFailed(f"{unit} does not stay; see: journalctl -u {unit} -n 30")


def uninstall(home: Path) -> list[Step]:
    """The steps that remove EZREC; spool, footage, settings and keys stay."""
    foreign = {f"{name}.service" for name in FORMER if system.older_unit(name)}
    units = [unit for shape in layout.SHAPES.values() for unit in shape if unit not in foreign]
    files = [*layout.unit_files(layout.shipped(), home), layout.RTSP, *layout.PAGES]
    files = [path for path in files if path.name not in foreign]
    return [
        Step(
            "stop and disable every unit",
            "what is in hand waits in the spool",
            lambda: [system.call("systemctl", "disable", "--now", unit, limit_s=180) for unit in units],
            lambda: not any(system.is_enabled(unit) or system.is_active(unit) for unit in units),
        ),
        Step(
            f"remove the unit files from {layout.UNITS}, the manual page and the shells' completion",
            "systemd forgets the units",
            lambda: _remove(files),
            lambda: not any(path.exists() for path in files),
        ),
        *_users(),
        Step(
            f"remove {layout.APP}, {layout.PROGRAM}, and what made users and directories",
            f"{home} and {layout.CREDENTIALS.parent} stay, with spool, footage, settings and keys",
            lambda: _remove_program(),
            lambda: not layout.CURRENT.is_symlink() and not layout.RELEASES.exists(),
        ),
    ]


def _remove(files: list[Path]) -> None:
    for path in files:
        system.remove(path)
        for folder in path.parents:
            if folder in (layout.UNITS, layout.LOCAL) or (folder.is_dir() and any(folder.iterdir())):
                break
            if folder.is_dir():
                folder.rmdir()
    system.must("systemctl", "daemon-reload")


def _users() -> Iterator[Step]:
    yield Step(
        f"remove the users {', '.join(layout.USERS)}",
        "no service needs them; their files stay, and the next installation takes them over",
        lambda: [system.call("userdel", user) for user in layout.USERS],
        lambda: not system.has_users(),
    )


def _remove_program() -> None:
    system.remove(layout.SYSUSERS, layout.TMPFILES, layout.PROGRAM, layout.PREVIOUS, layout.STARTED)
    system.remove(layout.SHARE.parent, layout.CURRENT, layout.RELEASES)
    if not any(layout.APP.iterdir()):  # a person's clone may lie there
        layout.APP.rmdir()
