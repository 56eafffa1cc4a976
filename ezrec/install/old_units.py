"""Units whose names another EZREC has used: makes room for ours, so that no unit runs twice.

Our five services are named as the checklist names them. The older EZREC has units of the same names: these
are stopped and moved to another folder, never deleted. Earlier installations had `ezrec-recorder.service` and
the like, with the checklist's names as aliases: there name and alias are swapped.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

from ezrec.install import layout, system
from ezrec.install.steps import Step, StepFailed
from ezrec.system.journald import FORMER

_WANTS = layout.UNITS / "ezrec.target.wants"
_STOP_LIMIT_S = 180.0


def set_older_aside() -> Iterator[Step]:
    for name in FORMER:
        if (path := system.older_unit(name)) is not None:
            yield Step(
                f"stop the older {name}.service and move its file to {layout.SET_ASIDE}",
                "two recorders would fight for the camera",
                lambda path=path: _set_aside(path),  # type: ignore[misc]
                lambda name=name: system.older_unit(name) is None,  # type: ignore[misc]
            )


def _set_aside(path: Path) -> None:
    """Move a unit's file away, with its drop-ins: written for another unit, they could open up ours."""
    text = path.read_text(encoding="utf-8", errors="replace")
    system.must("systemctl", "disable", "--now", path.name, limit_s=_STOP_LIMIT_S)
    system.write(_free(layout.SET_ASIDE / path.name, text), text)
    added = path.with_name(f"{path.name}.d")
    for drop_in in sorted(added.glob("*.conf")):
        text = drop_in.read_text(encoding="utf-8", errors="replace")
        system.write(_free(layout.SET_ASIDE / added.name / drop_in.name, text), text)
    shutil.rmtree(added, ignore_errors=True)
    path.unlink(missing_ok=True)  # of one that was only linked `disable` has removed the link
    system.must("systemctl", "daemon-reload")


def _free(path: Path, text: str) -> Path:
    """`path`, or a numbered name, that is free or already holds `text`."""
    others = (path.with_name(f"{path.name}.{number}") for number in itertools.count(1))
    return next(
        each for each in (path, *itertools.islice(others, 99)) if not each.exists() or system.says(each, text)
    )


def let_former_be_aliases() -> Iterator[Step]:
    """Swap names and aliases once the new files are there: by one rename each, safe against a power cut."""
    if any(map(system.former_unit, FORMER)):
        yield Step(
            f"let {', '.join(FORMER.values())} be aliases of {', '.join(FORMER)}",
            "the journal knows a unit by its own name only, and these are the ones that people know",
            _change_places,
            lambda: not any(map(system.former_unit, FORMER)),
        )


def _change_places() -> None:
    layout.STARTED.unlink(missing_ok=True)
    former = [f"{FORMER[name]}.service" for name in FORMER if system.former_unit(name)]
    parts = [unit for unit in layout.SHAPES["split"] if not unit.endswith(".service")]
    system.call("systemctl", "stop", *parts, *former, limit_s=_STOP_LIMIT_S)
    if still := [unit for unit in former if system.is_active(unit)]:
        raise StepFailed(f"{', '.join(still)} does not stop")
    is_enabled = system.is_enabled(layout.STARTS["split"])
    for name, unit in ((name, f"{FORMER[name]}.service") for name in FORMER if system.former_unit(name)):
        _move_drop_ins(layout.UNITS / f"{unit}.d", layout.UNITS / f"{name}.service.d")
        if is_enabled:
            system.link(layout.UNITS / unit, layout.UNITS / f"{name}.service")
        else:
            (layout.UNITS / unit).unlink()
        if (_WANTS / unit).is_symlink():
            system.link(_WANTS / f"{name}.service", layout.UNITS / f"{name}.service")
            (_WANTS / unit).unlink()
    system.must("systemctl", "daemon-reload")


def _move_drop_ins(source: Path, target: Path) -> None:
    """Keep the drop-ins that a person added. The camera's is written by the installer."""
    for path in sorted(source.glob("*.conf")):
        if path.name != layout.RTSP.name and not (target / path.name).exists():
            system.write(target / path.name, path.read_text(encoding="utf-8"))
    shutil.rmtree(source, ignore_errors=True)
