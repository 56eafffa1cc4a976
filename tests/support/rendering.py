"""What the transcoder's tests share: plans, stand-ins for FFmpeg, and a look at the processes left behind."""

from __future__ import annotations

import os
from pathlib import Path

from ezrec.domain.ports import RenderPlan


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
