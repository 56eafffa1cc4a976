"""The logo at capture: where it stands, that it is there once and only once, and that it never costs a frame.

The camera module draws it itself; `make test-picamera2` holds that to the same picture.
"""

from __future__ import annotations

import logging
import math
import subprocess
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ezrec.app.periodic import periodic_task
from ezrec.app.publishing import local_backend
from ezrec.app.recording import camera
from ezrec.camera.ffmpeg_camera import FfmpegCamera
from ezrec.camera.ffmpeg_sources import Faults, SoftwareSource
from ezrec.camera.overlay.blend import CaptureOverlay
from ezrec.camera.overlay.overlay import CaptureOverlays
from ezrec.camera.shared_camera import CameraOptions
from ezrec.domain.branding import ALWAYS, Assets, LogoLayout, LogoPosition, LogoShow, lacking
from ezrec.domain.errors import Retry
from ezrec.domain.job import Job, Kind, Take
from ezrec.domain.names import safe_id
from ezrec.domain.ports import RenderOptions, RenderPlan
from ezrec.domain.stages import State
from ezrec.media.mp4.repair import repair
from ezrec.media.render.renderer import FfmpegTranscoder
from ezrec.processing.process import process
from ezrec.settings import load
from ezrec.spool.spool import Spool
from ezrec.sync.branding_cache import BrandingCache
from ezrec.system.task import Task
from tests.fakes.camera import FakeCamera
from tests.support import media
from tests.support.recording import Call, SteppingClock, are_in_a_row, frame_numbers
from tests.support.rendering import deaf
from tests.support.wait import eventually

FRAME = (640, 360)
LIMIT_S = 20.0
USUAL = LogoLayout()


def made_ready(
    folder: Path, assets: Assets, layout: LogoLayout = USUAL, **more: float
) -> tuple[CaptureOverlays, list[str]]:
    said: list[str] = []
    return CaptureOverlays(lambda: assets, FRAME, layout, folder / "capture", said.append, **more), said


def ready(folder: Path, logo: Path, layout: LogoLayout = USUAL) -> CaptureOverlay:
    burn_ins, said = made_ready(folder, Assets(True, logo=logo), layout, wait_s=60)
    found = burn_ins()
    assert found is not None, said
    return found


# ---- the picture made ready


def test_without_a_logo_nothing_is_made(tmp_path: Path) -> None:
    for assets in (Assets(True), Assets(False)):
        burn_ins, said = made_ready(tmp_path, assets)
        assert burn_ins() is None
        assert said == []
    assert list(tmp_path.iterdir()) == []


def test_the_logo_is_made_ready_once_and_found_by_the_next_recorder(tmp_path: Path) -> None:
    logo = media.make_logo(tmp_path / "logo.png", (64, 32))
    first = ready(tmp_path, logo)
    assert first.place == LogoPosition(640 - 10 - 64, 360 - 10 - 32, 64, 32)
    assert first.path.stat().st_size == first.size
    before = first.path.stat().st_mtime_ns
    assert ready(tmp_path, logo) == first
    assert first.path.stat().st_mtime_ns == before


def test_another_logo_or_another_layout_has_another_key(tmp_path: Path) -> None:
    one = media.make_logo(tmp_path / "one.png", (64, 32))
    two = media.make_logo(tmp_path / "two.png", (64, 32), colour="red")
    keys = {
        ready(tmp_path, one).key,
        ready(tmp_path, two).key,
        ready(tmp_path, one, LogoLayout("top-left")).key,
    }
    assert len(keys) == 3


def test_what_was_cut_short_is_made_again(tmp_path: Path) -> None:
    logo = media.make_logo(tmp_path / "logo.png")
    first = ready(tmp_path, logo)
    first.path.write_bytes(b"short")
    assert ready(tmp_path, logo).path.stat().st_size == first.size


def test_only_the_newest_few_are_kept(tmp_path: Path) -> None:
    logo = media.make_logo(tmp_path / "logo.png")
    for size in range(10, 20):
        ready(tmp_path, logo, LogoLayout(size=size))
    assert len(list((tmp_path / "capture").iterdir())) == 8


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n broken"])
def test_a_bad_logo_is_left_to_processing_and_said_once(tmp_path: Path, content: bytes) -> None:
    logo = tmp_path / "logo.png"
    logo.write_bytes(content)
    burn_ins, said = made_ready(tmp_path, Assets(True, logo=logo), wait_s=60)
    assert [burn_ins(), burn_ins()] == [None, None]
    assert len(said) == 1
    assert "laid over in processing" in said[0]


