"""The steps of an installation. Making the plan only looks at the machine; running its steps changes it."""

from __future__ import annotations

import functools
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ezrec.domain.camera_address import is_network_camera
from ezrec.install import env_file, layout, old_units, packages, releases, system
from ezrec.install.steps import Step, StepFailed

_STARTS_S = 60.0
# What services write. Recordings of the older EZREC, which lie beside it, are not listed.
_SHARED = ("spool", "state", "logs", "media_cache", "local", "bookings_cache.json")


@dataclass(frozen=True, slots=True)
class Installation:
    """The state of the machine that the plan leads to."""

    shape: str
    release: str
    source: Path | None = None  # None: the release is there
    home: Path = layout.HOME
    values: Mapping[str, str] = field(default_factory=dict)
    cleared: frozenset[str] = frozenset()  # settings to be taken out of the file
    operator: str = ""  # who may use EZREC without sudo

    @property
    def env(self) -> Path:
        return self.home / ".env"


def known(home: Path) -> dict[str, str]:
    """The settings of an earlier installation or of the older EZREC, and the stored keys."""
    env = home / ".env" if (home / ".env").is_file() else layout.HOME / ".env"
    kept = {path.name: path.read_text().strip() for path in _credentials()}
    return {**env_file.read_file(env), **kept}


def _credentials() -> list[Path]:
    try:
        return [path for path in sorted(layout.CREDENTIALS.iterdir()) if path.name in env_file.SECRETS]
    except OSError:
        return []


def shape() -> str | None:
    """The shape that is enabled; None when none is."""
    return next((name for name, unit in layout.STARTS.items() if system.is_enabled(unit)), None)


def fetch(target: Installation) -> list[Step]:
    """What comes from the network, before anything is asked or changed: without one nothing is half done."""
    steps = [*packages.steps()]
    if target.source is not None:
        steps.append(releases.build_step(target.release, target.source))
    return steps


def install(target: Installation) -> list[Step]:
    """The other steps in order: running services are stopped after everything that is likely to fail."""
    source = layout.shipped()
    steps = [*_users_and_directories(target, source), *_settings(target), _check(target)]
    steps += [
        *old_units.set_older_aside(),
        releases.switch_step(target.release),
        *_files(target, source),
        *old_units.let_former_be_aliases(),
    ]
    if target.operator:
        steps.append(_let_in(target.operator))
    steps.append(_start(target, source))
    if target.source is not None:  # an upgrade, which may have to go back, removes them itself
        steps.append(releases.outdated_step())
    return steps


# ---- users, directories


def _let_in(person: str) -> Step:
    return Step(
        f"put {person} into the group {layout.GROUP}",
        "then ezrec needs no sudo; the group may read the settings, keys included",
        lambda: system.must("usermod", "--append", "--groups", layout.GROUP, person),
        lambda: system.is_member(person),
    )


def _users_and_directories(target: Installation, source: Path) -> Iterator[Step]:
    users = layout.written_for(source / "ezrec.sysusers", target.home)
    places = layout.written_for(source / "ezrec.tmpfiles", target.home)
    yield Step(
        f"make the users {', '.join(layout.USERS)}",
        "a user for each service: none can read another's keys",
        lambda: _make(layout.SYSUSERS, users, "systemd-sysusers", str(layout.SYSUSERS)),
        lambda: system.says(layout.SYSUSERS, users) and system.has_users(),
    )
    yield Step(
        f"make the directories under {target.home}",
        "setgid: what one service makes the next can move",
        lambda: _make(layout.TMPFILES, places, "systemd-tmpfiles", "--create", str(layout.TMPFILES)),
        lambda: system.says(layout.TMPFILES, places) and _are_made(places),
    )
    yield Step(
        "give the group ezrec the files of an earlier installation",
        "its users may have had other numbers; recordings of the older EZREC are left alone",
        lambda: _share(target.home),
        lambda: not any(True for _ in _unshared(target.home)),
    )


