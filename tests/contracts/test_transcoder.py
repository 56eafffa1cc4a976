"""What the port `Transcoder` promises, kept by FFmpeg and by the fake."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ezrec.domain.errors import Reject, Stopped
from ezrec.domain.ports import RenderPlan, Transcoder
from ezrec.media.render.renderer import FfmpegTranscoder
from tests.fakes import transcoder as fake
from tests.support import media
from tests.support.rendering import deaf, plan_for


@dataclass
class Bench:
    """A transcoder, and makers of files that it takes for media."""

    transcoder: Transcoder
    take: Callable[[Path, float], Path]
    intro: Callable[[Path], Path]
    logo: Callable[[Path], Path]


@pytest.fixture(params=["fake", "ffmpeg"])
def bench(request: pytest.FixtureRequest) -> Bench:
    if request.param == "fake":
        return Bench(
            fake.FakeTranscoder(),
            fake.footage,
            lambda path: fake.footage(path, 1),
            lambda p: fake.footage(p, 0),
        )
    real = FfmpegTranscoder(bitrate=400_000, preset="ultrafast")
    return Bench(real, media.make_take, media.make_intro, media.make_logo)


def _plan(bench: Bench, folder: Path, *, branded: bool = True) -> RenderPlan:
    takes = [bench.take(folder / f"take-{n}.mp4", seconds) for n, seconds in enumerate((1.0, 2.0))]
    intro = bench.intro(folder / "intro.mp4") if branded else None
    return plan_for(folder, *takes, intro=intro, logo=bench.logo(folder / "logo.png") if branded else None)


def test_a_recording_tells_its_length(bench: Bench, tmp_path: Path) -> None:
    info = bench.transcoder.probe(bench.take(tmp_path / "take.mp4", 2.0))
    assert info.duration_s == pytest.approx(2, abs=0.05)
    assert (info.width, info.height) == (320, 180)


@pytest.mark.parametrize("content", [b"", b"no video at all\n", b"#EXTM3U\nfile:///etc/passwd\n"])
def test_what_is_no_recording_is_refused(bench: Bench, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "text.mp4"
    path.write_bytes(content)
    with pytest.raises(Reject):
        bench.transcoder.probe(path)


def test_a_link_and_a_pipe_are_refused(bench: Bench, tmp_path: Path) -> None:
    link, pipe = tmp_path / "link.mp4", tmp_path / "pipe.mp4"
    link.symlink_to(bench.take(tmp_path / "take.mp4", 1.0))
    os.mkfifo(pipe)
    for path in (link, pipe, tmp_path / "absent.mp4"):
        with pytest.raises(Reject):
            bench.transcoder.probe(path)


def test_a_usable_asset_passes_and_another_is_refused(bench: Bench, tmp_path: Path) -> None:
    bench.transcoder.check_asset("intro", bench.intro(tmp_path / "intro.mp4"))
    bench.transcoder.check_asset("logo", bench.logo(tmp_path / "logo.png"))
    for kind, name in (("intro", "bad.mp4"), ("logo", "bad.png")):
        (tmp_path / name).write_bytes(b"neither\n")
        with pytest.raises(Reject):
            bench.transcoder.check_asset(kind, tmp_path / name)


def test_a_render_is_as_long_as_its_parts_and_tells_its_progress(bench: Bench, tmp_path: Path) -> None:
    told: list[float] = []
    info = bench.transcoder.render(_plan(bench, tmp_path), told.append, deaf)
    assert info.duration_s == pytest.approx(4, abs=0.2)
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert bench.transcoder.probe(tmp_path / "out.mp4").duration_s == pytest.approx(info.duration_s, abs=0.1)
    assert not list(tmp_path.glob("*.part"))


def test_of_a_growing_take_whole_parts_are_made_and_one_at_a_time(bench: Bench, tmp_path: Path) -> None:
    takes = [bench.take(tmp_path / "take.mp4", 62)]
    plan = replace(_plan(bench, tmp_path), takes=takes, intro=None, parts=tmp_path / "parts")
    transcoder = bench.transcoder
    assert not transcoder.prerender(replace(plan, parts=None), lambda: True)
    assert not transcoder.prerender(replace(plan, logo=None), lambda: True)
    assert not transcoder.prerender(plan, lambda: False)
    made = []
    while transcoder.prerender(plan, lambda: True):
        made.append(len(list((tmp_path / "parts").glob("*.mp4"))))
    assert made == [1, 2]
    assert not plan.output.exists()
    assert transcoder.render(plan, deaf, deaf).duration_s == pytest.approx(62, abs=0.2)


def test_an_intro_is_made_ready_for_a_take_and_for_the_last_one_seen(bench: Bench, tmp_path: Path) -> None:
    cache, intro, later = (
        tmp_path / "cache",
        bench.intro(tmp_path / "i.mp4"),
        bench.intro(tmp_path / "j.mp4"),
    )
    assert not bench.transcoder.prepare(None, intro, cache, lambda: True)  # of no camera anything is known
    take = bench.take(tmp_path / "t.mp4", 2.0)
    assert not bench.transcoder.prepare(take, intro, cache, lambda: False)
    assert not list(cache.glob("*.made"))
    assert bench.transcoder.prepare(take, intro, cache, lambda: True)
    take.unlink()
    assert bench.transcoder.prepare(None, later, cache, lambda: True)
    assert list(cache.glob("*.made"))
    assert not list(cache.glob("*.new"))


def test_a_render_that_fails_leaves_nothing_under_the_final_name(bench: Bench, tmp_path: Path) -> None:
    plan = _plan(bench, tmp_path, branded=False)
    plan.takes[1].write_bytes(b"spoilt\n")
    with pytest.raises(Reject):
        bench.transcoder.render(plan, deaf, deaf)
    assert not plan.output.exists()


def test_a_render_that_is_stopped_raises_stopped_and_leaves_nothing(bench: Bench, tmp_path: Path) -> None:
    plan = _plan(bench, tmp_path)
    with pytest.raises(Stopped):
        bench.transcoder.render(plan, deaf, lambda stop: stop())
    assert not plan.output.exists()
    assert not list(tmp_path.glob("*.part"))
