"""A club's colours are its own: its logo and its intro are seen as they were drawn."""

from __future__ import annotations

import itertools
import json
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ezrec.camera.overlay import logo_planes
from ezrec.domain.branding import ALWAYS, LogoLayout, LogoPosition, LogoShow
from ezrec.domain.ports import RenderOptions, RenderPlan
from ezrec.media.render.renderer import FfmpegTranscoder
from tests.media.render import browser
from tests.support import colours, media, videos
from tests.support.colours import GREEN, is_near, shown
from tests.support.rendering import deaf

HD, SD = (128, 720), (160, 90)  # browsers take a video for HD by its lines alone
BT601, BT709, PARTLY = "6:6:6", "1:1:1", "2:2:5"


def ffmpeg(*words: str | Path) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-y", *words], check=True, timeout=120)


def take_of(path: Path, size: tuple[int, int], tagged: str = "", seconds: int = 2) -> Path:
    """A grey recording as the camera writes it; `tagged`: primaries, transfer, matrix."""
    bare = media.make_take(path.with_suffix(".bare.mp4"), seconds, size, colour="0x404040")
    if not tagged:
        return bare.rename(path)
    primaries, transfer, matrix = tagged.split(":")
    tags = f"h264_metadata=colour_primaries={primaries}:transfer_characteristics={transfer}"
    ffmpeg(
        "-i", bare, "-c", "copy", "-bsf:v", f"{tags}:matrix_coefficients={matrix}", *media.FRAGMENTED, path
    )
    return path


def logo_of(path: Path, size: tuple[int, int] = (32, 32)) -> Path:
    ffmpeg("-f", "lavfi", "-i", f"color=0x00A03C:s={size[0]}x{size[1]},format=rgba", "-frames:v", "1", path)
    return path


def coded(path: Path, size: tuple[int, int], matrix: str, *options: str, its_range: str = "tv") -> Path:
    """A video all of the green, made with this matrix; its tags are what `options` say."""
    drawn = f"color=0x00A03C:s={size[0]}x{size[1]}:r=25:d=1,format=rgb24"
    way = f"scale=out_color_matrix={matrix}:out_range={its_range},format=yuv420p"
    bare = "setparams=range=unknown:colorspace=unknown"
    ffmpeg("-f", "lavfi", "-i", f"{drawn},{way},{bare}", "-c:v", "libx264", "-qp", "1", *options, path)
    return path


def rgb_intro(folder: Path) -> Path:
    ffmpeg(
        "-f",
        "lavfi",
        "-i",
        "color=0x00A03C:s=320x180:r=25:d=1,format=rgb24",
        "-c:v",
        "qtrle",
        folder / "i.mov",
    )
    return folder / "i.mov"


def jpeg_intro(folder: Path) -> Path:
    source = "color=0x00A03C:s=1280x720:r=25:d=1,format=rgb24"
    ffmpeg(
        "-f", "lavfi", "-i", source, "-pix_fmt", "yuvj420p", "-c:v", "mjpeg", "-q:v", "2", folder / "i.mov"
    )
    return folder / "i.mov"


_BSF = ("-bsf:v", "h264_metadata=colour_primaries=1:transfer_characteristics=1:matrix_coefficients=1")
INTROS: dict[str, Callable[[Path], Path]] = {
    "RGB": rgb_intro,
    "motion JPEG": jpeg_intro,
    "SD without tags": lambda d: coded(d / "i.mp4", (320, 180), "smpte170m"),
    "HD without tags": lambda d: coded(d / "i.mp4", (320, 720), "bt709"),
    "SD tagged BT.709": lambda d: coded(d / "i.mp4", (320, 180), "bt709", *_BSF),
}  # fmt: skip
SHOWS = {"parts": ALWAYS, "smart": LogoShow(0.9)}


