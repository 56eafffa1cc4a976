"""When the test picture is an alarm: on an installed box, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from ezrec.domain.installed import installed_home
from ezrec.domain.trial_picture import films_no_court

HOME = Path("/opt/ezrec-backend")


def test_an_installed_box_that_films_the_test_picture_is_an_alarm() -> None:
    assert "no court" in films_no_court("software", HOME, HOME)


@pytest.mark.parametrize(
    ("camera", "home", "installed"),
    [("auto", HOME, HOME), ("v4l2:/dev/video0", HOME, HOME), ("rtsp://a/b", HOME, HOME),
     ("software", HOME, None), ("software", Path("/tmp/demo"), HOME)],
    ids=["a camera module", "a USB camera", "a network camera", "nothing is installed", "a demonstration"],
)  # fmt: skip
def test_a_real_camera_and_a_trial_are_none(camera: str, home: Path, installed: Path | None) -> None:
    assert films_no_court(camera, home, installed) == ""


def test_the_installation_is_where_its_directories_are_made_at_each_boot() -> None:
    conf = "d /etc/ezrec 0755 root ezrec -\nd /srv/court/spool 2770 root ezrec -\n"
    assert installed_home(conf) == Path("/srv/court")
    assert installed_home("# nothing\n") is None
