"""Zeros in the last fragments, which a power cut leaves where data never reached the disk, are cut off."""

from __future__ import annotations

from pathlib import Path

import pytest

from ezrec.media.mp4.boxes import check_whole
from ezrec.media.mp4.repair import repair
from ezrec.media.mp4.samples import read_tracks
from tests.support import media
from tests.support.recording import frame_numbers

PAGE = 4096


@pytest.fixture
def take(tmp_path: Path) -> Path:
    """Twelve seconds, of which each frame is larger than a page or two."""
    return media.make_take(tmp_path / "take.mp4", seconds=12, size=(640, 360), filters="noise=alls=40:allf=t")


def blank(take: Path, frame: int, length: int) -> None:
    """As if the pages that hold this frame had never been written."""
    track = next(track for track in read_tracks(take) if track.kind == b"vide")
    with take.open("r+b") as file:
        file.seek(track.offsets[frame] + track.sizes[frame] // 2)
        file.write(bytes(length))


def frames(take: Path) -> int:
    return len(next(track for track in read_tracks(take) if track.kind == b"vide"))


def test_a_take_that_was_written_whole_stays_as_it_is(take: Path) -> None:
    before = take.read_bytes()
    assert repair(take).seconds == pytest.approx(12, abs=0.05)
    assert take.read_bytes() == before


@pytest.mark.parametrize("length", [16, PAGE, 3 * PAGE])
def test_an_unwritten_tail_is_cut_off_and_the_rest_decodes(take: Path, length: int) -> None:
    all_frames = frames(take)
    blank(take, all_frames - 20, length)
    seconds = repair(take).seconds
    assert seconds is not None
    assert 11 < seconds < 12 - 20 / 30 + 0.01
    assert frames(take) == round(seconds * 30) < all_frames - 19
    assert len(frame_numbers(take, 640)) == frames(take)  # decodes with -xerror
    assert repair(take).seconds == seconds


def test_a_take_torn_anywhere_is_cut_at_its_last_whole_fragment_and_plays(tmp_path: Path) -> None:
    whole = media.make_take(tmp_path / "whole.mp4", seconds=2, audio=True).read_bytes()
    torn = tmp_path / "torn.mp4"
    counts = []
    for part in (0.3, 0.5, 0.7, 0.9, 0.99):
        torn.write_bytes(whole[: int(len(whole) * part)])
        assert repair(torn).seconds
        check_whole(torn)
        counts.append(media.frames(torn))
        assert counts[-1] == media.count_samples(torn, 1)
    assert counts == sorted(counts)
    assert counts[-1] >= 50


def test_zeros_with_footage_behind_them_cost_no_footage(take: Path) -> None:
    blank(take, 60, PAGE)
    size = take.stat().st_size
    assert repair(take).seconds == pytest.approx(12, abs=0.05)
    assert take.stat().st_size == size
