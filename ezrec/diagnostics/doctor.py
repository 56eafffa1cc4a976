"""The doctor: checks this machine for all that can be wrong, and names the remedy. Changes nothing.

Each check is a function that yields findings; `_CHECKS` gives the order. The doctor creates no directory,
table or entry: what root created, the services could not write to.

`quick` is for the start of a service. It leaves out faults with which a service should start all the same: on
a full disk, for example, it is the upload that makes room.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ezrec import __version__
from ezrec.app import common, processing, publishing, recording
from ezrec.camera.picamera.discovery import connected as camera_modules
from ezrec.camera.v4l2_discovery import usb_cameras
from ezrec.diagnostics import hook_checks, life_checks, machine_checks, spool_checks
from ezrec.domain import api_key, camera_address
from ezrec.domain.clock_words import clock_words
from ezrec.domain.durations import span
from ezrec.domain.errors import NEEDS_RIGHTS, ConfigError, Reject, Retry
from ezrec.domain.findings import Finding, Findings, Verdict, fault, ok, warning
from ezrec.domain.redaction import hide
from ezrec.domain.trial_picture import REMEDY as TEST_PICTURE_REMEDY
from ezrec.media.versions import versions
from ezrec.monitoring.collect import films_no_court
from ezrec.settings import Settings, load

_INSTALL = "sudo apt-get install ffmpeg"


def examine(environ: Mapping[str, str] | None = None, *, quick: bool = False) -> Findings:
    """All findings, check by check; `quick`: only what must be right before a service may start."""
    yield from _software(quick)
    try:
        settings = load(environ)
    except ConfigError as wrong:
        for problem in wrong.problems:
            said, needs_rights, _ = problem.partition(f": {NEEDS_RIGHTS}")
            cure = NEEDS_RIGHTS if needs_rights else "correct it in EZREC_HOME/.env or in the environment"
            yield fault("settings", said, cure)
        return  # the other checks need the settings
    hide(settings.secrets())
    yield ok("settings", f"sound, for {settings.home}; `ezrec config` shows them")
    for note in settings.notes():
        yield warning("settings", note, "edit EZREC_HOME/.env, or what sets it in the environment")
    yield from look(settings, quick=quick)


def look(settings: Settings, *, quick: bool = False) -> Findings:
    """The checks that need the settings."""
    for check in _QUICK if quick else _CHECKS:
        yield from check(settings)


# ---- software and settings


def _software(quick: bool) -> Findings:
    from ezrec.media.render.renderer import software_missing

    missing = software_missing()
    for name in missing:
        yield fault("software", f"{name} is missing", _INSTALL)
    if not missing:
        yield ok("software", "ffmpeg and ffprobe, with libx264 and drawtext")
    if quick:
        return
    own = {"ezrec": __version__, "python": platform.python_version()}
    found = {name: version for name, version in (own | versions()).items() if version != "missing"}
    yield ok("versions", ", ".join(f"{name} {version}" for name, version in found.items()))


def _encoder(settings: Settings) -> Findings:
    if choice := processing.transcoder(settings).encoder():
        yield ok("encoder", str(choice))


def _key(settings: Settings) -> Findings:
    if settings.backend != "supabase":
        return
    if not settings.supabase_key:
        yield fault(
            "settings",
            "SUPABASE_KEY is not set, or this user may not read it",
            "sudo ezrec doctor, which may; to set it: sudo ezrec install",
        )
        return
    kind = api_key.role(settings.supabase_key)
    if kind == "service_role":
        yield warning(
            "key",
            "the key may read and change everything of every account: whoever takes the card can do so too",
            "give the device a sign-in of its own with the publishable (anon) key, then put that key into "
            "SUPABASE_KEY and revoke this one",
        )
    elif kind == "unknown":
        yield warning(
            "key", "SUPABASE_KEY is neither a JWT nor an sb_… key", "copy it from the project again"
        )
    else:
        yield ok("key", f"of the kind {kind}")
    yield from _env_file(settings.home / ".env")


def _env_file(path: Path) -> Findings:
    try:
        mode = path.stat().st_mode & 0o777
    except OSError:
        return
    if mode & 0o007:
        yield warning("key", f"every user may read {path} (mode {mode:o})", f"chmod o= {path}")


# ---- clock and camera


def clock_finding(*, is_synchronised: bool, is_assumed: bool, waiting: int = 0) -> Finding:
    """`waiting`: bookings that are over and wait to be judged."""
    if is_assumed:
        return ok("clock", "trusted because EZREC_ASSUME_CLOCK says so")
    words = clock_words(is_synchronised=is_synchronised, waiting=waiting)
    if is_synchronised:
        return ok("clock", words)
    return fault(
        "clock",
        f"{words}; nothing is deleted for its age",
        "sudo timedatectl set-ntp true; where the clock is right without that: EZREC_ASSUME_CLOCK=yes",
    )


def _clock(settings: Settings) -> Findings:
    from ezrec.monitoring.collect import look

    clock = common.clock(settings)
    is_synchronised = clock.is_synchronised()
    waiting = 0 if is_synchronised else look(settings, clock)[0].unjudged
    yield clock_finding(is_synchronised=is_synchronised, is_assumed=settings.assume_clock, waiting=waiting)


def _camera(settings: Settings) -> Findings:
    check = CAMERA_CHECKS[camera_address.kind_of(settings.camera)]
    yield check(settings.camera.partition(":")[2], settings)


def _software_camera(_: str, settings: Settings) -> Finding:
    size = f"{settings.resolution} at {settings.fps:g} fps"
    if wrong := films_no_court(settings):
        return fault("camera", wrong, TEST_PICTURE_REMEDY)
    if settings.backend == "supabase":
        return warning(
            "camera",
            f"a test picture, {size}: no court is recorded, and the test picture is published",
            "set EZREC_CAMERA",
        )
    return ok("camera", f"a test picture in software, {size}")


def _device(path: str, _: Settings) -> Finding:
    device = Path(path)
    if not device.exists():
        return fault("camera", f"there is no {path}", "plug it in, or name another: v4l2-ctl --list-devices")
    if not device.is_char_device():
        return fault("camera", f"{path} is no device", "name the camera's device in EZREC_CAMERA")
    try:
        with device.open("rb", buffering=0):
            pass
    except PermissionError:
        return fault("camera", f"{path} may not be opened", "sudo usermod --append --groups video USER")
    except OSError as wrong:
        return warning(
            "camera", f"{path}: {wrong.strerror}", "see who holds it: sudo fuser --verbose " + path
        )
    return ok("camera", f"{path} is there")


def _network_camera(_: str, settings: Settings) -> Finding:
    import socket
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(settings.camera)
        host, port = parts.hostname or "", parts.port or 554
    except ValueError as wrong:
        return fault("camera", f"EZREC_CAMERA: {wrong}", "give it as rtsp://host:554/path")
    try:
        with socket.create_connection((host, port), timeout=3):
            return ok("camera", f"{host}, port {port} answers")
    except OSError as wrong:
        return fault(
            "camera",
            f"{host}, port {port}: {wrong.strerror or wrong}",
            "is it switched on, and in this network?",
        )


def _microphone(settings: Settings) -> Findings:
    """Opens the microphone for a moment: a device that is listed may still give no sound."""
    if (microphone := recording.microphone(settings)) is None:
        return
    try:
        with microphone.hold(lambda: None):
            pass
    except Retry as wrong:
        if "busy" in wrong.reason.lower():
            cure = "right while a booking with sound is recorded; else: sudo fuser --verbose /dev/snd/*"
            yield warning("sound", wrong.reason, cure)
        else:
            yield warning(
                "sound",
                f"{wrong.reason}: bookings are recorded without sound",
                "plug it in, or name another in EZREC_AUDIO (arecord -l); without sound: EZREC_AUDIO=off",
            )
    else:
        yield ok("sound", f"{settings.audio} is heard")


def _camera_module(_: str, settings: Settings) -> Finding:
    try:
        models = camera_modules()
    except Reject as wrong:
        return fault("camera", wrong.reason, wrong.remedy)
    return ok("camera", f"camera module {', '.join(models)}")


def _any_camera(_: str, settings: Settings) -> Finding:
    """As the recorder chooses: the module, else the first USB camera."""
    module = _camera_module(_, settings)
    device = next((device for device, _ in usb_cameras()), None)
    return module if module.verdict is Verdict.OK or device is None else _device(device, settings)


CAMERA_CHECKS: Mapping[str, Callable[[str, Settings], Finding]] = {
    "auto": _any_camera,
    "picamera2": _camera_module,
    "software": _software_camera,
    "v4l2": _device,
    "rtsp": _network_camera,
    "rtsps": _network_camera,
}


# ---- backend


def _backend(settings: Settings) -> Findings:
    if settings.backend == "local" and not (settings.local_store / "tables.db").exists():
        yield ok(
            "backend", f"local; no tables in {settings.local_store} yet: they are made with the first use"
        )
        return
    try:
        backend = publishing.backend(settings, keeps_notes=False)
        rows = backend.bookings()
        is_shut_out = not rows and not backend.sees_bookings()
    except Reject as wrong:
        yield fault("backend", wrong.reason, wrong.remedy)
    except Retry as wrong:
        cure = wrong.remedy or "recording goes on without it; uploads wait until it answers"
        yield fault("backend", wrong.reason, cure)
    except ConfigError as wrong:
        yield fault("backend", str(wrong), "correct it in EZREC_HOME/.env or in the environment")
    else:
        yield ok("backend", f"{settings.backend_line}; {_count_ahead(rows, settings)}")
        if is_shut_out:
            yield warning(
                "backend",
                "it shows no booking, and nothing shows that it would if there were any",
                "apply the policies that `ezrec schema` prints and enter this device in `devices`",
            )


def _cloud_project(settings: Settings) -> Findings:
    """Tables, columns, buckets and policies, as far as this device's key shows them."""
    if settings.backend == "supabase" and settings.supabase_key:
        from ezrec.cloud.supabase.check import check

        yield from check(settings)


