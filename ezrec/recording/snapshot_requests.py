"""Pictures for who asks while the recorder has the camera: files in the spool ask and answer.

`<token>.jpg.request` in `.snapshots/` asks, `<token>.jpg` answers, `<token>.jpg.fault` says in one line why
not. A camera that does not run is started for the picture; a recording shares its camera and goes on.
"""

from __future__ import annotations

import contextlib
import logging
import re
import secrets
import threading
import time
from pathlib import Path

from ezrec.domain.errors import Retry
from ezrec.domain.ports import Camera
from ezrec.runtime.file_events import DirectoryWatcher, Unwatchable
from ezrec.system.task import WakeUp

DIRECTORY = ".snapshots"
_REQUEST = re.compile(r"([0-9a-f]{16}\.(?:jpg|png))\.request")
_OLD_S = 60.0  # nobody waits any more
_LOOK_S = 2.0  # in case an event is missed


class SnapshotRequests:
    """The recorder's side. `wake` returns at once; one thread at a time makes the pictures."""

    def __init__(self, directory: Path, camera: Camera, log: logging.Logger) -> None:
        self._directory, self._camera, self._log = directory, camera, log
        self._working = threading.Lock()
        self._asked = threading.Event()

    def wake(self) -> None:
        self._asked.set()
        if self._working.acquire(blocking=False):
            threading.Thread(target=self._work, name="snapshots", daemon=True).start()

    def _work(self) -> None:
        try:
            while self._asked.is_set():
                self._asked.clear()
                for path in sorted(self._directory.glob("*.request")):
                    self._answer(path)
                self._sweep()
        except OSError as fault:
            self._log.warning("no picture can be made: %s", fault)
        finally:
            self._working.release()

    def _answer(self, request: Path) -> None:
        match = _REQUEST.fullmatch(request.name)
        is_old = time.time() - request.lstat().st_mtime > _OLD_S
        request.unlink(missing_ok=True)
        if match is None or is_old:
            return
        answer = self._directory / match[1]
        hidden = answer.with_name(f".{answer.name}")
        try:
            with self._camera.hold(lambda: None):
                self._camera.snapshot(hidden)
            hidden.rename(answer)
        except Retry as fault:
            hidden.write_text(fault.reason + "\n")
            hidden.rename(answer.with_name(f"{answer.name}.fault"))

    def _sweep(self) -> None:
        """Remove answers that nobody fetched."""
        for path in self._directory.iterdir():
            with contextlib.suppress(OSError):
                if time.time() - path.lstat().st_mtime > _OLD_S:
                    path.unlink()


def ask(directory: Path, ending: str, limit_s: float) -> bytes:
    """The asker's side: the bytes of a picture in the format of `ending` (`.jpg`, `.png`). Raises `Retry`."""
    answer = directory / f"{secrets.token_hex(8)}{ending}"
    request, fault = answer.with_name(f"{answer.name}.request"), answer.with_name(f"{answer.name}.fault")
    ends, wake_up = time.monotonic() + limit_s, WakeUp()
    watcher = DirectoryWatcher({directory: wake_up.set}, logging.getLogger("ezrec.snapshots"))
    try:
        with contextlib.suppress(Unwatchable):
            watcher.arm()
        request.touch()
        while (left_s := ends - time.monotonic()) > 0:
            for path in (answer, fault):
                with contextlib.suppress(FileNotFoundError):
                    data = path.read_bytes()
                    path.unlink()
                    if path is fault:
                        raise Retry(data.decode(errors="replace").strip())
                    return data
            wake_up.wait(min(_LOOK_S, left_s))
    except OSError as wrong:
        raise Retry(f"the recorder cannot be asked for a picture: {wrong}") from None
    finally:
        watcher.disarm()
        with contextlib.suppress(OSError):
            request.unlink(missing_ok=True)
    raise Retry(f"the recorder gave no picture within {limit_s:.0f} s")
