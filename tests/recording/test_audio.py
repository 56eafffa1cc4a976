"""Sound beside the picture: recorded by a child of its own, laid where it was heard, and never in the way."""

from __future__ import annotations

import array
import contextlib
import json
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, timedelta
from pathlib import Path

import pytest

from ezrec.camera.ffmpeg_camera import FfmpegCamera
from ezrec.camera.microphones import sound_source
from ezrec.domain.booking import Booking
from ezrec.domain.branding import Assets
from ezrec.domain.errors import Reject
from ezrec.domain.job import OPEN, Job, JobOutcome, Kind, Sound, Take
from ezrec.domain.names import safe_id
from ezrec.domain.outcomes import Done
from ezrec.domain.ports import Camera
from ezrec.domain.stages import State
from ezrec.media.ffmpeg.audio_mux import AudioMuxer, place
from ezrec.media.mp4.boxes import check_whole
from ezrec.media.mp4.repair import repair
from ezrec.media.render.renderer import FfmpegTranscoder
from ezrec.processing.process import process
from ezrec.recording.record import record
from ezrec.recording.session import Padding
from ezrec.spool.found_takes import DIED, measured
from ezrec.spool.spool import Entry, Spool
from ezrec.system.task import Task
from tests.fakes.camera import FakeCamera
from tests.support import media
from tests.support.daemon import Box
from tests.support.recording import SteppingClock, command_of, our_children
from tests.support.rendering import deaf
from tests.support.wait import eventually

LIMIT_S = 30.0
RATE = 8000


def tone(path: Path, seconds: float, *beeps: float) -> Path:
    """A file as the microphone's child writes it, with a beep of 0.2 s at each of the times."""
    when = "+".join(f"between(t,{beep:.6f},{beep + 0.2:.6f})" for beep in beeps) or "1"
    argv = ["ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i"]
    argv += [f"aevalsrc='sin(2*PI*1000*t)*({when})':s={RATE}:d={seconds:.6f}"]
    argv += ["-c:a", "flac", "-frame_size", "1024", "-strict", "experimental", "-f", "mp4", *media.FRAGMENTED]
    subprocess.run([*argv, str(path)], check=True, timeout=120)
    return path


def beeps_in(path: Path) -> list[float]:
    """When sound begins after silence."""
    argv = ["ffmpeg", "-v", "error", "-i", f"file:{path}", "-map", "0:a:0", "-ac", "1", "-ar", str(RATE)]
    said = subprocess.run([*argv, "-f", "s16le", "-"], check=True, capture_output=True, timeout=120).stdout
    found, loud = [], -RATE
    for at, level in enumerate(array.array("h", said)):
        if abs(level) > 1500:
            if at - loud > RATE / 10:
                found.append(at / RATE)
            loud = at
    return found


def dubbed(take: Path, *sounds: Sound, seconds: float) -> Path:
    output = take.with_name("dubbed.mp4")
    AudioMuxer().mux(take, sounds, seconds, output, deaf)
    return output


# ---- laid where it was heard


@pytest.mark.parametrize("drift", [600e-6, -600e-6])
def test_a_clock_that_runs_wrong_does_not_move_the_sound(tmp_path: Path, drift: float) -> None:
    """Ten minutes at 600 millionths: as far apart in the end as an hour at 100."""
    seconds, heard = 600.0, (5.0, 300.0, 599.0)
    take = media.make_take(tmp_path / "take.mp4", seconds, (64, 64), 5)
    samples_s = seconds / (1 + drift)
    tone(tmp_path / "take.1.m4a", samples_s, *(beep / (1 + drift) for beep in heard))
    made = dubbed(take, Sound("take.1.m4a", 0.0, samples_s, seconds), seconds=seconds)
    assert beeps_in(made) == pytest.approx(heard, abs=0.01)
    assert float(media.streams(made)["audio"]["duration"]) == pytest.approx(seconds, abs=0.03)


