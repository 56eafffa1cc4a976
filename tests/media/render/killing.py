"""A renderer that is killed in the middle of its work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.rendering import processes_naming
from tests.support.wait import eventually


def killed_in_the_middle(folder: Path, bitrate: int, is_begun: Callable[[], bool]) -> None:
    """A process that renders `t.mp4` with `l.png`, in parts, is killed as soon as `is_begun`."""
    code = (
        "from pathlib import Path\n"
        "from ezrec.media.render.renderer import FfmpegTranscoder\n"
        "from ezrec.domain.ports import RenderPlan\n"
        f"d = Path({str(folder)!r})\n"
        "plan = RenderPlan(takes=[d / 't.mp4'], output=d / 'out.mp4', log=d / 'log', logo=d / 'l.png',"
        " parts=d / 'parts')\n"
        f"FfmpegTranscoder(bitrate={bitrate}, preset='ultrafast')"
        ".render(plan, lambda _: None, lambda _: None)\n"
    )
    root = str(Path(__file__).parents[3])
    worker = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": root})
    try:
        assert eventually(is_begun, 60)
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait(10)
    assert eventually(lambda: not processes_naming(str(folder / "parts")))