def made(folder: Path, take: Path, rung: str = "", name: str = "out.mp4", **plan: object) -> Path:
    output = folder / name
    show = plan.pop("show", ALWAYS)
    assert isinstance(show, LogoShow)
    FfmpegTranscoder(bitrate=3_000_000, preset="ultrafast").render(
        RenderPlan([take], output, folder / "l.log", options=RenderOptions(logo_show=show), **plan),  # type: ignore[arg-type]
        deaf, deaf,
    )  # fmt: skip
    if rung:
        assert json.loads((folder / "processing.json").read_text())["rung"] == rung
    return output


@pytest.mark.parametrize("rung", list(SHOWS))
@pytest.mark.parametrize(
    ("size", "tagged", "expected"),
    [
        (HD, "", "bt709"),
        (SD, "", "smpte170m"),
        (HD, BT601, "smpte170m"),
        (SD, BT709, "bt709"),
        (HD, PARTLY, "bt470bg"),
    ],
    ids=["HD", "SD", "HD tagged BT.601", "SD tagged BT.709", "HD tagged in part"],
)
def test_a_logo_keeps_its_colours_on_every_kind_of_recording(
    size: tuple[int, int], tagged: str, expected: str, rung: str, tmp_path: Path
) -> None:
    take, logo = take_of(tmp_path / "t.mp4", size, tagged), logo_of(tmp_path / "l.png")
    video = made(tmp_path, take, rung, logo=logo, show=SHOWS[rung], parts=tmp_path / "parts")
    (green, grey) = shown(video, 0.4, (-16, -16), (5, 5))
    assert is_near(green, GREEN)
    assert is_near(grey, (64, 64, 64))
    primaries, transfer, matrix, _ = colours.tags(video)
    assert matrix == expected
    if rung == "parts" or tagged != PARTLY:
        assert "unknown" not in (primaries, transfer)


