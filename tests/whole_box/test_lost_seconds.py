"""What a recorder loses that is killed, or whose power is cut, at random moments, again and again.

They run side by side, for a recording takes its time and no processor.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from ezrec.domain.job import Job, JobOutcome
from ezrec.domain.recording_outcome import gaps_in
from tests.support.campaigns import times
from tests.support.card import Card, why_no_card
from tests.whole_box.attrition import Attrition, Death

SIDE_BY_SIDE, DEATHS = 5, times(2, 4)
_HELD_BY_THE_CAMERA_S = 0.5  # a fragment of 0.2 s that was being made, and what a busy machine adds


def suffer(courts: list[Attrition], longest_s: float) -> list[tuple[Job, list[Death]]]:
    with ThreadPoolExecutor(len(courts)) as pool:
        seeds = [random.randrange(1 << 30) for _ in courts]
        running = [
            pool.submit(court.suffer, DEATHS, longest_s, random.Random(seed))
            for court, seed in zip(courts, seeds, strict=True)
        ]
        jobs = [one.result() for one in running]
    return [(job, court.deaths) for job, court in zip(jobs, courts, strict=True)]


def check(job: Job, deaths: list[Death], least_s: float) -> None:
    """The next take followed each time, and the record tells of all of them and of every gap."""
    assert job.recording is JobOutcome.PARTIAL
    *cut_off, last = job.takes
    assert [take.file for take in cut_off] == [death.take for death in deaths if death.kept]
    assert {take.ended_by for take in cut_off} <= {"the recorder died"}
    assert last.ended_by == ""
    assert last.file not in {death.take for death in deaths}
    assert job.booking is not None
    assert job.gaps == gaps_in(job.booking.window, job.takes, 0.5)
    assert sum(fault.kind == "died" for fault in job.errors) == DEATHS
    missing = sum((gap.length_s for gap in gaps_in(job.booking.window, job.takes)), 0.0)
    assert job.coverage_pct == pytest.approx(100 * (1 - missing / job.booking.window.length_s), abs=0.01)
    for take, death in zip(cut_off, [death for death in deaths if death.kept], strict=True):
        assert take.duration_s == pytest.approx(death.kept / 30, abs=0.001)
        assert last.started - take.ended > timedelta(0)
        assert death.delivered.frames / 30 >= least_s


@pytest.mark.timeout(300)
def test_a_recorder_killed_at_random_moments_loses_half_a_second_at_most(tmp_path: Path) -> None:
    courts = [Attrition(tmp_path / str(n)) for n in range(SIDE_BY_SIDE)]
    suffered = suffer(courts, 1.3)
    deaths = [death for _, deaths in suffered for death in deaths]
    assert len(deaths) == SIDE_BY_SIDE * DEATHS
    assert max(death.lost_s for death in deaths) <= 0.5, deaths_told(deaths)
    assert max(death.behind_s for death in deaths) <= 0.5 + _HELD_BY_THE_CAMERA_S, deaths_told(deaths)
    for job, own in suffered:
        check(job, own, 0.1)


@pytest.fixture
def cards(tmp_path: Path) -> Iterator[list[Card]]:
    if reason := why_no_card():
        pytest.skip(reason)
    made: list[Card] = []
    try:
        for n in range(SIDE_BY_SIDE):
            folder = tmp_path / f"card{n}"
            folder.mkdir()
            made.append(Card(folder))
        yield made
    except subprocess.CalledProcessError as fault:
        pytest.skip(f"no loop mount here: {fault.stderr.decode(errors='replace').strip()}")
    finally:
        for card in made:
            card.close()


@pytest.mark.timeout(300)
def test_a_power_cut_at_random_moments_costs_two_seconds_at_most(tmp_path: Path, cards: list[Card]) -> None:
    courts = [Attrition(tmp_path / str(n), card) for n, card in enumerate(cards)]
    suffered = suffer(courts, 3.0)
    deaths = [death for _, deaths in suffered for death in deaths]
    assert len(deaths) == SIDE_BY_SIDE * DEATHS
    assert max(death.lost_s for death in deaths) <= 2.0, deaths_told(deaths)
    assert max(death.lost_s for death in deaths) > 0.2, "no power was cut at all"
    for job, own in suffered:
        check(job, own, 0.0)


def deaths_told(deaths: list[Death]) -> str:
    return "; ".join(
        f"{death.lost_s:.2f} s of what was delivered, {death.behind_s:.2f} s in all" for death in deaths
    )
