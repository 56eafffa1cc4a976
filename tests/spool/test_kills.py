"""Workers killed at random moments, again and again: nothing lost, published twice or stuck."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from ezrec.domain.stages import DIRECTORIES
from ezrec.spool.spool import Spool, history
from tests.support.campaigns import times

KILLS = times(80, 300)


@pytest.mark.timeout(300)
def test_kills_at_any_moment_lose_nothing_and_publish_nothing_twice(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "tests.support.grinder", "kills", str(tmp_path), "7", str(KILLS)]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=280, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    told = json.loads(ran.stdout)
    assert told["killed"] == KILLS
    assert told["fed"] == KILLS, "there was work to be killed at"

    spool = Spool(tmp_path / "spool")
    fed = (tmp_path / "fed").read_text().split()
    published = [line.split()[-1] for line in (tmp_path / "published").read_text().splitlines()]
    assert set(fed) - set(published) == set(), "lost"
    assert {job_id: n for job_id, n in Counter(published).items() if n > 1} == {}, "published twice"
    left = {f"{state}/{name}" for state in DIRECTORIES for name in spool.names(state)}
    assert left == set(), "stuck"
    assert spool.is_tidy(), "half-built or half-deleted entries"

    finished = list(history(spool))
    assert sorted(job.id for job in finished) == sorted(fed)
    died = [job.id for job in finished if any(fault.kind == "died" for fault in job.errors)]
    assert len(died) >= KILLS / 20, "the kills struck jobs in hand"
