"""`auto`: the camera module, else the USB camera that is plugged in, also one that comes later."""

from __future__ import annotations

from pathlib import Path

import pytest

from ezrec.camera.auto_camera import AutoCamera
from ezrec.camera.picamera.device import MISSING, NO_CAMERA, is_absent
from ezrec.domain.errors import Retry
from ezrec.domain.ports import Camera
from tests.fakes.camera import FakeCamera
from tests.support.recording import Call, SteppingClock


class Court:
    """A box with an `auto` camera, and what is plugged into it."""

    def __init__(self) -> None:
        clock = SteppingClock()
        self.module, self.usb = FakeCamera(clock), FakeCamera(clock)
        self.plugged: Camera | None = None
        self.auto = AutoCamera(self.module, lambda fault: is_absent(fault.reason), lambda: self.plugged)


@pytest.fixture
def court() -> Court:
    return Court()


@pytest.mark.parametrize("fault", [MISSING, NO_CAMERA], ids=["no picamera2", "no module"])
def test_a_usb_camera_that_is_plugged_in_later_is_taken_and_gives_the_picture(
    court: Court, tmp_path: Path, fault: str
) -> None:
    court.module.absent = fault
    with pytest.raises(Retry, match="no USB camera is plugged in either"), court.auto.hold(Call()):
        pass
    court.plugged = court.usb
    with court.auto.hold(Call()):
        assert court.auto.health().running
        court.auto.snapshot(tmp_path / "court.jpg")
    assert (tmp_path / "court.jpg").stat().st_size > 1000
    assert (court.module.starts, court.usb.starts) == (court.module.starts, 1)


def test_a_module_that_comes_later_is_preferred_to_the_usb_camera(court: Court) -> None:
    court.plugged, court.module.absent = court.usb, NO_CAMERA
    with court.auto.hold(Call()):
        pass
    court.module.absent = ""
    with court.auto.hold(Call()):
        assert court.module.health().running
        assert not court.usb.health().running


def test_a_module_that_is_there_and_fails_is_not_passed_over(court: Court) -> None:
    court.plugged, court.module.absent = court.usb, "the camera is busy"
    with pytest.raises(Retry, match="busy"), court.auto.hold(Call()):
        pass
    assert court.usb.starts == 0


def test_all_who_hold_it_have_the_same_camera_although_another_came(court: Court) -> None:
    court.plugged, court.module.absent = court.usb, NO_CAMERA
    with court.auto.hold(Call()):
        court.module.absent = ""
        with court.auto.hold(Call()):
            assert not court.module.health().running
        assert court.usb.health().running
    assert not court.usb.health().running
