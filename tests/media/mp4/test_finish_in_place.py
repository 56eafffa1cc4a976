"""A recording in fragments gets one index without a byte of it being moved, and is whole at every moment."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ezrec.media.mp4 import boxes
from ezrec.media.mp4.finish_in_place import give_index
from ezrec.media.mp4.repair import repair
from ezrec.media.mp4.samples import NotSimple
from tests.support import media, videos

ROOT = Path(__file__).parents[3]
TAKES: dict[str, Callable[[Path], Path]] = {
    "the software camera's": lambda path: videos.software_take(path, audio=True),
    "without sound": videos.software_take,
    "with another's header": lambda path: videos.pyav_take(path, fragmented=True),
}


@pytest.mark.parametrize(
    "make", [pytest.param("with another's header", marks=videos.needs_pyav), *list(TAKES)[:2]]
)
def test_it_is_the_same_video_with_one_index(make: str, tmp_path: Path) -> None:
    take = TAKES[make](tmp_path / "t.mp4")
    before = {kind: videos.packets(take, kind) for kind in "va"}
    shown, size = videos.pictures(take), take.stat().st_size
    added = give_index(take)
    assert take.stat().st_size == size + added
    assert added < size / 4
    assert [box.type for box in boxes.top_level(take)] == [b"ftyp", b"mdat", b"moov"]
    assert not boxes.is_fragmented(take)
    after = {kind: videos.packets(take, kind) for kind in "va"}
    for kind in "va":
        assert [one.digest for one in after[kind]] == [one.digest for one in before[kind]]
        assert [one.at for one in after[kind]] == pytest.approx([one.at for one in before[kind]], abs=2e-3)
    assert videos.pictures(take) == shown
    assert give_index(take) == 0, "it may be run again"


def sounding(path: Path, delay: float) -> Path:
    """The sound begins so much later than the picture, or earlier."""
    whole = videos.software_take(path.with_suffix(".whole.mp4"), audio=True)
    offsets = ("-itsoffset", str(delay), "-i", str(whole)) if delay > 0 else ("-i", str(whole))
    first = ("-itsoffset", str(-delay), "-i", str(whole)) if delay < 0 else ("-i", str(whole))
    argv = ["ffmpeg", "-v", "error", "-y", *first, *offsets, "-map", "0:v", "-map", "1:a", "-c", "copy"]
    subprocess.run([*argv, *media.FRAGMENTED, str(path)], check=True, timeout=60)
    return path


@pytest.mark.parametrize("delay", [0.5, -0.5])
def test_sound_stays_where_it_was_against_the_picture(delay: float, tmp_path: Path) -> None:
    take = sounding(tmp_path / "t.mp4", delay)

    def apart() -> float:
        return videos.packets(take, "a")[10].at - videos.packets(take)[0].at

    before = apart()
    give_index(take)
    assert not boxes.is_fragmented(take)
    assert apart() == pytest.approx(before, abs=2e-3)


def test_what_a_kill_left_is_whole_and_is_done_at_the_next_try(tmp_path: Path) -> None:
    """Killed in every write of it: before, between and behind the index and the sixteen bytes."""
    whole = videos.software_take(tmp_path / "whole.mp4")
    shown, take = videos.pictures(whole), tmp_path / "t.mp4"
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from ezrec.media.mp4 import finish_in_place as mp4inplace\n"
        "left, real = int(sys.argv[2]), os.pwrite\n"
        "def pwrite(fd, data, offset):\n"
        "    global left\n"
        "    left -= 1\n"
        "    if left < 0:\n"
        "        real(fd, data[: len(data) // 2], offset) if len(data) > 16 else None\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return real(fd, data, offset)\n"
        "os.pwrite = pwrite\n"
        "mp4inplace.give_index(Path(sys.argv[1]))\n"
    )
    ended = []
    for writes in range(3):
        shutil.copyfile(whole, take)
        argv = [sys.executable, "-c", code, str(take), str(writes)]
        done = subprocess.run(argv, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60)
        ended.append(done.returncode)
        repair(take)
        assert videos.pictures(take) == shown
        give_index(take)
        assert [box.type for box in boxes.top_level(take)] == [b"ftyp", b"mdat", b"moov"]
        assert videos.pictures(take) == shown
    assert ended == [-signal.SIGKILL, -signal.SIGKILL, 0]


def test_without_room_for_the_index_it_is_as_it_was(tmp_path: Path) -> None:
    take = videos.software_take(tmp_path / "t.mp4")
    before = take.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, hard))
    try:
        with pytest.raises(OSError) as fault:  # noqa: PT011 - which one is asked below
            give_index(take)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert fault.value.errno == errno.EFBIG
    assert take.read_bytes() == before


def test_what_is_not_the_cameras_own_is_left_as_it_is(tmp_path: Path) -> None:
    take = videos.b_frame_take(tmp_path / "b.mp4")
    argv = ["ffmpeg", "-v", "error", "-y", "-i", str(take), "-c", "copy", *media.FRAGMENTED]
    subprocess.run([*argv, str(tmp_path / "f.mp4")], check=True, timeout=60)
    linked = videos.software_take(tmp_path / "t.mp4")
    os.link(linked, tmp_path / "again.mp4")
    for path, why in ((tmp_path / "f.mp4", "B-frames"), (linked, "elsewhere")):
        before = path.read_bytes()
        with pytest.raises(NotSimple, match=why):
            give_index(path)
        assert path.read_bytes() == before
