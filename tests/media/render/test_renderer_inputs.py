"""Files that the transcoder has to refuse: unusable, spoilt, or meaning harm."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ezrec.domain.errors import Reject, Retry
from ezrec.domain.ports import MediaInfo
from ezrec.media.ffmpeg.inputs import INTRO, LOGO, TAKE, file_url, input_options
from ezrec.media.ffmpeg.runner import FfmpegFailed, Limits, run
from ezrec.media.render.renderer import FfmpegTranscoder
from tests.support import media
from tests.support.rendering import deaf, plan_for, program, written


@pytest.fixture
def transcoder() -> FfmpegTranscoder:
    return FfmpegTranscoder(bitrate=800_000, preset="ultrafast")


def sound_only(folder: Path) -> Path:
    whole, path = media.make_take(folder / "w.mp4", audio=True), folder / "x.mp4"
    subprocess.run(["ffmpeg", "-v", "error", "-i", whole, "-vn", "-c", "copy", path], check=True, timeout=60)
    return path


def link(folder: Path) -> Path:
    path = folder / "x.mp4"
    path.symlink_to(media.make_take(folder / "whole.mp4"))
    return path


def fifo(folder: Path) -> Path:
    os.mkfifo(folder / "x.mp4")
    return folder / "x.mp4"


def without_frames(folder: Path) -> Path:
    whole = media.make_take(folder / "w.mp4").read_bytes()
    return written(folder / "x.mp4", whole[: whole.index(b"moof") - 4])


def cut_plain(folder: Path) -> Path:
    whole = media.make_take(folder / "w.mp4", fragmented=False).read_bytes()
    return written(folder / "x.mp4", whole[:-100])


BAD_TAKES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "empty": (lambda d: written(d / "x.mp4", b""), "the file is empty"),
    "text": (lambda d: written(d / "x.mp4", b"dear diary\n" * 99), "it begins with b'dear diary"),
    "missing": (lambda d: d / "x.mp4", "the file is missing"),
    "no picture": (sound_only, "no picture in it"),
    "no frames": (without_frames, "no picture in it: its duration is 0"),
    "cut short": (cut_plain, "says .* bytes where the file has"),
    "too wide": (lambda d: media.make_take(d / "x.mp4", size=(8200, 16), seconds=0.1), "8200x16 pixels"),
    "matroska": (
        lambda d: Path(shutil.move(media.make_intro(d / "i.mkv"), d / "x.mp4")),
        "not usable as recording: it is Matroska or WebM under the name .mp4",
    ),
    "sound": (sound_only, "no picture in it, only sound"),
    "folder": (lambda d: d, "(neither a file nor|a directory, and no file)"),
    "link": (link, "cannot be opened"),
    "fifo": (fifo, "(neither a file nor|a directory, and no file)"),
    "garbage in boxes": (
        lambda d: written(d / "x.mp4", b"\0\0\0\x0cftypisom\0\0\0\x18moov" + bytes(8) + b"mvhd" + bytes(4)),
        "not usable as recording",
    ),
}


STREAMS = {
    "raw H.264": ("-bsf:v", "h264_mp4toannexb", "-f", "h264"),
    "MPEG-TS": ("-f", "mpegts"),
    "MPEG-PS": ("-f", "mpeg"),
    "a Flash video": ("-f", "flv"),
}


@pytest.mark.parametrize("name", list(STREAMS))
def test_a_recording_with_another_name_is_called_what_it_is_and_the_command_mends_it(
    name: str, tmp_path: Path, transcoder: FfmpegTranscoder
) -> None:
    whole, path = media.make_take(tmp_path / "w.mp4", filters="noise=alls=40:allf=t"), tmp_path / "x.mp4"
    command: list[str | Path] = [
        "ffmpeg",
        "-v",
        "error",
        "-i",
        whole,
        "-map",
        "0:v",
        "-c",
        "copy",
        *STREAMS[name],
        path,
    ]
    subprocess.run(command, check=True, timeout=60)
    with pytest.raises(Reject, match=rf"it is {name} under the name \.mp4") as fault:
        transcoder.probe(path)
    cure, rest = fault.value.remedy.split("; then ")
    assert cure == "ffmpeg -i x.mp4 -c copy -c:a aac x-usable.mp4"
    assert "retry" in rest
    if name == "MPEG-PS":  # FFmpeg writes them without what tells a demuxer of H.264; cameras do better
        return
    subprocess.run(["sh", "-c", f"{cure} 2>/dev/null"], check=True, timeout=60, cwd=tmp_path)
    assert transcoder.probe(tmp_path / "x-usable.mp4").frames in (59, 60)


LOGOS_WITH_A_CURE = {
    "an animated WebP": (
        "testsrc2=s=64x32:r=5:d=1",
        "x.webp",
        "it is a WebP animation",
        "webpmux -get frame 1",
    ),
    "a GIF": ("testsrc2=s=64x32:r=5:d=1", "x.gif", "it is a GIF", "ffmpeg -i x.gif"),
    "of print size": ("color=lime:s=9000x450:d=1:r=1", "x.png", "9000x450 pixels", "smaller than 8192"),
}


@pytest.mark.parametrize("what", list(LOGOS_WITH_A_CURE))
def test_a_logo_is_called_what_it_is_and_the_command_mends_it(
    what: str, tmp_path: Path, transcoder: FfmpegTranscoder
) -> None:
    source, name, says, cure = LOGOS_WITH_A_CURE[what]
    encoder = ["-c:v", "libwebp_anim"] if name == "x.webp" else []
    command: list[str | Path] = [
        "ffmpeg",
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        source,
        *encoder,
        tmp_path / name,
    ]
    subprocess.run(command, check=True, timeout=60)
    with pytest.raises(Reject, match=says) as fault:
        transcoder.check_asset("logo", tmp_path / name)
    assert cure in fault.value.remedy
    if "ffmpeg" in (mends := fault.value.remedy.split("; then ")[0].split(": ")[-1]):
        subprocess.run(["sh", "-c", f"{mends} 2>/dev/null"], check=True, timeout=60, cwd=tmp_path)
        transcoder.check_asset("logo", tmp_path / "x-usable.png")


@pytest.mark.parametrize("make", list(BAD_TAKES))
def test_a_recording_that_cannot_be_used_is_refused_in_one_line(
    make: str, tmp_path: Path, transcoder: FfmpegTranscoder
) -> None:
    build, reason = BAD_TAKES[make]
    with pytest.raises(Reject, match=reason) as fault:
        transcoder.probe(build(tmp_path))
    assert "\n" not in fault.value.reason
    assert len(fault.value.reason) < 400
    assert "retry" in fault.value.remedy


def test_a_recording_is_described_as_a_player_shows_it(tmp_path: Path, transcoder: FfmpegTranscoder) -> None:
    plain = transcoder.probe(media.make_take(tmp_path / "a.mp4", fragmented=False, audio=True))
    assert plain == MediaInfo(2.0, 320, 180, 30.0, "h264", True, 60)
    on_its_side = media.turned(media.make_take(tmp_path / "b.mp4", fps="30000/1001"), 1)
    info = transcoder.probe(on_its_side)
    assert (info.width, info.height, info.frames) == (180, 320, 60)
    assert info.fps == pytest.approx(29.97, abs=0.001)


def scribbled(path: Path) -> Path:
    """Spoil the middle of a file's data, leaving its shape whole."""
    data = bytearray(path.read_bytes())
    start, end = len(data) // 3, len(data) // 3 * 2
    data[start:end] = b"\xa5" * (end - start)
    path.write_bytes(data)
    return path