@pytest.mark.parametrize("make", list(INTROS))
@pytest.mark.parametrize("size", [HD, SD], ids=["HD", "SD"])
def test_an_intro_keeps_its_colours_before_a_recording_that_is_copied(
    make: str, size: tuple[int, int], tmp_path: Path
) -> None:
    take = take_of(tmp_path / "t.mp4", size)
    video = made(tmp_path, take, "copy", intro=INTROS[make](tmp_path))
    assert is_near(shown(video, 0.5, (size[0] // 2, size[1] // 2))[0], GREEN)
    assert "unknown" not in colours.tags(video)
    assert videos.pictures(video)[-60:] == videos.pictures(take)  # and the recording is as it was


def test_one_pass_over_everything_keeps_the_colours_too(tmp_path: Path) -> None:
    take, logo = take_of(tmp_path / "t.mp4", HD), logo_of(tmp_path / "l.png")
    video = made(tmp_path, take, "encode", intro=rgb_intro(tmp_path), logo=logo)
    assert is_near(shown(video, 0.5, (64, 360))[0], GREEN)
    assert is_near(shown(video, 1.5, (-16, -16))[0], GREEN)
    assert colours.tags(video) == ("bt709", "bt709", "bt709", "tv")


def test_several_logos_keep_their_colours(tmp_path: Path) -> None:
    take, logo = take_of(tmp_path / "t.mp4", HD), logo_of(tmp_path / "l.png")
    layout = LogoLayout(sponsor_corner="top-left", sponsor_size=50)
    plan = RenderPlan(
        [take], tmp_path / "out.mp4", tmp_path / "l.log", logo=logo, sponsors=(logo_of(tmp_path / "s.jpg"),),
        options=RenderOptions(logo_layout=layout),
    )  # fmt: skip
    FfmpegTranscoder(bitrate=3_000_000, preset="ultrafast").render(plan, deaf, deaf)
    assert all(is_near(one, GREEN, 4) for one in shown(plan.output, 1, (-16, -16), (24, 24)))


@pytest.mark.parametrize(("size", "matrix"), [((320, 720), "bt709"), ((320, 180), "smpte170m")])
def test_what_a_camera_draws_has_the_colours_of_a_video_of_its_size(
    size: tuple[int, int], matrix: str, tmp_path: Path
) -> None:
    logo = logo_of(tmp_path / "l.png")
    drawn = logo_planes.make("key", tmp_path, logo, (), size, LogoLayout(), 30)
    data, place = drawn.path.read_bytes(), drawn.place
    count = place.width * place.height
    yuv = data[0], data[count], data[count + count // 4]
    assert is_near(colours.rgb(yuv, matrix, full_range=False), GREEN)


BARS = "smptehdbars=s=320x180:r=25:d=0.6"
_HDR_STEPS = 20  # near black, a step of the HDR encoder is a dozen of ours
HDR = {"HLG": "arib-std-b67", "PQ": "smpte2084"}


def hdr(path: Path, transfer: str, *options: str) -> Path:
    """The bars as an HDR camera has them: BT.2020, 10 bits, ordinary white at 203 cd/m²."""
    way = f"zscale=min=709:tin=709:pin=709:m=2020_ncl:t={transfer}:p=2020:npl=203,format=yuv420p10le"
    tags = f"log-level=error:crf=4:colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc"
    encoder = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", tags, "-tag:v", "hvc1")
    ffmpeg("-f", "lavfi", "-i", BARS, "-vf", way, *encoder, *options, path)
    return path


_YELLOW, _RED, _BLUE = (80, 50), (240, 50), (270, 50)


@pytest.mark.parametrize("kind", list(HDR))
def test_an_intro_in_hdr_looks_like_the_same_intro_without(kind: str, tmp_path: Path) -> None:
    take = media.make_take(tmp_path / "t.mp4", 1)
    seen = []
    ordinary = tmp_path / "i.mp4"
    ffmpeg("-f", "lavfi", "-i", BARS, "-c:v", "libx264", "-qp", "1", "-pix_fmt", "yuv420p", *_BSF, ordinary)
    for intro in (ordinary, hdr(tmp_path / "i.mov", HDR[kind])):
        video = made(tmp_path, take, "copy", f"{intro.suffix}.mp4", intro=intro)
        seen.append(shown(video, 0.4, _YELLOW, _RED, _BLUE))
    assert is_near(seen[0][0], (191, 191, 0), 8)
    assert all(is_near(one, other, _HDR_STEPS) for one, other in zip(*seen, strict=True)), seen


def test_a_clip_in_hdr_is_published_in_ordinary_colours(tmp_path: Path) -> None:
    clip = hdr(tmp_path / "t.mp4", HDR["HLG"])
    video = made(tmp_path, clip, parts=tmp_path / "parts")
    yellow, red = shown(video, 0.4, _YELLOW, _RED)
    assert is_near(yellow, (191, 191, 0), _HDR_STEPS)
    assert is_near(red, (191, 0, 0), _HDR_STEPS)
    assert colours.tags(video) == ("bt709", "bt709", "bt709", "tv")


def with_exif(path: Path, orientation: int) -> Path:
    """The picture with an EXIF orientation, as a phone writes it."""
    tiff = b"MM\0*\0\0\0\x08" + struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    data = path.read_bytes()
    if path.suffix == ".jpg":
        body = b"Exif\0\0" + tiff
        data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]
    elif path.suffix == ".png":
        import zlib

        chunk = b"eXIf" + tiff
        data = (
            data[:33]
            + struct.pack(">I", len(tiff))
            + chunk
            + struct.pack(">I", zlib.crc32(chunk))
            + data[33:]
        )
    else:
        rest = data[12:]
        extended = b"VP8X" + struct.pack("<I", 10) + bytes((8, 0, 0, 0)) + (39).to_bytes(3, "little") * 2
        exif = b"EXIF" + struct.pack("<I", len(tiff)) + tiff + b"\0" * (len(tiff) % 2)
        body = b"WEBP" + extended + rest + exif
        data = b"RIFF" + struct.pack("<I", len(body)) + body
    path.write_bytes(data)
    return path


def corners(path: Path) -> None:
    """A picture that is red at its top left alone."""
    source = "color=blue:s=40x40,format=rgba,drawbox=w=20:h=20:color=red:t=fill"
    ffmpeg("-f", "lavfi", "-i", source, "-frames:v", "1", "-qmin", "1", "-q:v", "1", path)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize(
    ("orientation", "red"),
    [(1, "top left"), (3, "bottom right"), (6, "top right"), (8, "bottom left")],
)
def test_a_logo_is_turned_as_its_exif_says(suffix: str, orientation: int, red: str, tmp_path: Path) -> None:
    logo = tmp_path / f"l{suffix}"
    corners(logo)
    with_exif(logo, orientation)
    made_of = logo_planes.make("key", tmp_path, logo, (), (640, 360), LogoLayout(), 30)
    assert made_of.place == LogoPosition(590, 310, 40, 40)
    light = made_of.path.read_bytes()
    places = {"top left": (10, 10), "top right": (30, 10), "bottom left": (10, 30), "bottom right": (30, 30)}
    brightest = max(places, key=lambda name: light[places[name][1] * 40 + places[name][0]])
    assert brightest == red


def test_a_logo_that_is_made_smaller_has_no_seam_of_what_is_transparent(tmp_path: Path) -> None:
    """Beside the green there is white that nobody is to see."""
    logo, take = tmp_path / "l.png", take_of(tmp_path / "t.mp4", (640, 720), BT709)
    halves: tuple[str, ...] = ("-f", "lavfi", "-i", "color=0x00A03C:s=299x100,format=rgba")
    halves += ("-f", "lavfi", "-i", "color=white@0.0:s=299x100,format=rgba")
    ffmpeg(*halves, "-filter_complex", "[0][1]hstack", "-frames:v", "1", logo)
    video = made(tmp_path, take, logo=logo)
    row = shown(video, 1, *((x, -20) for x in range(480, 628)))
    assert is_near(row[10], GREEN)
    assert max(red for red, _, _ in row) <= 64 + 8  # between the green and the grey nothing is lighter


def test_what_is_transparent_in_an_intro_is_black(tmp_path: Path) -> None:
    halves: tuple[str, ...] = ("-f", "lavfi", "-i", "color=0x00A03C:s=160x90:r=25:d=1,format=rgba")
    halves += ("-f", "lavfi", "-i", "color=white@0.0:s=160x90:r=25:d=1,format=rgba")
    ffmpeg(*halves, "-filter_complex", "[0][1]hstack", "-c:v", "qtrle", tmp_path / "i.mov")
    video = made(tmp_path, take_of(tmp_path / "t.mp4", (320, 90)), "copy", intro=tmp_path / "i.mov")
    left, right = shown(video, 0.5, (80, 45), (240, 45))
    assert is_near(left, GREEN)
    assert is_near(right, (0, 0, 0))


def test_an_interlaced_intro_shows_no_combs(tmp_path: Path) -> None:
    """A white bar that moves: between two fields of one picture its edge jumps."""
    moving = "color=black:s=320x180:r=50:d=1[a];color=white:s=40x180:r=50:d=1[b];[a][b]overlay=x='n*6'"
    interlaced = ("-vf", "interlace=lowpass=off", "-flags", "+ildct+ilme", "-c:v", "libx264", "-qp", "1")
    ffmpeg("-f", "lavfi", "-i", moving, *interlaced, "-pix_fmt", "yuv420p", tmp_path / "i.mp4")
    video = made(tmp_path, media.make_take(tmp_path / "t.mp4", 1), "copy", intro=tmp_path / "i.mp4")
    width, _, data = colours.planes(video, 0.5)
    rows = [data[y * width : (y + 1) * width] for y in range(60, 120)]
    pairs = (pair for both in itertools.pairwise(rows) for pair in zip(*both, strict=True))
    combed = sum(abs(one - other) > 100 for one, other in pairs)
    assert combed < 30  # a comb is some pixels wide in every row


def test_the_pixels_of_an_intro_have_the_shape_that_it_says(tmp_path: Path) -> None:
    """A square of 90x90 in pixels twice as wide as high is a bar on the screen."""
    square = "color=black:s=160x180:r=25:d=1,drawbox=x=40:y=45:w=80:h=90:color=white:t=fill,setsar=2"
    ffmpeg("-f", "lavfi", "-i", square, "-c:v", "libx264", "-pix_fmt", "yuv420p", tmp_path / "i.mp4")
    video = made(tmp_path, media.make_take(tmp_path / "t.mp4", 1), "copy", intro=tmp_path / "i.mp4")
    inside, outside = shown(video, 0.5, (90, 90), (70, 90))
    assert is_near(inside, (255, 255, 255), 6)
    assert is_near(outside, (0, 0, 0), 6)


def test_of_an_intros_sounds_the_first_that_can_be_decoded_is_heard(tmp_path: Path) -> None:
    """As iPhones write it, in the other order: a track that only they know, and the usual one."""
    both = ("-f", "lavfi", "-i", "sine=300:d=1", "-f", "lavfi", "-i", "sine=600:d=1")
    maps = ("-map", "0", "-map", "1", "-map", "2", "-c:v", "libx264", "-pix_fmt", "yuv420p")
    ffmpeg("-f", "lavfi", "-i", "color=red:s=320x180:r=25:d=1", *both, *maps, tmp_path / "w.mp4")
    data = (tmp_path / "w.mp4").read_bytes()
    at = data.index(b"mp4a", data.index(b"stsd", data.index(b"soun")))
    intro = tmp_path / "i.mp4"
    intro.write_bytes(data[:at] + b"ac-4" + data[at + 4 :])
    transcoder = FfmpegTranscoder(bitrate=800_000, preset="ultrafast")
    transcoder.check_asset("intro", intro)
    video = made(tmp_path, media.make_take(tmp_path / "t.mp4", 1), "copy", intro=intro)
    assert media.streams(video)["audio"]["nb_read_packets"] != "0"
    intro.write_bytes(intro.read_bytes().replace(b"mp4a", b"ac-4"))
    transcoder.check_asset("intro", intro)  # a picture without sound is an intro, too


@pytest.mark.skipif(not browser.CHROMIUM, reason="Chromium is not installed")
def test_chromium_shows_the_clubs_green_wherever_it_comes_from(tmp_path: Path) -> None:
    """One page for all videos: intro and logo on recordings with and without tags, encoded, smart, copied."""
    logo, shots = logo_of(tmp_path / "l.png"), list[browser.Shot]()
    intros = list(INTROS)
    takes = [(HD, ""), (SD, ""), (HD, BT601), (SD, BT709)]
    for number, (size, tagged) in enumerate(takes):
        folder = tmp_path / str(number)
        folder.mkdir()
        take, intro = take_of(folder / "t.mp4", size, tagged), INTROS[intros[number]](folder)
        middle, corner = (size[0] // 2, size[1] // 2), (size[0] - 20, size[1] - 20)
        plain = made(folder, take, "copy", "copy.mp4", intro=intro)
        shots.append(browser.Shot(plain, 0.5, *middle))
        for rung, show in SHOWS.items() if tagged != BT709 else ():  # one kind of each is enough
            video = made(
                folder, take, rung, f"{rung}.mp4", intro=intro, logo=logo, show=show, parts=folder / rung
            )
            shots += [browser.Shot(video, 0.5, *middle), browser.Shot(video, 1.5, *corner)]
    seen = browser.pixels(shots, tmp_path)
    wrong = {f"{shot.video.parent.name}/{shot.video.name} at {shot.at}": colour
             for shot, colour in zip(shots, seen, strict=True) if not is_near(colour, GREEN)}  # fmt: skip
    assert wrong == {}
