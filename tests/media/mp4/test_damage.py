"""A take that is damaged on the disk: nothing of it is deleted, and what lies behind the damage is saved."""

from __future__ import annotations

import logging
import os
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ezrec.domain.booking import Booking
from ezrec.domain.branding import Assets
from ezrec.domain.job import OPEN, Job, JobOutcome, Kind, Sound, Take
from ezrec.domain.names import safe_id
from ezrec.domain.ports import Repaired
from ezrec.domain.stages import State
from ezrec.media.mp4 import boxes
from ezrec.media.mp4.repair import repair
from ezrec.media.mp4.samples import read_tracks
from ezrec.media.render.renderer import FfmpegTranscoder
from ezrec.processing.process import process
from ezrec.recording.recovery import recover_takes
from ezrec.spool.found_takes import DIED
from ezrec.spool.spool import Entry, Spool
from ezrec.system.task import Task
from tests.support import media
from tests.support.campaigns import times
from tests.support.pairings import RECORDINGS, recordings
from tests.support.recording import frame_numbers

LOG = logging.getLogger("test.damaged_takes")
START = datetime(2026, 6, 1, 18, 0, tzinfo=UTC)
SECONDS = 8


def make(path: Path, **wishes: object) -> Path:
    """Some MB, with a key frame a second and five fragments a second."""
    noise: dict[str, object] = {"size": (640, 360), "filters": "noise=alls=40:allf=t"}
    return media.make_take(path, seconds=SECONDS, **{**noise, **wishes})  # type: ignore[arg-type]


@pytest.fixture
def take(tmp_path: Path) -> Path:
    return make(tmp_path / "take.mp4")


def indexes(take: Path) -> list[boxes.Box]:
    return [box for box in boxes.top_level(take) if box.type == b"moof"]


def blank(take: Path, offset: int, length: int = 12) -> None:
    with take.open("r+b") as file:
        file.seek(offset)
        file.write(bytes(length))


def picture_s(take: Path) -> float:
    return float(next(track for track in read_tracks(take) if track.kind == b"vide").length_s)


@pytest.mark.parametrize("make", recordings(*(name for name in RECORDINGS if name != "three takes")))
def test_a_sound_take_of_any_make_stays_as_it_is(make: str, tmp_path: Path) -> None:
    for path in RECORDINGS[make](tmp_path):
        before = path.read_bytes()
        found = repair(path)
        assert found.seconds == pytest.approx(picture_s(path), abs=0.001)
        assert (found.holes, found.lead_s) == ((), 0)
        assert path.read_bytes() == before


# ---- a hole in the middle


def test_zeros_anywhere_in_one_fragments_header_cost_that_fragment_and_what_hangs_on_it(
    tmp_path: Path,
) -> None:
    take = make(tmp_path / "t.mp4", size=(320, 180), filters="null")
    data, size = take.read_bytes(), take.stat().st_size
    bad = indexes(take)[13]  # from 2.6 s on; the next key frame is at 3 s
    for offset in range(0, bad.size + 8, 3):
        take.write_bytes(data)
        blank(take, bad.offset + offset)
        found = repair(take)
        assert found.seconds == pytest.approx(SECONDS, abs=0.05), offset
        assert found.lead_s == 0
        assert repair(take) == found, "looked at again it is the same"
        for hole in found.holes:
            assert (hole.begin_s, hole.end_s) == pytest.approx((2.6, 3.0), abs=0.05), offset
            assert hole.is_damage
        assert take.stat().st_size == size, "nothing was cut off"
        boxes.check_whole(take)


def test_what_lies_on_both_sides_of_a_hole_decodes(take: Path) -> None:
    blank(take, indexes(take)[13].offset)
    assert len(repair(take).holes) == 1
    assert len(frame_numbers(take, 640)) == SECONDS * 30 - 12  # with -xerror


def test_many_holes_are_all_covered(take: Path) -> None:
    found = indexes(take)
    for number in (4, 9, 17, 18, 26, 33):
        blank(take, found[number].offset + number)
    holes = repair(take).holes
    assert [round(hole.end_s) for hole in holes] == [1, 2, 4, 6, 7]
    assert len(frame_numbers(take, 640)) < SECONDS * 30 - 30


def test_a_take_that_lost_its_beginning_begins_at_its_next_key_frame(take: Path) -> None:
    blank(take, indexes(take)[0].offset)
    found = repair(take)
    assert found.lead_s == pytest.approx(1, abs=0.01)
    assert found.seconds == pytest.approx(SECONDS - 1, abs=0.05)
    assert found.holes == ()


