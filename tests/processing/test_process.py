"""The handler that makes the finished video: over a fake transcoder, and a few times over FFmpeg."""

from __future__ import annotations

import errno
import json
import logging
import os
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ezrec.domain.branding import Assets
from ezrec.domain.errors import Reject, Retry, Stopped, disk_full
from ezrec.domain.job import Job, Kind, Sound, Take
from ezrec.domain.names import safe_id
from ezrec.domain.outcomes import Done
from ezrec.domain.ports import PARTS, RenderPlan, Transcoder
from ezrec.domain.stages import State
from ezrec.media.ffmpeg.audio_mux import AudioMuxer
from ezrec.media.ffmpeg.trim import trim
from ezrec.media.mp4 import boxes
from ezrec.media.mp4.finish_in_place import give_index
from ezrec.media.mp4.repair import repair
from ezrec.media.render.renderer import FfmpegTranscoder
from ezrec.processing import before_window
from ezrec.processing.process import FOUND, process
from ezrec.spool.spool import Entry, Spool
from ezrec.system.task import Task
from tests.fakes.transcoder import FakeTranscoder, footage, made_of
from tests.media.render.test_trimmed_clips import colours, filmed
from tests.support import media

START = datetime(2026, 6, 1, 18, 0, tzinfo=UTC)
NO_BRANDING = Assets(is_known=True)


@dataclass
class Bench:
    """A spool, and the handler over one transcoder."""

    spool: Spool
    folder: Path
    transcoder: Transcoder

    def job(self, *lengths: float, job_id: str = "match") -> Entry:
        """An entry in hand, with a take of each length, two minutes apart."""
        takes = []
        for n, _ in enumerate(lengths):
            started = START + timedelta(minutes=2 * n)
            takes.append(Take(f"raw_{job_id}_{started:%Y%m%d_%H%M%S}.mp4", started, 0.0, 0, "end of window"))
        job = Job(safe_id(job_id), Kind.BOOKING, START, takes=tuple(takes))
        entry = self.spool.claim(self.spool.create(State.RAW, job), State.PROCESSING)
        make = footage if isinstance(self.transcoder, FakeTranscoder) else media.make_take
        for take, seconds in zip(takes, lengths, strict=True):
            make(entry.path / take.file, seconds)
        entry.update(attempts={"process": 1})
        return entry

    def branding(self, name: str = "club") -> Assets:
        intro, logo = self.folder / f"{name}.mp4", self.folder / f"{name}.png"
        if isinstance(self.transcoder, FakeTranscoder):
            return Assets(True, footage(intro, 3.0), footage(logo, 0.0))
        return Assets(True, media.make_intro(intro), media.make_logo(logo))

    def process(
        self,
        entry: Entry,
        assets: Assets = NO_BRANDING,
        task: Task | None = None,
        is_short: Callable[[], bool] = lambda: False,
        give_index: Callable[[Path], int] = lambda path: 0,
    ) -> Done:
        return process(
            entry,
            task or Task(),
            transcoder=self.transcoder,
            assets=lambda: assets,
            repair=repair,
            log=logging.getLogger("ezrec.video_worker"),
            is_short=is_short,
            give_index=give_index,
            trim=trim,
            mux_audio=AudioMuxer().mux,
        )

    @property
    def fake(self) -> FakeTranscoder:
        assert isinstance(self.transcoder, FakeTranscoder)
        return self.transcoder


def _bench(folder: Path, transcoder: Transcoder) -> Bench:
    spool = Spool(folder / "spool")
    spool.prepare()
    return Bench(spool, folder, transcoder)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return _bench(tmp_path, FakeTranscoder())


@pytest.fixture
def real(tmp_path: Path) -> Bench:
    return _bench(tmp_path, FfmpegTranscoder(bitrate=400_000, preset="ultrafast"))


def _result(entry: Entry) -> Path:
    assert entry.job.result is not None
    return entry.path / entry.job.result.file


# ---- what is made


def test_the_video_is_named_after_the_first_take_and_holds_all_of_them(bench: Bench) -> None:
    entry = bench.job(2.0, 3.0)
    assert bench.process(entry) == Done()
    made = _result(entry)
    assert made.name == "processed_raw_match_20260601_180000.mp4"
    assert made_of(made)["takes"] == [take.file for take in entry.job.takes]
    assert entry.job.result is not None
    assert entry.job.result.duration_s == 5
    assert entry.job.result.size == made.stat().st_size
    assert entry.job.result.intro_s == 0
    assert [take.duration_s for take in entry.job.takes] == [2, 3]


