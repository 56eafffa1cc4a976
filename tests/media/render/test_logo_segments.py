"""The logo all the time: encoded part by part, each kept, so that little is left when a recording ends."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ezrec.domain.errors import Stopped
from ezrec.domain.ports import RenderOptions, RenderPlan
from ezrec.media.mp4 import boxes, copyable
from ezrec.media.render.logo_plan import LogoSegment, rate_of, whole_take
from ezrec.media.render.prerender import EncodingPause
from ezrec.media.render.renderer import FfmpegTranscoder
from ezrec.system.locks import Lock
from tests.media.render.killing import killed_in_the_middle
from tests.support import media, videos
from tests.support.rendering import deaf
from tests.support.videos import needs_openh264

SECONDS = 65  # two whole parts and a piece


def long_take(path: Path, seconds: float = SECONDS, **more: Any) -> Path:
    return media.make_take(path, seconds=seconds, filters=videos.NOISE, **more)


@pytest.fixture
def plan(tmp_path: Path) -> RenderPlan:
    return RenderPlan(
        takes=[long_take(tmp_path / "t.mp4")], output=tmp_path / "out.mp4", log=tmp_path / "log",
        logo=media.make_logo(tmp_path / "l.png"), parts=tmp_path / "parts",
    )  # fmt: skip


def transcoder(**more: Any) -> FfmpegTranscoder:
    return FfmpegTranscoder(bitrate=800_000, preset="ultrafast", **more)


def report(plan: RenderPlan) -> dict[str, Any]:
    return dict(json.loads(plan.output.with_name("processing.json").read_bytes()))


def parts(plan: RenderPlan) -> set[str]:
    assert plan.parts
    return {path.name for path in plan.parts.glob("*.mp4")}


def yes() -> bool:
    return True


def test_a_take_is_cut_at_key_frames_and_where_does_not_change_while_it_grows(tmp_path: Path) -> None:
    whole = copyable.read(long_take(tmp_path / "long.mp4"))
    first, second = LogoSegment(0, 900, 0, 900), LogoSegment(900, 1800, 0, 900)
    assert whole_take(whole) == [first, second, LogoSegment(1800, 1950, 0, 150)]
    assert whole_take(whole, growing=True) == [first, second]
    early = replace(whole, idrs=tuple(idr for idr in whole.idrs if idr < 1200))
    assert whole_take(early, growing=True) == [first]
    assert rate_of(whole.tables.picture) == 30


def test_the_rate_is_told_by_the_beginning(tmp_path: Path) -> None:
    for fps, rate in ((25, Fraction(25)), ("30000/1001", Fraction(30000, 1001)), (7, Fraction(7))):
        take = copyable.read(media.make_take(tmp_path / "t.mp4", fps=fps))
        assert rate_of(take.tables.picture) == rate


@pytest.mark.parametrize("audio", [False, True])
def test_every_frame_is_shown_once_at_its_own_time_with_the_logo(audio: bool, tmp_path: Path) -> None:
    takes = [
        long_take(tmp_path / "a.mp4", 35, audio=audio),
        long_take(tmp_path / "b.mp4", 4, colour="yellow", audio=audio),
    ]
    plan = RenderPlan(
        takes=takes, output=tmp_path / "out.mp4", log=tmp_path / "log",
        options=RenderOptions(cache=tmp_path / "cache"),
        intro=media.make_intro(tmp_path / "i.mp4", audio=audio), logo=media.make_logo(tmp_path / "l.png"),
        parts=tmp_path / "parts",
    )  # fmt: skip
    transcoder().render(plan, deaf, deaf)
    assert report(plan)["rung"] == "parts", report(plan)["why"]
    assert len(parts(plan)) == 3
    old = [packet for take in takes for packet in videos.packets(take)]
    new = videos.packets(plan.output)[30:]
    assert len(new) == len(old) == 1170
    shown = videos.pictures(plan.output)
    assert len(shown) == 1200
    assert videos.pictures(videos.without_sets_in_band(plan.output)) == shown
    times = [packet.at for packet in videos.packets(plan.output)]
    assert times == sorted(set(times))
    assert max(after - before for before, after in pairwise(times)) < 0.06
    if audio:
        sound = videos.packets(plan.output, "a")
        assert abs(sound[-1].at + sound[-1].lasts - (times[-1] + 1 / 30)) < 0.04
    for at, colour in ((1.1, "blue"), (30.9, "blue"), (31.1, "blue"), (35.9, "blue"), (36.1, "yellow")):
        picture = media.picture_at(plan.output, at)
        assert (picture.colour(9, 9), picture.colour(-12, -12)) == (colour, "lime")
    assert media.picture_at(plan.output, 0.5).colour(-12, -12) == "red"


@needs_openh264
def test_openh264_shows_the_same(plan: RenderPlan, tmp_path: Path) -> None:
    plan = replace(
        plan, takes=[long_take(tmp_path / "s.mp4", 33)], intro=media.make_intro(tmp_path / "i.mp4")
    )
    transcoder().render(plan, deaf, deaf)
    assert report(plan)["rung"] == "parts"
    assert videos.openh264_pictures(plan.output) == videos.pictures(plan.output)


def test_what_was_encoded_while_it_grew_is_not_encoded_again(plan: RenderPlan) -> None:
    """The take is written piece by piece, and one of the pieces ends in the middle of a fragment."""
    take = plan.takes[0]
    whole = take.read_bytes()
    fragments = [box.offset for box in boxes.top_level(take) if box.type == b"moof"]
    made, ahead = [], transcoder()
    for length in (fragments[20], fragments[160] + 100, fragments[200], fragments[240] + 9, len(whole)):
        take.write_bytes(whole[:length])
        made.append([ahead.prerender(plan, yes) for _ in range(2)])
    assert made == [[False, False], [False, False], [True, False], [False, False], [True, False]]
    before = parts(plan)
    told: list[float] = []
    transcoder().render(plan, told.append, deaf)
    assert (report(plan)["checks"]["parts_found"], report(plan)["checks"]["parts_made"]) == (2, 1)
    assert "2 of 3 parts were there already; 5 s were left to encode" in report(plan)["why"]
    assert before < parts(plan)
    assert told == sorted(told)


def test_another_logo_another_bitrate_or_another_recording_makes_other_parts(
    plan: RenderPlan, tmp_path: Path
) -> None:
    plan = replace(plan, takes=[long_take(tmp_path / "t.mp4", 2)])
    transcoder().render(plan, deaf, deaf)
    first = parts(plan)
    transcoder().render(plan, deaf, deaf)
    assert parts(plan) == first
    media.make_logo(tmp_path / "l.png", colour="white")
    transcoder().render(plan, deaf, deaf)
    assert len(parts(plan)) == 2
    assert media.picture_at(plan.output, 1).colour(-12, -12) == "white"
    FfmpegTranscoder(bitrate=700_000, preset="ultrafast").render(plan, deaf, deaf)
    assert len(parts(plan)) == 3
    long_take(tmp_path / "t.mp4", 2, colour="yellow")
    transcoder().render(plan, deaf, deaf)
    assert len(parts(plan)) == 4
    assert media.picture_at(plan.output, 1).colour(9, 9) == "yellow"


@pytest.mark.parametrize("spoil", [b"", b"no video\n"])
def test_a_part_that_is_spoilt_is_made_again(spoil: bytes, plan: RenderPlan) -> None:
    assert transcoder().prerender(plan, yes)
    (name,) = parts(plan)
    assert plan.parts
    (plan.parts / name).write_bytes(spoil)
    transcoder().render(plan, deaf, deaf)
    assert report(plan)["rung"] == "parts"
    assert media.frames(plan.output) == SECONDS * 30


def test_a_stop_costs_the_part_in_hand_alone(plan: RenderPlan) -> None:
    stop: list[Any] = []

    def hear(done: float) -> None:
        if done > 0.3:
            stop[0]()

    with pytest.raises(Stopped):
        transcoder().render(plan, hear, stop.append)
    assert parts(plan)
    assert not plan.output.exists()
    transcoder().render(plan, deaf, deaf)
    assert report(plan)["checks"]["parts_found"] >= 1
    assert media.frames(plan.output) == SECONDS * 30


def test_a_kill_costs_the_part_in_hand_alone(plan: RenderPlan, tmp_path: Path) -> None:
    killed_in_the_middle(tmp_path, 800_000, lambda: bool(parts(plan)))
    kept = parts(plan)
    transcoder().render(plan, deaf, deaf)
    assert report(plan)["checks"]["parts_found"] == len(kept)
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == sorted({*parts(plan), ".lock"})


def test_work_ahead_makes_way_at_once_and_leaves_nothing(plan: RenderPlan) -> None:
    asked = []

    def not_now() -> bool:
        asked.append(1)
        return False

    assert transcoder().prerender(plan, not_now) is False
    assert asked == [1]
    assert parts(plan) == set()


def test_two_never_work_in_one_folder(plan: RenderPlan) -> None:
    assert plan.parts
    plan.parts.mkdir()
    with Lock(plan.parts / ".lock").held(0):
        assert transcoder().prerender(plan, yes) is False
    assert transcoder().prerender(plan, yes) is True


def test_a_recording_with_b_frames_is_not_worked_ahead_and_is_encoded_in_parts(
    plan: RenderPlan, tmp_path: Path
) -> None:
    plan = replace(plan, takes=[videos.b_frame_take(tmp_path / "b.mp4")])
    assert transcoder().prerender(plan, yes) is False
    transcoder().render(plan, deaf, deaf)
    assert report(plan)["rung"] == "encode in parts"
    assert any(why.startswith("parts: ") and "B-frames" in why for why in report(plan)["why"])
    assert media.picture_at(plan.output, 1).colour(-12, -12) == "lime"


def test_a_take_is_not_looked_into_before_there_can_be_another_part_in_it(plan: RenderPlan) -> None:
    take = plan.takes[0]
    whole = take.read_bytes()
    fragments = [box.offset for box in boxes.top_level(take) if box.type == b"moof"]
    waits = EncodingPause()

    def is_due(at: int) -> bool:
        take.write_bytes(whole[: fragments[at]])
        return waits.is_due(take.stat(), growing=True)

    assert is_due(160)
    waits.wait(take.stat(), copyable.read(take), growing=True)
    assert [is_due(at) for at in (161, 200, 250, 310, 320)] == [False, False, False, True, True]
    assert waits.is_due(take.stat(), growing=False), "once it is closed, what is left of it can be made"
    waits.wait(take.stat(), copyable.read(take), growing=False)
    assert not waits.is_due(take.stat(), growing=False)


def test_what_cannot_be_cut_is_not_looked_into_again_and_again(plan: RenderPlan, tmp_path: Path) -> None:
    take, waits = videos.b_frame_take(tmp_path / "b.mp4"), EncodingPause()
    waits.wait(take.stat(), None, growing=True)
    assert not waits.is_due(take.stat(), growing=True)
