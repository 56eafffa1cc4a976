"""The full encode, part by part: no frame is lost, doubled or out of order, and a kill costs one part.

Every picture of these recordings carries its number, in stripes: so each frame of the finished video says
which one of the recording it is.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ezrec.domain.ports import RenderOptions, RenderPlan
from ezrec.media.ffmpeg.filters import Target, Video
from ezrec.media.ffmpeg.inputs import TAKE
from ezrec.media.ffmpeg.probe import inspect
from ezrec.media.ffmpeg.runner import Log
from ezrec.media.ffmpeg.tools import NotApplicable, Tools
from ezrec.media.mp4 import copyable, keyframes
from ezrec.media.render import segment_plan
from ezrec.media.render.assets import AssetMaker
from ezrec.media.render.encode_segments import SegmentEncoder
from ezrec.media.render.renderer import FfmpegTranscoder
from ezrec.system.task import CancelToken
from tests.media.render.killing import killed_in_the_middle
from tests.support import media, videos
from tests.support.rendering import deaf

WIDTH, HEIGHT, BITS = 160, 96, 12
STRIPE = WIDTH // BITS
SECONDS, RATE = 66, 10  # two whole parts and a piece
OPEN = "open-gop=1:keyint=15:bframes=3:scenecut=0"


def numbered(
    path: Path,
    *codec: str,
    seconds: float = SECONDS,
    rate: str = str(RATE),
    audio: bool = False,
    begin: int = 0,
) -> Path:
    """A recording whose pictures carry their numbers."""
    inputs = ["-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{WIDTH}x{HEIGHT}", "-r", rate, "-i", "-"]
    inputs += ["-f", "lavfi", "-i", f"sine=440:d={seconds}:r=44100"] if audio else []
    options = [*(codec or ("-c:v", "libx264", "-x264-params", OPEN)), "-pix_fmt", "yuv420p", "-ac", "2"]
    argv = ["ffmpeg", "-v", "error", "-nostdin", "-y", *inputs, "-preset", "veryfast", *options]
    count = round(seconds * Fraction(rate))

    def make(new: Path) -> None:
        pictures = (striped(number) for number in range(begin, begin + count))
        subprocess.run([*argv, str(new)], check=True, timeout=120, input=b"".join(pictures))

    return media.made_once(path, (argv, begin, count), make)


def striped(number: int) -> bytes:
    row = b"".join(bytes((235 if number >> bit & 1 else 16,)) * STRIPE for bit in range(BITS))
    return row.ljust(WIDTH, b"\x10") * HEIGHT


def numbers(video: Path, size: tuple[int, int] = (WIDTH, HEIGHT), *, turned: bool = False) -> list[int]:
    """What the pictures of a video are, in the order in which they are shown."""
    width, height = size
    argv = ["ffmpeg", "-v", "error", "-xerror", "-noautorotate", "-i", f"file:{video}", "-map", "0:v:0"]
    argv += ["-vf", "transpose=2"] if turned else []
    argv += ["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", "-"]
    data = subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout
    row = width * (height * 3 // 4)
    places = [row + bit * STRIPE + STRIPE // 2 for bit in range(BITS)]
    return [
        sum((data[frame + place] > 125) << bit for bit, place in enumerate(places))
        for frame in range(0, len(data), width * height)
    ]


def times(take: Path) -> list[Fraction]:
    """When each picture that is shown begins."""
    argv = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "frame=pts:stream=time_base"]
    said = subprocess.run([*argv, "-of", "json", str(take)], check=True, capture_output=True, timeout=60)
    found = json.loads(said.stdout)
    tick = Fraction(found["streams"][0]["time_base"])
    return [frame["pts"] * tick for frame in found["frames"]]


def as_shown(take: Path, rate: int | Fraction) -> list[int]:
    """What a video of this rate has to show of a recording: the last picture that has begun by then."""
    shown = times(take)
    which = numbers(take)
    assert len(which) == len(shown)
    places = [math.floor((at - shown[0]) * rate + Fraction(1, 2)) for at in shown]
    frames = round(inspect(TAKE, take, ffprobe="ffprobe", nice=0).info.duration_s * rate)
    found, at = list[int](), 0
    for frame in range(frames):
        while at + 1 < len(places) and places[at + 1] <= frame:
            at += 1
        found.append(which[at])
    return found


def closed(path: Path) -> Path:
    return numbered(path, "-c:v", "libx264", "-x264-params", "keyint=20:bframes=3:b-pyramid=normal")


def hevc(path: Path) -> Path:
    """Its key frames are CRA pictures: what leads before them cannot be decoded from there."""
    return numbered(path, "-c:v", "libx265", "-x265-params", f"{OPEN}:log-level=error", "-tag:v", "hvc1")


def in_fragments(path: Path) -> Path:
    x264 = ("-c:v", "libx264", "-x264-params", OPEN)
    return numbered(path, *x264, "-movflags", "frag_keyframe+empty_moov", rate="30000/1001")


def not_even(path: Path) -> Path:
    """Frames are missing here and there, and for a second and a half where a part would begin."""
    lost = "select='not(eq(mod(n\\,7)\\,3))*not(between(n\\,885\\,930))'"
    x264 = ("-c:v", "libx264", "-x264-params", OPEN)
    return numbered(
        path, "-vf", lost, "-fps_mode", "passthrough", "-enc_time_base", "1/30000", *x264, rate="30"
    )


def begun_late(path: Path) -> Path:
    """Cut by copying: an edit list says that the first pictures are not to be shown."""
    whole = numbered(path.with_suffix(".whole.mp4"), seconds=SECONDS + 3)
    argv = ["ffmpeg", "-v", "error", "-y", "-ss", "2.7", "-i", str(whole), "-c", "copy", str(path)]
    subprocess.run(argv, check=True, timeout=60)
    return path


MAKES: dict[str, Callable[[Path], Path]] = {
    "open groups": numbered,
    "closed groups": closed,
    "HEVC with leading pictures": hevc,
    "29.97 in fragments": in_fragments,
    "uneven, with a gap": not_even,
    "an edit list": begun_late,
}


RATES: dict[str, int | Fraction] = {"29.97 in fragments": Fraction(30000, 1001), "uneven, with a gap": 30}


def transcoder(**more: Any) -> FfmpegTranscoder:
    return FfmpegTranscoder(bitrate=600_000, preset="ultrafast", **more)


def plan_of(folder: Path, *takes: Path, **more: Any) -> RenderPlan:
    return RenderPlan(
        takes=takes, output=folder / "out.mp4", log=folder / "log", parts=folder / "parts",
        logo=media.make_logo(folder / "l.png", (16, 8)), **more,
    )  # fmt: skip


def report(plan: RenderPlan) -> dict[str, Any]:
    return dict(json.loads(plan.output.with_name("processing.json").read_bytes()))


def parts(plan: RenderPlan) -> set[str]:
    assert plan.parts
    return {path.name for path in plan.parts.glob("*.mp4")}


@pytest.mark.parametrize("make", MAKES)
def test_every_picture_is_there_once_and_in_its_place(make: str, tmp_path: Path) -> None:
    take = MAKES[make](tmp_path / "t.mp4")
    plan = plan_of(tmp_path, take)
    told: list[float] = []
    transcoder().render(plan, told.append, deaf)
    found, rate = report(plan), RATES.get(make, RATE)
    assert found["rung"] == "encode in parts", found["why"]
    assert found["checks"]["parts_made"] == 3
    assert found["checks"]["joins_decoded"] == 2
    assert numbers(plan.output) == as_shown(take, rate)
    steps = [float(after - before) for before, after in pairwise(times(plan.output))]
    assert steps == pytest.approx([float(1 / Fraction(rate))] * len(steps), abs=2e-4)
    assert told == sorted(told)
    assert len({round(done, 2) for done in told}) > 3, "it is told within a part as well"
    assert media.picture_at(plan.output, 40).colour(-13, -13) == "lime"
    assert copyable.read(plan.output).tables.picture.keys[0]


def test_a_turned_picture_is_upright_in_every_part(tmp_path: Path) -> None:
    take = media.turned(numbered(tmp_path / "t.mp4", seconds=35), 1)
    plan = plan_of(tmp_path, take)
    transcoder().render(plan, deaf, deaf)
    assert report(plan)["rung"] == "encode in parts", report(plan)["why"]
    assert report(plan)["checks"]["parts_made"] == 2
    info = media.streams(plan.output)["video"]
    assert (info["width"], info["height"]) == (HEIGHT, WIDTH)
    assert numbers(plan.output, turned=True) == list(range(35 * RATE))


def test_takes_of_different_makes_come_after_the_intro_with_one_unbroken_sound(tmp_path: Path) -> None:
    first = numbered(tmp_path / "a.mp4", seconds=34, audio=True)
    second = hevc(tmp_path / "b.mp4")
    third = numbered(tmp_path / "c.mp4", seconds=3, audio=True, begin=3000)
    plan = plan_of(
        tmp_path, first, second, third, options=RenderOptions(cache=tmp_path / "cache"),
        intro=media.make_intro(tmp_path / "i.mp4", size=(WIDTH, HEIGHT), fps=RATE, audio=True),
    )  # fmt: skip
    transcoder().render(plan, deaf, deaf)
    found = report(plan)
    assert (found["rung"], found["gaps"]) == ("encode in parts", []), found["why"]
    assert found["checks"]["parts_made"] == 2 + 3 + 1
    assert found["checks"]["joins_decoded"] == 6
    wanted = [*range(34 * RATE), *range(SECONDS * RATE), *range(3000, 3030)]
    assert numbers(plan.output)[RATE:] == wanted
    picture, sound = videos.packets(plan.output), videos.packets(plan.output, "a")
    assert all(after.at > before.at for before, after in pairwise(sound))
    assert abs(sound[-1].at + sound[-1].lasts - picture[-1].at - picture[-1].lasts) < 0.04
    loud = loudness(plan.output)
    assert min(loud[5 : 34 * 50]) > 0.8 * statistics.median(loud[: 34 * 50]), (
        "neither at the join nor at a part"
    )
    assert max(loud[36 * 50 : 99 * 50]) == 0
    assert min(loud[102 * 50 : 103 * 50 + 40]) > 0


def loudness(video: Path) -> list[float]:
    """Of each fiftieth of a second, the loudest sample."""
    argv = [
        "ffmpeg",
        "-v",
        "error",
        "-i",
        str(video),
        "-map",
        "0:a",
        "-ac",
        "1",
        "-ar",
        "8000",
        "-f",
        "u8",
        "-",
    ]
    data = subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout
    return [max(abs(value - 128) for value in data[at : at + 160]) for at in range(0, len(data), 160)]


def test_a_kill_costs_the_part_in_hand_alone(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, numbered(tmp_path / "t.mp4"))
    killed_in_the_middle(tmp_path, 600_000, lambda: bool(parts(plan)))
    kept = {name: (tmp_path / "parts" / name).stat().st_mtime_ns for name in parts(plan)}
    assert len(kept) < 3
    transcoder().render(plan, deaf, deaf)
    found = report(plan)
    assert (found["checks"]["parts_found"], found["checks"]["parts_made"]) == (len(kept), 3 - len(kept))
    assert all((tmp_path / "parts" / name).stat().st_mtime_ns == at for name, at in kept.items())
    assert numbers(plan.output) == list(range(SECONDS * RATE))
    assert not [path for path in (tmp_path / "parts").iterdir() if path.name.startswith(".new")]


def test_another_logo_bitrate_or_recording_makes_other_parts(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, numbered(tmp_path / "t.mp4", seconds=3))
    transcoder().render(plan, deaf, deaf)
    transcoder().render(plan, deaf, deaf)
    assert report(plan)["checks"]["parts_found"] == len(parts(plan)) == 1
    media.make_logo(tmp_path / "l.png", (16, 8), "white")
    transcoder().render(plan, deaf, deaf)
    assert len(parts(plan)) == 2
    FfmpegTranscoder(bitrate=700_000, preset="ultrafast").render(plan, deaf, deaf)
    assert len(parts(plan)) == 3
    numbered(tmp_path / "t.mp4", seconds=3, begin=7)
    transcoder().render(plan, deaf, deaf)
    assert len(parts(plan)) == 4
    assert numbers(plan.output) == list(range(7, 37))


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ("keyint=infinite:scenecut=0", "no key frame after its first in 66 s"),
        ("intra-refresh=1:keyint=60:bframes=2", "depends on where decoding begins"),
    ],
)
def test_what_cannot_be_cut_honestly_is_made_in_one_pass_and_says_why(
    params: str, why: str, tmp_path: Path
) -> None:
    take = numbered(tmp_path / "t.mp4", "-c:v", "libx264", "-x264-params", params)
    plan = plan_of(tmp_path, take)
    transcoder().render(plan, deaf, deaf)
    assert report(plan)["rung"] == "encode"
    assert [one for one in report(plan)["why"] if one.startswith("encode in parts: t.mp4: ") and why in one]
    assert numbers(plan.output) == list(range(SECONDS * RATE))


def test_a_damaged_join_is_refused_and_the_next_strategy_makes_the_video(tmp_path: Path) -> None:
    """A part lies there, whole by all its tables; but what it begins with cannot be decoded."""
    plan = plan_of(tmp_path, numbered(tmp_path / "t.mp4", seconds=40))
    transcoder().render(plan, deaf, deaf)
    assert report(plan)["rung"] == "encode in parts"
    assert plan.parts
    (spoilt,) = [path for path in plan.parts.glob("*.mp4") if media.frames(path) < 200]
    track = copyable.read(spoilt).tables.picture
    with spoilt.open("r+b") as file:
        for number in range(6):
            file.seek(track.offsets[number] + track.sizes[number] // 2)
            file.write(b"\xff" * (track.sizes[number] // 2))
    transcoder().render(plan, deaf, deaf)
    found = report(plan)
    assert found["rung"] == "encode"
    assert [one for one in found["why"] if one.startswith("encode in parts: ")]
    assert numbers(plan.output) == list(range(40 * RATE))
    assert not parts(plan), "what spoilt the video is not found again"


def test_without_room_for_parts_it_says_so(tmp_path: Path) -> None:
    take = numbered(tmp_path / "t.mp4", seconds=3)
    tools = Tools("ffmpeg", "ffprobe", 0, 1 << 60, "ultrafast", 60.0)
    video = Video([inspect(TAKE, take, ffprobe="ffprobe", nice=0)])
    with pytest.raises(NotApplicable, match="no room for parts"):
        SegmentEncoder(
            AssetMaker(tools, tmp_path / "out", None, CancelToken(), Log()), video, tmp_path
        ).main_video(deaf)


def test_a_decoder_is_sent_to_a_key_frame_at_or_before_the_first_frame_of_its_part(tmp_path: Path) -> None:
    take = numbered(tmp_path / "t.mp4", seconds=10)
    seen = inspect(TAKE, take, ffprobe="ffprobe", nice=0)
    keys = keyframes.read(take).keys(seen.video)
    assert [float(at) for at in keys.shown] == [0, 1.5, 3, 4.5, 6, 7.5, 9]
    planned = segment_plan.plan_segments(keys.shown, seen, Target(WIDTH, HEIGHT, Fraction(RATE), False), 2.0)
    assert [(cut.first, cut.last) for cut in planned] == [(0, 30), (30, 60), (60, 100)]
    assert [cut.keys for cut in planned] == [(0, 2), (2, 4), (4, 7)]
    late = replace(seen, offset_s=0.9)
    moved = segment_plan.plan_segments(keys.shown, late, Target(WIDTH, HEIGHT, Fraction(RATE), False), 2.0)
    assert [cut.first for cut in moved] == [0, 30, 60]
    for one, offset in ((planned, 0.0), (moved, 0.9)):
        assert all(cut.seek_s <= cut.first / RATE + offset + 1.25 for cut in one)