def test_intro_and_logo_go_into_it(bench: Bench) -> None:
    entry = bench.job(2.0)
    bench.process(entry, bench.branding())
    assert made_of(_result(entry))["intro"] == "club.mp4"
    assert made_of(_result(entry))["logo"] == "club.png"
    assert entry.job.result is not None
    assert entry.job.result.intro_s == pytest.approx(3)
    assert entry.job.result.notes == ()


def test_with_real_media_the_intro_comes_first_and_the_logo_lies_on_the_recording(real: Bench) -> None:
    entry = real.job(1.0, 1.0)
    real.process(entry, real.branding())
    result = entry.job.result
    assert result is not None
    assert result.duration_s == pytest.approx(3, abs=0.15)
    assert result.intro_s == pytest.approx(1, abs=0.15)
    made = _result(entry)
    assert media.picture_at(made, 0.5).colour(160, 90) == "red"
    assert media.picture_at(made, 0.5).colour(-20, -20) == "red"
    assert media.picture_at(made, 2.5).colour(160, 90) == "blue"
    assert media.picture_at(made, 2.5).colour(-20, -20) == "lime"


def _before_and_after(bench: Bench, early_s: float) -> Entry:
    """Two seconds of red, of the time before the booking, then two of yellow; one key frame, at the start."""
    entry = bench.job(4)
    (take,) = entry.job.takes
    (entry.path / take.file).unlink()
    video = filmed(bench.folder / "video.mp4", "red", "yellow")
    command = ["ffmpeg", "-v", "error", "-i", str(video), "-an", "-c", "copy", *media.FRAGMENTED]
    subprocess.run([*command, str(entry.path / take.file)], check=True, timeout=60)
    entry.update(takes=(replace(take, early_s=early_s),))
    return entry


@pytest.mark.parametrize("logo", [False, True])
@pytest.mark.parametrize("is_short", [False, True])
def test_what_a_take_shows_of_the_time_before_its_window_is_not_in_the_video(
    real: Bench, monkeypatch: pytest.MonkeyPatch, logo: bool, is_short: bool
) -> None:
    monkeypatch.setattr(before_window, "MOST_S", 1.0)
    entry = _before_and_after(real, early_s=2.0)
    footage = (entry.path / entry.job.takes[0].file).read_bytes()
    branding = replace(real.branding(), intro=None) if logo else NO_BRANDING
    real.process(entry, branding, is_short=lambda: is_short)
    assert set(colours(_result(entry))) == {"yellow"}
    assert entry.job.result is not None
    assert entry.job.result.duration_s == pytest.approx(2, abs=0.1)
    assert (entry.path / entry.job.takes[0].file).read_bytes() == footage
    assert not list(entry.path.glob(".trimmed*"))


def test_what_is_usual_before_a_window_is_not_worth_encoding_the_video(real: Bench) -> None:
    entry = _before_and_after(real, early_s=2.0)
    real.process(entry)
    assert set(colours(_result(entry))) == {"red", "yellow"}
    assert '"rung": "copy"' in (entry.path / "processing.json").read_text()


def test_the_sound_of_a_take_stays_with_its_picture_where_its_beginning_is_left_out() -> None:
    sound = Sound("raw_m.1.m4a", 0.4, 9.0, 9.0, 100)
    take = Take("raw_m.mp4", START, 10.0, 100, sound=(sound,), early_s=4.0)
    shown = before_window.without_beginning(take, "other.mp4")
    assert (shown.duration_s, shown.early_s, shown.sound[0].offset_s) == (6.0, 0.0, -3.6)


def test_a_torn_tail_is_cut_and_what_is_behind_it_is_not_lost(real: Bench) -> None:
    entry = real.job(1.0, 1.0)
    torn = entry.path / entry.job.takes[0].file
    whole = torn.read_bytes()
    torn.write_bytes(whole + (90_000).to_bytes(4, "big") + b"mdat" + b"\0" * 300)
    real.process(entry)
    assert torn.read_bytes() == whole
    assert media.frames(_result(entry)) == 60


