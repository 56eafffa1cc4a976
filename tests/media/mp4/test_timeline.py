"""Where each sample of a video comes to lie: an hour and more, by the tables alone."""

from __future__ import annotations

import random
from array import array
from fractions import Fraction
from pathlib import Path

import pytest

from ezrec.media.mp4 import copyable, samples, timeline
from ezrec.media.mp4.boxes import TornFile
from ezrec.media.mp4.samples import NotSimple, Track
from ezrec.media.mp4.timeline import PACKET, SILENCE, Part
from tests.support import media

HOUR_S = 3600


def track(kind: bytes, scale: int, step: int, count: int, shift: Fraction = Fraction(0)) -> Track:
    made = Track(kind=kind, scale=scale, shift=shift, end=step * count)
    made.sizes = array("I", [10] * count)
    made.offsets = array("Q", range(0, 10 * count, 10))
    made.starts = array("Q", range(0, step * count, step))
    made.keys = bytearray(b"\1" * count)
    return made


def take(source: int, seconds: int, *, late_s: Fraction | None = None, fast: int = 0) -> Part:
    """A take of 30 frames a second. Its microphone begins late, and runs fast by so many ticks a packet."""
    sound = None
    if late_s is not None:
        sound = track(b"soun", 48_000, PACKET + fast, seconds * 48_000 // (PACKET + fast), late_s)
    return Part.whole(source, track(b"vide", 15_360, 512, 30 * seconds), sound)


def joined(parts: list[Part]) -> tuple[timeline.TrackTimeline, timeline.TrackTimeline, list[int]]:
    lane, begins = timeline.picture(parts, timeline.picture_scale(parts))
    return lane, timeline.sound(parts, begins, lane, 48_000, 6), begins


def test_sound_stays_with_its_picture_over_an_hour_and_many_takes() -> None:
    lates = [Fraction(0), Fraction(1, 100), Fraction(-1, 50), Fraction(3, 10)]
    parts = [take(n, HOUR_S // 12, late_s=lates[n % 4], fast=n % 2) for n in range(12)]
    lane, sound, begins = joined(parts)
    for number, part in enumerate(parts):
        assert part.sound
        own = part.sound[1]
        first = sound.sources.index(number)
        packet = sound.offsets[first] // 10
        wanted = begins[number] / 15_360 + float(own.starts[packet] / own.scale + own.shift)
        assert (sound.starts[first] - sound.lead) / 48_000 == pytest.approx(wanted, abs=0.012)
    assert (sound.end - sound.lead) / 48_000 == pytest.approx(lane.end / 15_360, abs=0.022)


def test_what_has_no_sound_is_filled_with_silence_packet_by_packet() -> None:
    lane, sound, _ = joined([take(0, 2), take(1, 2, late_s=Fraction(1, 4)), take(2, 2)])
    assert list(dict.fromkeys(sound.sources)) == [SILENCE, 1]
    steps = {b - a for a, b in zip(sound.starts, sound.starts[1:], strict=False)}
    assert min(steps) >= PACKET
    assert max(steps) < 2 * PACKET
    assert lane.end == 6 * 15_360


def test_a_video_whose_time_stands_still_is_refused() -> None:
    part = take(0, 1)
    part.times.starts[5] = part.times.starts[4]
    with pytest.raises(NotSimple, match="stands still"):
        joined([part])


@pytest.mark.parametrize("fragmented", [True, False])
def test_no_damage_to_an_index_leads_to_more_than_a_refusal(fragmented: bool, tmp_path: Path) -> None:
    path = media.make_take(tmp_path / "t.mp4", seconds=0.5, fragmented=fragmented, audio=True)
    whole, dice = path.read_bytes(), random.Random(7)
    places = [at for at in range(len(whole)) if whole[at - 40 : at + 4].count(b"\0") > 4] or [0]
    refused = 0
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(dice.randint(1, 4)):
            data[dice.choice(places)] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
        path.write_bytes(data)
        try:
            found = copyable.read(path)
            timeline.picture([Part.whole(0, found.tables.picture, None)], 15_360)
        except ValueError:
            refused += 1
    assert 0 < refused < 300


def test_a_count_without_its_samples_is_refused(tmp_path: Path) -> None:
    path = media.make_take(tmp_path / "t.mp4", seconds=0.5, fragmented=False)
    data = bytearray(path.read_bytes())
    at = data.index(b"stsz") + 8
    data[at : at + 8] = b"\0\0\0\1\xff\xff\xff\xff"
    path.write_bytes(data)
    with pytest.raises(TornFile, match="more than"):
        samples.read(path)
