"""A USB camera where there is none: an `ffmpeg` that reads a file of JPEG pictures in place of the device.

Only the device is false: FFmpeg encodes, paces and muxes as it does behind a real one.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

_SCRIPT = """#!{python}
import os, sys
argv = sys.argv[1:]
if "v4l2" in argv:
    begin, end = argv.index("v4l2") - 1, argv.index("-i") + 2
    device = argv[end - 1]
    if os.path.exists(device):
        argv[begin:end] = ["-re", "-stream_loop", "-1", "-framerate", "30", "-f", "mjpeg", "-i", device]
os.execv({ffmpeg!r}, ["ffmpeg", *argv])
"""


def plug_in(folder: Path, size: tuple[int, int] = (320, 180)) -> tuple[Path, Path]:
    """The folder to put in front of PATH, and the device's name."""
    ffmpeg = shutil.which("ffmpeg")
    assert ffmpeg
    programs, device = folder / "programs", folder / "video0"
    programs.mkdir()
    program = programs / "ffmpeg"
    program.write_text(_SCRIPT.format(python=shutil.which("python3"), ffmpeg=ffmpeg))
    program.chmod(0o755)
    source = f"testsrc2=s={size[0]}x{size[1]}:r=30:d=2"
    argv = [ffmpeg, "-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", source]
    subprocess.run([*argv, "-pix_fmt", "yuvj420p", "-f", "mjpeg", str(device)], check=True, timeout=60)
    return programs, device