def test_a_length_that_swallows_what_follows_is_not_believed(take: Path) -> None:
    first, second = indexes(take)[10:12]
    media_at = first.end
    with take.open("r+b") as file:
        file.seek(media_at)
        file.write(struct.pack(">I", take.stat().st_size - media_at))
    (hole,) = repair(take).holes
    assert (hole.begin_s, hole.end_s) == pytest.approx((2.0, 3.0), abs=0.05)
    assert second.offset > media_at


@pytest.mark.parametrize("time", [0, 1 << 40, (1 << 64) - 1])
def test_a_time_that_is_none_costs_its_own_fragment_alone(take: Path, time: int) -> None:
    data = take.read_bytes()
    at = data.index(b"tfdt", indexes(take)[22].offset) + 8
    take.write_bytes(data[:at] + struct.pack(">Q", time) + data[at + 8 :])
    (hole,) = repair(take).holes
    assert (hole.begin_s, hole.end_s) == pytest.approx((4.4, 5.0), abs=0.05)


def test_a_hole_before_the_last_64_mib_is_mended_as_well(tmp_path: Path) -> None:
    take = media.make_take(
        tmp_path / "large.mp4", seconds=8, size=(1280, 720), filters="noise=alls=90:allf=t"
    )
    bad = indexes(take)[2]
    assert take.stat().st_size - bad.offset > 64 << 20
    blank(take, bad.offset)
    found = repair(take)
    assert found.seconds == pytest.approx(8, abs=0.05)
    assert len(found.holes) == 1


def test_a_tail_longer_than_any_torn_one_is_covered_and_not_cut_off(take: Path) -> None:
    before = take.stat().st_size
    with take.open("ab") as file:
        file.write(b"x" * 100)
        file.truncate(before + (65 << 20))
    assert repair(take).seconds == pytest.approx(SECONDS, abs=0.05)
    assert take.stat().st_size == before + (65 << 20)
    boxes.check_whole(take)


def test_damage_in_a_camera_without_further_key_frames_gives_up_no_more_than_its_fragment(
    tmp_path: Path,
) -> None:
    take = make(tmp_path / "t.mp4", size=(320, 180), filters="null")
    data = bytearray(take.read_bytes())
    for moof in indexes(take)[1:]:  # as an encoder that refreshes line by line: no picture is a key
        at = data.index(b"trun", moof.offset) + 12
        flags = int.from_bytes(data[at - 8 : at - 4], "big")
        if flags & 4:
            data[at + 4 : at + 8] = (0x01010000).to_bytes(4, "big")
    take.write_bytes(data)
    blank(take, indexes(take)[13].offset)
    found = repair(take)
    assert found.seconds == pytest.approx(SECONDS, abs=0.05)


def test_no_damage_at_any_place_costs_more_than_the_pictures_that_hang_on_it(tmp_path: Path) -> None:
    take = make(tmp_path / "t.mp4", size=(320, 180), filters="null")
    data, chance = take.read_bytes(), random.Random(12)
    header = indexes(take)[0].offset
    for _ in range(times(100, 400)):
        spoilt = bytearray(data)
        at, length = chance.randrange(header, len(data)), chance.choice((1, 4, 12, 64))
        flipped = bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 : at + length]
        spoilt[at : at + length] = chance.choice((bytes(length), chance.randbytes(length), flipped))
        take.write_bytes(spoilt)
        found = repair(take)
        assert found.seconds is not None
        missing_s = SECONDS - found.seconds + sum(hole.end_s - hole.begin_s for hole in found.holes)
        assert -0.3 < missing_s < 1.3, (at, spoilt[at : at + length].hex())
        assert repair(take) == found
        boxes.check_whole(take)


def test_damage_at_many_places_never_makes_nothing_of_a_take(tmp_path: Path) -> None:
    take = make(tmp_path / "t.mp4", size=(320, 180), filters="null")
    data, chance = take.read_bytes(), random.Random(12)
    header = indexes(take)[0].offset
    for _ in range(times(30, 100)):
        spoilt = bytearray(data)
        for _ in range(5):
            at, length = chance.randrange(header, len(data)), chance.choice((1, 4, 12, 200))
            spoilt[at : at + length] = chance.choice((bytes(length), chance.randbytes(length)))
        take.write_bytes(spoilt)
        found = repair(take)
        assert found.seconds is None or found.seconds > SECONDS / 3
        assert repair(take) == found
    for _ in range(times(20, 50)):
        spoilt = bytearray(data)
        at = chance.randrange(0, header)
        spoilt[at : at + 12] = chance.randbytes(12)
        take.write_bytes(spoilt)
        assert not repair(take).is_nothing, "its header alone is damaged"


# ---- seconds, nothing, or unknown