def test_a_logo_that_is_gone_or_takes_too_long_is_left_to_processing(tmp_path: Path) -> None:
    burn_ins, said = made_ready(tmp_path, Assets(True, logo=tmp_path / "gone.png"))
    assert burn_ins() is None
    burn_ins, said = made_ready(
        tmp_path, Assets(True, logo=media.make_logo(tmp_path / "a.png")), wait_s=0.0001
    )
    assert burn_ins() is None
    assert "0.0001 s" in said[0]
    # It is made all the same, for the next start.
    assert eventually(lambda: burn_ins() is not None, 60)
    assert len(said) == 1


@dataclass(frozen=True)
class Sponsored:
    logo: Path | None
    sponsors: tuple[Path, ...]


def test_sponsors_stand_in_the_same_picture(tmp_path: Path) -> None:
    logo = media.make_logo(tmp_path / "logo.png", (64, 32))
    sponsor = media.make_logo(tmp_path / "sponsor.png", (40, 20), colour="red")
    assets = Sponsored(logo, (sponsor,))
    burn_ins, said = made_ready(tmp_path, assets, wait_s=60)  # type: ignore[arg-type]
    found = burn_ins()
    assert found is not None, said
    assert found.place == LogoPosition(640 - 10 - 64 - 10 - 40, 360 - 10 - 32, 114, 32)
    assert found.path.stat().st_size == found.size
    assert len(list((tmp_path / "capture").iterdir())) == 1


# ---- the software camera draws it


def recorded(folder: Path, source: SoftwareSource, logo: CaptureOverlay | None, name: str = "t.mp4") -> Take:
    clock = SteppingClock()
    camera = FfmpegCamera(source, clock, options=CameraOptions(lambda: logo))
    with camera.hold(Call()):
        at = clock.now()
        return camera.attach(folder / name, at).finish(at + timedelta(seconds=1.2), LIMIT_S)


SOURCE = SoftwareSource(*FRAME, 30, 2_000_000)


def test_the_take_shows_the_logo_misses_no_frame_and_says_whose_logo_it_is(tmp_path: Path) -> None:
    logo = ready(tmp_path, media.make_logo(tmp_path / "logo.png"))
    take = recorded(tmp_path, SOURCE, logo)
    assert take.burned_in == logo.key
    assert are_in_a_row(frame_numbers(tmp_path / "t.mp4", FRAME[0]))
    for seconds in (0.0, 0.9):
        picture = media.picture_at(tmp_path / "t.mp4", seconds)
        assert picture.colour(-12, -12) == "lime"
        assert picture.colour(-72, -40) == "lime"
    assert recorded(tmp_path, SOURCE, None, "bare.mp4").burned_in == ""


def test_a_camera_with_faults_and_a_logo_has_both(tmp_path: Path) -> None:
    logo = ready(tmp_path, media.make_logo(tmp_path / "logo.png"))
    slow = replace(SOURCE, faults=Faults(slow_after_s=0.0), logo=logo)
    argv = list(slow.argv())
    graph = argv[argv.index("-filter_complex") + 1]
    assert "select=" in graph
    assert "overlay=" in graph
    assert "-vf" not in argv


def crop(path: Path, place: LogoPosition, number: int) -> bytes:
    """The place in the frame that bears this number in its strip, as planes."""
    at = frame_numbers(path, FRAME[0]).index(number)
    cut = f"select='eq(n,{at})',crop={place.width}:{place.height}:{place.x}:{place.y}"
    argv = ["ffmpeg", "-v", "error", "-nostdin", "-i", f"file:{path}", "-vf", cut, "-frames:v", "1"]
    argv += ["-pix_fmt", "yuv420p", "-f", "rawvideo", "-"]
    return subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout


def psnr(one: bytes, two: bytes) -> float:
    assert len(one) == len(two) > 0
    error = sum((a - b) ** 2 for a, b in zip(one, two, strict=True)) / len(one)
    return math.inf if not error else 10 * math.log10(255**2 / error)


