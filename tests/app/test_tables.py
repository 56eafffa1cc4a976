"""The tables of what a process runs, and the commands that name their rows."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from ezrec import settings
from ezrec.app import periodic, recording
from ezrec.app.services import NAMES
from ezrec.cli.run import pulse, run, run_stage
from ezrec.diagnostics.doctor import CAMERA_CHECKS
from ezrec.domain.camera_address import KINDS
from ezrec.domain.stages import STAGES


def _choices(command: click.Command) -> list[str]:
    (kind,) = [param.type for param in command.params if isinstance(param.type, click.Choice)]
    return [str(choice) for choice in kind.choices]


def test_the_commands_know_every_stage_and_every_periodic_task() -> None:
    assert _choices(run_stage) == list(STAGES)
    assert _choices(pulse) == list(periodic.TASKS)
    (only,) = [param for param in run.params if param.name == "only"]
    assert isinstance(only, click.Option)
    assert str(only.help).removeprefix("Some of: ").rstrip(".").split(", ") == list(NAMES)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_camera_has_a_camera_and_a_check_of_the_doctor(kind: str, tmp_path: Path) -> None:
    found = settings.load({"EZREC_HOME": str(tmp_path), "TZ": "UTC", "EZREC_CAMERA": KINDS[kind]})
    assert not recording.camera(found).health().running
    assert kind in CAMERA_CHECKS


@pytest.mark.parametrize("name", periodic.TASKS)
def test_every_periodic_task_can_be_made_stopped_and_finished_without_having_run(
    name: str, tmp_path: Path
) -> None:
    task = periodic.periodic_task(name, settings.load({"EZREC_HOME": str(tmp_path), "TZ": "UTC"}))
    task.work.stop()
    task.work.finish(1.0)
