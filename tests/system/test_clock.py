"""Whether the time of a machine can be trusted."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ezrec.domain.ports import Clock
from ezrec.system.clock import SystemClock


def clock(folder: Path, *, kernel: bool = False, assume: bool = False) -> SystemClock:
    return SystemClock(
        assume=assume, timesyncd=folder / "synchronized", rtc=folder / "rtc0", ask_kernel=lambda: kernel
    )


def battery(folder: Path, seconds: float, set_at_boot: str = "1") -> None:
    (folder / "rtc0").mkdir()
    (folder / "rtc0/hctosys").write_text(f"{set_at_boot}\n")
    (folder / "rtc0/since_epoch").write_text(f"{int(seconds)}\n")


def test_it_keeps_the_port() -> None:
    port: Clock = SystemClock()
    assert abs(port.now() - datetime.now(UTC)) < timedelta(seconds=10)
    assert port.now().tzinfo is UTC
    assert port.monotonic() <= port.monotonic()
    assert port.is_synchronised() in (True, False), "the kernel and the files of this machine can be read"


def test_one_run_of_the_machine_has_one_name() -> None:
    name = SystemClock().boot_id()
    assert len(name) == 36
    assert SystemClock().boot_id() == name


def test_nothing_that_says_so_means_not_synchronised(tmp_path: Path) -> None:
    assert not clock(tmp_path).is_synchronised()


def test_a_person_may_say_that_the_clock_is_right(tmp_path: Path) -> None:
    assert clock(tmp_path, assume=True).is_synchronised()


def test_timesyncds_mark_is_believed_as_soon_as_it_appears(tmp_path: Path) -> None:
    system = clock(tmp_path)
    assert not system.is_synchronised()
    (tmp_path / "synchronized").touch()
    assert system.is_synchronised()


def test_the_kernels_word_is_believed(tmp_path: Path) -> None:
    assert clock(tmp_path, kernel=True).is_synchronised()


def test_a_battery_clock_that_set_the_time_and_agrees_is_believed(tmp_path: Path) -> None:
    battery(tmp_path, time.time())
    assert clock(tmp_path).is_synchronised()


@pytest.mark.parametrize(("behind_s", "set_at_boot"), [(1e9, "1"), (3600, "1"), (0, "0")])
def test_a_battery_clock_without_a_battery_is_not_believed(
    tmp_path: Path, behind_s: float, set_at_boot: str
) -> None:
    battery(tmp_path, time.time() - behind_s, set_at_boot)
    assert not clock(tmp_path).is_synchronised()


def test_a_battery_clock_that_talks_nonsense_is_not_believed(tmp_path: Path) -> None:
    battery(tmp_path, time.time())
    (tmp_path / "rtc0/since_epoch").write_text("soon\n")
    assert not clock(tmp_path).is_synchronised()
