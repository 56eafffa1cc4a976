"""A camera box for whole runs: `python -m ezrec` as processes, each in a home of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ezrec import settings
from ezrec.app import common
from ezrec.app.publishing import local_backend
from ezrec.domain.job import Job
from ezrec.domain.stages import State
from ezrec.spool.spool import Entry
from tests.support.wait import eventually

LIMIT_S = 60.0
_A_SECOND_BYTES = 60_000  # of picture; no recording here has less
_END_S = 40.0


def children(pid: int) -> list[int]:
    """The processes that one has started and that are there now; whichever of its threads started them."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(child) for child in task.read_text().split()]
    return found


class Box:
    """One home, and the daemons that run in it. `changes` are settings by their names."""

    def __init__(self, home: Path, **changes: str) -> None:
        self.home = home
        self.environ = {
            "PATH": os.environ["PATH"],
            "TZ": "UTC",
            "LANG": "C.UTF-8",
            "EZREC_HOME": str(home),
            "EZREC_BACKEND": "local",
            "EZREC_CAMERA": "software",
            "EZREC_ASSUME_CLOCK": "yes",
            "EZREC_PRE_ROLL": "0.5",
            "EZREC_POST_ROLL": "0.5",
            "EZREC_X264_PRESET": "ultrafast",
            "RESOLUTION": "320x180",
            "RECORDING_BITRATE": "400000",
            "LOG_UPLOAD_INTERVAL": "3600",
            **changes,
        }
        home.mkdir(parents=True, exist_ok=True)
        self.settings = settings.load(self.environ)
        self.spool = common.spool(self.settings)
        self.store = local_backend(self.settings)
        self._daemons: list[subprocess.Popen[bytes]] = []

    # ---- processes

    def run(self, *words: str) -> subprocess.Popen[bytes]:
        """`ezrec run`, in a process group of its own."""
        with (self.home / "daemon.log").open("ab") as out:
            daemon = subprocess.Popen(
                [sys.executable, "-m", "ezrec", "run", *words],
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self._daemons.append(daemon)
        return daemon

    def once(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One command to its end; it must end well."""
        command = [sys.executable, "-m", "ezrec", *words]
        done = subprocess.run(
            command, env=self.environ, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def kill_all(self, daemon: subprocess.Popen[bytes]) -> None:
        """As a power cut would: the whole group at once, without a word."""
        os.killpg(daemon.pid, signal.SIGKILL)
        daemon.wait(_END_S)

    def end(self, daemon: subprocess.Popen[bytes]) -> int:
        """Ask it to end, as systemd does; its exit code."""
        daemon.send_signal(signal.SIGTERM)
        return daemon.wait(_END_S)

    def close(self) -> None:
        for daemon in self._daemons:
            if daemon.poll() is None:
                daemon.send_signal(signal.SIGTERM)
        for daemon in self._daemons:
            with contextlib.suppress(subprocess.TimeoutExpired, ProcessLookupError):
                daemon.wait(_END_S)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(daemon.pid, signal.SIGKILL)

    def recorder(self, daemon: subprocess.Popen[bytes]) -> int | None:
        """Process id of the recorder that a daemon keeps, once it has begun."""
        return self._kept(daemon, lambda lanes: lanes == b"record")

    def worker(self, daemon: subprocess.Popen[bytes]) -> int | None:
        """The same of the process that does everything else."""
        return self._kept(daemon, lambda lanes: lanes != b"record")

    def _kept(self, daemon: subprocess.Popen[bytes], is_it: Callable[[bytes], bool]) -> int | None:
        for child in children(daemon.pid):
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
                if b"--kept" in words and is_it(words[words.index(b"--only") + 1]):
                    return child
        return None

    # ---- what a person does and sees

    def book(self, in_s: float, for_s: float) -> str:
        start = common.clock(self.settings).now() + timedelta(seconds=in_s)
        return self.store.book(start, start + timedelta(seconds=for_s))

    def whistle(self, booking_id: str) -> None:
        """The match ends now: the booking is given another end, as the front end would."""
        assert self.store.change(booking_id, end=common.clock(self.settings).now() + timedelta(seconds=0.5))

    def amend(self, booking_id: str, end: datetime) -> None:
        """Another end for a booking in hand, as a person without a backend would give it."""
        entry = self.find(booking_id)
        assert entry is not None
        assert entry.job.booking is not None
        row = {"id": booking_id, "start_time": str(entry.job.booking.start), "end_time": str(end)}
        (self.spool.root / "incoming" / f"{booking_id}.json").write_text(json.dumps(row))

    def find(self, job_id: str) -> Entry | None:
        return self.spool.find(job_id)

    def wait_for(self, is_so: Callable[[], bool], what: str) -> None:
        assert eventually(is_so, LIMIT_S), f"{what}\n{self.talk()}"

    def is_writing(self, job_id: str, take: int = 1) -> bool:
        """True when the n-th take has more than a second of picture."""
        entry = self.find(job_id)
        if entry is None or entry.state is not State.RECORDING or len(entry.job.takes) < take:
            return False
        return _is_long(entry, take - 1)

    def long_takes(self, job_id: str) -> int:
        """How many takes of a booking have more than a second of picture."""
        entry = self.find(job_id)
        return sum(_is_long(entry, n) for n in range(len(entry.job.takes))) if entry else 0

    def is_there(self, job_id: str, state: State) -> bool:
        entry = self.find(job_id)
        return entry is not None and entry.state is state

    def published(self, job_id: str) -> Job:
        """Wait until the job has left the spool; its last record."""
        self.wait_for(lambda: self.spool.finished(job_id) is not None, f"{job_id} is not published")
        job = self.spool.finished(job_id)
        assert job is not None
        return job

    def video(self, job_id: str) -> tuple[dict[str, Any], Path]:
        """The one row of a booking in `videos`, and the object it stands for."""
        (row,) = [row for row in self.store.videos() if row["booking_id"] == job_id]
        path = self.store.video_path(row["filename"])
        assert path is not None
        assert path.stat().st_size == row["file_size"]
        return row, path

    def status(self, booking_id: str) -> str:
        return next(str(row["status"]) for row in self.store.all_bookings() if row["id"] == booking_id)

    def log(self, service: str) -> str:
        with contextlib.suppress(FileNotFoundError):
            return (self.settings.logs / f"{service}.log").read_text()
        return ""

    def talk(self) -> str:
        with contextlib.suppress(FileNotFoundError):
            return (self.home / "daemon.log").read_text()[-5000:]
        return ""


def _is_long(entry: Entry, number: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return (entry.path / entry.job.takes[number].file).stat().st_size > _A_SECOND_BYTES
    return False
