"""What the firmware's number means."""

from __future__ import annotations

import pytest

from ezrec.domain.machine import Throttling, parse_throttled


@pytest.mark.parametrize(
    ("text", "now", "since_boot"),
    [
        ("throttled=0x0\n", (), ()),
        ("throttled=0x1", ("under_voltage",), ()),
        ("throttled=0x50000\n", (), ("under_voltage", "throttled")),
        (
            "throttled=0xf000f",
            ("under_voltage", "frequency_capped", "throttled", "temperature_limit"),
            ("under_voltage", "frequency_capped", "throttled", "temperature_limit"),
        ),
        ("20002\n", ("frequency_capped",), ("frequency_capped",)),
        ("0", (), ()),
    ],
)
def test_each_bit_has_its_word(text: str, now: tuple[str, ...], since_boot: tuple[str, ...]) -> None:
    assert parse_throttled(text) == Throttling(now, since_boot)


@pytest.mark.parametrize("text", ["", "throttled=", "VCHI initialization failed", "throttled=0x1 0x2", "-1"])
def test_anything_else_is_no_answer(text: str) -> None:
    assert parse_throttled(text) is None
