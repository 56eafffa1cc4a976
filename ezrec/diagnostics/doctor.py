"""The doctor: looks at everything that can be wrong with this machine, and names the cure. Changes nothing.

Each check is a function that yields findings; `_CHECKS` says in which order. It makes no directory, no table
and no entry: run by root, it would leave files that the service may not write.

`quick` is for a unit's ExecStartPre. It leaves out what may be wrong while the service should start all the
same: on a full disk, say, it is the upload that makes room.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ezrec import __version__, settings
from ezrec.app import recording, services
from ezrec.diagnostics import machine_checks, spool_checks
from ezrec.domain import api_key
from ezrec.domain.errors import ConfigError, Reject, Retry
from ezrec.domain.findings import Finding, Findings, fault, ok, warning
from ezrec.domain.redaction import hide
from ezrec.settings import Settings

_INSTALL = "sudo apt-get install ffmpeg"


def examine(environ: Mapping[str, str] | None = None, *, quick: bool = False) -> Findings:
    """Every check in turn; `quick`: only what must be right before a service may start."""
    yield from _software(quick)
    try:
        wishes = settings.load(environ)
    except ConfigError as wrong:
        for problem in wrong.problems:
            yield fault("settings", problem, "correct it in EZREC_HOME/.env or in the environment")
        return  # where the spool and the camera are is not known
    hide(wishes.secrets())
    yield ok("settings", f"sound, for {wishes.home}; `ezrec config` shows them")
    yield from look(wishes, quick=quick)


def look(wishes: Settings, *, quick: bool = False) -> Findings:
    """What can be looked at once the settings are known."""
    for check in _QUICK if quick else _CHECKS:
        yield from check(wishes)


# ---- software and settings


def _software(quick: bool) -> Findings:
    missing = services.software_missing()
    for name in missing:
        yield fault("software", f"{name} is missing", _INSTALL)
    if not missing:
        yield ok("software", "ffmpeg and ffprobe, with libx264 and drawtext")
    if quick:
        return
    own = {"ezrec": __version__, "python": platform.python_version()}
    found = {name: version for name, version in (own | services.media_versions()).items() if version}
    yield ok("versions", ", ".join(f"{name} {version}" for name, version in found.items()))


def _encoder(wishes: Settings) -> Findings:
    if said := services.encoder(wishes):
        yield ok("encoder", said)


def _key(wishes: Settings) -> Findings:
    if wishes.backend != "supabase":
        return
    if not wishes.supabase_key:
        yield fault(
            "settings",
            "SUPABASE_KEY is not set, or this user may not read it",
            "sudo ezrec doctor, which may; to set it: sudo ezrec install",
        )
        return
    kind = api_key.role(wishes.supabase_key)
    if kind == "service_role":
        yield warning(
            "key",
            "the key may read and change everything of every account: who takes the card has it all",
            "give the device a sign-in of its own with the publishable (anon) key, then put that key into "
            "SUPABASE_KEY and revoke this one",
        )
    elif kind == "unknown":
        yield warning(
            "key", "SUPABASE_KEY is neither a JWT nor an sb_… key", "copy it from the project again"
        )
    else:
        yield ok("key", f"of the kind {kind}")
    yield from _env_file(wishes.home / ".env")


def _env_file(path: Path) -> Findings:
    try:
        mode = path.stat().st_mode & 0o777
    except OSError:
        return
    if mode & 0o007:
        yield warning("key", f"every user may read {path} (mode {mode:o})", f"chmod o= {path}")


# ---- clock and camera


def clock_finding(*, is_synchronised: bool, is_assumed: bool) -> Finding:
    if is_assumed:
        return ok("clock", "trusted because EZREC_ASSUME_CLOCK says so")
    if is_synchronised:
        return ok("clock", "synchronised")
    return fault(
        "clock",
        "nothing says that it is synchronised: until then bookings are recorded by it as it stands, "
        "none is called missed, and nothing is deleted for its age",
        "sudo timedatectl set-ntp true; where the clock is right without that: EZREC_ASSUME_CLOCK=yes",
    )


def _clock(wishes: Settings) -> Findings:
    yield clock_finding(
        is_synchronised=services.clock(wishes).is_synchronised(), is_assumed=wishes.assume_clock
    )


def _camera(wishes: Settings) -> Findings:
    kind, _, rest = wishes.camera.partition(":")
    yield _CAMERAS[kind](rest, wishes)


def _software_camera(_: str, wishes: Settings) -> Finding:
    size = f"{wishes.resolution} at {wishes.fps:g} fps"
    if wishes.backend == "supabase":
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


def _network_camera(_: str, wishes: Settings) -> Finding:
    import socket
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(wishes.camera)
        host, port = parts.hostname or "", parts.port or 554
    except ValueError as wrong:
        return fault("camera", f"EZREC_CAMERA: {wrong}", "give it as rtsp://host:554/path")
    try:
        with socket.create_connection((host, port), timeout=3):
            return ok("camera", f"{host}, port {port} answers")
    except OSError as wrong:
        return fault(
            "camera", f"{host}, port {port}: {wrong.strerror or wrong}", "is it switched on, and on this net?"
        )


def _microphone(wishes: Settings) -> Findings:
    """Listens for a moment: that a device is listed does not say that it gives sound."""
    if (microphone := recording.microphone(wishes)) is None:
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
        yield ok("sound", f"{wishes.audio} is heard")


def _camera_module(_: str, wishes: Settings) -> Finding:
    try:
        models = services.camera_modules()
    except Reject as wrong:
        return fault("camera", wrong.reason, wrong.remedy)
    return ok("camera", f"camera module {', '.join(models)}")


_CAMERAS: Mapping[str, Callable[[str, Settings], Finding]] = {
    "auto": _camera_module,
    "picamera2": _camera_module,
    "software": _software_camera,
    "v4l2": _device,
    "rtsp": _network_camera,
    "rtsps": _network_camera,
}


# ---- backend


def _backend(wishes: Settings) -> Findings:
    if wishes.backend == "local" and not (wishes.local_store / "tables.db").exists():
        yield ok("backend", f"local; no tables in {wishes.local_store} yet: they are made with the first use")
        return
    try:
        backend = services.backend(wishes, keeps_notes=False)
        rows = backend.bookings()
        is_shut_out = not rows and not backend.sees_bookings()
    except Reject as wrong:
        yield fault("backend", wrong.reason, wrong.remedy)
    except Retry as wrong:
        yield fault("backend", wrong.reason, "recording goes on without it; uploads wait until it answers")
    except ConfigError as wrong:
        yield fault("backend", str(wrong), "correct it in EZREC_HOME/.env or in the environment")
    else:
        yield ok("backend", f"{services.backend_state(wishes)}; {_ahead(rows, wishes)}")
        if is_shut_out:
            yield warning(
                "backend",
                "it shows no booking, and nothing shows that it would if there were any",
                "apply the policies that `ezrec schema` prints and enter this device in `devices`",
            )


def _survey(wishes: Settings) -> Findings:
    """Tables, columns, buckets and policies, as far as this device's key shows them."""
    if wishes.backend == "supabase" and wishes.supabase_key:
        yield from services.cloud_check(wishes)


