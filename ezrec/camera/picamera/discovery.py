"""Which camera modules are connected, by picamera2's word. Opens none, so it may be asked while one records.

Asked in a process of its own: picamera2 begins a thread for ever when it is imported, and libcamera may hang.
"""

from __future__ import annotations

import subprocess
import sys

from ezrec.camera.picamera.device import MISSING, NO_CAMERA
from ezrec.domain.errors import Reject

_ASK = """
from picamera2 import Picamera2
for camera in Picamera2.global_camera_info():
    print("camera:", camera["Model"])
"""


def connected(limit_s: float = 20.0) -> list[str]:
    """The models of the connected modules, one at least. Raises `Reject`."""
    try:
        said = subprocess.run(
            [sys.executable, "-c", _ASK],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Reject(f"libcamera did not answer within {limit_s:g} s", "sudo reboot") from None
    if "ModuleNotFoundError" in said.stderr:
        raise _rejected(MISSING)
    if said.returncode:
        last = (said.stderr.strip().splitlines() or [f"it ended with {said.returncode}"])[-1][:200]
        raise Reject(
            f"picamera2 cannot be used: {last}", "sudo apt-get install --reinstall python3-picamera2"
        )
    models = [line.partition(": ")[2] for line in said.stdout.splitlines() if line.startswith("camera: ")]
    if not models:
        raise _rejected(NO_CAMERA)
    return models


def _rejected(fault: str) -> Reject:
    """The camera's own words, taken apart: what is wrong, and what to do."""
    reason, _, remedy = fault.partition(": ")
    return Reject(reason, remedy)
