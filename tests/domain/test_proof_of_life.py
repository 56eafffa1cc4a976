"""Proof of life: what a file and the kernel together show, and what a person types when it is nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ezrec.domain.health import CameraState, Health
from ezrec.domain.proof_of_life import (
    SILENT_AT_REST_S,
    SILENT_S,
    Life,
    ProcessState,
    Starter,
    age_of,
    of_recorder,
    of_services,
    recorder_words,
    services_words,
)

NOW = datetime(2026, 6, 1, 18, 0, tzinfo=UTC)
HEALTH = Health(NOW, 77, "boot-1", "software", CameraState.RUNNING)
RESTS = replace(HEALTH, camera_state=CameraState.OFF)
RUNS, STOPPED, GONE = ProcessState.RUNS, ProcessState.STOPPED, ProcessState.GONE


@pytest.mark.parametrize(
    ("health", "process", "age_s", "boot_id", "life"),
    [
        (HEALTH, RUNS, 0.0, "boot-1", Life.LIVES),
        (HEALTH, RUNS, SILENT_S, "boot-1", Life.LIVES),
        (HEALTH, RUNS, SILENT_S + 1, "boot-1", Life.SILENT),
        (HEALTH, RUNS, -3600.0, "boot-1", Life.LIVES),  # the clock was set back
        (HEALTH, RUNS, 0.0, "boot-2", Life.ENDED),
        (HEALTH, GONE, 0.0, "boot-1", Life.ENDED),
        (HEALTH, STOPPED, 0.0, "boot-1", Life.STOPPED),
        (RESTS, RUNS, SILENT_AT_REST_S, "boot-1", Life.LIVES),
        (RESTS, RUNS, SILENT_AT_REST_S + 1, "boot-1", Life.SILENT),
        (None, GONE, 0.0, "boot-1", Life.NEVER),
    ],
)
def test_a_recorder_lives_by_its_word_and_by_its_process(
    health: Health | None, process: ProcessState, age_s: float, boot_id: str, life: Life
) -> None:
    assert of_recorder(health, process, age_s, boot_id) is life


def test_one_that_rests_while_it_is_needed_has_no_more_time_than_one_at_work() -> None:
    assert of_recorder(RESTS, RUNS, SILENT_S + 1, "boot-1", is_needed=True) is Life.SILENT


def test_a_clock_that_steps_by_years_ages_no_health() -> None:
    health = replace(HEALTH, monotonic=100.0)
    years = NOW + timedelta(days=9000)
    assert age_of(health, years, 112.0, "boot-1") == 12
    assert age_of(replace(health, monotonic=None), NOW + timedelta(seconds=9), 112.0, "boot-1") == 9
    assert age_of(health, NOW + timedelta(seconds=9), 5.0, "boot-2") == 9, "that clock began anew"


@pytest.mark.parametrize(
    ("age_s", "process", "life"),
    [
        (None, None, Life.NEVER),
        (10.0, None, Life.LIVES),
        (10.0, RUNS, Life.LIVES),
        (10.0, GONE, Life.ENDED),
        (10.0, STOPPED, Life.STOPPED),
        (400.0, RUNS, Life.SILENT),
        (-400.0, None, Life.SILENT),
    ],
)
def test_the_services_live_by_their_status_and_by_their_process(
    age_s: float | None, process: ProcessState | None, life: Life
) -> None:
    assert of_services(age_s, process, 345) is life


def test_every_end_has_its_words_and_only_a_life_has_none() -> None:
    for life in Life:
        assert bool(recorder_words(life, HEALTH, NOW)) is (life is not Life.LIVES)
        assert bool(services_words(life, 77)) is (life is not Life.LIVES)
    assert "process 77 is stopped" in recorder_words(Life.STOPPED, HEALTH, NOW)


@pytest.mark.parametrize(
    ("starter", "command"),
    [
        (Starter(), "ezrec run"),
        (Starter("ezrec"), "sudo systemctl start ezrec"),
        (Starter("ezrec.target", 77), "sudo systemctl restart ezrec.target"),
        (Starter("", 77), "kill -KILL 77; ezrec run"),
    ],
)
def test_what_a_person_types_ends_first_what_is_in_the_way(starter: Starter, command: str) -> None:
    assert starter.command == command
