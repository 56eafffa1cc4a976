"""Checks an answer to a question of the installer by doing what it is for. Keeps and changes nothing.

A setting of which nothing can be tried is checked for its form alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ezrec.camera.picamera.device import is_absent
from ezrec.domain import api_key
from ezrec.domain.camera_address import is_network_camera, shown
from ezrec.domain.errors import Busy, ConfigError, Refused, Reject, Retry
from ezrec.domain.redaction import hide, redacted
from ezrec.domain.trial_picture import TEST_PICTURE
from ezrec.settings import Settings, load


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of an answer. `fault`: why it is not taken, and `remedy` what to type instead.

    `doubtful`: it may be right all the same, and is taken when it is given a second time. `unanswered`:
    nobody was there to say whether it is right. `note`: what was seen.
    """

    fault: str = ""
    remedy: str = ""
    note: str = ""
    doubtful: bool = False
    unanswered: bool = False

    def as_json(self) -> dict[str, Any]:
        return {
            "fault": redacted(self.fault), "remedy": redacted(self.remedy), "note": redacted(self.note),
            "doubtful": self.doubtful, "unanswered": self.unanswered,
        }  # fmt: skip


def check(name: str, values: Mapping[str, str]) -> Checked:
    """Try the setting `name` among `values`, which are all that is known so far."""
    with tempfile.TemporaryDirectory(prefix="ezrec-answer-") as home:
        given = {"USER_ID": "local", **values, "EZREC_HOME": home}
        try:
            settings = load(given)
        except ConfigError as wrong:
            problems = [one for one in wrong.problems if one.startswith(f"{name} ")]
            return Checked("; ".join(problems)) if problems else Checked()
        hide(settings.secrets())
        settings.spool.mkdir(parents=True, exist_ok=True)
        try:
            return _CHECKS[name](settings) if name in _CHECKS else Checked()
        except (Refused, Reject) as fault:
            return Checked(str(fault), fault.remedy)
        except ConfigError as wrong:
            return Checked("; ".join(wrong.problems))
        except (Retry, Busy, OSError) as fault:
            return Checked(str(fault), "look at the network", unanswered=True)


def check_all(values: Mapping[str, str]) -> list[str]:
    """Every fault of form among settings that are to be written, together."""
    try:
        load({**values, "EZREC_HOME": "/nonexistent"})
    except ConfigError as wrong:
        return list(wrong.problems)
    return []


# ---- the cloud


def _project(settings: Settings) -> Checked:
    from ezrec.cloud.supabase.first_contact import find_project

    if not settings.supabase_url:
        return Checked(note="bookings and videos stay on this machine")
    find_project(settings.supabase_url)
    return Checked(note="a Supabase project answers")


def _key(settings: Settings) -> Checked:
    from ezrec.cloud.supabase.credentials import Credentials, check_key
    from ezrec.cloud.supabase.first_contact import try_key

    if not settings.supabase_key:
        return Checked("without a key nothing can be asked there", "Settings, API keys: the publishable key")
    credentials = Credentials.from_settings(settings)
    warnings = check_key(credentials)
    try_key(credentials)
    strong = [one for one in warnings if api_key.role(settings.supabase_key) == "service_role"]
    return Checked(note=strong[0] if strong else "the project knows it")


def _sign_in(settings: Settings) -> Checked:
    from ezrec.cloud.supabase.credentials import Credentials
    from ezrec.cloud.supabase.first_contact import device, sign_in

    if not settings.device_email:
        return Checked()
    credentials = Credentials.from_settings(settings)
    sign_in(credentials)
    if (found := device(credentials)) is None:
        return Checked(note="signed in; `devices` has no row of it yet: it will see no bookings until it has")
    return Checked(note=f"signed in, as camera {found.camera} of account {found.account}")


def _email(settings: Settings) -> Checked:
    if settings.device_email and "@" not in settings.device_email:
        return Checked(f"{settings.device_email} is no e-mail address")
    return Checked()


def _account(settings: Settings) -> Checked:
    return _in_cloud(settings, is_camera=False)


def _camera_id(settings: Settings) -> Checked:
    return _in_cloud(settings, is_camera=True)


def _in_cloud(settings: Settings, *, is_camera: bool) -> Checked:
    """Account and camera: by the device's own row, else by the account's cameras."""
    from ezrec.cloud.supabase.credentials import Credentials
    from ezrec.cloud.supabase.first_contact import cameras, device

    if settings.backend != "supabase" or not settings.supabase_key:
        return Checked()
    credentials = Credentials.from_settings(settings)
    own = device(credentials) if credentials.email else None
    given = settings.camera_id if is_camera else settings.user_id
    if own is not None:
        theirs = own.camera if is_camera else own.account
        what = "camera" if is_camera else "account"
        if theirs != given:
            return Checked(f"the signed-in device belongs to {what} {theirs}", f"type {theirs}")
        return Checked(note="as the cloud has it")
    found = cameras(credentials, settings.user_id)
    if is_camera and found and given not in found:
        named = ", ".join(found[:5])
        return Checked(f"the account's cameras are {named}", "type one of them, or the same again",
                       doubtful=True)  # fmt: skip
    if not is_camera and not found and credentials.bypasses_policies:
        return Checked(
            "the cloud has no camera of this account",
            "is it typed right? Then type the same again",
            doubtful=True,
        )
    return Checked(note="the cloud knows it" if found else "")


# ---- the camera, the clock


def _camera(settings: Settings) -> Checked:
    from ezrec.diagnostics.camera_test import connected, snapshot

    if settings.camera == TEST_PICTURE:
        return Checked(
            "that is the test picture: no court is recorded, and `ezrec status` is an alarm while it is set",
            "auto takes the camera that is there; for a trial type software again",
            doubtful=True,
        )
    try:
        snapshot(settings, settings.home / "court.jpg")
    except (Retry, Busy) as fault:
        if settings.camera == "auto" and is_absent(str(fault)):
            return Checked(
                "no camera was found",
                "plug it in and type auto again; auto also takes one that comes later",
                doubtful=True,
            )
        return Checked(f"it gives no picture: {fault}", "look at its cable, its address, its password")
    if is_network_camera(settings.camera):
        return Checked(note=f"{shown(settings.camera)} gives a picture")
    chosen = next((one.name for one in connected(settings) if one.is_chosen), settings.camera)
    return Checked(note=f"{chosen} gives a picture")


def _zone(settings: Settings) -> Checked:
    return Checked(note=f"it is {datetime.now(settings.zone):%H:%M} there now")


_CHECKS: Mapping[str, Callable[[Settings], Checked]] = {
    "SUPABASE_URL": _project,
    "SUPABASE_KEY": _key,
    "EZREC_DEVICE_EMAIL": _email,
    "EZREC_DEVICE_PASSWORD": _sign_in,
    "USER_ID": _account,
    "CAMERA_ID": _camera_id,
    "EZREC_CAMERA": _camera,
    "LOCAL_TIMEZONE": _zone,
}