def _make(path: Path, text: str, *argv: str) -> None:
    system.write(path, text)
    system.must(*argv)


def _are_made(places: str) -> bool:
    for line in places.splitlines():
        if not line.startswith("d "):
            continue
        _, path, mode, _, group, *_ = line.split()
        try:
            info = os.lstat(path)
        except OSError:
            return False
        wanted = system.gid() if group == layout.GROUP else 0
        if stat.S_IMODE(info.st_mode) != int(mode, 8) or info.st_gid != wanted:
            return False
    return True


def _unshared(home: Path) -> Iterator[tuple[str, int]]:
    """Each path that belongs to another group, with the mode it should have."""
    group = system.gid()
    for name in _SHARED:
        top = home / name
        found = [str(top)] if os.path.lexists(top) else []
        for folder, folders, files in os.walk(top):
            found += [f"{folder}/{each}" for each in (*folders, *files)]
        for path in found:
            info = os.lstat(path)
            if stat.S_ISLNK(info.st_mode):
                continue
            mode = stat.S_IMODE(info.st_mode) | (0o2070 if stat.S_ISDIR(info.st_mode) else 0o060)
            if info.st_gid != group:
                yield path, mode


def _share(home: Path) -> None:
    for path, mode in list(_unshared(home)):
        os.chown(path, -1, system.gid(), follow_symlinks=False)
        os.chmod(path, mode)


# ---- settings and keys


def _settings(target: Installation) -> Iterator[Step]:
    secrets = env_file.secrets_of(target.values)
    plain = {name: value for name, value in target.values.items() if name not in env_file.ALL_SECRETS}
    is_split = target.shape == "split"
    if is_split:
        for name, value in secrets.items():
            path = layout.CREDENTIALS / name
            yield Step(
                f"keep {name} in {path}",
                "only root reads it; systemd copies it for the cloud's units alone",
                lambda path=path, value=value: system.write(path, value + "\n", 0o600),  # type: ignore[misc]
                lambda path=path, value=value: (  # type: ignore[misc]
                    system.says(path, value + "\n") and stat.S_IMODE(path.stat().st_mode) == 0o600
                ),
            )
    sets = plain if is_split else {**plain, **secrets}
    drops = (env_file.ALL_SECRETS | target.cleared) - sets.keys()

    def text() -> str:
        return env_file.rewritten(_before(target), sets, frozenset(drops))

    yield Step(
        f"write the settings into {target.env}",
        "root's, and read by the group; lines that are not ours stay as they are",
        lambda: system.write(target.env, text(), 0o640, system.gid()),
        lambda: system.says(target.env, text()) and _is_closed(target.env),
    )
    if not is_split:
        yield Step(
            f"leave no keys in {layout.CREDENTIALS}",
            "in this shape they stand in .env, and in one place only",
            lambda: system.remove(*_credentials()),
            lambda: not _credentials(),
        )


def _before(target: Installation) -> str:
    env = target.env if target.env.is_file() else layout.HOME / ".env"
    return env.read_text(encoding="utf-8") if env.is_file() else ""


def _is_closed(path: Path) -> bool:
    info = path.stat()
    return stat.S_IMODE(info.st_mode) == 0o640 and (info.st_uid, info.st_gid) == (0, system.gid())


def _check(target: Installation) -> Step:
    user = "ezrec" if target.shape == "one" else "ezrec-work"
    argv = (str(releases.program(target.release)), "doctor", "--quick")
    return Step(
        "run ezrec doctor --quick",
        "a version that cannot start must not replace one that works",
        lambda: system.as_user(user, *argv, environ={"EZREC_HOME": str(target.home)}),
    )


# ---- units


