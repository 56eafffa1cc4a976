"""`Attrition`: a recorder that dies, or loses its power, again and again while it records one booking.

The real recorder in a process of its own, with the software camera; what it lost is measured against a
tap between the two, and by the numbers in the pictures.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from ezrec.domain.booking import Booking
from ezrec.domain.job import OPEN, BadRecord, Job, Kind, Take
from ezrec.domain.names import safe_id
from ezrec.domain.stages import State
from ezrec.spool.spool import Gone, Spool
from tests.support.card import Card
from tests.support.recording import frame_numbers
from tests.support.wait import eventually
from tests.whole_box.tap import Delivered, Tap

FPS = 30
LIMIT_S = 60.0
_BOOKING = safe_id("match")


@dataclass(frozen=True)
class Death:
    """One end without warning. `delivered` is what the recorder had been given by then."""

    moment: float
    take: str
    delivered: Delivered
    kept: int = 0

    @property
    def lost_s(self) -> float:
        """Of what the camera had delivered."""
        return max(0, self.delivered.frames - self.kept) / FPS

    @property
    def behind_s(self) -> float:
        """From the last frame on disk to the death: what the camera itself still held counts as well."""
        return self.moment - self.delivered.instant_of(self.kept, FPS)


class Attrition:
    """With a `card` the spool lies on it and its power is cut; else the recorder is killed."""

    def __init__(self, folder: Path, card: Card | None = None) -> None:
        folder.mkdir(exist_ok=True)
        self._card, self._tap = card, Tap(folder)
        self._log = folder / "recorder.log"
        spool = (card.at if card else folder) / "spool"
        self._environ = {
            "PATH": f"{self._tap.path}:{os.environ['PATH']}",
            "TZ": "UTC",
            "LANG": "C.UTF-8",
            "EZREC_HOME": str(folder / "home"),
            "EZREC_SPOOL": str(spool),
            "EZREC_BACKEND": "local",
            "EZREC_CAMERA": "software",
            "EZREC_ASSUME_CLOCK": "yes",
            "EZREC_PRE_ROLL": "0",
            "EZREC_POST_ROLL": "0",
            "EZREC_RESERVE_MB": "0",  # the card is small
            "RESOLUTION": "320x180",
            "RECORDING_BITRATE": "400000",
        }
        self.spool = Spool(spool)
        self.spool.prepare()
        now = datetime.now(UTC)
        self.booking = Booking(_BOOKING, now, now + timedelta(hours=1))
        self.spool.create(State.INCOMING, Job(_BOOKING, Kind.BOOKING, now, self.booking))
        self.deaths: list[Death] = []

    def suffer(self, times: int, longest_s: float, chance: random.Random) -> Job:
        """Die so often, up to `longest_s` after the take began; then record to the end. The job's record."""
        try:
            for _ in range(times):
                self._live_and_die(chance.uniform(0.1, longest_s))
            return self._live_to_the_end()
        except AssertionError as fault:
            raise AssertionError(f"{fault}\n{self._log.read_text()[-3000:]}") from None

    def _live_and_die(self, after_s: float) -> None:
        with self._recorder() as child:
            take = self._new_take()
            time.sleep(after_s)
            if self._card:
                moment = time.monotonic()
                self._card.lose_power()
            else:
                moment = time.monotonic()
            child.kill()
            child.wait(LIMIT_S)
        self.deaths.append(Death(moment, take, self._tap.delivered(moment)))
        if self._card:
            assert eventually(self._comes_back, LIMIT_S), "the card stays in use"
        # A take without a picture is removed, and one that begins in the same second may have its name.
        time.sleep(1 - time.time() % 1)

    def _comes_back(self) -> bool:
        assert self._card
        try:
            self._card.come_back()
        except subprocess.CalledProcessError:
            return False
        return True

    def _live_to_the_end(self) -> Job:
        with self._recorder() as child:
            self._new_take()
            time.sleep(0.5)
            whole = replace(self.booking, end=datetime.now(UTC) + timedelta(seconds=0.3))
            row = {"id": whole.id, "start_time": str(whole.start), "end_time": str(whole.end)}
            (self.spool.root / "incoming" / f"{whole.id}.json").write_bytes(msgspec.json.encode(row))
            self._wait(lambda: self.spool.names(State.RAW) == [_BOOKING], "the booking does not end")
            child.terminate()
            child.wait(LIMIT_S)
        entry = self.spool.read(State.RAW, _BOOKING)
        lengths = {take.file: len(frame_numbers(entry.path / take.file)) for take in entry.job.takes}
        self.deaths = [replace(death, kept=lengths.get(death.take, 0)) for death in self.deaths]
        return entry.job

    def _recorder(self) -> subprocess.Popen[bytes]:
        # In front of whatever else the machine does: what a starved recorder cannot read is another matter.
        argv = ["nice", "-n", "-10", sys.executable, "-m", "ezrec", "run", "--only", "record"]
        with self._log.open("ab") as out:
            return _Child(argv, env=self._environ, stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def _new_take(self) -> str:
        """Wait until a new take is written; its name."""
        known = {death.take for death in self.deaths}
        found: list[Take] = []

        def is_there() -> bool:
            with contextlib.suppress(OSError, Gone, BadRecord):
                entry = self.spool.read(State.RECORDING, _BOOKING)
                found[:] = [take for take in entry.job.takes if take.ended_by == OPEN]
                return bool(found) and found[-1].file not in known and _size(entry.path / found[-1].file) > 0
            return False

        self._wait(is_there, "there is no new take")
        return found[-1].file

    def _wait(self, is_so: Callable[[], bool], what: str) -> None:
        assert eventually(is_so, LIMIT_S), what


class _Child(subprocess.Popen[bytes]):
    """Does not outlive its block."""

    def __exit__(self, *fault: object) -> None:
        if self.poll() is None:
            self.kill()
        super().__exit__(*fault)  # type: ignore[arg-type]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