@pytest.mark.parametrize("ended_by", ["dropped in", "put in", FOUND, "of the older EZREC"])
def test_a_torn_video_that_somebody_else_has_written_is_refused_byte_for_byte(
    real: Bench, ended_by: str
) -> None:
    entry = real.job(1.0, 1.0)
    kind = Kind.BOOKING if ended_by == FOUND else Kind.CLIP
    entry.update(takes=tuple(replace(take, ended_by=ended_by) for take in entry.job.takes))
    entry.job = replace(entry.job, kind=kind)
    torn = entry.path / entry.job.takes[0].file
    with torn.open("ab") as file:
        file.write((90_000).to_bytes(4, "big") + b"mdat" + bytes(90_000))
        file.truncate(torn.stat().st_size - 100)
    before = torn.read_bytes()
    with pytest.raises(Reject, match="cut short"):
        real.process(entry)
    assert torn.read_bytes() == before
    assert entry.job.result is None


# ---- bad branding, unknown branding


@pytest.mark.parametrize("kind", ["intro", "logo"])
def test_a_bad_asset_is_left_out_and_the_result_says_so(bench: Bench, kind: str) -> None:
    assets = bench.branding()
    bad = assets.intro if kind == "intro" else assets.logo
    assert bad is not None
    bad.write_bytes(b"no picture\n")
    entry = bench.job(2.0)
    assert bench.process(entry, assets) == Done()
    made = made_of(_result(entry))
    assert made[kind] is None
    assert made["logo" if kind == "intro" else "intro"] is not None
    assert entry.job.result is not None
    (note,) = entry.job.result.notes
    assert note.startswith(f"published without the {kind}")


def test_with_real_media_a_spoilt_intro_does_not_stop_the_video(real: Bench) -> None:
    assets = real.branding()
    assert assets.intro is not None
    assets.intro.write_bytes(assets.intro.read_bytes()[:3000])
    entry = real.job(1.0)
    assert real.process(entry, assets) == Done()
    assert entry.job.result is not None
    assert entry.job.result.duration_s == pytest.approx(1, abs=0.1)
    assert "published without the intro" in entry.job.result.notes[0]
    assert media.picture_at(_result(entry), 0.5).colour(-20, -20) == "lime"


def test_branding_that_passes_its_check_and_spoils_the_render_is_left_out(bench: Bench) -> None:
    bench.fake.fails_with_branding = Reject("the graph does not fit", "upload another one")
    entry = bench.job(2.0)
    assert bench.process(entry, bench.branding()) == Done()
    assert made_of(_result(entry))["intro"] is None
    assert entry.job.result is not None
    assert "without intro and logo: the graph does not fit" in entry.job.result.notes[-1]
    assert entry.job.result.intro_s == 0


def test_what_spoils_the_render_is_left_out_and_the_rest_stays(bench: Bench) -> None:
    bench.fake.fails_with_logo = Reject("the filter is missing", "upload another one")
    entry = bench.job(2.0)
    assert bench.process(entry, bench.branding()) == Done()
    made = made_of(_result(entry))
    assert (made["intro"], made["logo"]) == ("club.mp4", None)
    assert entry.job.result is not None
    assert entry.job.result.notes == ("published without the logo: the filter is missing",)
    assert made["notes"] == list(entry.job.result.notes), "the report beside the video says it as well"
    assert entry.job.result.intro_s == pytest.approx(3)


def test_a_full_disk_costs_neither_a_try_nor_the_branding(bench: Bench) -> None:
    bench.fake.fails_with_branding = disk_full("no room for it")
    entry = bench.job(2.0)
    entry.update(attempts={"process": 3})
    with pytest.raises(Retry) as caught:
        bench.process(entry, bench.branding())
    assert caught.value.blameless
    assert bench.fake.calls["render"] == 1


def test_sponsors_go_into_it_and_a_bad_one_stops_neither_the_others_nor_the_video(bench: Bench) -> None:
    sponsors = tuple(footage(bench.folder / f"sponsor{n}.png", 0.0) for n in (1, 2, 3))
    sponsors[1].write_bytes(b"no picture\n")
    entry = bench.job(2.0)
    assert bench.process(entry, replace(bench.branding(), sponsors=sponsors)) == Done()
    assert made_of(_result(entry))["sponsors"] == ["sponsor1.png", "sponsor3.png"]
    assert entry.job.result is not None
    (note,) = entry.job.result.notes
    assert note.startswith("published without the sponsor: sponsor2.png")
    bench.process(entry, bench.branding())
    assert made_of(_result(entry))["sponsors"] == [], "other sponsors make another video"