def _treatment(wishes: Settings) -> Findings:
    """What the services noted of the cloud's answers, whatever it answers just now."""
    from ezrec.monitoring.collect import read_cloud

    found = read_cloud(wishes)
    for alarm in found.alarms if found else ():
        yield fault("cloud account", *alarm)


def _ahead(rows: list[dict[str, Any]], wishes: Settings) -> str:
    from ezrec.domain.booking import BadBooking, parse_booking

    now, ahead, unread = services.clock(wishes).now(), 0, 0
    for row in rows:
        try:
            booking = parse_booking(row, wishes.zone)
        except BadBooking:
            unread += 1
            continue
        ahead += booking.end > now and not booking.is_cancelled
    said = f"{ahead} of {len(rows)} bookings are ahead"
    return f"{said}, {unread} cannot be read" if unread else said


def _cache(wishes: Settings) -> Findings:
    """The cache is written when something changed: its age says when that was, not that it is stale."""
    import json
    import time

    path = wishes.booking_cache
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
    yield ok("booking cache", f"{len(rows)} bookings; changed last {_age(age_s)} ago")


def _age(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


_QUICK: tuple[Callable[[Settings], Findings], ...] = (spool_checks.ground_of,)
_CHECKS = (
    _encoder,
    _key, _clock, _camera, _microphone,
    spool_checks.ground_of, spool_checks.room, spool_checks.jobs,
    _backend, _survey, _treatment, _cache, machine_checks.units,
)  # fmt: skip