@pytest.mark.parametrize("corner", ["bottom-right", "top-left"])
def test_the_logo_at_capture_looks_as_the_one_laid_over_in_processing(tmp_path: Path, corner: str) -> None:
    """Half transparent and of odd size, so that place, scaling, colours and blending all tell."""
    layout, logo = LogoLayout(corner, size=20), tmp_path / "logo.png"
    media.make_logo(logo, (233, 171), colour="yellow", alpha=0.6)
    drawn = ready(tmp_path, logo, layout)
    recorded(tmp_path, SOURCE, drawn, "drawn.mp4")
    recorded(tmp_path, SOURCE, None, "bare.mp4")
    plan = RenderPlan(
        [tmp_path / "bare.mp4"],
        tmp_path / "laid.mp4",
        tmp_path / "log",
        logo=logo,
        options=RenderOptions(logo_layout=layout),
    )
    FfmpegTranscoder(bitrate=8_000_000, preset="veryfast").render(plan, deaf, deaf)
    number = 12
    place = drawn.place
    same = psnr(crop(tmp_path / "drawn.mp4", place, number), crop(tmp_path / "laid.mp4", place, number))
    other = psnr(crop(tmp_path / "drawn.mp4", place, number), crop(tmp_path / "bare.mp4", place, number))
    print(f"\nmeasured: {corner}: {same:.1f} dB beside the one laid over, {other:.1f} dB beside none")
    assert same > 28
    assert same > other + 8


def test_a_logo_with_which_the_camera_does_not_start_is_left_out_at_the_next_try(tmp_path: Path) -> None:
    logo = ready(tmp_path, media.make_logo(tmp_path / "logo.png"))
    logo.path.unlink()
    said: list[str] = []
    camera = FfmpegCamera(SOURCE, SteppingClock(), options=CameraOptions(lambda: logo, said.append))
    with pytest.raises(Retry, match="No such file"):
        camera.hold(Call()).__enter__()
    for _ in range(2):
        with camera.hold(Call()):
            assert camera.burned_in == ""
            assert camera.health().frames > 0
    assert len(said) == 1
    assert "laid over in processing" in said[0]


def test_the_record_names_the_logo_before_the_first_frame_is_written(tmp_path: Path) -> None:
    fake = FakeCamera(SteppingClock())
    fake.logo = "a-key"
    with fake.hold(Call()):
        assert fake.burned_in == "a-key"
    assert fake.burned_in == ""


@pytest.mark.parametrize(
    ("changes", "draws"),
    [
        ({}, True),
        ({"EZREC_LOGO_AT": "capture"}, True),
        ({"EZREC_LOGO_AT": "process"}, False),
        ({"EZREC_LOGO_SHOW": "first:10s"}, False),
        ({"EZREC_LOGO_AT": "capture", "EZREC_CAMERA": "v4l2:/dev/video0"}, False),
    ],
)
def test_the_settings_say_who_puts_the_logo_on(tmp_path: Path, changes: dict[str, str], draws: bool) -> None:
    cache = tmp_path / "media_cache"
    cache.mkdir()
    key = "u/logo/logo_1.png"
    from ezrec.sync.branding_cache import RECORD, BrandingCache

    path = BrandingCache(cache)._path(key)
    assert path is not None
    media.make_logo(path)
    (cache / RECORD).write_text(f'{{"logo": "{key}"}}')
    wishes = load(
        {"EZREC_HOME": str(tmp_path), "EZREC_CAMERA": "software", "RESOLUTION": "320x180", **changes}
    )
    made = camera(wishes, logging.getLogger("test.burn_in"))
    if wishes.camera == "software":

        def starts_with_a_logo() -> bool:
            with made.hold(Call()):
                return bool(made.burned_in)

        assert eventually(starts_with_a_logo, 60) if draws else not starts_with_a_logo()
    assert (cache / "capture").exists() == draws
    if draws:
        with camera(wishes).hold(Call()):
            assert list((cache / "capture").glob("*.yuva"))


@pytest.mark.parametrize(
    ("changes", "count"),
    [({"EZREC_LOGO_AT": "process"}, 0), ({"EZREC_CAMERA": "v4l2:/dev/video0"}, 0), ({}, 1)],
)
def test_a_fetched_logo_is_made_ready_before_a_camera_starts_but_not_by_whoever_fetches_it(
    tmp_path: Path, changes: dict[str, str], count: int
) -> None:
    settings = load({"EZREC_HOME": str(tmp_path), "EZREC_CAMERA": "software", **changes})
    local_backend(settings).set_branding(None, media.make_logo(tmp_path / "club.png"))
    periodic_task("sync", settings).work()
    assert BrandingCache(settings.media_cache).assets().logo is not None
    assert not (settings.media_cache / "capture").exists()
    periodic_task("ahead", settings).work()
    assert len(list(settings.media_cache.glob("capture/*.yuva"))) == count


# ---- processing lays no second one over it