BAD_ASSETS: dict[str, tuple[str, Callable[[Path], Path], str]] = {
    "intro: empty": ("intro", lambda d: written(d / "i.mp4", b""), "the file is empty"),
    "intro: too long": (
        "intro",
        lambda d: media.make_intro(d / "i.mp4", seconds=121, fps=1, size=(32, 32), audio=False),
        "an intro of 121 s; at most 120",
    ),
    "intro: spoiled": (
        "intro",
        lambda d: scribbled(media.make_intro(d / "i.mp4", filters="noise=alls=90", audio=False)),
        "cannot be decoded",
    ),
    "intro: a picture": ("intro", lambda d: media.make_logo(d / "i.png"), "not usable as intro"),
    "logo: svg": (
        "logo",
        lambda d: written(d / "l.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        "not usable",
    ),
    "logo: a video": ("logo", lambda d: media.make_intro(d / "l.mp4"), "not usable as logo"),
    "logo: cut short": (
        "logo",
        lambda d: written(d / "l.png", media.make_logo(d / "w.png").read_bytes()[:60]),
        "l.png: ",
    ),
    "logo: too large": ("logo", lambda d: media.make_logo(d / "l.png", size=(8200, 10)), "8200x10 pixels"),
}


@pytest.mark.parametrize("make", list(BAD_ASSETS))
def test_an_asset_that_cannot_be_used_is_refused_in_one_line(
    make: str, tmp_path: Path, transcoder: FfmpegTranscoder
) -> None:
    kind, build, reason = BAD_ASSETS[make]
    with pytest.raises(Reject, match=reason) as fault:
        transcoder.check_asset(kind, build(tmp_path))
    assert "\n" not in fault.value.reason
    assert "upload" in fault.value.remedy


NO_MEMORY = 'echo "[error] Cannot allocate memory" >&2; exit 1'
FAULTS_OF_ASSETS = {
    "memory": (NO_MEMORY, "Cannot allocate memory"),
    "disk": ('echo "[error] Input/output error" >&2; exit 1', "Input/output error"),
    "killed": ("kill -9 $$", "killed from outside"),
}


@pytest.mark.parametrize("fault", list(FAULTS_OF_ASSETS))
@pytest.mark.parametrize("kind", ["intro", "logo", "sponsor"])
def test_an_asset_at_which_ffmpeg_fails_alone_is_refused(kind: str, fault: str, tmp_path: Path) -> None:
    script, word = FAULTS_OF_ASSETS[fault]
    fails = program(tmp_path, f'case "$*" in *damaged*) {script};; esac; exec ffprobe "$@"')
    asset = media.make_intro(tmp_path / "damaged.mp4")
    if kind != "intro":
        asset = media.make_logo(tmp_path / "damaged.png")
    with pytest.raises(Reject, match=word) as refused:
        FfmpegTranscoder(bitrate=800_000, ffprobe=fails).check_asset(kind, asset)
    assert "upload" in refused.value.remedy


def test_a_machine_in_trouble_costs_no_asset(tmp_path: Path) -> None:
    fails, intro = program(tmp_path, NO_MEMORY), media.make_intro(tmp_path / "i.mp4")
    for transcoder in (
        FfmpegTranscoder(bitrate=800_000, ffmpeg=fails, ffprobe=fails),
        FfmpegTranscoder(bitrate=800_000, ffmpeg=fails),
    ):
        with pytest.raises(Retry, match="Cannot allocate memory"):
            transcoder.check_asset("intro", intro)


TRAPS = {
    "HLS playlist": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nsecret.mp4\n#EXT-X-ENDLIST\n",
    "ffconcat text": "ffconcat version 1.0\nfile 'secret.mp4'\n",
    "SDP": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 49170 RTP/AVP 96\n"
    "a=rtpmap:96 H264/90000\n",
    "DASH manifest": "<?xml version='1.0'?><MPD><Period><AdaptationSet><BaseURL>{secret}</BaseURL>"
    "</AdaptationSet></Period></MPD>",
    "SVG": "<svg xmlns='http://www.w3.org/2000/svg'><image href='file://{secret}'/></svg>",
}


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Another customer's video, in a colour and of a size that nothing else has."""
    return media.make_take(tmp_path / "secret.mp4", size=(200, 100), colour="white", fragmented=False)


@pytest.mark.parametrize("trap", ["HLS playlist", "ffconcat text"])
def test_the_traps_are_traps(trap: str, tmp_path: Path, secret: Path) -> None:
    path = written(tmp_path / "trap.mp4", TRAPS[trap].encode())
    try:
        found = media.streams(path)["video"]["width"]
    except subprocess.CalledProcessError as fault:
        found = fault.stderr.decode()
    # FFmpeg 7.1 takes no playlist that is not called one.
    assert found == 200 or "Not detecting m3u8/hls with non standard extension" in found


@pytest.fixture
def spied(tmp_path: Path) -> tuple[FfmpegTranscoder, Callable[[], str]]:
    """A transcoder whose programs run under strace, and what they opened or connected to."""
    strace = shutil.which("strace")
    if not strace:
        pytest.skip("strace is not installed")
    notes, paths = tmp_path / "strace.txt", []
    for name in ("ffmpeg", "ffprobe"):
        path = tmp_path / f"spied-{name}"
        watched = f"{strace} -f -qq -A -o {notes} -e trace=open,openat,connect,socket,execve"
        path.write_text(f'#!/bin/sh\nexec {watched} {shutil.which(name)} "$@"\n')
        path.chmod(0o755)
        paths.append(str(path))
    notes.touch()
    spying = FfmpegTranscoder(bitrate=800_000, preset="ultrafast", ffmpeg=paths[0], ffprobe=paths[1])
    return spying, notes.read_text


@pytest.mark.parametrize("trap", list(TRAPS))
def test_a_text_that_points_at_another_file_is_refused_unopened(
    trap: str, tmp_path: Path, secret: Path, spied: tuple[FfmpegTranscoder, Callable[[], str]]
) -> None:
    transcoder, opened = spied
    text = TRAPS[trap].format(secret=secret).encode()
    with pytest.raises(Reject, match="not usable"):
        transcoder.probe(written(tmp_path / "trap.mp4", text))
    for kind, name in (
        ("intro", "trap.mp4"),
        ("intro", "trap.mov"),
        ("intro", "trap.mkv"),
        ("logo", "trap.png"),
    ):
        with pytest.raises(Reject, match="not usable"):
            transcoder.check_asset(kind, written(tmp_path / name, text))
    plan = plan_for(
        tmp_path,
        media.make_take(tmp_path / "good.mp4", fragmented=False),  # which ffprobe looks at
        intro=tmp_path / "trap.mov",
        logo=tmp_path / "trap.png",
    )
    with pytest.raises(Reject, match="not usable"):
        transcoder.render(plan, deaf, deaf)
    assert not plan.output.exists()
    assert "good.mp4" in opened()
    assert "secret.mp4" not in opened()


@pytest.mark.parametrize("trap", list(TRAPS))
@pytest.mark.parametrize("demuxer", sorted({name for kind in (TAKE, INTRO, LOGO) for name in kind.demuxers}))
def test_ffmpeg_itself_refuses_such_a_text_even_where_its_first_bytes_were_not_looked_at(
    trap: str, demuxer: str, tmp_path: Path, secret: Path
) -> None:
    path, output = (
        written(tmp_path / "trap.mp4", TRAPS[trap].format(secret=secret).encode()),
        tmp_path / "out.mp4",
    )
    options = [word for key, value in input_options(demuxer).items() for word in (f"-{key}", value)]
    for narrowed in (options, options[:4]):  # with the demuxer forced, and with the white lists alone
        with pytest.raises(FfmpegFailed):
            run(
                ["ffmpeg", "-xerror", *narrowed, "-i", file_url(path), "-y", str(output)],
                Limits(30),
                nice=0,
                on_output=deaf,
            )
        assert not output.exists() or not output.stat().st_size


@pytest.mark.parametrize(
    "name",
    ["concat:secret.mp4|secret.mp4", "-i secret.mp4", "%03d", "http:x", "a'b;[0:v]null,\\.mp4", "ü\n.mp4"],
)
def test_a_name_is_only_a_name(name: str, tmp_path: Path, secret: Path, transcoder: FfmpegTranscoder) -> None:
    take, logo = media.make_take(tmp_path / name), media.make_logo(tmp_path / f"{name}.png")
    output = tmp_path / f"out {name}.mp4"
    info = transcoder.render(plan_for(tmp_path, take, logo=logo, name=output.name), deaf, deaf)
    assert info.duration_s == 2.0
    picture = media.picture_at(output.rename(tmp_path / "out.mp4"), 1)
    assert (picture.colour(9, 9), picture.colour(-12, -12)) == ("blue", "lime")


def test_a_whole_render_opens_its_inputs_and_no_socket(
    tmp_path: Path, spied: tuple[FfmpegTranscoder, Callable[[], str]]
) -> None:
    transcoder, opened = spied
    take, intro = media.make_take(tmp_path / "take.mp4"), media.make_intro(tmp_path / "intro.mp4")
    transcoder.render(
        plan_for(tmp_path, take, intro=intro, logo=media.make_logo(tmp_path / "l.png")), deaf, deaf
    )
    seen = opened()
    assert "socket(" not in seen
    assert "connect(" not in seen
    ours = {
        Path(name).name
        for name in re.findall(rf'"({re.escape(str(tmp_path))}/[^"]+)"', seen)
        if "spied" not in name
    }
    assert ours <= {"take.mp4", "intro.mp4", "l.png", "out.mp4.part", f"file:{tmp_path}/out.mp4.part"}


def test_metadata_of_the_inputs_does_not_reach_the_finished_video(
    tmp_path: Path, transcoder: FfmpegTranscoder
) -> None:
    whole, take = media.make_take(tmp_path / "w.mp4"), tmp_path / "t.mp4"
    tagged = ["-c", "copy", "-metadata", "title=Top-Secret-Title", "-metadata", "location=+47+008/"]
    subprocess.run(["ffmpeg", "-v", "error", "-i", whole, *tagged, take], check=True, timeout=60)
    for logo in (None, media.make_logo(tmp_path / "l.png")):
        transcoder.render(plan_for(tmp_path, take, logo=logo), deaf, deaf)
        assert b"Top-Secret" not in (tmp_path / "out.mp4").read_bytes()


def test_a_recording_with_spoilt_frames_is_published_in_its_full_length(
    tmp_path: Path, transcoder: FfmpegTranscoder
) -> None:
    take = media.make_take(tmp_path / "t.mp4", filters="noise=alls=60:allf=t")
    data = bytearray(take.read_bytes())
    middle = data.index(b"mdat", len(data) // 2)
    data[middle + 1000 : middle + 1100] = b"\xa5" * 100
    take.write_bytes(data)
    info = transcoder.render(plan_for(tmp_path, take, logo=media.make_logo(tmp_path / "l.png")), deaf, deaf)
    assert (info.duration_s, info.frames) == (2.0, 60)
    assert "passing over what cannot be decoded" in (tmp_path / "ffmpeg.log").read_text()