def test_sound_in_pieces_is_laid_where_each_was_heard_with_silence_between(tmp_path: Path) -> None:
    take = media.make_take(tmp_path / "take.mp4", 12, fragmented=True)
    early = tone(tmp_path / "take.1.m4a", 4.0, 1.5)  # began half a second before the picture
    late = tone(tmp_path / "take.2.m4a", 9.0, 1.0, 8.5)  # and this one goes on after its end
    made = dubbed(take, Sound(late.name, 7.25, 9.0), Sound(early.name, -0.5, 4.0), seconds=12)
    assert beeps_in(made) == pytest.approx([1.0, 8.25], abs=0.01)
    found = media.streams(made)
    assert found["audio"]["codec_name"] == "aac"
    assert float(found["audio"]["duration"]) == pytest.approx(12, abs=0.03)


def test_the_picture_is_copied_to_the_byte(tmp_path: Path) -> None:
    take = media.make_take(tmp_path / "take.mp4", 3)
    made = dubbed(take, Sound(tone(tmp_path / "take.1.m4a", 3.0).name, 0.0, 3.0, 3.0), seconds=3)

    def packets(path: Path) -> bytes:
        argv = ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:v", "-c", "copy", "-f", "framemd5", "-"]
        said = subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout
        return b"\n".join(line.split(b",")[-1] for line in said.splitlines() if not line.startswith(b"#"))

    assert packets(made) == packets(take)


