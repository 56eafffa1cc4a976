"""The demonstration: one booking goes from camera to published video, on this machine alone.

Uses EZREC as a user would: settings in the environment, `ezrec run` as a process, the local backend. Makes an
intro and a logo, watches the spool, and draws a contact sheet of the video.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from ezrec.app import common
from ezrec.app.publishing import local_backend
from ezrec.domain import health
from ezrec.domain.errors import Refused, Retry
from ezrec.domain.job import Job
from ezrec.domain.stages import DIRECTORIES, State
from ezrec.settings import Settings, load
from ezrec.spool.spool import Spool

_LEAD_S = 2.0  # from booking to start, at least
_UP_LIMIT_S = 60.0
INTRO_S = 3
_PADDING_S = 1
_END_LIMIT_S = 30
_LOOK_S = 0.2
_NEAR_S = 0.1  # to the cut, of the pictures on its two sides
_FFMPEG = ["ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin", "-y"]


@dataclass(slots=True)
class DemoStage:
    """How long the job lay in one directory."""

    name: str
    seconds: float


@dataclass(slots=True)
class DemoReport:
    """What came out of the demonstration."""

    video: str
    duration_s: float
    intro_s: float
    contact_sheet: str
    rows: dict[str, Any]
    stages: list[DemoStage] = field(default_factory=list)
    interruptions: int = 0
    recorded_s: float = 0.0
    missing_s: float = 0.0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Progress:
    """The job at one moment; `state` None: it is not in the spool."""

    state: State | None
    job: Job | None
    progress: Mapping[str, Any]
    spent_s: float
    note: str = ""  # what happened to the machine meanwhile


def environment(home: Path) -> dict[str, str]:
    """The settings of the demonstration, without those of this machine's environment."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TERM", "TZ") if name in os.environ}
    return kept | {
        "EZREC_HOME": str(home),
        "EZREC_BACKEND": "local",
        "EZREC_CAMERA": "software",
        "EZREC_ASSUME_CLOCK": "yes",
        "EZREC_PRE_ROLL": str(_PADDING_S),
        "EZREC_POST_ROLL": str(_PADDING_S),
        "RESOLUTION": "1280x720",
        "RECORDING_FPS": "30",
        "RECORDING_BITRATE": "4000000",
        "LOG_UPLOAD_INTERVAL": "3600",
    }


def perform(
    home: Path, seconds: int, show: Callable[[Progress], None], *, pull_plug: bool = False
) -> DemoReport:
    """Run the demonstration in `home`. Raises `Retry` when it does not end in time, `Refused` on old work."""
    home.mkdir(parents=True, exist_ok=True)
    environ = environment(home)
    settings = load(environ)
    spool = common.spool(settings)
    if any(spool.names(state) for state in DIRECTORIES):
        raise Refused(
            f"there is work in {spool.root} already", "give another --home, or let `ezrec run` finish it"
        )
    store = local_backend(settings)
    store.set_branding(*make_branding(home / "branding"))
    log = home / "demo.log"
    begun = time.monotonic()
    child = _run(environ, log)
    try:
        _wait_for_the_recorder(settings, log)
        # A machine that starts slowly starts its camera slowly, too.
        lead_s = max(_LEAD_S, 1 + 1.5 * (time.monotonic() - begun))
        start = common.clock(settings).now() + timedelta(seconds=lead_s)
        booking = store.book(start, start + timedelta(seconds=seconds))
        began = time.monotonic()
        if pull_plug:
            _watch(
                spool,
                booking,
                began,
                show,
                lambda progress: _is_recording_since(progress, lead_s + seconds / 2),
                seconds,
            )
            _kill(child)
            pulled_s = time.monotonic() - began
            show = _with_note(show, spool, booking, pulled_s)
            show(_look(spool, booking, pulled_s))
            child = _run(environ, log)
        _watch(spool, booking, began, show, lambda progress: progress.state is State.DONE, seconds)
    finally:
        _stop(child)
    return _report(settings, booking, home, interruptions=int(pull_plug))


