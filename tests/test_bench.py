"""The measures themselves: each runs to its end, at a size at which the figures mean nothing."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

from bench.__main__ import MEASURES, RESULTS, page
from bench.result import Result
from bench.status import Written, beats
from bench.status import page as page_of_status
from tests.recording import our_children

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", MEASURES)
def test_each_measure_runs_and_leaves_no_process_behind(name: str) -> None:
    before = set(our_children())
    result = MEASURES[name](0.01)
    assert math.isfinite(result.ratio)
    assert set(our_children()) <= before


def test_the_cost_of_a_beat_can_be_measured() -> None:
    costs = beats(jobs=2)
    assert len(costs) == 3
    assert all(0 <= cost.median_s <= cost.most_s for cost in costs)
    assert "Goal" in page_of_status(costs, [Written("at rest", 1e6, None)], 1.0, 2)


def test_a_goal_that_was_missed_is_said_plainly() -> None:
    missed = Result("a thing", "9 s", "a floor: 1 s", 9.0, "≤ 2 ×", False, "Once.")
    assert "| a thing | 9 s | a floor: 1 s | 9.00 | ≤ 2 × | **no** |" in page([missed])


def test_the_results_that_are_kept_are_those_of_every_measure() -> None:
    rows = [line for line in RESULTS.read_text().splitlines() if line.startswith("| ")]
    assert len(rows) == len(MEASURES) + 1


def test_a_part_of_the_measures_cannot_replace_the_kept_results() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "bench", "start", "--write"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert said.returncode == 2
    assert "--write wants all measures" in said.stderr