@pytest.mark.parametrize(
    ("show", "takes", "parts"),
    [
        (ALWAYS, [(10, False)], [(0, 9.95)]),
        (ALWAYS, [(10, True)], []),
        (ALWAYS, [(10, True), (5, False)], [(9.95, 14.95)]),
        (ALWAYS, [(10, False), (5, True), (5, False)], [(0, 9.95), (14.95, 19.95)]),
        (LogoShow(4.0), [(10, True), (5, False)], []),
        (LogoShow(12.0), [(10, True), (5, False)], [(9.95, 11.95)]),
        (LogoShow(2.0, 8.0), [(10, False), (10, True)], [(0, 1.95), (7.95, 9.95)]),
    ],
)
def test_only_takes_that_lack_the_logo_get_it(
    show: LogoShow, takes: list[tuple[float, bool]], parts: list[tuple[float, float]]
) -> None:
    found = lacking(show, takes, 0.1)
    assert [pytest.approx(part) for part in parts] == list(found.parts)
    assert list(found.spans(1e9)) == list(found.parts)
    assert not found.is_always


def take_files(entry_path: Path, *colours: str) -> list[Path]:
    return [
        media.make_take(entry_path / f"raw_m_20260601_18000{n}.mp4", 1, colour=c)
        for n, c in enumerate(colours)
    ]


def processed(folder: Path, burned: list[str]) -> tuple[Path, str]:
    """A job of as many takes as keys, branded with a red logo; and which strategy made it."""
    spool = Spool(folder / "spool")
    spool.prepare()
    start = datetime(2026, 6, 1, 18, 0, tzinfo=UTC)
    takes = tuple(
        Take(
            f"raw_m_20260601_18000{n}.mp4",
            start + timedelta(seconds=n),
            0.0,
            0,
            "end of window",
            burned_in=key,
        )
        for n, key in enumerate(burned)
    )
    entry = spool.create(State.RAW, Job(safe_id("m"), Kind.BOOKING, start, takes=takes))
    entry = spool.claim(entry, State.PROCESSING)
    take_files(entry.path, *("blue", "lime", "blue", "lime")[: len(burned)])
    logo = media.make_logo(folder / "logo.png", colour="red")
    process(
        entry, Task(), transcoder=FfmpegTranscoder(bitrate=400_000, preset="ultrafast"),
        assets=lambda: Assets(True, logo=logo), repair=repair, log=logging.getLogger("test.burn_in"),
    )  # fmt: skip
    assert entry.job.result is not None
    rung = (entry.path / "processing.json").read_text()
    return entry.path / entry.job.result.file, rung


def corners(path: Path, count: int) -> list[str]:
    return [media.picture_at(path, second + 0.5).colour(-20, -20) for second in range(count)]


def test_takes_that_show_the_logo_are_copied_and_get_no_second_one(tmp_path: Path) -> None:
    made, report = processed(tmp_path, ["k", "k"])
    assert '"rung": "copy"' in report
    assert corners(made, 2) == ["blue", "lime"]


def test_takes_that_show_an_older_logo_get_no_second_one_over_it(tmp_path: Path) -> None:
    made, report = processed(tmp_path, ["old", "new"])
    assert '"rung": "copy"' in report
    assert corners(made, 2) == ["blue", "lime"]


@pytest.mark.parametrize("burned", [["", "k"], ["k", "k", "k", ""]])
def test_of_a_mixed_job_only_the_takes_that_lack_the_logo_get_it(tmp_path: Path, burned: list[str]) -> None:
    made, _ = processed(tmp_path, burned)
    bare = ("blue", "lime", "blue", "lime")
    expected = [colour if key else "red" for key, colour in zip(burned, bare, strict=False)]
    assert corners(made, len(burned)) == expected


def test_the_edges_between_takes_are_exact_to_the_frame(tmp_path: Path) -> None:
    made, _ = processed(tmp_path, ["k", "", "k"])
    cut = "crop=4:4:iw-24:ih-24,scale=1:1"
    argv = ["ffmpeg", "-v", "error", "-nostdin", "-i", f"file:{made}", "-vf", cut, "-pix_fmt", "rgb24"]
    argv += ["-fps_mode", "passthrough", "-f", "rawvideo", "-"]
    pixels = subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout
    red = [pixels[n] > 128 for n in range(0, len(pixels), 3)]
    assert red == [False] * 30 + [True] * 30 + [False] * 30


def test_takes_without_a_logo_are_made_as_before(tmp_path: Path) -> None:
    made, report = processed(tmp_path, ["", ""])
    assert '"rung": "parts"' in report
    assert corners(made, 2) == ["red", "red"]
