"""The intro is ready before a video needs it: after a change of branding, and at the first take."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ezrec.domain.branding import Assets
from ezrec.domain.errors import Retry
from ezrec.domain.job import Job, Kind, Take
from ezrec.domain.names import safe_id
from ezrec.domain.ports import RenderOptions
from ezrec.domain.stages import State
from ezrec.media.render import renderer
from ezrec.media.render.renderer import FfmpegTranscoder
from ezrec.processing.prepare_intro import IntroPreparer
from ezrec.processing.prerender import Prerenderer
from ezrec.spool.spool import Spool
from tests.fakes.clock import StandingClock
from tests.fakes.transcoder import FakeTranscoder, footage
from tests.support import media, videos
from tests.support.pairings import rendered

START = datetime(2026, 6, 1, 18, 0, tzinfo=UTC)
LOG = logging.getLogger("ezrec.video_worker")


class IntroBox:
    def __init__(self, folder: Path) -> None:
        self.spool, self.folder = Spool(folder / "spool"), folder
        self.spool.prepare()
        self.transcoder = FakeTranscoder()
        self.assets = Assets(True, footage(folder / "intro.mp4"))
        self.ready = IntroPreparer(self.spool, self.transcoder, lambda: self.assets, folder / "made", LOG)

    def recording(self, name: str) -> Path:
        take = Take(f"raw_{name}_20260601_180000.mp4", START, 0, 0, "still open")
        job = Job(safe_id(name), Kind.BOOKING, START, takes=(take,))
        entry = self.spool.claim(self.spool.create(State.INCOMING, job), State.RECORDING)
        return footage(entry.path / take.file)

    def turn(self) -> int:
        """How often the transcoder was asked in this turn."""
        before = self.transcoder.calls["prepare"]
        self.ready(lambda: True)
        return self.transcoder.calls["prepare"] - before


@pytest.fixture
def box(tmp_path: Path) -> IntroBox:
    return IntroBox(tmp_path)


def test_it_asks_until_it_is_done_and_again_when_intro_or_take_change(box: IntroBox) -> None:
    assert [box.turn(), box.turn()] == [1, 1]  # no camera is known yet
    box.recording("first")
    assert [box.turn(), box.turn()] == [1, 0]
    box.assets = replace(box.assets, intro=footage(box.folder / "another.mp4"))
    assert [box.turn(), box.turn()] == [1, 0]
    box.recording("second")
    assert [box.turn(), box.turn()] == [1, 0]
    box.assets = replace(box.assets, intro=None)
    assert box.turn() == 0


def test_what_cannot_be_made_ready_is_told_once(box: IntroBox, caplog: pytest.LogCaptureFixture) -> None:
    box.recording("first")
    box.transcoder.fail_next(1, Retry("no such encoder"))
    assert [box.turn(), box.turn()] == [1, 0]
    assert caplog.text.count("no such encoder") == 1


@pytest.mark.parametrize("follows", [True, False])
def test_beside_a_recording_it_works_only_where_processing_may(follows: bool, box: IntroBox) -> None:
    asked = list[bool]()
    pulse = Prerenderer(
        box.spool, box.transcoder, lambda: box.assets, RenderOptions(), lambda: 0, StandingClock(), LOG,
        prepare=(lambda may_go_on: asked.append(may_go_on()),), follows=follows,
    )  # fmt: skip
    pulse()
    assert asked == [True]
    box.recording("first")
    pulse()
    assert asked == ([True, True] if follows else [True])


def test_a_take_that_still_grows_is_sampled_and_its_video_finds_the_intro_made(tmp_path: Path) -> None:
    transcoder = FfmpegTranscoder(bitrate=800_000, preset="ultrafast")
    take, lead = videos.software_take(tmp_path / "t.mp4", audio=True), media.make_intro(tmp_path / "i.mp4")
    whole = take.read_bytes()
    for part, is_enough in ((100, False), (len(whole) // 8, False), (len(whole) * 4 // 5, True)):
        take.write_bytes(whole[:part])
        assert transcoder.prepare(take, lead, tmp_path / "cache") is is_enough
        assert take.read_bytes() == whole[:part]  # another process writes to it
    take.write_bytes(whole)
    assert rendered(transcoder, tmp_path, [take], lead, cache=tmp_path / "cache")[1]["intro"] == "cached"


def test_a_new_intro_is_made_ready_with_no_take_left(tmp_path: Path) -> None:
    transcoder, cache = FfmpegTranscoder(bitrate=800_000, preset="ultrafast"), tmp_path / "cache"
    take = videos.software_take(tmp_path / "t.mp4")
    assert transcoder.prepare(take, media.make_intro(tmp_path / "old.mp4"), cache)
    kept = take.rename(tmp_path / "elsewhere.mp4")
    new = media.make_intro(tmp_path / "new.mp4", fps=25)
    assert transcoder.prepare(None, new, cache)
    assert rendered(transcoder, tmp_path, [kept], new, cache=cache)[1]["intro"] == "cached"


def test_a_link_is_no_take_to_be_sampled(tmp_path: Path) -> None:
    videos.software_take(tmp_path / "t.mp4")
    (tmp_path / "link.mp4").symlink_to("t.mp4")
    with pytest.raises(OSError, match="symbolic link"):
        renderer.save_sample(tmp_path / "link.mp4", tmp_path / "cache")
    assert renderer.saved_sample(tmp_path / "cache") is None
