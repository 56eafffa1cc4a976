"""Clips that their owner trimmed on a phone: what was cut off is never shown again, whatever is made of them.

Red with a tone is what was cut off, yellow and silent is what is to be seen.
"""

from __future__ import annotations

import re
import struct
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ezrec.domain.errors import Reject
from ezrec.media.mp4 import copyable, keyframes, samples
from ezrec.media.mp4.finish_in_place import give_index
from ezrec.media.render.renderer import FfmpegTranscoder
from tests.support import media
from tests.support.rendering import deaf, plan_for

_UNCUT = 1 << 16


def filmed(path: Path, *colours: str, b_frames: int = 0, every: int = 250) -> Path:
    """Two seconds of each colour; there is a tone with red alone."""
    sources = [f"color={colour}:s=320x180:r=25:d=2[{n}]" for n, colour in enumerate(colours)]
    joined = f"{';'.join(sources)};{''.join(f'[{n}]' for n in range(len(colours)))}concat={len(colours)}"
    loud = "+".join(f"between(t,{2 * n},{2 * n + 1.999})" for n, one in enumerate(colours) if one == "red")
    tone = f"aevalsrc='0.5*sin(2764*t)*({loud or 0})':s=48000:d={2 * len(colours)}"
    codec = f"-c:v libx264 -preset ultrafast -bf {b_frames} -g {every} -sc_threshold 0 -pix_fmt yuv420p"
    argv = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", joined, "-f", "lavfi", "-i", tone]
    argv += [*codec.split(), "-c:a", "aac"]
    return media.made_once(path, argv, lambda new: subprocess.run([*argv, str(new)], check=True, timeout=60))


def from_second(second: float, source: Path, *options: str) -> Path:
    """As FFmpeg trims without encoding: from the key frame before, with an edit list."""
    path = source.with_name(f"from-{source.name}")
    argv = [
        "ffmpeg",
        "-v",
        "error",
        "-y",
        "-ss",
        str(second),
        "-i",
        str(source),
        "-c",
        "copy",
        *options,
        str(path),
    ]
    subprocess.run(argv, check=True, timeout=60)
    return path


def edited(path: Path, *pieces: tuple[float, float]) -> Path:
    """Let a plain file, whose index stands at its end, show these pieces alone: from when, and how long."""
    data, at = bytearray(path.read_bytes()), 0
    while (at := data.find(b"elst", at)) > 0:
        scale = struct.unpack_from(">I", data, data.index(b"mdhd", at) + 16)[0]
        primed = struct.unpack_from(">i", data, at + 16)[0]
        rows = [struct.pack(">IiI", round(1000 * s), primed + round(b * scale), _UNCUT) for b, s in pieces]
        more = 12 * (len(rows) - 1)
        data[at + 8 : at + 24] = struct.pack(">I", len(rows)) + b"".join(rows)
        for kind in (b"elst", b"edts", b"trak", b"moov"):
            where = data.rindex(kind, 0, at + 4) - 4
            struct.pack_into(">I", data, where, struct.unpack_from(">I", data, where)[0] + more)
        at += 4
    path.write_bytes(data)
    return path


