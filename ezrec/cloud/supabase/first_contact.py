"""The first questions to a Supabase project: is it one, does it know this key, this device, this account?

For the installer, which asks them while a person types the answers. Changes nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from ezrec.cloud.supabase.connection import Connection
from ezrec.cloud.supabase.credentials import Credentials
from ezrec.cloud.supabase.errors import PORTAL, as_fault, as_transport_fault, read_error
from ezrec.domain.cloud_state import Access
from ezrec.domain.errors import Refused, Reject, Retry

T = TypeVar("T")
_CONNECT_S, _SILENCE_S = 8.0, 15.0
_ASKS_FOR_A_KEY = (200, 401, 403)
_MOST = 100  # cameras of an account that are read


@dataclass(frozen=True, slots=True)
class Device:
    """Whose camera the signed-in device is, by its row in `devices`."""

    account: str
    camera: str


def find_project(url: str) -> None:
    """Raises `Refused` for what answers and is no project, `Retry` where nothing answers."""
    import httpx

    doing = f"asking {url}"
    try:
        answer = httpx.get(
            f"{url}/rest/v1/", timeout=httpx.Timeout(_SILENCE_S, connect=_CONNECT_S), follow_redirects=False
        )
    except httpx.HTTPError as fault:
        raise as_transport_fault(fault, doing) from None
    except (httpx.InvalidURL, UnicodeError):
        raise Refused(f"{url} is no address", "copy it from the project: https://….supabase.co") from None
    error = read_error(answer)
    if error is not None and error.code != PORTAL and error.status >= 500:
        raise as_fault(error, doing)
    if answer.status_code not in _ASKS_FOR_A_KEY or not _is_json(answer):
        raise Refused(
            f"{url} answers, and is no Supabase project", "copy it from the project: Settings, API, URL"
        )


def _is_json(answer: Any) -> bool:
    return "json" in answer.headers.get("content-type", "")


def try_key(credentials: Credentials) -> None:
    """Ask for rows with the key alone. Raises `Refused` for one that the project does not know."""
    with contextlib.suppress(Reject):  # it is known; what it may see is another question
        _asked(Credentials(credentials.url, credentials.key), "asking with this key", _rows("bookings", "id"))


def sign_in(credentials: Credentials) -> None:
    """Sign in as the device. Raises `Refused` where account or password are wrong."""
    _asked(credentials, "signing in", lambda cloud: cloud.sign_in.token())


def device(credentials: Credentials) -> Device | None:
    """The device that is signed in; None where the project has no row of it, or no such table."""
    try:
        rows = _asked(credentials, "asking for this device", _rows("devices", "user_id,camera_id"))
    except Reject:
        return None
    return Device(str(rows[0].get("user_id")), str(rows[0].get("camera_id"))) if rows else None


def cameras(credentials: Credentials, account: str) -> list[str]:
    """The ids of an account's cameras, as far as this key shows them."""
    try:
        rows = _asked(credentials, "asking for cameras", _rows("cameras", "id", user_id=f"eq.{account}"))
    except Reject:
        return []
    return [str(row.get("id")) for row in rows]


def _rows(table: str, select: str, **params: str) -> Callable[[Connection], list[dict[str, Any]]]:
    def work(cloud: Connection) -> list[dict[str, Any]]:
        asked = {"select": select, "limit": str(_MOST), **params}
        found = cloud.http.get(f"{cloud.credentials.url}/rest/v1/{table}", params=asked).json()
        return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []

    return work


def _asked(credentials: Credentials, doing: str, work: Callable[[Connection], T]) -> T:
    """Raises `Refused` for a key or sign-in that is not taken, `Reject` and `Retry` as any request does."""
    refused: list[str] = []

    def note(access: Access, answer: str) -> None:
        if access is Access.REFUSED:
            refused.append(answer)

    cloud = Connection(credentials, connect_s=_CONNECT_S, silence_s=_SILENCE_S, on_access=note)
    try:
        return cloud.call(doing, lambda: work(cloud))
    except Retry as fault:
        if refused:
            raise Refused(f"{doing} is refused: {refused[0]}") from None
        raise fault from None
    finally:
        cloud.close()
