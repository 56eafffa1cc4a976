"""One booking on one real camera, recorded in a thread of the test."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from datetime import UTC, timedelta
from pathlib import Path

from ezrec.camera.ffmpeg_camera import CameraLimits, FfmpegCamera
from ezrec.camera.ffmpeg_sources import Faults, SoftwareSource, Source
from ezrec.camera.shared_camera import CameraOptions
from ezrec.camera.take_writer import Disk
from ezrec.domain.booking import Booking
from ezrec.domain.health import Health
from ezrec.domain.job import Job, Kind
from ezrec.domain.names import safe_id
from ezrec.domain.outcomes import Closed, Done, Preserved
from ezrec.domain.stages import State
from ezrec.media.mp4.boxes import check_whole
from ezrec.media.mp4.repair import repair
from ezrec.recording.record import record
from ezrec.recording.session import Padding
from ezrec.runtime.liveness import Liveness
from ezrec.spool.spool import Entry, Spool
from ezrec.system.task import Task
from tests.support.recording import SteppingClock, frame_numbers
from tests.support.wait import eventually

LIMIT_S = 80.0
LONG_S = 3600.0  # longer than any test: a whistle ends the match
LOG = logging.getLogger("test.faults")


class Court:
    """One booking on one software camera, recorded in a thread, with its liveness beside."""

    def __init__(
        self,
        home: Path,
        for_s: float,
        faults: Faults | None = None,
        disk: Disk | None = None,
        queue_bytes: int | None = None,
        source: Source | None = None,
        limits: CameraLimits | None = None,
    ) -> None:
        self.clock, self.told = SteppingClock(), list[str]()
        source = source or SoftwareSource(320, 180, 30, 400_000, faults or Faults())
        more = {"disk": disk, "queue_bytes": queue_bytes}
        self.camera = FfmpegCamera(source, self.clock, limits, CameraOptions(warn=self.told.append, **more))  # type: ignore[arg-type]
        self.liveness = Liveness(self.camera, "software", self.clock, home / "health.json", LOG, LOG.error)
        self.spool = Spool(home / "spool")
        self.spool.prepare()
        now = self.clock.now()
        booking = Booking(safe_id("match"), now, now + timedelta(seconds=for_s))
        created = self.spool.create(State.INCOMING, Job(booking.id, Kind.BOOKING, now, booking))
        self.entry: Entry = self.spool.claim(created, State.RECORDING)
        self.task = Task()
        self.is_shown = False
        self._ended: list[Done | Closed | Preserved | Exception] = []
        self._thread = threading.Thread(target=self._live)
        self._thread.start()

    def _live(self) -> None:
        try:
            outcome = record(
                self.entry,
                self.task,
                camera=self.camera,
                clock=self.clock,
                zone=UTC,
                padding=Padding(0, 0, 0.5),
                repair=repair,
                log=LOG,
                heartbeats=self.liveness.heartbeats,
            )
            self._ended.append(outcome)
        except Exception as fault:  # noqa: BLE001 - handed on to the test
            self._ended.append(fault)

    @property
    def job(self) -> Job:
        return self.entry.job

    def show(self) -> None:
        """Write health.json too."""
        self.is_shown = True
        self.liveness.start()

    def health(self) -> Health:
        return self.liveness.look()

    def is_writing(self, take: int = 1) -> bool:
        """True when the n-th take has more than a second of picture."""
        takes = self.job.takes
        if len(takes) < take:
            return False
        with contextlib.suppress(FileNotFoundError):
            return (self.entry.path / takes[take - 1].file).stat().st_size > 60_000
        return False

    def wait_for(self, is_so: Callable[[], bool]) -> None:
        assert eventually(lambda: is_so() or bool(self._ended), LIMIT_S)
        assert is_so(), self._ended

    def whistled(self) -> Done | Closed | Preserved | Exception:
        """The match ends now, and with it the recording; how."""
        booking = self.job.booking
        assert booking is not None
        end = self.clock.now() + timedelta(seconds=0.5)
        self.spool.amend(self.entry, Booking(booking.id, booking.start, end))
        self.task.wake_up.set()
        return self.outcome()

    def outcome(self) -> Done | Closed | Preserved | Exception:
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive(), "the recording does not end"
        return self._ended[0]

    def footage(self) -> list[list[int]]:
        """The frame numbers of each take; every file is whole, plays, and stands in the record."""
        takes = self.job.takes
        assert sorted(path.name for path in self.entry.path.glob("*.mp4")) == sorted(t.file for t in takes)
        for take in takes:
            path = self.entry.path / take.file
            check_whole(path)
            assert path.stat().st_size == take.size
        return [frame_numbers(self.entry.path / take.file) for take in takes]

    def close(self) -> None:
        self.task.stop()
        self._thread.join(LIMIT_S)
        if self.is_shown:
            self.liveness.stop()
