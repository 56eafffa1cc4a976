"""The benchmarks run to their end, at a size at which the figures mean nothing."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

from bench.__main__ import MEASURES, RESULTS, page
from bench.processing_page import page as page_of_processing
from bench.result import Result
from bench.status import Written, runs
from bench.status import page as page_of_status
from tests.support.recording import our_children

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", MEASURES)
def test_each_measure_runs_and_leaves_no_process_behind(name: str) -> None:
    before = set(our_children())
    result = MEASURES[name](0.01)
    assert math.isfinite(result.ratio)
    assert set(our_children()) <= before


def test_the_cost_of_a_beat_can_be_measured() -> None:
    costs = runs(jobs=2)
    assert len(costs) == 3
    assert all(0 <= cost.median_s <= cost.most_s for cost in costs)
    assert "Goal" in page_of_status(costs, [Written("at rest", 1e6, None)], 1.0, 2)


def test_the_page_of_processing_tells_each_goal_by_the_figures_of_the_run() -> None:
    def one(cpu_s: float, rss_mb: float = 80) -> list[dict[str, float]]:
        return [{"cpu_s": cpu_s, "wall_s": 1.0, "written": 1.02, "size": 1.0, "rss_mb": rss_mb}] * 3

    told = page_of_processing(
        {
            (300, "bare remux"): one(0.4), (300, "copy strategy"): one(0.5),
            (300, "one pass, veryfast"): one(75),
            (3600, "bare remux"): one(2.0), (3600, "copy strategy"): one(3.0, 130),
        },
        ["A machine."],
    )  # fmt: skip
    assert "| copy strategy ≤ 1.3 × CPU of the bare remux, 5 min | 1.25 in 3 rounds | yes |" in told
    assert "| copy strategy ≤ 1.3 × CPU of the bare remux, 60 min | 1.50 in 3 rounds | **no** |" in told
    assert "veryfast, 5 min | 75.0 s against 0.50 s: 150 × | **no** |" in told
    assert "| flat memory, ≤ 120 MB | 80 MB at 5 min, 130 MB at 60 min | **no** |" in told
    assert "A machine." in told


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
