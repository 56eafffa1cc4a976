"""A file is looked at once, by its own tables where it is a camera's, and again when it has changed."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ezrec.domain.errors import Reject, Retry
from ezrec.media.ffmpeg import native_probe
from ezrec.media.ffmpeg.inputs import INTRO, TAKE
from ezrec.media.ffmpeg.probe import Media, inspect
from ezrec.media.ffmpeg.probe_cache import ProbeCache
from ezrec.media.ffmpeg.tools import Tools
from ezrec.media.mp4 import repair
from ezrec.media.render.renderer import FfmpegTranscoder
from tests.support import media, videos
from tests.support.pairings import RECORDINGS, recordings

LONG_AGO = 1_000_000_000


@pytest.mark.parametrize("make", recordings(*RECORDINGS))
def test_a_recordings_own_tables_say_what_ffprobe_says(make: str, tmp_path: Path) -> None:
    for take in RECORDINGS[make](tmp_path):
        repair.repair(take)
        asked, read = inspect(TAKE, take, ffprobe="ffprobe", nice=0), native_probe.described(take)
        assert read
        assert read.info.duration_s == pytest.approx(asked.info.duration_s, abs=2e-6)
        assert replace(read, info=asked.info) == asked
        assert replace(read.info, duration_s=asked.info.duration_s) == asked.info


@pytest.mark.parametrize(
    "make",
    [
        lambda d: videos.b_frame_take(d / "b.mp4"),
        lambda d: media.make_intro(d / "h.mp4", codec="libx265"),
        lambda d: media.make_intro(d / "r.mp4", quarter_turns=1),
    ],
)
def test_what_is_not_plainly_a_cameras_file_is_left_to_ffprobe(make: object, tmp_path: Path) -> None:
    assert callable(make)
    assert native_probe.described(make(tmp_path)) is None


def without_ffprobe(cache: Path | None = None) -> Tools:
    return Tools(
        "no-ffmpeg", "no-ffprobe", 0, 800_000, "ultrafast", 60.0, probe_cache=ProbeCache(cache, young_s=0)
    )


def with_ffprobe(cache: Path) -> Tools:
    return Tools("ffmpeg", "ffprobe", 0, 800_000, "ultrafast", 60.0, probe_cache=ProbeCache(cache, young_s=0))


def test_a_cameras_take_needs_no_ffprobe_and_a_plain_file_from_elsewhere_does(tmp_path: Path) -> None:
    take, plain = videos.software_take(tmp_path / "t.mp4"), tmp_path / "plain.mp4"
    media.make_take(plain, fragmented=False)
    assert without_ffprobe().inspect(TAKE, take).info.frames == 60
    with pytest.raises(Retry, match="no-ffprobe is not installed"):
        without_ffprobe().inspect(TAKE, plain)


def test_a_link_to_a_take_is_refused_however_it_is_looked_at(tmp_path: Path) -> None:
    videos.software_take(tmp_path / "t.mp4")
    (tmp_path / "link.mp4").symlink_to("t.mp4")
    with pytest.raises(Reject, match="cannot be opened"):
        without_ffprobe().inspect(TAKE, tmp_path / "link.mp4")


def test_an_asset_is_looked_at_again_only_when_it_has_changed(tmp_path: Path) -> None:
    lead, cache = media.make_intro(tmp_path / "i.mp4"), tmp_path / "cache"
    first = with_ffprobe(cache).inspect(INTRO, lead)
    assert first == inspect(INTRO, lead, ffprobe="ffprobe", nice=0)
    assert without_ffprobe(cache).inspect(INTRO, lead) == first  # another process, and no program to ask
    os.utime(lead, (LONG_AGO, LONG_AGO))
    with pytest.raises(Retry, match="not installed"):
        without_ffprobe(cache).inspect(INTRO, lead)


def test_a_check_that_was_passed_is_not_repeated_and_one_that_failed_is(tmp_path: Path) -> None:
    (tmp_path / "i").write_bytes(b"x")
    verdicts = ["no", "yes"]

    def check() -> None:
        if verdicts.pop(0) == "no":
            raise Reject("no intro", "another")

    with pytest.raises(Reject):
        ProbeCache(tmp_path / "cache", young_s=0).once("intro", tmp_path / "i", check)
    for _ in range(2):
        ProbeCache(tmp_path / "cache", young_s=0).once("intro", tmp_path / "i", check)
    with pytest.raises(IndexError):
        ProbeCache(tmp_path / "cache", young_s=0).once("logo", tmp_path / "i", check)


def test_a_refused_asset_is_refused_each_time(tmp_path: Path) -> None:
    (tmp_path / "i.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(100))
    transcoder = FfmpegTranscoder(bitrate=800_000, cache=tmp_path / "cache")
    for _ in range(2):
        with pytest.raises(Reject):
            transcoder.check_asset("intro", tmp_path / "i.mp4")


def test_what_was_kept_and_is_spoilt_is_looked_at_again(tmp_path: Path) -> None:
    lead, cache = media.make_intro(tmp_path / "i.mp4"), tmp_path / "cache"
    first = with_ffprobe(cache).inspect(INTRO, lead)
    for spoilt in (b"", b"{}", b'{"rate": [1, 0]}', b'{"digest": 7}'):
        for kept in cache.glob("*.look"):
            kept.write_bytes(spoilt)
        assert with_ffprobe(cache).inspect(INTRO, lead) == first


def test_a_file_written_to_a_moment_ago_is_not_remembered(tmp_path: Path) -> None:
    lead, seen = tmp_path / "i", ProbeCache(tmp_path / "cache")
    lead.write_bytes(b"one")
    first = seen.digest(lead)
    assert first == seen.digest(lead)
    assert not (tmp_path / "cache").exists()


def test_few_looks_are_kept(tmp_path: Path) -> None:
    seen = ProbeCache(tmp_path / "cache", young_s=0, most=3)
    for number in range(6):
        (tmp_path / str(number)).write_bytes(b"x")
        seen.digest(tmp_path / str(number))
    assert len(list((tmp_path / "cache").iterdir())) == 3


def test_the_tables_of_a_video_are_forgotten_when_it_is_made(tmp_path: Path) -> None:
    seen = ProbeCache()
    media_seen = inspect(TAKE, videos.software_take(tmp_path / "t.mp4"), ffprobe="ffprobe", nice=0)
    asked = list[Media]()

    def look() -> Media:
        asked.append(media_seen)
        return media_seen

    for _ in range(2):
        seen.have(TAKE, tmp_path / "t.mp4", look)
    seen.forget()
    seen.have(TAKE, tmp_path / "t.mp4", look)
    assert len(asked) == 2
