"""What `Gauges` promises, asked of the machine's own and of the fake."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ezrec.domain.machine import Throttling
from ezrec.domain.ports import Gauges
from ezrec.system.gauges import SystemGauges
from tests.fakes.gauges import FakeGauges

RIGS: dict[str, Callable[[Path], Gauges]] = {"system": SystemGauges, "fake": lambda _: FakeGauges()}


@pytest.fixture(params=RIGS)
def gauges(request: pytest.FixtureRequest, tmp_path: Path) -> Gauges:
    return RIGS[request.param](tmp_path)


def test_every_figure_lies_where_such_figures_lie(gauges: Gauges) -> None:
    found = gauges.read()
    assert 0 < (found.uptime_s or 0) < 100 * 365 * 86400
    for percent in (found.cpu_percent, found.memory_percent, found.disk_percent):
        assert percent is not None
        assert 0 <= percent <= 100
    assert 0 < (found.memory_available_bytes or 0) <= (found.memory_bytes or 0)
    assert 0 <= (found.disk_free_bytes or 0) <= (found.disk_bytes or 0)
    assert found.load is not None
    assert all(load >= 0 for load in found.load)
    assert (found.sent_bytes or 0) >= 0
    assert (found.received_bytes or 0) >= 0
    assert found.temperature_c is None or -40 < found.temperature_c < 130


def test_a_disk_that_is_gone_costs_its_figures_and_no_others(tmp_path: Path) -> None:
    found = SystemGauges(tmp_path / "gone").read()
    assert found.disk_free_bytes is None
    assert found.memory_bytes is not None


def test_the_first_look_already_measures_the_processor(tmp_path: Path) -> None:
    gauges = SystemGauges(tmp_path)
    began = time.monotonic()
    gauges.read()
    assert time.monotonic() - began >= 0.15, "a span was measured"
    ends = time.process_time() + 0.05
    while time.process_time() < ends:
        pass
    assert (gauges.read().cpu_percent or 0) > 0


def _vcgencmd(folder: Path, script: str) -> None:
    program = folder / "vcgencmd"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_the_firmware_of_a_pi_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    _vcgencmd(tmp_path, 'test "$1" = get_throttled && echo throttled=0x50005')
    found = SystemGauges(tmp_path, tmp_path / "no-sysfs").read().throttling
    assert found == Throttling(("under_voltage", "throttled"), ("under_voltage", "throttled"))


@pytest.mark.parametrize("script", ["exit 1", "echo VCHI initialization failed", "sleep 60"])
def test_a_firmware_that_fails_or_hangs_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    _vcgencmd(tmp_path, script)
    began = time.monotonic()
    assert SystemGauges(tmp_path, tmp_path / "no-sysfs").read().throttling is None
    assert time.monotonic() - began < 30


def test_another_machine_has_no_such_firmware(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert SystemGauges(tmp_path, tmp_path / "no-sysfs").read().throttling is None


def test_sysfs_spares_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "get_throttled").write_text("10000\n")
    found = SystemGauges(tmp_path, tmp_path / "get_throttled").read().throttling
    assert found == Throttling((), ("under_voltage",))
