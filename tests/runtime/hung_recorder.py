"""A recorder whose camera hangs once: what the tests keep alive.

`<home>/hang` there: the camera falls silent three seconds after its start, and does not stop any more. The
file is taken away then, so that a fresh process has a sound camera.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

from ezrec import settings
from ezrec.app import common, services
from ezrec.system import log_setup
from tests.fakes.camera import FakeCamera


def _hang(camera: FakeCamera, mark: Path) -> None:
    while not camera.health().running:
        time.sleep(0.05)
    time.sleep(3)
    mark.unlink()
    camera.stuck = "stop did not return within 8 s"
    camera.stall()


def main() -> None:
    made = settings.load(os.environ)
    log_setup.begin(made.logs, ["record"])
    camera = FakeCamera(common.clock(made))
    mark = made.home / "hang"
    if mark.exists():
        threading.Thread(target=_hang, args=(camera, mark), daemon=True).start()
    running = services.build(made, ["record"], camera)
    signal.signal(signal.SIGTERM, lambda *_: running.stop())
    running.serve(kept=True)


if __name__ == "__main__":
    main()
