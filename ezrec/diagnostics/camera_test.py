"""Behind `ezrec camera`: lists the cameras, tests one, takes a picture. Disturbs no recording.

A test holds the record stage's lock, so that no second process uses the camera. It begins only when no
booking is near, and ends early when one comes.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from ezrec.app import common
from ezrec.app import recording as cameras
from ezrec.camera import snapshots
from ezrec.camera.picamera.discovery import connected as camera_modules
from ezrec.camera.v4l2_discovery import usb_cameras
from ezrec.domain import camera_address
from ezrec.domain.camera_test import Asked, CameraTest, MicrophoneResult
from ezrec.domain.errors import Busy, Refused, Reject, Retry
from ezrec.domain.findings import Finding, Verdict, fault, ok, warning
from ezrec.domain.stages import STAGES, State
from ezrec.media.ffmpeg.measure import take_facts
from ezrec.monitoring.lives import recorder_lives
from ezrec.recording import snapshot_requests
from ezrec.settings import Settings
from ezrec.spool.spool import Spool

_ASK_LIMIT_S = 30.0  # a camera may have to be started for it
_LOCK = STAGES["record"].name
_SPARE_S = 20.0  # before a booking: what a slow camera takes to come and to go
_LOOK_S = 0.25
_FINISH_LIMIT_S = 15.0
_SLOW_START_S = 5.0
_RATE, _BITS = 0.02, 0.35  # how far rate and bitrate may be from the settings
_HEARD = 0.5  # of the test's length: a microphone may start later than the camera
_MOST_KEY_S = 2.1  # a take begins at a key frame: further apart, the edges of bookings get coarse


@dataclass(frozen=True, slots=True)
class Connected:
    """One camera, and how EZREC_CAMERA names it. `setting` is empty for what cannot be used."""

    kind: str
    name: str
    setting: str
    is_chosen: bool


def connected(settings: Settings) -> list[Connected]:
    """Every camera found here; the one that EZREC_CAMERA chooses is marked."""
    chosen = "picamera2" if settings.camera == "auto" else settings.camera
    usb = list(usb_cameras())
    found: list[Connected] = []

    def add(kind: str, name: str, setting: str) -> None:
        found.append(Connected(kind, name, setting, setting == chosen))

    try:
        for model in camera_modules():
            add("module", model, "picamera2")
    except Reject as missing:
        if settings.camera == "auto" and usb:
            chosen = f"v4l2:{usb[0][0]}"
        elif chosen == "picamera2":
            found.append(Connected("module", f"{missing.reason}: {missing.remedy}", "", is_chosen=True))
    for device, name in usb:
        add("usb", name, f"v4l2:{device}")
    if not any(one.is_chosen for one in found) and chosen not in ("software", "picamera2"):
        kind, _, rest = chosen.partition(":")
        if kind == "v4l2":
            found.append(Connected("usb", f"{rest} is not there: plug it in", "", is_chosen=True))
        else:
            shown = camera_address.shown(chosen)
            found.append(Connected("network", "a network camera, not asked", shown, is_chosen=True))
    add("software", "a test picture with a running clock", "software")
    return found


# ---- the test


def perform(
    settings: Settings, seconds: float, show_progress: Callable[[float], None] = lambda done: None
) -> CameraTest:
    """Record with the configured camera into a temporary file, and measure the take.

    Raises `Busy` while the recorder works, `Refused` when a booking is near or comes, `Retry` without a
    camera.
    """
    with _reserved_camera(settings, seconds) as check_still_free, _folder(settings) as folder:
        path = folder / "test.mp4"
        camera, clock = cameras.camera(settings), common.clock(settings)
        sound = _MicrophoneTest(settings, folder / "test.m4a")
        lost = threading.Event()
        asked_at = time.monotonic()
        with camera.hold(lost.set), sound:
            first_frame_s = sound.entered - asked_at
            start = clock.now()
            recording = camera.attach(path, start)
            started_at = time.monotonic()
            while (spent_s := time.monotonic() - started_at) < seconds and not lost.is_set():
                check_still_free()
                show_progress(spent_s / seconds)
                lost.wait(min(_LOOK_S, seconds - spent_s))
            take = recording.finish(clock.now(), _FINISH_LIMIT_S)
            health = camera.health()
        if not take.duration_s:
            raise Retry(take.ended_by or health.fault or "the camera gave no picture")
        size = settings.resolution
        asked = Asked(size.width, size.height, seconds, float(settings.fps), settings.bitrate)
        if camera_address.is_network_camera(settings.camera):  # it decides by itself
            asked = replace(asked, fps=None, bitrate=None)
        return CameraTest(asked, take_facts(path), first_frame_s, health.dropped, take.ended_by, sound.heard)


class _MicrophoneTest:
    """Records sound during a camera test, in a thread of its own: its faults do not touch the picture."""

    def __init__(self, settings: Settings, path: Path) -> None:
        self._microphone, self._path = cameras.microphone(settings), path
        self._name, self._clock = settings.audio, common.clock(settings)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="microphone", daemon=True)
        self.heard: MicrophoneResult | None = None
        self.entered = 0.0

    def __enter__(self) -> None:
        self.entered = time.monotonic()
        if self._microphone is not None:
            self.heard = MicrophoneResult(self._name, 0.0, "it did not begin in time")
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        if self._microphone is not None:
            self._thread.join(2 * _FINISH_LIMIT_S)

    def _listen(self) -> None:
        assert self._microphone is not None
        try:
            with self._microphone.hold(self._is_over.set):
                recording = self._microphone.attach(self._path, self._clock.now())
                self._is_over.wait()
                take = recording.finish(self._clock.now(), _FINISH_LIMIT_S)
            self.heard = MicrophoneResult(self._name, take.duration_s, take.ended_by)
        except Retry as fault:
            self.heard = MicrophoneResult(self._name, 0.0, fault.reason)


def snapshot(settings: Settings, path: Path) -> str:
    """Write a picture to `path`; returns in words where it is from. Raises as `perform` does."""
    spool = Spool(settings.spool)
    if spool.lock(_LOCK).is_held() and (take := _growing_take(spool)):
        age_s = max(0.0, time.time() - take.stat().st_mtime)
        snapshots.draw(snapshots.newest_key_frame(take), path)
        return f"the newest key frame of {take.name}, written {age_s:.1f} s ago"
    asked = spool.root / snapshot_requests.DIRECTORY
    if asked.is_dir() and recorder_lives(settings, common.clock(settings)):
        ending = ".png" if path.suffix.lower() == ".png" else ".jpg"
        path.write_bytes(snapshot_requests.ask(asked, ending, _ASK_LIMIT_S))
        return "taken now, by the recorder"
    with _reserved_camera(settings, 0):
        camera = cameras.camera(settings)
        with camera.hold(lambda: None):
            camera.snapshot(path)
    return "taken now"


def _growing_take(spool: Spool) -> Path | None:
    """The take that was written to last; None while there is none."""
    found: list[tuple[int, Path]] = []
    for entry in spool.entries(State.RECORDING):
        for take in entry.job.takes:
            path = entry.path / take.file
            with contextlib.suppress(OSError):
                found.append((path.stat().st_mtime_ns, path))
    return max(found)[1] if found else None


@contextlib.contextmanager
def _reserved_camera(settings: Settings, seconds: float) -> Iterator[Callable[[], None]]:
    """Hold the camera while no booking needs it; yields a check that raises `Refused` when one does."""
    spool, clock = common.spool(settings), common.clock(settings)
    lead = timedelta(seconds=settings.arm_s + settings.pre_roll_s)

    def check_still_free(ahead_s: float = 0.0) -> None:
        ahead = clock.now() + lead + timedelta(seconds=ahead_s)
        for entry in spool.entries(State.INCOMING):
            booking = entry.job.booking
            if (
                booking is not None
                and not booking.is_cancelled
                and booking.start <= ahead < booking.end + lead
            ):
                begins = booking.start.astimezone(settings.zone)
                raise Refused(
                    f"booking {entry.id} needs the camera for {begins:%H:%M:%S}", "try again when it is over"
                )

    with spool.lock(_LOCK).held(0, "tries the camera"):
        check_still_free(seconds + _SPARE_S)
        try:
            yield check_still_free
        except Retry as fault:
            if "busy" not in fault.reason:
                raise
            # A recorder without a booking keeps its camera module open for the next one.
            raise Busy(
                f"{fault.reason}; if that is EZREC: sudo systemctl stop ezrec, and start it again after"
            ) from None


@contextlib.contextmanager
def _folder(settings: Settings) -> Iterator[Path]:
    """A folder beside the spool: a slow disk is part of the test."""
    with tempfile.TemporaryDirectory(dir=settings.spool.parent, prefix=".camera-test.") as name:
        yield Path(name)


# ---- the verdict


def judge(result: CameraTest) -> list[Finding]:
    """One finding for each thing that was asked of the camera, and one for how it ended."""
    checks = (_start, _picture, _rate, _gaps, _drops, _bits, _keys, _decoding, _sound)
    found = [finding for check in checks for finding in check(result)]
    if result.ended_by:
        found.append(fault("end", f"it broke off: {result.ended_by}", _CABLE))
    return found


_CABLE = "look at the cable and the power supply; then: ezrec camera test"
_LOAD = "close what else runs, or lower RESOLUTION or RECORDING_FPS"


def _start(result: CameraTest) -> Iterator[Finding]:
    said = f"{result.first_frame_s:.1f} s from asking for the camera to the first picture"
    if result.first_frame_s > _SLOW_START_S:
        yield warning("first frame", said, "fine for bookings known half a minute ahead, late for others")
    else:
        yield ok("first frame", said)


def _picture(result: CameraTest) -> Iterator[Finding]:
    asked, facts = result.asked, result.facts
    said = f"{facts.width}×{facts.height}, {facts.codec}"
    if (facts.width, facts.height) == (asked.width, asked.height):
        yield ok("picture", said)
    else:
        yield warning(
            "picture",
            f"{said}, where {asked.width}×{asked.height} is set",
            "set RESOLUTION to what it can do",
        )


def _rate(result: CameraTest) -> Iterator[Finding]:
    asked, facts = result.asked.fps, result.facts
    said = f"{facts.fps:.2f} frames a second, {facts.frames} in {facts.seconds:.2f} s"
    if asked and abs(facts.fps - asked) > asked * _RATE:
        yield fault("rate", f"{said}, where {asked:g} are set", _LOAD)
    else:
        yield ok("rate", said)


def _gaps(result: CameraTest) -> Iterator[Finding]:
    facts = result.facts
    usual_s = 1 / (result.asked.fps or facts.fps or 1)
    missing = round(facts.longest_gap_s / usual_s) - 1
    said = f"longest time between two frames {1000 * facts.longest_gap_s:.0f} ms"
    if missing > 0:
        yield warning("gaps", f"{said}: about {missing} missing there", _LOAD)
    else:
        yield ok("gaps", said)


def _drops(result: CameraTest) -> Iterator[Finding]:
    if result.dropped:
        yield fault(
            "drops", f"{result.dropped} frames were dropped: the disk is too slow", "use a faster card"
        )
    else:
        yield ok("drops", "none")


def _bits(result: CameraTest) -> Iterator[Finding]:
    asked, facts = result.asked.bitrate, result.facts
    said = f"{facts.bitrate / 1e6:.2f} Mbit/s, {facts.bitrate * 3600 / 8e9:.1f} GB an hour"
    if asked and facts.bitrate > asked * (1 + _BITS):
        yield warning("bitrate", f"{said}, where {asked / 1e6:g} are set", "expect larger recordings")
    else:  # less is no fault: an empty court needs little
        yield ok("bitrate", said)


def _keys(result: CameraTest) -> Iterator[Finding]:
    said = f"a key frame every {result.facts.key_every_s:.2f} s at most"
    if result.facts.key_every_s > _MOST_KEY_S:
        yield warning("key frames", said, "set the camera's key frame interval (GOP) to one second")
    else:
        yield ok("key frames", said)


def _decoding(result: CameraTest) -> Iterator[Finding]:
    facts = result.facts
    if facts.decoded != facts.frames:
        yield fault("decodes", f"{facts.decoded} of {facts.frames} frames", _CABLE)
    else:
        yield ok("decodes", f"all {facts.frames} frames")


def _sound(result: CameraTest) -> Iterator[Finding]:
    if (heard := result.heard) is None:
        return
    said = f"{heard.seconds:.1f} s from {heard.microphone}"
    if heard.fault or heard.seconds < result.asked.seconds * _HEARD:
        said = f"{said}: {heard.fault}" if heard.fault else said
        yield warning("sound", said, "see what is plugged in (arecord -l), or set EZREC_AUDIO=off")
    else:
        yield ok("sound", said)


def verdict(found: list[Finding]) -> str:
    """The result in one line."""
    faults = [finding.check for finding in found if finding.verdict is Verdict.FAULT]
    warnings = [finding.check for finding in found if finding.verdict is Verdict.WARNING]
    if faults:
        return f"The camera is not fit to record: {', '.join(faults)}."
    if warnings:
        return f"The camera records; to be looked at: {', '.join(warnings)}."
    return "The camera is fit to record."


def check_target(path: Path) -> None:
    """Raise `Refused` for a path that no picture can be written to."""
    if path.suffix.lower() not in (".jpg", ".jpeg", ".png"):
        raise Refused(f"{path.name or path} is no name for a picture", "end it in .jpg or .png")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise Refused(f"nothing can be written to {path.parent}", "name another place")
