"""New branding is tried when it was fetched, and what cannot be used is said before a video goes out bare."""

from __future__ import annotations

import logging
from pathlib import Path

from ezrec.domain.branding import UNUSABLE, Assets
from ezrec.domain.errors import Retry
from ezrec.media.render.renderer import FfmpegTranscoder
from ezrec.monitoring.state_files import read_branding_faults
from ezrec.processing.check_branding import BrandingChecker
from tests.fakes.transcoder import FakeTranscoder, footage
from tests.support import media

LOG = logging.getLogger("ezrec.video_worker")


def test_what_cannot_be_used_is_told_with_what_it_is_and_what_would_do(tmp_path: Path) -> None:
    logo = tmp_path / f"{'0f3c' * 6}.png"
    logo.write_bytes(b"GIF89a" + bytes(100))
    assets = Assets(True, media.make_intro(tmp_path / "77aa.mp4"), logo)
    transcoder = FfmpegTranscoder(bitrate=800_000)
    BrandingChecker(transcoder, lambda: assets, tmp_path / UNUSABLE, LOG)()
    (fault,) = read_branding_faults(tmp_path)
    assert fault.startswith("published without the logo: logo.png: not usable as logo: it is a GIF")
    assert "ffmpeg -i logo.png -frames:v 1 logo-usable.png" in fault
    good = Assets(True, assets.intro, media.make_logo(tmp_path / "1b2c.png"))
    BrandingChecker(transcoder, lambda: good, tmp_path / UNUSABLE, LOG)()
    assert read_branding_faults(tmp_path) == ()


def test_it_is_tried_once_also_by_processes_that_are_started_anew(tmp_path: Path) -> None:
    transcoder = FakeTranscoder()
    assets = [Assets(True, footage(tmp_path / "a.mp4"), notes=("published without the logo x: not found",))]
    for _ in range(3):
        BrandingChecker(transcoder, lambda: assets[-1], tmp_path / UNUSABLE, LOG)()
    assert transcoder.calls["check_asset"] == 1
    assert read_branding_faults(tmp_path) == ("published without the logo x: not found",)
    assets.append(Assets(True, footage(tmp_path / "b.mp4")))
    BrandingChecker(transcoder, lambda: assets[-1], tmp_path / UNUSABLE, LOG)()
    assert transcoder.calls["check_asset"] == 2
    assert read_branding_faults(tmp_path) == ()


class Troubled(FakeTranscoder):
    """On a machine without memory."""

    def check_asset(self, kind: str, path: Path) -> None:
        raise Retry("Cannot allocate memory")


def test_a_machine_in_trouble_makes_no_fault_of_the_branding(tmp_path: Path) -> None:
    assets, record = Assets(True, footage(tmp_path / "a.mp4")), tmp_path / UNUSABLE
    BrandingChecker(Troubled(), lambda: assets, record, LOG)()
    assert not record.exists()
    BrandingChecker(FakeTranscoder(), lambda: assets, record, LOG)()
    assert record.exists()