@pytest.mark.parametrize("bit", [22, 28, 30])
def test_a_damaged_intro_costs_itself_and_no_video(real: Bench, bit: int) -> None:
    """It asks for more memory than there is: FFmpeg's words for that are those of a machine in trouble."""
    branding, entry = real.branding(), real.job(2.0)
    assert branding.intro
    data = bytearray(branding.intro.read_bytes())
    count = data.index(b"stts") + 8
    struct.pack_into(">I", data, count, struct.unpack_from(">I", data, count)[0] ^ 1 << bit)
    branding.intro.write_bytes(data)
    assert real.process(entry, branding) == Done()
    assert entry.job.result is not None
    (note,) = entry.job.result.notes
    assert note.startswith("published without the intro: club.mp4: ")
    assert entry.job.result.duration_s == pytest.approx(2, abs=0.1)
    assert media.picture_at(_result(entry), 1).colour(-20, -20) == "lime", "the logo is on it"


def test_one_fault_of_the_footage_is_not_looked_for_in_intro_and_logo_by_turns(bench: Bench) -> None:
    """Each of these videos is encoded as a whole: hours on a Pi."""
    entry = bench.job(2.0)
    bench.fake.fails_with_branding = Reject("the video made has 422 frames where 420 were expected", "look")
    assert bench.process(entry, bench.branding()) == Done()
    assert bench.fake.calls["render"] == 3, "with all, with the intro alone, with neither"


def test_a_passing_fault_with_branding_is_tried_again_and_the_third_time_without(bench: Bench) -> None:
    bench.fake.fails_with_branding = Retry("out of memory")
    entry = bench.job(2.0)
    for attempt in (1, 2):
        entry.update(attempts={"process": attempt})
        with pytest.raises(Retry):
            bench.process(entry, bench.branding())
    entry.update(attempts={"process": 3})
    assert bench.process(entry, bench.branding()) == Done()


def test_on_a_short_disk_a_trimmed_clip_is_made_anew_all_the_same(bench: Bench) -> None:
    def give_index(path: Path) -> int:
        raise Reject("its owner cut a part of it off, which is in it still", "make room")

    entry = bench.job(2.0)
    assert bench.process(entry, is_short=lambda: True, give_index=give_index) == Done()
    assert bench.fake.calls["render"] == 1


def test_a_note_of_the_branding_stands_in_the_result(bench: Bench) -> None:
    entry = bench.job(2.0)
    bench.process(entry, Assets(True, notes=("published without the intro: it is not there",)))
    assert entry.job.result is not None
    assert entry.job.result.notes == ("published without the intro: it is not there",)


def test_while_the_branding_is_not_known_the_job_waits_without_blame(bench: Bench) -> None:
    entry = bench.job(2.0)
    with pytest.raises(Retry) as caught:
        bench.process(entry, Assets(is_known=False))
    assert caught.value.blameless
    assert bench.fake.calls["render"] == 0


# ---- again


def test_a_result_that_is_there_is_not_made_again(bench: Bench) -> None:
    entry = bench.job(2.0)
    bench.process(entry, bench.branding())
    again = bench.spool.read(State.PROCESSING, "match")
    assert bench.process(again, bench.branding()) == Done()
    assert bench.fake.calls["render"] == 1


def test_another_logo_makes_another_video(bench: Bench) -> None:
    entry = bench.job(2.0)
    bench.process(entry, bench.branding())
    bench.process(entry, bench.branding("new-club"))
    assert made_of(_result(entry))["logo"] == "new-club.png"
    assert bench.fake.calls["render"] == 2


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"half")])
def test_a_result_that_is_gone_or_half_is_made_again(bench: Bench, spoil: Callable[[Path], object]) -> None:
    entry = bench.job(2.0)
    bench.process(entry)
    spoil(_result(entry))
    bench.process(entry)
    assert made_of(_result(entry))["seconds"] == 2


def test_a_video_that_was_never_written_down_is_made_again(bench: Bench) -> None:
    entry = bench.job(2.0)
    (entry.path / "processed_raw_match_20260601_180000.mp4").write_bytes(b"of a killed worker")
    bench.process(entry)
    assert made_of(_result(entry))["seconds"] == 2


# ---- footage


def test_missing_footage_goes_to_a_person(bench: Bench) -> None:
    entry = bench.job(2.0, 2.0)
    (entry.path / entry.job.takes[1].file).unlink()
    with pytest.raises(Reject) as caught:
        bench.process(entry)
    assert entry.job.takes[1].file in caught.value.reason
    assert "ezrec spool retry match" in caught.value.remedy


