"""Which USB cameras are plugged in, by the kernel's word. Opens none, so it disturbs no recording."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

_SYSFS = Path("/sys/class/video4linux")
# Nodes that are no camera: codecs and image processors of the boards, and the raw ends of camera modules,
# which only libcamera can make pictures of.
_PARTS = ("bcm2835-", "rpivid", "rpi-", "pispbe", "rp1-cfe", "unicam", "hevc", "vivid-meta")


def usb_cameras(nodes: Path = _SYSFS) -> Iterator[tuple[str, str]]:
    """Device and name of each camera that EZREC_CAMERA=v4l2:… can name, in the devices' order."""
    found = [node for node in nodes.glob("video*") if re.fullmatch(r"video\d+", node.name)]
    for node in sorted(found, key=lambda node: int(node.name[5:])):
        name, index = _word(node / "name"), _word(node / "index")
        # A camera has a second node for its metadata; only the first one gives pictures.
        if name and index in ("0", "") and not name.lower().startswith(_PARTS):
            yield f"/dev/{node.name}", name


def _word(path: Path) -> str:
    try:
        text = path.read_text(errors="replace").strip()
    except OSError:
        return ""
    return "".join(char if char.isprintable() else "?" for char in text)[:80]