def _files(target: Installation, source: Path) -> Iterator[Step]:
    units = layout.unit_files(source, target.home)
    yield Step(
        f"put {len(units)} unit files into {layout.UNITS}",
        "both shapes; only the chosen one is enabled",
        lambda: system.write_all(units),
        lambda: system.say_all(units),
    )
    pages = {layout.SHARE / path.name: path.read_text() for path in sorted(source.glob("*.md"))}
    yield Step(
        f"put the units' manual into {layout.SHARE}",
        "systemctl status names it",
        lambda: system.write_all(pages),
        lambda: system.say_all(pages),
    )
    yield Step(
        f"link {layout.PROGRAM} to the program",
        "so that `ezrec` is found",
        lambda: system.link(layout.PROGRAM, layout.CURRENT / "bin" / "ezrec"),
        lambda: system.points_to(layout.PROGRAM, layout.CURRENT / "bin" / "ezrec"),
    )
    yield _pages(target.release)
    yield _rtsp(target, source)


def _pages(release: str) -> Step:
    @functools.cache
    def texts() -> dict[Path, str]:
        return {
            path: system.must(str(releases.program(release)), *words) for path, words in layout.PAGES.items()
        }

    return Step(
        "put the manual page, and the completion of bash, zsh and fish, where they are looked for",
        "the program prints them",
        lambda: system.write_all(texts()),
        lambda: releases.is_ready(release) and system.say_all(texts()),
    )


def _rtsp(target: Installation, source: Path) -> Step:
    text = (source / "rtsp-camera.conf").read_text()
    if is_network_camera(target.values.get("EZREC_CAMERA", "")):
        return Step(
            "let the split recorder reach the local network",
            "its camera is there",
            lambda: system.write(layout.RTSP, text),
            lambda: system.says(layout.RTSP, text),
        )
    return Step(
        "keep the split recorder off every network",
        "its camera is not there",
        lambda: system.remove(layout.RTSP),
        lambda: not layout.RTSP.exists(),
    )


def _start(target: Installation, source: Path) -> Step:
    other = "split" if target.shape == "one" else "one"
    stamp = _stamp(target, source)
    return Step(
        f"enable and start {layout.STARTS[target.shape]}",
        "also after every boot; the other shape is disabled",
        lambda: _restart(target.shape, other, stamp),
        lambda: (
            system.says(layout.STARTED, stamp())
            and all(system.is_enabled(unit) for unit in layout.SHAPES[target.shape])
            and not system.is_enabled(layout.STARTS[other])
            and system.is_active(layout.STARTS[target.shape])
        ),
    )


def _stamp(target: Installation, source: Path) -> Callable[[], str]:
    """A fingerprint of release, shape, units, settings and keys: another one needs a restart."""

    def stamp() -> str:
        digest = hashlib.sha256(target.env.read_bytes() if target.env.is_file() else b"")
        for text in (*layout.unit_files(source, target.home).values(), target.values.get("EZREC_CAMERA", "")):
            digest.update(text.encode())
        for path in _credentials():
            digest.update(path.read_bytes())
        return f"{target.release} {target.shape} {digest.hexdigest()[:16]}\n"

    return stamp


def _restart(shape: str, other: str, stamp: Callable[[], str]) -> None:
    layout.STARTED.unlink(missing_ok=True)
    system.must("systemctl", "daemon-reload")
    if system.is_enabled(layout.STARTS[other]) or system.is_active(layout.STARTS[other]):
        system.must("systemctl", "disable", "--now", *layout.SHAPES[other])
    system.must("systemctl", "enable", *layout.SHAPES[shape])
    system.call("systemctl", "reset-failed", *layout.SHAPES[shape])
    system.must("systemctl", "restart", layout.STARTS[shape], limit_s=180)
    recorder = layout.RECORDERS[shape]
    gives_up = time.monotonic() + _STARTS_S
    while not system.is_active(recorder):
        if time.monotonic() > gives_up:
            raise StepFailed(f"{recorder} does not start; see: journalctl -u {recorder} -n 30")
        time.sleep(0.5)
    system.write(layout.STARTED, stamp())