def test_no_footage_at_all_goes_to_a_person(bench: Bench) -> None:
    with pytest.raises(Reject):
        bench.process(bench.job())


def test_footage_that_is_no_video_goes_to_a_person(bench: Bench) -> None:
    entry = bench.job(2.0)
    (entry.path / entry.job.takes[0].file).write_bytes(b"#EXTM3U\nfile:///etc/passwd\n")
    with pytest.raises(Reject):
        bench.process(entry)


def test_a_tiny_bad_take_among_good_ones_is_left_out_every_time(bench: Bench) -> None:
    entry = bench.job(2.0, 2.0, 2.0)
    bad = entry.job.takes[1].file
    (entry.path / bad).write_bytes(b"\0" * 700)
    bench.process(entry)
    assert bad not in made_of(_result(entry))["takes"]
    bench.process(entry, bench.branding())
    assert len(made_of(_result(entry))["takes"]) == 2
    assert (entry.path / bad).exists()


def test_a_large_bad_take_among_good_ones_goes_to_a_person(bench: Bench) -> None:
    entry = bench.job(2.0, 2.0)
    (entry.path / entry.job.takes[1].file).write_bytes(b"\0" * 100_000)
    with pytest.raises(Reject):
        bench.process(entry)


def test_footage_that_a_person_put_beside_the_takes_goes_in_by_its_time(bench: Bench) -> None:
    entry = bench.job(2.0)
    late = footage(entry.path / "phone.mp4", 4.0)
    stamp = (START + timedelta(hours=1)).timestamp()
    os.utime(late, (stamp, stamp))
    early = footage(entry.path / "early.mp4", 1.0)
    os.utime(early, (stamp - 7200, stamp - 7200))
    bench.process(entry)
    assert made_of(_result(entry))["takes"] == ["early.mp4", "raw_match_20260601_180000.mp4", "phone.mp4"]
    assert _result(entry).name == "processed_raw_match_20260601_180000.mp4"
    assert bench.spool.read(State.PROCESSING, "match").job == entry.job


@pytest.mark.parametrize("name", ["my holiday.mp4", "-rf.mp4", "línea\n.mp4", "x" * 200 + ".mp4"])
def test_a_name_that_the_record_could_not_hold_is_refused_and_the_record_stays_readable(
    bench: Bench, name: str
) -> None:
    entry = bench.job(2.0)
    footage(entry.path / name)
    with pytest.raises(Reject):
        bench.process(entry)
    assert bench.spool.read(State.PROCESSING, "match").id == "match"


def test_a_link_among_the_takes_is_refused_and_what_it_points_to_is_not_touched(
    bench: Bench, tmp_path: Path
) -> None:
    entry = bench.job(2.0)
    elsewhere = media.make_take(tmp_path / "elsewhere.mp4")
    torn = elsewhere.read_bytes()[:-20_000]
    elsewhere.write_bytes(torn)
    (entry.path / "raw_link.mp4").symlink_to(elsewhere)
    os.mkfifo(entry.path / "raw_pipe.mp4")
    bench.process(entry)
    assert elsewhere.read_bytes() == torn
    assert made_of(_result(entry))["takes"] == ["raw_match_20260601_180000.mp4"]


# ---- room, progress, stop


def test_without_room_for_the_video_the_job_waits_without_blame(bench: Bench) -> None:
    entry = bench.job(2.0)
    space = os.statvfs(entry.path)
    with (entry.path / entry.job.takes[0].file).open("ab") as file:
        file.truncate(min(int(space.f_bavail * space.f_frsize), 1 << 43))  # sparse: it takes no room itself
    with pytest.raises(Retry) as caught:
        bench.process(entry)
    assert caught.value.blameless
    assert "disk full" in caught.value.reason
    assert bench.fake.calls["render"] == 0


def test_on_a_short_disk_the_take_itself_is_the_video_and_takes_no_room(bench: Bench) -> None:
    entry = bench.job(2.0)
    assert bench.process(entry, bench.branding(), is_short=lambda: True) == Done()
    assert bench.fake.calls["render"] == 0
    take = entry.path / entry.job.takes[0].file
    assert os.path.samefile(_result(entry), take)
    assert entry.job.result is not None
    assert entry.job.result.duration_s == entry.job.takes[0].duration_s
    assert "without intro and logo" in entry.job.result.notes[0]
    assert bench.process(entry, bench.branding(), is_short=lambda: True) == Done(), "it may be run again"


