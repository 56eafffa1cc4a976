"""The device's sign-in. The session is kept in a file: timers start a process every few seconds, and without
the file each would sign in.

The file is readable by this user alone, and changed under a lock: a refresh token is good once, and whoever
uses it a second time is taken for a thief and signed out. An unreadable file counts as absent.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ezrec.cloud.supabase.credentials import Credentials
from ezrec.cloud.supabase.errors import CloudError, is_about_the_token
from ezrec.domain import json_decode
from ezrec.domain.errors import Busy, Retry
from ezrec.domain.redaction import hide_tokens
from ezrec.system import durable
from ezrec.system.locks import Lock

if TYPE_CHECKING:
    import httpx

_WAIT_S = 60.0  # longer than another process's sign-in may take
_LARGEST = 65536
_MARGIN = 0.1  # a token is renewed when less than this part of its life is left …
_MARGIN_S = 60.0  # … or this many seconds, whichever is shorter
_log = logging.getLogger("ezrec.supabase")


@dataclass(frozen=True, slots=True)
class Session:
    """`renew_at` is by the monotonic clock: the wall clock may be years off."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    renew_at: float

    def is_good(self) -> bool:
        return time.monotonic() < self.renew_at

    def expired(self) -> Session:
        """The same, with an access token that must be renewed."""
        return replace(self, renew_at=float("-inf"))


class SignIn:
    """Provides a valid token for every request. May be shared between threads."""

    def __init__(self, credentials: Credentials, file: SessionFile, http: Callable[[], httpx.Client]) -> None:
        self.credentials, self._file, self._http = credentials, file, http
        self._lock = threading.RLock()
        self._session: Session | None = None
        self._refused_token = ""

    def token(self) -> str:
        """A token that is valid now; the key itself when the device has no sign-in.

        Raises `Retry`, `CloudError` or httpx's errors.
        """
        if not self.credentials.email:
            return self.credentials.key
        with self._lock:
            if self._session is None or not self._session.is_good():
                self._session = self._read_good() or self._renew_locked()
            return self._session.access

    def renew(self) -> bool:
        """Let the next request sign in anew; False when there is nothing to sign in with."""
        with self._lock:
            if self._session is not None:
                self._refused_token = self._session.access
                self._session = self._session.expired()
            return bool(self.credentials.email)

    def forget(self) -> None:
        with self._lock:
            self._session = None

    def _read_good(self) -> Session | None:
        """The session that another process has stored, if it is valid."""
        kept = self._file.read()
        is_good = kept is not None and kept.is_good() and kept.access != self._refused_token
        return kept if is_good else None

    def _renew_locked(self) -> Session:
        with self._file.locked():
            session = self._read_good()  # renewed by another process while we waited for the lock
            if session is None:
                session = self._refresh_or_sign_in(self._file.read() or self._session)
                self._file.write(session)
            return session

    def _refresh_or_sign_in(self, former: Session | None) -> Session:
        if former is not None:
            try:
                return self._request("refresh_token", {"refresh_token": former.refresh})
            except CloudError as error:
                if not is_about_the_token(error):
                    raise
        given = {"email": self.credentials.email, "password": self.credentials.password}
        return self._request("password", given)

    def _request(self, grant_type: str, given: dict[str, str]) -> Session:
        url = f"{self.credentials.url}/auth/v1/token"
        answer = self._http().post(url, params={"grant_type": grant_type}, json=given).json()
        try:
            life_s = float(answer["expires_in"])
            renew_at = time.monotonic() + life_s - min(_MARGIN_S, life_s * _MARGIN)
            session = Session(str(answer["access_token"]), str(answer["refresh_token"]), renew_at)
            hide_tokens(session.access, session.refresh)
            return session
        except (KeyError, TypeError, ValueError):
            raise CloudError(502, "no_session", "signing in was answered without a session") from None


@dataclass(frozen=True, slots=True)
class _StoredSession:
    whose: str  # account and project, and a mark that changes with the password
    boot_id: str
    session: Session


class SessionFile:
    """In `folder`; None: nothing is stored. `owner` must change when the sign-in's settings do."""

    def __init__(self, folder: Path | None, owner: str, boot_id: str) -> None:
        self._folder, self._owner, self._boot_id = folder, owner, boot_id
        self._name = f"session-{os.geteuid()}"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """While the context lasts, no other process renews the session."""
        with contextlib.ExitStack() as ends:
            if self._folder is not None:
                with contextlib.suppress(OSError):  # a folder without a lock can keep no session either
                    self._folder.mkdir(parents=True, exist_ok=True)
                    try:
                        ends.enter_context(Lock(self._folder / f"{self._name}.lock").held(_WAIT_S))
                    except Busy as fault:
                        raise Retry(f"another process is signing in to the cloud: {fault}") from None
            yield

    def read(self) -> Session | None:
        try:
            kept = json_decode.decode(self._read_bytes(), _StoredSession)
        except (OSError, ValueError):
            return None
        hide_tokens(kept.session.access, kept.session.refresh)
        if kept.whose != self._owner:
            return None
        is_of_this_boot = kept.boot_id == self._boot_id != ""
        return kept.session if is_of_this_boot else kept.session.expired()  # another boot, another clock

    def write(self, session: Session) -> None:
        if self._folder is None:
            return
        try:
            data = msgspec.json.encode(_StoredSession(self._owner, self._boot_id, session))
            durable.write(self._folder / f"{self._name}.json", data, mode=0o600)
        except OSError as fault:
            _log.warning("the sign-in could not be kept: %s", fault.strerror)

    def _read_bytes(self) -> bytes:
        if self._folder is None:
            raise FileNotFoundError
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        with open(os.open(self._folder / f"{self._name}.json", flags), "rb") as file:
            info = os.fstat(file.fileno())
            is_ours = info.st_uid == os.geteuid() and not info.st_mode & 0o077
            if not stat.S_ISREG(info.st_mode) or not is_ours:
                raise PermissionError  # another user may have put it there
            return file.read(_LARGEST)