def _cloud_account(settings: Settings) -> Findings:
    """How the cloud has answered the services, by their notes."""
    from ezrec.monitoring.state_files import read_cloud

    found = read_cloud(settings)
    for alarm in found.alarms if found else ():
        yield fault("cloud account", *alarm)


def _count_ahead(rows: list[dict[str, Any]], settings: Settings) -> str:
    from ezrec.domain.booking import BadBooking, parse_booking

    now, ahead, unread = common.clock(settings).now(), 0, 0
    for row in rows:
        try:
            booking = parse_booking(row, settings.zone)
        except BadBooking:
            unread += 1
            continue
        ahead += booking.end > now and not booking.is_cancelled
    said = f"{ahead} of {len(rows)} bookings are ahead"
    return f"{said}, {unread} cannot be read" if unread else said


def _cache(settings: Settings) -> Findings:
    """The booking cache. It is written when bookings change: its age does not mean that it is stale."""
    import json
    import time

    path = settings.booking_cache
    try:
        rows = json.loads(path.read_bytes())
        age_s = time.time() - path.stat().st_mtime
        if not isinstance(rows, list):
            raise ValueError("no list")
    except FileNotFoundError:
        yield ok("booking cache", "none yet: it is written with the first booking")
        return
    except (OSError, ValueError) as wrong:
        yield warning(
            "booking cache", f"{path} cannot be read: {wrong}", f"rm {path} (it is fetched again at once)"
        )
        return
    yield ok("booking cache", f"{len(rows)} bookings; changed last {span(age_s)} ago")


_QUICK: tuple[Callable[[Settings], Findings], ...] = (spool_checks.placement,)
_CHECKS = (
    _encoder,
    _key, _clock, _camera, _microphone,
    life_checks.lives, life_checks.outcomes,
    spool_checks.placement, spool_checks.room, spool_checks.jobs, hook_checks.hooks,
    _backend, _cloud_project, _cloud_account, _cache, machine_checks.units,
)  # fmt: skip