@pytest.mark.parametrize(
    "content",
    [
        lambda data, head: b"",
        lambda data, head: bytes(300_000),
        lambda data, head: data[: head - 100],
        lambda data, head: data[:head],
        lambda data, head: data[:head] + bytes(300_000),
        lambda data, head: data[: head + 50],
        lambda data, head: data[: head + 3000],
        lambda data, head: data[: head + 3],
    ],
    ids=["empty", "blank", "half a header", "a header", "and zeros", "half an index", "and media", "a sign"],
)
def test_nothing_is_said_of_what_holds_no_picture(take: Path, content: Callable[[bytes, int], bytes]) -> None:
    take.write_bytes(content(take.read_bytes(), indexes(take)[0].offset))
    assert repair(take).is_nothing


@pytest.mark.parametrize(
    "content",
    [
        lambda data, head: bytes(4096) + data[4096:],
        lambda data, head: data[head:],
        lambda data, head: b"x" * 5000,
        lambda data, head: data[: head + 8] + bytes(12) + data[head + 20 : data.index(b"moof", head + 8) - 4],
        lambda data, head: data[:40] + bytes(12) + data[52:],
    ],
    ids=["a blank page in front", "no header", "rubbish", "one damaged fragment", "a damaged header"],
)
def test_what_cannot_be_read_is_unknown_and_stays_as_it_is(
    take: Path, content: Callable[[bytes, int], bytes]
) -> None:
    take.write_bytes(content(take.read_bytes(), indexes(take)[0].offset))
    before = take.read_bytes()
    found = repair(take)
    assert not found.is_nothing
    if found.seconds is None:
        assert found.why
        assert take.read_bytes() == before


