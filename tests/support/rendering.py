"""What the transcoder's tests share: plans, stand-ins for FFmpeg, and a look at the processes left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from ezrec.domain.ports import RenderPlan
from tests.support.wait import eventually


def deaf(_: object) -> None:
    """Hears progress, or is given the stop function, and does nothing with it."""


def plan_for(
    folder: Path, *takes: Path, intro: Path | None = None, logo: Path | None = None, name: str = "out.mp4"
) -> RenderPlan:
    return RenderPlan(takes=takes, output=folder / name, log=folder / "ffmpeg.log", intro=intro, logo=logo)


def program(folder: Path, script: str) -> str:
    """A program of our own in FFmpeg's place."""
    path = folder / "ffmpeg-stand-in"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def processes_naming(text: str) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes()
        except OSError:
            continue
        if text.encode() in command and int(entry.parent.name) != os.getpid():
            found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found


def written(path: Path, content: bytes | bytearray) -> Path:
    path.write_bytes(content)
    return path


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
    root = str(Path(__file__).parents[2])
    worker = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": root})
    try:
        assert eventually(is_begun, 60)
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait(10)
    assert eventually(lambda: not processes_naming(str(folder / "parts")))