def test_on_a_short_disk_the_take_gets_one_index_in_its_own_place(real: Bench) -> None:
    entry = real.job(2.0)
    take = entry.path / entry.job.takes[0].file
    for _ in range(2):
        assert real.process(entry, is_short=lambda: True, give_index=give_index) == Done()
        assert os.path.samefile(_result(entry), take)
        assert not boxes.is_fragmented(take)
        assert media.frames(take) == 60
        assert entry.job.result is not None
        assert entry.job.result.size == entry.job.takes[0].size == take.stat().st_size
        assert len(entry.job.result.notes) == 1
    real.process(entry, real.branding())
    assert media.frames(_result(entry)) > 60, "with room it is made with an intro after all"


def test_where_it_cannot_have_an_index_the_job_says_so(bench: Bench) -> None:
    def no_room(path: Path) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    entry = bench.job(2.0)
    assert bench.process(entry, is_short=lambda: True, give_index=no_room) == Done()
    assert entry.job.result is not None
    assert entry.job.result.notes[1] == "slow to open: it is in fragments still: No space left on device"


def test_made_again_when_there_is_room_it_is_the_whole_video_and_the_take_is_untouched(bench: Bench) -> None:
    entry = bench.job(2.0)
    bench.process(entry, bench.branding(), is_short=lambda: True)
    take = entry.path / entry.job.takes[0].file
    before = take.read_bytes()
    bench.process(entry, bench.branding())
    assert made_of(_result(entry))["intro"]
    assert not os.path.samefile(_result(entry), take)
    assert take.read_bytes() == before


def test_a_video_that_is_made_already_stays_on_a_short_disk(bench: Bench) -> None:
    entry = bench.job(2.0)
    bench.process(entry, bench.branding())
    bench.process(entry, bench.branding(), is_short=lambda: True)
    assert made_of(_result(entry))["intro"]


def test_on_a_short_disk_several_takes_are_still_joined(bench: Bench) -> None:
    entry = bench.job(2.0, 3.0)
    bench.process(entry, is_short=lambda: True)
    assert bench.fake.calls["render"] == 1


def test_parts_made_while_it_was_recorded_are_used_and_go_when_the_video_is_there(real: Bench) -> None:
    entry, branding = real.job(31.0), real.branding()
    plan = RenderPlan(
        [entry.path / entry.job.takes[0].file], entry.path / "none", entry.path / "ahead.log",
        logo=branding.logo, parts=entry.path / PARTS,
    )  # fmt: skip
    assert real.transcoder.prerender(plan, lambda: True)
    real.process(entry, branding)
    report = json.loads((entry.path / "processing.json").read_bytes())
    assert report["rung"] == "parts", report["why"]
    assert report["checks"]["parts_found"] == 1
    assert not (entry.path / PARTS).exists()
    (entry.path / PARTS).mkdir()  # as a kill may leave it
    real.process(entry, branding)
    assert not (entry.path / PARTS).exists()


def test_progress_is_told_beside_the_record(bench: Bench) -> None:
    entry = bench.job(2.0)
    seen: list[object] = []
    bench.fake.hesitate = lambda: seen.append(entry.progress())
    bench.process(entry)
    (note,) = seen
    assert isinstance(note, dict)
    assert note["stage"] == "process"
    assert note["part"] == 0.25
    assert entry.progress()["part"] == 1


def test_a_rest_is_told_beside_the_record_and_taken_back(bench: Bench) -> None:
    entry = bench.job(2.0)
    seen: list[object] = []

    def rest() -> None:
        for why in ("a recording", ""):
            bench.fake.on_pause(why)
            seen.append(entry.progress().get("rests"))

    bench.fake.hesitate = rest
    bench.process(entry)
    assert seen == ["a recording", None]


def test_a_stop_in_the_middle_leaves_no_video_and_the_next_try_makes_it(bench: Bench) -> None:
    entry, task = bench.job(2.0), Task()
    bench.fake.hesitate = task.stop
    with pytest.raises(Stopped):
        bench.process(entry, task=task)
    assert entry.job.result is None
    assert not list(entry.path.glob("processed_*"))
    assert bench.process(entry) == Done()


def test_a_passing_fault_of_the_render_is_handed_on(bench: Bench) -> None:
    bench.fake.fail_next(1, Retry("ffmpeg: killed"))
    entry = bench.job(2.0)
    with pytest.raises(Retry):
        bench.process(entry)
    assert bench.process(entry) == Done()