def test_a_take_for_which_there_is_no_memory_is_unknown_and_read_later(
    take: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def starved(searcher: object) -> None:
        raise MemoryError

    monkeypatch.setattr("ezrec.media.mp4.damage.Searcher.walk", starved)
    found = repair(take)
    assert (found.seconds, found.is_nothing, found.may_pass) == (None, False, True)


def test_a_file_that_lies_elsewhere_too_is_measured_and_never_changed(take: Path) -> None:
    blank(take, indexes(take)[13].offset)
    (take.parent / "elsewhere.mp4").hardlink_to(take)
    before = take.read_bytes()
    assert repair(take).seconds is None
    assert take.read_bytes() == before


def test_a_spool_that_is_away_says_nothing_of_its_takes(tmp_path: Path) -> None:
    assert repair(tmp_path / "gone" / "take.mp4").seconds is None
    assert repair(tmp_path / "take.mp4").is_nothing


# ---- the recorder's stock


def an_entry(tmp_path: Path, *takes: Take, state: State = State.RECORDING) -> Entry:
    spool = Spool(tmp_path / "spool")
    spool.prepare()
    booking = Booking(safe_id("match"), START, START + timedelta(seconds=SECONDS))
    job = Job(booking.id, Kind.BOOKING, START, booking, takes=takes)
    return spool.claim(spool.create(State.INCOMING, job), state)


def an_open(name: str = "raw_match_20260601_180000.mp4", **more: object) -> Take:
    return Take(name, START, 0.0, 0, OPEN, **more)  # type: ignore[arg-type]


def test_a_take_with_a_hole_is_kept_and_its_hole_stands_in_the_record(tmp_path: Path) -> None:
    entry = an_entry(tmp_path, an_open())
    path = make(entry.path / "raw_match_20260601_180000.mp4")
    blank(path, indexes(path)[13].offset)
    recover_takes(entry, repair, LOG)
    (take,) = entry.job.takes
    assert take.ended_by == DIED
    assert take.duration_s == pytest.approx(SECONDS, abs=0.05)
    (hole,) = take.holes
    assert (hole.start - START).total_seconds() == pytest.approx(2.6, abs=0.05)
    assert hole.length_s == pytest.approx(0.4, abs=0.05)


def test_a_take_that_cannot_be_read_stays_open_and_is_read_the_next_time(tmp_path: Path) -> None:
    entry = an_entry(tmp_path, an_open())
    path = make(entry.path / "raw_match_20260601_180000.mp4")
    known = entry.job
    recover_takes(entry, lambda _: Repaired(None, why="too many open files", may_pass=True), LOG)
    assert path.exists()
    assert entry.job == known
    recover_takes(entry, repair, LOG)
    assert entry.job.takes[0].duration_s == pytest.approx(SECONDS, abs=0.05)


def test_without_descriptors_no_take_is_deleted(tmp_path: Path) -> None:
    """EMFILE at a restart: in a process of its own, which has none left."""
    entry = an_entry(tmp_path, an_open())
    path = make(entry.path / "raw_match_20260601_180000.mp4")
    script = (
        "import logging, os, resource, sys\n"
        "from pathlib import Path\n"
        "from ezrec.media.mp4.repair import repair\n"
        "from ezrec.domain.stages import State\n"
        "from ezrec.recording.recovery import recover_takes\n"
        "from ezrec.spool.spool import Spool\n"
        "entry = Spool(Path(sys.argv[1])).read(State.RECORDING, 'match')\n"
        "logging.disable()\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\n"
        "recover_takes(entry, repair, logging.getLogger())\n"
        "print(entry.job.takes[0].ended_by)\n"
    )
    argv = [sys.executable, "-c", script, str(tmp_path / "spool")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == f"{OPEN}\n", done.stderr
    assert path.exists()


def test_a_take_without_a_picture_goes(tmp_path: Path) -> None:
    entry = an_entry(tmp_path, an_open())
    (entry.path / "raw_match_20260601_180000.mp4").write_bytes(bytes(9000))
    recover_takes(entry, repair, LOG)
    assert entry.job.takes == ()
    assert not list(entry.path.glob("*.mp4"))


def test_sound_that_cannot_be_read_stays_in_the_record(tmp_path: Path) -> None:
    entry = an_entry(tmp_path, an_open(sound=(Sound("raw_match_20260601_180000.1.m4a", 0.2, ended_by=OPEN),)))
    make(entry.path / "raw_match_20260601_180000.mp4", size=(320, 180), filters="null")
    sound = entry.path / "raw_match_20260601_180000.1.m4a"
    sound.write_bytes(os.urandom(9000))
    recover_takes(entry, repair, LOG)
    assert [one.file for one in entry.job.takes[0].sound] == [sound.name]


# ---- the video


@pytest.fixture
def transcoder() -> FfmpegTranscoder:
    return FfmpegTranscoder(bitrate=2_000_000, preset="ultrafast")


def finished(entry: Entry, transcoder: FfmpegTranscoder) -> Path:
    process(
        entry, Task(), transcoder=transcoder, assets=lambda: Assets(is_known=True), repair=repair, log=LOG
    )  # fmt: skip
    assert entry.job.result is not None
    return entry.path / entry.job.result.file


def test_the_video_shows_both_sides_and_its_notes_and_the_job_name_the_gap(
    tmp_path: Path, transcoder: FfmpegTranscoder
) -> None:
    known = replace(an_open(), duration_s=float(SECONDS), ended_by="")
    entry = an_entry(tmp_path, known, state=State.PROCESSING)
    entry.update(recording=JobOutcome.RECORDED, coverage_pct=100.0)
    path = make(entry.path / known.file)
    blank(path, indexes(path)[10].offset)  # 2.0 to 3.0 s
    made = finished(entry, transcoder)
    assert picture_s(made) == pytest.approx(SECONDS, abs=0.1)
    assert media.frames(made) == SECONDS * 30 - 30
    result = entry.job.result
    assert result is not None
    assert result.notes == (f"{known.file}: damaged on the disk: 1.0 s missing at 0:00:02",)
    (gap,) = entry.job.gaps
    assert ((gap.start - START).total_seconds(), gap.length_s) == pytest.approx((2.0, 1.0), abs=0.05)
    assert entry.job.recording is JobOutcome.PARTIAL
    assert entry.job.coverage_pct == pytest.approx(100 - 100 / SECONDS, abs=1)


def test_a_take_that_nobody_could_measure_is_measured_before_its_video_is_made(
    tmp_path: Path, transcoder: FfmpegTranscoder
) -> None:
    entry = an_entry(tmp_path, an_open(), state=State.PROCESSING)
    entry.update(recording=JobOutcome.PARTIAL, coverage_pct=0.0)
    path = make(entry.path / "raw_match_20260601_180000.mp4", size=(320, 180), filters="null")
    with path.open("ab") as file:
        file.write(struct.pack(">I4s", 50_000, b"mdat"))
    finished(entry, transcoder)
    (take,) = entry.job.takes
    assert take.ended_by == DIED
    assert entry.job.coverage_pct == pytest.approx(100, abs=1)
    assert entry.job.recording is JobOutcome.RECORDED


def test_a_lost_beginning_moves_the_take_once(tmp_path: Path, transcoder: FfmpegTranscoder) -> None:
    known = replace(an_open(), duration_s=float(SECONDS), ended_by="")
    entry = an_entry(tmp_path, known, state=State.PROCESSING)
    entry.update(recording=JobOutcome.RECORDED, coverage_pct=100.0)
    path = make(entry.path / known.file, size=(320, 180), filters="null")
    blank(path, indexes(path)[0].offset)
    for _ in range(2):
        finished(entry, transcoder)
        (take,) = entry.job.takes
        assert (take.started - START).total_seconds() == pytest.approx(1, abs=0.05)
        assert take.duration_s == pytest.approx(SECONDS - 1, abs=0.05)