def _with_note(
    show: Callable[[Progress], None], spool: Spool, booking: str, pulled_s: float
) -> Callable[[Progress], None]:
    """Tells beside the progress when the plug was pulled, and then what came back, and when."""
    entry = spool.find(booking)
    before = len(entry.job.takes) if entry else 0
    note = f"the plug was pulled at {pulled_s:.1f} s; EZREC starts again"

    def show_more(progress: Progress) -> None:
        nonlocal note
        takes = progress.job.takes if progress.job else ()
        if len(takes) > before and "came back" not in note:
            kept_s = sum(take.duration_s for take in takes[:before])
            note = (
                f"the plug was pulled at {pulled_s:.1f} s; the recording came back at "
                f"{progress.spent_s:.1f} s, and the {kept_s:.1f} s before the cut are kept"
            )
        show(replace(progress, note=note))

    return show_more


def forget_earlier(parent: Path) -> int:
    """Remove the folders of earlier demonstrations but the newest; returns how many."""
    made = [path for path in parent.glob("????????-??????") if (path / "demo.log").is_file()]
    earlier = sorted(made)[:-1]
    for path in earlier:
        shutil.rmtree(path, ignore_errors=True)
    return len(earlier)


def _wait_for_the_recorder(settings: Settings, log: Path) -> None:
    """Wait for the recorder: a booking made before it runs would begin late."""
    ends = time.monotonic() + _UP_LIMIT_S
    while not (settings.state / health.FILE).exists():
        if time.monotonic() > ends:
            raise Retry(f"the recorder did not begin within {_UP_LIMIT_S:.0f} s: see {log}")
        time.sleep(_LOOK_S)


def _run(environ: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "ezrec", "run"],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )


def _watch(
    spool: Spool,
    booking: str,
    began: float,
    show: Callable[[Progress], None],
    is_it: Callable[[Progress], bool],
    seconds: int,
) -> None:
    """Look at the job until `is_it`, five times a second, because a person watches."""
    limit_s = seconds * 5 + 90
    while (spent_s := time.monotonic() - began) < limit_s:
        progress = _look(spool, booking, spent_s)
        show(progress)
        if is_it(progress):
            return
        if progress.state is State.FAILED and progress.job is not None:
            raise Retry(f"the job failed: {progress.job.reason}; {progress.job.remedy}")
        time.sleep(_LOOK_S)
    raise Retry(f"not done after {limit_s:.0f} s: see {spool.root.parent}/demo.log")


def _look(spool: Spool, booking: str, spent_s: float) -> Progress:
    entry = spool.find(booking)
    if entry is not None:
        return Progress(entry.state, entry.job, entry.progress_now(entry.state), spent_s)
    finished = spool.finished(booking)
    return Progress(State.DONE if finished else None, finished, {}, spent_s)


def _is_recording_since(progress: Progress, spent_s: float) -> bool:
    return progress.state is State.RECORDING and progress.spent_s >= spent_s


def _kill(child: subprocess.Popen[bytes]) -> None:
    """Kill everything at once, as a power cut would."""
    os.killpg(child.pid, signal.SIGKILL)
    child.wait(_END_LIMIT_S)


