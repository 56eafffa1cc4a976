"""The test picture is for trials. A court box that films it loses every match, and all looks well. Pure."""

from __future__ import annotations

from pathlib import Path

TEST_PICTURE = "software"
REMEDY = "connect the camera, then: sudo ezrec install, and answer auto for EZREC_CAMERA"


def films_no_court(camera: str, home: Path, installed_home: Path | None) -> str:
    """What is wrong when the box that is installed in `installed_home` films the test picture; else nothing.

    A demonstration, or a trial with a home of its own, may film it.
    """
    if camera != TEST_PICTURE or installed_home is None or home != installed_home:
        return ""
    return "the test picture is filmed and no court is: EZREC_CAMERA is software"