def test_what_is_no_sound_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    take = media.make_take(tmp_path / "take.mp4", 1)
    (tmp_path / "take.1.m4a").write_bytes(b"#EXTM3U\n/etc/passwd\n")
    with pytest.raises(Reject):
        dubbed(take, Sound("take.1.m4a", 0.0, 1.0, 1.0), seconds=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["take.1.m4a", "take.mp4"]


def test_a_drift_is_believed_only_where_it_was_measured_and_can_be() -> None:
    def ratios(*sounds: Sound) -> list[float]:
        return [placed.ratio for placed in place(sounds, 10_000)]

    long = Sound("a.m4a", 0.0, 1000.0, 1000.1)
    assert ratios(long) == [pytest.approx(1.0001)]
    assert ratios(Sound("a.m4a", 0.0, 10.0, 10.1)) == [1], "too short"
    assert ratios(Sound("a.m4a", 0.0, 1000.0, 1100.0)) == [1], "no clock is so wrong"
    cut_off = Sound("b.m4a", 2000.0, 500.0, ended_by=DIED)
    assert ratios(long, cut_off) == [pytest.approx(1.0001)] * 2, "the same microphone"


# ---- recorded beside the picture


def test_a_sound_card_is_asked_by_way_of_alsas_own_conversion() -> None:
    """Many a microphone has one channel, or a rate of its own, and FFmpeg would refuse it."""
    assert sound_source("alsa:hw:1,0").inputs == ("-f", "alsa", "-i", "plughw:1,0")
    assert sound_source("alsa:default:CARD=Device").inputs[-1] == "default:CARD=Device"
    assert sound_source("pulse:default").inputs == ("-f", "pulse", "-i", "default")
    for word in ("off", "alsa", "software:1", "oss:/dev/dsp"):
        with pytest.raises(ValueError, match="must be"):
            sound_source(word)


class Deaf(FakeCamera):
    """A microphone that cannot be had."""

    def __init__(self, clock: SteppingClock) -> None:
        super().__init__(clock)
        self.absent = "microphone hw:1,0: No such device"


class Room:
    """A booking being recorded with a microphone."""

    def __init__(self, folder: Path, microphone: Camera, for_s: float) -> None:
        self.spool = Spool(folder / "spool")
        self.spool.prepare()
        self.clock = SteppingClock()
        start = self.clock.now() + timedelta(seconds=2)
        booking = Booking(safe_id("match"), start, start + timedelta(seconds=for_s))
        job = Job(booking.id, Kind.BOOKING, start, booking)
        self.entry: Entry = self.spool.claim(self.spool.create(State.INCOMING, job), State.RECORDING)
        self.microphone = microphone
        self.task = Task()

    def whistle(self) -> None:
        """The match ends now."""
        booking = self.entry.job.booking
        assert booking is not None
        end = self.clock.now() + timedelta(seconds=0.5)
        self.spool.amend(self.entry, Booking(booking.id, booking.start, end))
        self.task.wake_up.set()

    def record(self) -> Take:
        done = record(
            self.entry,
            self.task,
            camera=FakeCamera(self.clock),
            clock=self.clock,
            zone=UTC,
            padding=Padding(0, 0, 2),
            repair=repair,
            log=logging.getLogger("ezrec.recorder"),
            microphone=self.microphone,
        )
        assert done == Done()
        assert self.entry.job.recording is JobOutcome.RECORDED
        (take,) = self.entry.job.takes
        return take


def microphone() -> FfmpegCamera:
    return FfmpegCamera(sound_source("software"), SteppingClock())


def test_sound_stands_beside_its_take_with_its_place_on_it(tmp_path: Path) -> None:
    room = Room(tmp_path, microphone(), 4)
    take = room.record()
    (sound,) = take.sound
    path = room.entry.path / sound.file
    assert sound.file == f"{Path(take.file).stem}.1.m4a"
    assert sound.ended_by == ""
    assert sound.size == path.stat().st_size
    check_whole(path)
    assert media.streams(path)["audio"]["codec_name"] == "flac"
    assert -1 < sound.offset_s < 1
    assert sound.offset_s + sound.duration_s >= take.duration_s - 1
    assert sound.lasted_s == pytest.approx(sound.duration_s, abs=0.3)
    assert room.entry.job.errors == ()


def test_without_a_microphone_the_picture_is_recorded_and_the_record_says_why_it_is_silent(
    tmp_path: Path,
) -> None:
    room = Room(tmp_path, Deaf(SteppingClock()), 3)
    assert room.record().sound == ()
    (fault,) = room.entry.job.errors
    assert fault.kind == "warning"
    assert "without sound" in fault.message
    assert "No such device" in fault.message


class Stuck(FakeCamera):
    """A microphone that neither begins nor says why."""

    @contextlib.contextmanager
    def hold(self, on_lost: Callable[[], None]) -> Iterator[None]:
        threading.Event().wait(LIMIT_S)
        yield


def test_a_microphone_that_never_answers_costs_the_picture_nothing(tmp_path: Path) -> None:
    began = time.monotonic()
    take = Room(tmp_path, Stuck(SteppingClock()), 3).record()
    assert time.monotonic() - began < LIMIT_S, "somebody waited for the microphone"
    assert take.sound == ()
    assert take.duration_s >= 3


class Killed(FfmpegCamera):
    """A microphone whose child dies once, or hangs, some seconds after it was first listened to."""

    def __init__(self) -> None:
        super().__init__(sound_source("software"), SteppingClock())

    def die(self, of: signal.Signals) -> None:
        (pid,) = [pid for pid in our_children() if "flac" in command_of(pid)]
        os.kill(pid, of)


@pytest.mark.parametrize(
    ("of", "said"),
    [
        (signal.SIGKILL, "the microphone ended by itself (SIGKILL)"),
        (signal.SIGSTOP, "no sound for 3 s"),
    ],
)
def test_a_microphone_that_dies_or_hangs_costs_some_seconds_of_sound_and_none_of_the_picture(
    tmp_path: Path, of: signal.Signals, said: str
) -> None:
    ear = Killed()
    room = Room(tmp_path, ear, 3600)

    def sounds() -> int:
        return len(room.entry.job.takes[0].sound) if room.entry.job.takes else 0

    def kill() -> None:
        assert eventually(lambda: sounds() == 1, LIMIT_S)
        time.sleep(1)
        ear.die(of)
        assert eventually(lambda: sounds() == 2, LIMIT_S)
        time.sleep(1)
        room.whistle()

    killer = threading.Thread(target=kill)
    killer.start()
    take = room.record()
    killer.join(LIMIT_S)
    first, second = take.sound
    assert said in first.ended_by
    assert second.offset_s > first.offset_s + first.duration_s
    assert second.duration_s > 0.5
    assert [fault.kind for fault in room.entry.job.errors] == ["warning"]


def test_sound_left_open_by_a_recorder_that_died_is_cut_and_measured(tmp_path: Path) -> None:
    whole = tone(tmp_path / "t.1.m4a", 3.0).read_bytes()
    (tmp_path / "t.1.m4a").write_bytes(whole[: len(whole) * 9 // 10])
    sounds = (Sound("t.1.m4a", 0.25, ended_by=OPEN), Sound("t.2.m4a", 2.0, ended_by=OPEN))
    take = Take("t.mp4", SteppingClock().now(), 3.0, 1, OPEN, sound=sounds)
    (sound,) = measured(take, tmp_path, repair).sound
    assert sound.ended_by == DIED
    assert 2.5 < sound.duration_s < 3.0
    check_whole(tmp_path / "t.1.m4a")


# ---- into the video


def processed(folder: Path, spoil: bool = False) -> Entry:
    """Two takes, of which the first has sound, through the handler and the real FFmpeg."""
    spool = Spool(folder / "spool")
    spool.prepare()
    start = SteppingClock().now()
    sound = Sound("raw_match_20260601_180000.1.m4a", 0.5, 2.0, 2.0, 1)
    takes = (
        Take("raw_match_20260601_180000.mp4", start, 3.0, 0, sound=(sound,)),
        Take("raw_match_20260601_180100.mp4", start + timedelta(minutes=1), 2.0, 0),
    )
    job = Job(safe_id("match"), Kind.BOOKING, start, takes=takes, attempts={"process": 1})
    entry = spool.claim(spool.create(State.RAW, job), State.PROCESSING)
    for take, seconds in zip(takes, (3, 2), strict=True):
        media.make_take(entry.path / take.file, seconds)
    tone(entry.path / sound.file, 2.0, 1.0)
    if spoil:
        (entry.path / sound.file).write_bytes(b"#EXTM3U\n/etc/passwd\n")
    transcoder = FfmpegTranscoder(bitrate=400_000, preset="ultrafast")
    log = logging.getLogger("ezrec.video_worker")
    assets = Assets(is_known=True)
    done = process(
        entry,
        Task(),
        transcoder=transcoder,
        assets=lambda: assets,
        repair=repair,
        log=log,
        mux_audio=AudioMuxer().mux,
    )
    assert done == Done()
    assert not list(entry.path.glob(".muxbed*"))
    return entry


def test_a_take_with_sound_and_one_without_make_one_video_without_encoding(tmp_path: Path) -> None:
    entry = processed(tmp_path)
    assert entry.job.result is not None
    assert entry.job.result.notes == ()
    made = entry.path / entry.job.result.file
    assert beeps_in(made) == pytest.approx([1.5], abs=0.02)
    assert float(media.streams(made)["audio"]["duration"]) == pytest.approx(5, abs=0.05)
    assert json.loads((entry.path / "processing.json").read_bytes())["rung"] == "copy"
    assert "raw_match_20260601_180000.1.m4a:1" in entry.job.result.made_from


def test_sound_that_is_none_never_keeps_a_video_back(tmp_path: Path) -> None:
    entry = processed(tmp_path, spoil=True)
    assert entry.job.result is not None
    (note,) = entry.job.result.notes
    assert "is published without its sound" in note
    assert "audio" not in media.streams(entry.path / entry.job.result.file)


# ---- all of it


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    box = Box(tmp_path, EZREC_AUDIO="software")
    yield box
    box.close()


def test_a_booking_with_sound_is_published_with_it(box: Box) -> None:
    booking = box.book(3, 4)
    box.run()
    job = box.published(booking)
    assert job.takes[0].sound, job.errors
    _, path = box.video(booking)
    found = media.streams(path)
    assert found["audio"]["codec_name"] == "aac"
    assert float(found["audio"]["duration"]) == pytest.approx(float(found["video"]["duration"]), abs=0.05)
    assert len(beeps_in(path)) == 1
    assert job.result is not None
    assert job.result.notes == ()
