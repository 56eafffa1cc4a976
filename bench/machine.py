"""The machine in general words: enough to compare by, nothing that names it."""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path

from ezrec import __version__
from ezrec.media.versions import versions


def facts() -> list[str]:
    cores = os.cpu_count() or 1
    load = os.getloadavg()[0]
    return [
        f"Measured {datetime.now(UTC):%Y-%m-%d} with EZREC {__version__}.",
        f"Processor: {_processor()}, {cores} cores, shared with other work: "
        f"{load:.1f} threads wanted one at the end.",
        f"Kernel {_release()}, Python {platform.python_version()}, FFmpeg {versions()['ffmpeg']}.",
    ]


def _processor() -> str:
    text = Path("/proc/cpuinfo").read_text()
    found = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def _release() -> str:
    """The version alone: what a distribution or an owner adds to it is theirs."""
    found = re.match(r"\d+(\.\d+)*", platform.release())
    return found[0] if found else "unknown"
