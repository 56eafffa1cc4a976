"""The doctor's checks of systemd's units: installed, enabled, running, and no older EZREC beside them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from ezrec.domain.findings import Findings, fault, ok, warning
from ezrec.install.layout import SHAPES, STARTS
from ezrec.install.system import older_unit
from ezrec.settings import Settings
from ezrec.system.journald import FORMER

_LIMIT_S = 10.0
_REPAIR = "sudo ezrec install"


def units(settings: Settings) -> Findings:
    """Findings about the units; none where there is no systemd."""
    if not shutil.which("systemctl") or not Path("/run/systemd/system").is_dir():
        return
    shown = _shown(sorted({unit for shape in SHAPES.values() for unit in shape}))
    if not any(shown[start].get("LoadState") == "loaded" for start in STARTS.values()):
        yield ok("units", "none is installed; systemd does not start EZREC")
        return
    used = [shape for shape in SHAPES if shown[STARTS[shape]].get("UnitFileState") == "enabled"]
    if not used:
        yield warning("units", "installed, and none is enabled: after a boot nothing starts", _REPAIR)
    for shape in used:
        yield from _shape(shape, shown)
    for name in FORMER:
        if (path := older_unit(name)) is None:
            continue
        if _runs(name):
            yield fault("units", f"{name}.service of the older EZREC runs as well", _REPAIR)
        elif "split" in used:
            yield fault(
                "units", f"{path} belongs to the older EZREC and stands in the place of ours", _REPAIR
            )


def _shape(shape: str, shown: dict[str, dict[str, str]]) -> Findings:
    missing = [unit for unit in SHAPES[shape] if shown[unit].get("LoadState") != "loaded"]
    failed = [unit for unit in SHAPES[shape] if shown[unit].get("ActiveState") == "failed"]
    start = STARTS[shape]
    if missing:
        yield fault("units", f"not installed: {', '.join(missing)}", _REPAIR)
    for unit in failed:
        yield fault(
            "units", f"{unit} has failed", f"journalctl -u {unit} -n 30; sudo systemctl restart {unit}"
        )
    if shown[start].get("ActiveState") not in ("active", "activating", "failed"):
        yield fault("units", f"{start} does not run", f"sudo systemctl start {start}")
    elif not missing and not failed:
        yield ok("units", f"{start} is enabled and runs; {len(SHAPES[shape])} units, none failed")


def _shown(names: list[str]) -> dict[str, dict[str, str]]:
    """By unit: its LoadState, ActiveState and UnitFileState."""
    keys = "Id,LoadState,ActiveState,UnitFileState"
    output = _ask("systemctl", "show", "--property", keys, *names)
    found: dict[str, dict[str, str]] = {name: {} for name in names}
    for name, block in zip(names, output.split("\n\n"), strict=False):
        found[name] = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
    return found


def _runs(name: str) -> bool:
    return _ask("systemctl", "is-active", f"{name}.service").strip() == "active"


def _ask(*argv: str) -> str:
    try:
        return subprocess.run(
            argv, capture_output=True, text=True, timeout=_LIMIT_S, check=False, stdin=subprocess.DEVNULL
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
