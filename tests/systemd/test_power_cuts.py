"""The power of the whole appliance is cut, again and again: nothing acknowledged is lost or doubled."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ezrec.domain.errors import Busy
from ezrec.domain.stages import DIRECTORIES, PROCESS, State
from ezrec.spool import actions
from ezrec.system import durable
from tests.support import media
from tests.support.card import Card
from tests.support.wait import eventually
from tests.systemd.appliance import Appliance
from tests.systemd.bed import PROGRAM

CUTS = 25
SEED = 20  # the moments differ from each other, not from run to run
BEFORE_A_CUT_S = (1.0, 5.0)
FILES_EACH = 3
CARD_MB = 512


@pytest.fixture
def card(tmp_path: Path) -> Iterator[Card]:
    made = Card(tmp_path, CARD_MB)
    yield made
    made.close()


@pytest.mark.timeout(900)
def test_twenty_five_power_cuts_lose_and_double_nothing(tmp_path: Path, tree: Path, card: Card) -> None:
    clip = media.make_take(tmp_path / "clip.mp4", seconds=1)
    moments = random.Random(SEED)
    home = card.at / "home"
    box = Appliance(tmp_path, tree, home)
    before = os.umask(0o007)
    acknowledged: list[str] = []
    try:
        for cut in range(CUTS):
            box.bed.up()
            box.open()
            box.start()
            ends = time.monotonic() + moments.uniform(*BEFORE_A_CUT_S)
            for number in range(FILES_EACH):
                name = f"cut{cut:02d}-{number}"
                durable.copy(clip, box.box.spool.root / "raw" / f"{name}.mp4")
                acknowledged.append(name)
            time.sleep(max(0.0, ends - time.monotonic()))
            card.lose_power()
            box.bed.cut()
            card.come_back()
        box.bed.up()
        box.open()
        box.start()
        is_done = eventually(lambda: _is_done(box) or _cut_too_often(box), 420)
        assert is_done, _left(box)
        names = [str(row["booking_id"]) for row in box.box.store.videos()]
        assert sorted(names) == acknowledged
        assert all(box.box.video(name) for name in acknowledged)
    finally:
        box.bed.cut()
        os.umask(before)


def _left(box: Appliance) -> str:
    """What lies in the spool as it is seen from here, and by the box itself."""
    home, spool = box.box.home, box.box.spool
    here = {str(state): os.listdir(spool.directory(state)) for state in DIRECTORIES}
    return f"{here}\n{box.bed.run('env', f'EZREC_HOME={home}', PROGRAM, 'spool', 'ls', '--json')}"


def _cut_too_often(box: Appliance) -> bool:
    """On a slow machine one job may be cut off in its work more often than a job may: it is sent again."""
    with contextlib.suppress(OSError, Busy):
        for entry in box.box.spool.entries(State.FAILED):
            if entry.job.power_cuts > (PROCESS.power_cuts or 0):
                actions.retry(box.box.spool, entry, datetime.now(UTC), 0.0)
    return False


def _is_done(box: Appliance) -> bool:
    with contextlib.suppress(OSError):
        return not any(box.box.spool.names(state) for state in DIRECTORIES)
    return False
