"""How exposed a unit is by `systemd-analyze security`, from 0 to 10, and how much it may be."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tests.systemd.bed import Bed

MOST = {"ezrec": 2.0, "recorder": 1.0, "video_worker": 0.5}
MOST_OF_OTHERS = 1.5
MOST_WITH_NETWORK_CAMERA = 1.5  # of the recorder


def of(bed: Bed, name: str) -> tuple[float, str]:
    """A service's exposure, drop-ins included, and what systemd says of it."""
    said = bed.run("systemd-analyze", "security", "--no-pager", f"{name}.service")
    match = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
    assert match, said
    return float(match[1]), said


def too_exposed(bed: Bed, names: Iterable[str]) -> dict[str, str]:
    """What systemd says of each service that is more exposed than it may be."""
    found = {name: of(bed, name) for name in names}
    return {name: said for name, (score, said) in found.items() if score > MOST.get(name, MOST_OF_OTHERS)}