def unmeasured(path: Path) -> Path:
    """As FFmpeg 7 ends a track: the last sample has no length, and all is shown up to where it begins."""
    data = bytearray(path.read_bytes())
    at = data.index(b"vide" + bytes(12))
    stts, elst = data.index(b"stts", at), data.rindex(b"elst", 0, at)
    count, each = struct.unpack_from(">II", data, stts + 12)
    scale, length = struct.unpack_from(">II", data, data.rindex(b"mdhd", 0, at) + 16)
    struct.pack_into(">I", data, elst + 12, (length - each) * 1000 // scale)
    struct.pack_into(">I", data, data.rindex(b"mdhd", 0, at) + 20, length - each)
    data[stts + 8 : stts + 20] = struct.pack(">5I", 2, count - 1, each, 1, 0)
    for kind in (b"stts", b"stbl", b"minf", b"mdia", b"trak", b"moov"):
        where = data.rindex(kind, 0, stts + 4) - 4
        struct.pack_into(">I", data, where, struct.unpack_from(">I", data, where)[0] + 8)
    path.write_bytes(data)
    return path


CLIPS: dict[str, Callable[[Path], Path]] = {
    "beginning": lambda d: from_second(2, filmed(d / "c.mp4", "red", "yellow")),
    "beginning, at a key frame": lambda d: edited(
        filmed(d / "c.mp4", "red", "yellow", every=25), (2, 2)
    ),
    "beginning, with B-frames": lambda d: from_second(2, filmed(d / "c.mp4", "red", "yellow", b_frames=2)),
    "beginning, in fragments": lambda d: from_second(
        2, filmed(d / "c.mp4", "red", "yellow"), "-movflags", "frag_keyframe+delay_moov"
    ),
    "beginning, in fragments with B-frames": lambda d: from_second(
        2, filmed(d / "c.mp4", "red", "yellow", b_frames=2), "-movflags", "frag_keyframe+delay_moov"
    ),
    "end": lambda d: edited(filmed(d / "c.mp4", "yellow", "red"), (0, 2)),
    "end, with B-frames": lambda d: edited(filmed(d / "c.mp4", "yellow", "red", b_frames=2), (0, 2)),
    "both ends": lambda d: edited(filmed(d / "c.mp4", "red", "yellow", "red"), (2, 2)),
    "middle": lambda d: edited(filmed(d / "c.mp4", "yellow", "red", "yellow"), (0, 1), (5, 1)),
}  # fmt: skip


def colours(path: Path) -> Counter[str]:
    """In how many frames, hidden ones among them, which colour stands in the middle."""
    argv = [
        "ffmpeg",
        "-v",
        "error",
        "-ignore_editlist",
        "1",
        "-i",
        f"file:{path}",
        "-fps_mode",
        "passthrough",
    ]
    argv += ["-vf", "crop=2:2:160:90,scale=1:1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    said = subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout
    pixels = [media.Picture(1, 1, said[at : at + 3]) for at in range(0, len(said), 3)]
    return Counter(pixel.colour(0, 0) for pixel in pixels)


def loudest_db(path: Path) -> float:
    """Behind the first tenth of a second: a packet of sound spreads a cut over some milliseconds."""
    argv = ["ffmpeg", "-nostdin", "-i", f"file:{path}", "-map", "0:a", "-af"]
    argv += ["atrim=start=0.1,volumedetect", "-f", "null", "-"]
    said = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stderr
    return float(re.findall(r"max_volume: (-?[\d.]+) dB", said)[0])


@pytest.fixture
def transcoder() -> FfmpegTranscoder:
    return FfmpegTranscoder(bitrate=800_000, preset="ultrafast")


@pytest.mark.parametrize("b_frames", [0, 2])
def test_a_last_picture_without_a_length_was_not_cut_off(b_frames: int, tmp_path: Path) -> None:
    clip = unmeasured(filmed(tmp_path / "c.mp4", "yellow", b_frames=b_frames))
    assert keyframes.read(clip).shown(0) == 50
    assert not keyframes.read(clip).is_cut(0)
    if not b_frames:
        assert len(samples.read(clip).picture) == 50
    trimmed = edited(clip, (0, 1))
    assert keyframes.read(trimmed).shown(0) == 25
    assert keyframes.read(trimmed).is_cut(0)


@pytest.mark.parametrize("looks", ["bare", "intro", "logo", "intro and logo"])
@pytest.mark.parametrize("clip", list(CLIPS))
def test_what_an_owner_cut_off_is_in_no_video(
    clip: str, looks: str, tmp_path: Path, transcoder: FfmpegTranscoder
) -> None:
    take = CLIPS[clip](tmp_path)
    assert transcoder.probe(take).duration_s == pytest.approx(2, abs=0.05)
    plan = plan_for(
        tmp_path, take,
        intro=media.make_intro(tmp_path / "i.mp4", colour="blue", audio=False) if "intro" in looks else None,
        logo=media.make_logo(tmp_path / "l.png") if "logo" in looks else None,
    )  # fmt: skip
    made = transcoder.render(replace(plan, parts=tmp_path / "parts"), deaf, deaf)
    seen = colours(plan.output)
    assert set(seen) == ({"yellow", "blue"} if "intro" in looks else {"yellow"})
    assert seen["yellow"] == pytest.approx(50, abs=1)
    assert made.duration_s == pytest.approx(3 if "intro" in looks else 2, abs=0.05)
    assert loudest_db(plan.output) < -20  # the tone has -6, and an echo of -24


def test_a_trimmed_intro_does_not_show_its_beginning_either(
    tmp_path: Path, transcoder: FfmpegTranscoder
) -> None:
    intro = CLIPS["beginning, in fragments"](tmp_path)
    plan = plan_for(tmp_path, media.make_take(tmp_path / "t.mp4", colour="blue"), intro=intro)
    transcoder.check_asset("intro", intro)
    transcoder.render(plan, deaf, deaf)
    assert set(colours(plan.output)) == {"yellow", "blue"}


def test_a_clip_trimmed_where_a_decoder_can_begin_is_copied_still(tmp_path: Path) -> None:
    for name in ("beginning, at a key frame", "end"):
        track = copyable.read(CLIPS[name](tmp_path)).tables.picture
        assert (len(track), float(track.length_s)) == (50, 2.0)


def test_a_trimmed_clip_is_not_published_as_it_is_on_a_full_disk(tmp_path: Path) -> None:
    for make in CLIPS.values():
        clip = make(tmp_path)
        before = clip.read_bytes()
        with pytest.raises(Reject, match="it still holds what its owner cut off"):
            give_index(clip)
        assert clip.read_bytes() == before


def whole_clips(folder: Path) -> Iterator[Path]:
    yield filmed(folder / "a.mp4", "yellow")
    yield filmed(folder / "b.mp4", "yellow", b_frames=2)
    yield media.make_take(folder / "c.mp4", audio=True)


def test_a_clip_of_which_all_is_shown_is_not_taken_for_a_trimmed_one(tmp_path: Path) -> None:
    """Every encoder of sound has something to leave out at its beginning."""
    for clip in whole_clips(tmp_path):
        assert not keyframes.read(clip).is_cut(0, 1)
