"""The doctor's check of the owner's hooks: which run, and which lie there and never will."""

from __future__ import annotations

import os
from pathlib import Path

from ezrec.domain.findings import Findings, ok, warning
from ezrec.domain.names import is_litter, shown
from ezrec.domain.stages import State
from ezrec.runtime.hooks import ALERT, DONE
from ezrec.settings import Settings

_DIRECTORIES = (*map(str, State), DONE, ALERT)
_NAMED = 5


def hooks(settings: Settings) -> Findings:
    """Nothing is said where there is no hook, which is how most boxes are."""
    running, silent = [], []
    for path in _below(settings.hooks):
        directory = path.parent.name
        name = f"{shown(directory)[1:-1]}/{shown(path.name)[1:-1]}"
        if directory not in _DIRECTORIES:
            silent.append((name, f"no event is called so: one of {', '.join(_DIRECTORIES)}"))
        elif not os.access(path, os.X_OK):
            silent.append((name, f"sudo chmod +x {path}"))
        else:
            running.append(name)
    if running:
        more = f" and {len(running) - _NAMED} more" if len(running) > _NAMED else ""
        yield ok("hooks", f"{', '.join(running[:_NAMED])}{more}")
    for name, remedy in silent[:_NAMED]:
        yield warning("hooks", f"{name} never runs: {_why(remedy)}", remedy)


def _why(remedy: str) -> str:
    return "it is not executable" if remedy.startswith("sudo") else "its directory is not known"


def _below(root: Path) -> list[Path]:
    try:
        directories = sorted(path for path in root.iterdir() if path.is_dir() and path.name != "samples")
        return [
            path
            for directory in directories
            for path in sorted(directory.iterdir())
            if path.is_file() and not is_litter(path.name)
        ]
    except OSError:
        return []