def _stop(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(_END_LIMIT_S)
        except subprocess.TimeoutExpired:
            _kill(child)


def _report(settings: Settings, booking: str, home: Path, interruptions: int) -> DemoReport:
    store, job = local_backend(settings), common.spool(settings).finished(booking)
    row = next((row for row in store.videos() if row["booking_id"] == booking), None)
    if job is None or job.result is None or row is None:
        raise Retry(f"the job ended without a video: {job.reason if job else 'no record'}")
    video = store.video_path(row["filename"])
    if video is None:
        raise Retry(f"the object of {row['filename']} is missing")
    sheet = home / "contact-sheet.png"
    cut_s = job.takes[0].duration_s if len(job.takes) > 1 else None
    make_contact_sheet(video, sheet, job.result.intro_s, job.result.duration_s, cut_s, job.missing_s)
    moments = [(arrival.state, arrival.at) for arrival in job.arrivals]
    stages = [
        DemoStage(name, round((following[1] - at).total_seconds(), 2))
        for (name, at), following in itertools.pairwise(moments)
    ]
    booked = next(dict(row) for row in store.all_bookings() if row["id"] == booking)
    rows = {"bookings": booked, "videos": row}
    return DemoReport(
        str(video),
        round(job.result.duration_s, 2),
        round(job.result.intro_s, 2),
        str(sheet),
        rows,
        stages,
        interruptions,
        round(job.result.duration_s - job.result.intro_s, 2),
        round(job.missing_s, 2),
    )


# ---- what it shows


def make_branding(folder: Path) -> tuple[Path, Path]:
    """An intro of another size and rate than the camera's, with sound; a logo with transparency."""
    folder.mkdir(parents=True, exist_ok=True)
    intro, logo = folder / "intro.mp4", folder / "logo.png"
    if not intro.exists():
        picture = "gradients=size=960x540:rate=25:c0=0x0b3d2e:c1=0x1fa37a:x0=0:y0=0:x1=960:y1=540:speed=0.03"
        title = f",{text}" if (text := _text("MATCH POINT PADEL CLUB", 54)) else ""
        argv = [*_FFMPEG, "-f", "lavfi", "-i", f"{picture},format=yuv420p{title}", "-f", "lavfi"]
        argv += ["-i", "sine=frequency=330:sample_rate=44100,volume=0.3", "-t", str(INTRO_S)]
        _make(argv, ["-c:v", "libx264", "-preset", "veryfast", "-c:a", "aac"], intro)
    if not logo.exists():
        ball = "if(lte(hypot(X-60,Y-60),55),235,0)"
        seam = "if(lte(abs(hypot(X-10,Y-60)-45),3),255,210)"
        picture = f"color=black@0.0:s=120x120,format=rgba,geq=r='{seam}':g=240:b='40+X/4':a='{ball}'"
        _make([*_FFMPEG, "-f", "lavfi", "-i", picture], ["-frames:v", "1"], logo)
    return intro, logo


def make_contact_sheet(
    video: Path,
    sheet: Path,
    intro_s: float,
    duration_s: float,
    cut_s: float | None = None,
    missing_s: float = 0.0,
) -> None:
    """Nine pictures in three rows: the intro, the first seconds of the match, the last ones.

    With `cut_s`, where in the match the plug was pulled, the middle row is what was filmed just before the
    cut, the seconds that are missing, and what was filmed just after it.
    """
    first = min(intro_s + 2, duration_s)
    times: list[float | None] = [intro_s * part for part in (0.1, 0.5, 0.9)]
    if cut_s is None:
        times += [min(intro_s + second, duration_s - 0.1) for second in (0.1, 1, first - intro_s)]
    else:
        times += [intro_s + cut_s - _NEAR_S, None, intro_s + cut_s + _NEAR_S]
    times += [max(0.0, duration_s - second) for second in (2.1, 1.1, 0.1)]
    argv, missing = list(_FFMPEG), _text(f"{missing_s:.1f} s are missing", 28)
    for at in times:
        if at is None:
            argv += ["-f", "lavfi", "-i", ",".join(filter(None, ("color=0xc81e1e:s=426x240:r=1", missing)))]
        else:
            argv += ["-ss", f"{max(0.0, at):.3f}", "-i", f"file:{video}"]
    cells = ";".join(f"[{n}:v]trim=end_frame=1,scale=426:240,setsar=1[c{n}]" for n in range(len(times)))
    places = "|".join(f"{column * 430}_{row * 244}" for row in range(3) for column in range(3))
    names = "".join(f"[c{n}]" for n in range(len(times)))
    graph = f"{cells};{names}xstack=inputs={len(times)}:layout={places}:fill=white"
    _make(argv, ["-filter_complex", graph, "-frames:v", "1"], sheet)


def _text(words: str, size: int) -> str:
    """A filter that writes `words`, where this machine has a font."""
    font = next(Path("/usr/share/fonts").glob("**/DejaVuSans-Bold.ttf"), None)
    place = "x=(w-text_w)/2:y=(h-text_h)/2"
    return f"drawtext=fontfile={font}:text='{words}':fontcolor=white:fontsize={size}:{place}" if font else ""


def _make(argv: list[str], options: list[str], target: Path) -> None:
    try:
        subprocess.run([*argv, *options, f"file:{target}"], check=True, capture_output=True, timeout=60)
    except FileNotFoundError:
        raise Retry("ffmpeg is not installed: sudo apt install ffmpeg") from None
    except subprocess.CalledProcessError as fault:
        raise Retry(
            f"{target.name} could not be made: {fault.stderr.decode(errors='replace')[-300:]}"
        ) from fault
