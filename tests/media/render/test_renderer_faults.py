"""What may happen while a video is rendered: stops, kills, faults, full disks, children without an end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ezrec.domain.branding import read_logo_show
from ezrec.domain.errors import Reject, Retry, Stopped
from ezrec.domain.ports import RenderOptions, RenderPlan
from ezrec.media.ffmpeg.runner import Limits, run
from ezrec.media.render.renderer import FfmpegTranscoder
from tests.support import media
from tests.support.rendering import deaf, plan_for, processes_naming, program, written
from tests.support.wait import eventually

ROOT = Path(__file__).parents[3]


@pytest.fixture
def transcoder() -> FfmpegTranscoder:
    return FfmpegTranscoder(bitrate=800_000, preset="ultrafast")


@pytest.fixture
def long_plan(tmp_path: Path) -> RenderPlan:
    take = media.make_take(tmp_path / "long.mp4", seconds=20, size=(640, 360), filters="noise=alls=20:allf=t")
    return plan_for(tmp_path, take, logo=media.make_logo(tmp_path / "l.png"))


def slow() -> FfmpegTranscoder:
    return FfmpegTranscoder(bitrate=800_000, preset="slower")


def test_stopping_leaves_no_child_and_no_half_file(long_plan: RenderPlan) -> None:
    stops: list[Callable[[], None]] = []
    part = long_plan.output.with_name("out.mp4.part")

    def stop_once_it_writes() -> None:
        eventually(part.exists, 10)
        assert len(processes_naming(str(part))) == 1
        stops[0]()

    stopper = threading.Thread(target=stop_once_it_writes)
    stopper.start()
    began = time.monotonic()
    with pytest.raises(Stopped):
        slow().render(long_plan, deaf, stops.append)
    stopper.join()
    assert time.monotonic() - began < 8
    assert len(stops) == 1
    assert processes_naming(str(part)) == []
    assert not part.exists()
    assert not long_plan.output.exists()


def test_a_stop_before_the_start_starts_nothing(long_plan: RenderPlan) -> None:
    with pytest.raises(Stopped):
        slow().render(long_plan, deaf, lambda stop: stop())
    assert "$" not in long_plan.log.read_text()


@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv is what ties a child to its worker")
def test_a_child_dies_with_its_worker(long_plan: RenderPlan, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\n"
        "from ezrec.media.render.renderer import FfmpegTranscoder\n"
        "from ezrec.domain.ports import RenderPlan\n"
        f"d = Path({str(tmp_path)!r})\n"
        "plan = RenderPlan(takes=[d / 'long.mp4'], output=d / 'out.mp4', log=d / 'log', logo=d / 'l.png')\n"
        "FfmpegTranscoder(bitrate=800_000, preset='slower').render(plan, lambda _: None, lambda _: None)\n"
    )
    part = tmp_path / "out.mp4.part"
    worker = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        assert eventually(part.exists, 15)
        assert processes_naming(str(part))
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait(10)
    assert eventually(lambda: not processes_naming(str(part)))


def test_an_exception_in_the_progress_callback_leaves_no_child(long_plan: RenderPlan) -> None:
    def broken(_: float) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        slow().render(long_plan, broken, deaf)
    assert processes_naming(f"{long_plan.output}.part") == []
    assert not long_plan.output.with_name("out.mp4.part").exists()


@pytest.fixture
def plan(tmp_path: Path) -> RenderPlan:
    return plan_for(
        tmp_path, media.make_take(tmp_path / "take.mp4"), logo=media.make_logo(tmp_path / "l.png")
    )


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo '[error] av_interleaved_write_frame(): No space left on device' >&2; exit 1", "disk full"),
        ("echo '[error] out.mp4: Too many open files' >&2; exit 1", "Too many open files"),
        ("exit 1", "it said nothing"),
        ("kill -9 $$", "killed from outside"),
        ("kill -11 $$", r"crashed \(SIGSEGV\)"),
    ],
)
def test_what_goes_wrong_on_the_way_is_tried_again_later(
    script: str, reason: str, plan: RenderPlan, tmp_path: Path
) -> None:
    short = media.make_take(tmp_path / "short.mp4", seconds=1)
    stand_in = program(tmp_path, script.replace("$SHORT", str(short)))
    written(tmp_path / "out.mp4.part", b"left by an earlier try")
    with pytest.raises(Retry, match=reason) as caught:
        FfmpegTranscoder(bitrate=800_000, ffmpeg=stand_in).render(plan, deaf, deaf)
    assert caught.value.blameless == (reason == "disk full")
    assert not plan.output.exists()
    assert not (tmp_path / "out.mp4.part").exists()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            "echo '[mov @ 0x1] [error] it is torn' >&2; echo '[fatal] Conversion failed!' >&2; exit 1",
            "it is torn",
        ),
        ("exit 0", "not sound: out.mp4.part: the file is missing"),
        ('for word; do last=$kept; kept=$word; done; : > "${last#file:}"', "not sound: .* the file is empty"),
        (
            'for word; do last=$kept; kept=$word; done; cp "$SHORT" "${last#file:}"',
            r"lasts 1.00 s where 2.00 s",
        ),
    ],
)
def test_a_whole_encode_that_fails_for_good_is_not_done_again(
    script: str, reason: str, plan: RenderPlan, tmp_path: Path
) -> None:
    """Hours on a Pi: whoever did it three times came to the same end three times."""
    short = media.make_take(tmp_path / "short.mp4", seconds=1)
    stand_in = program(tmp_path, script.replace("$SHORT", str(short)))
    with pytest.raises(Reject, match=reason) as caught:
        FfmpegTranscoder(bitrate=800_000, ffmpeg=stand_in).render(plan, deaf, deaf)
    assert "ffmpeg.log" in caught.value.remedy
    assert not plan.output.exists()
    assert not (tmp_path / "out.mp4.part").exists()


def test_a_child_that_stands_still_is_ended_with_all_it_started(plan: RenderPlan, tmp_path: Path) -> None:
    stand_in = program(tmp_path, "sleep 61.2597 & sleep 61.2597")
    with pytest.raises(Retry, match="no progress for 0"):
        FfmpegTranscoder(bitrate=800_000, ffmpeg=stand_in, idle_s=0.4).render(plan, deaf, deaf)
    assert eventually(lambda: not processes_naming("61.2597"))


def test_a_child_that_has_no_end_is_ended() -> None:
    argv = ["ffmpeg", "-nostdin", "-f", "lavfi", "-i", "anullsrc", "-f", "null", "-"]
    began = time.monotonic()
    with pytest.raises(Retry, match="not done after 1 s"):
        run(argv, Limits(wall_s=1), nice=10, on_output=deaf)
    assert time.monotonic() - began < 3


def test_a_talkative_child_fills_neither_the_disk_nor_a_pipe(plan: RenderPlan, tmp_path: Path) -> None:
    stand_in = program(
        tmp_path, "head -c 20000000 /dev/zero | tr '\\0' 'x' >&2; echo '[error] the end' >&2; exit 1"
    )
    with pytest.raises(Reject, match="the end"):
        FfmpegTranscoder(bitrate=800_000, ffmpeg=stand_in).render(plan, deaf, deaf)
    assert plan.log.stat().st_size <= 1 << 20


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, transcoder: FfmpegTranscoder) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        take = media.make_take(tmp_path / "t.mp4", seconds=4, filters="noise=alls=60:allf=t")
        plan = RenderPlan(takes=[take], output=small / "out.mp4", log=tmp_path / "ffmpeg.log")
        with pytest.raises(Retry, match="disk full") as caught:
            transcoder.render(plan, deaf, deaf)
        assert caught.value.blameless
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)


def test_the_cloud_keys_in_the_environment_do_not_reach_ffmpeg(
    plan: RenderPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPABASE_KEY", "hush")
    stand_in = program(tmp_path, f"env > {tmp_path}/env.txt; exit 1")
    with pytest.raises(Retry):
        FfmpegTranscoder(bitrate=800_000, ffmpeg=stand_in).render(plan, deaf, deaf)
    assert "hush" not in (tmp_path / "env.txt").read_text()


def test_a_rung_that_fails_gives_way_to_the_next_and_is_named(tmp_path: Path) -> None:
    """Only what makes the segments of smart rendering fails here; a whole encoding goes on."""
    stand_in = program(tmp_path, 'case "$*" in *sps-id*) exit 1;; esac; exec ffmpeg "$@"')
    plan = RenderPlan(
        takes=[media.make_take(tmp_path / "t.mp4", seconds=4)], output=tmp_path / "out.mp4",
        log=tmp_path / "log", logo=media.make_logo(tmp_path / "l.png"),
        options=RenderOptions(logo_show=read_logo_show("first:1s")),
        notes=["published without the intro: it is spoilt"],
    )  # fmt: skip
    FfmpegTranscoder(bitrate=800_000, preset="ultrafast", ffmpeg=stand_in).render(plan, deaf, deaf)
    report = json.loads((tmp_path / "processing.json").read_bytes())
    assert report["rung"] == "encode"
    assert any(why.startswith("smart: ") for why in report["why"])
    assert report["left_out"] == ["published without the intro: it is spoilt"]
    assert media.picture_at(plan.output, 0.5).colour(-20, -20) == "lime"


def test_a_media_cache_that_cannot_be_used_costs_no_video(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"not a folder")
    plan = RenderPlan(
        takes=[media.make_take(tmp_path / "t.mp4")], output=tmp_path / "out.mp4", log=tmp_path / "log",
        intro=media.make_intro(tmp_path / "i.mp4"), options=RenderOptions(cache=tmp_path / "cache"),
    )  # fmt: skip
    FfmpegTranscoder(bitrate=800_000, preset="ultrafast").render(plan, deaf, deaf)
    assert json.loads((tmp_path / "processing.json").read_bytes())["rung"] == "copy"
