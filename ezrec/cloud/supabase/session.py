"""The device's sign-in, kept between runs: timers start processes all the time, and each would sign in.

A file of this user's own that nobody else may read, changed under a lock: a refresh token is good once, and
who uses it a second time is taken for a thief and signed out. Unreadable is as good as absent.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from ezrec.domain import json_decode
from ezrec.domain.errors import Busy, Retry
from ezrec.domain.redaction import hide_tokens
from ezrec.system import durable
from ezrec.system.locks import Lock

_WAIT_S = 60.0  # longer than somebody else's sign-in may take
_LARGEST = 65536
_log = logging.getLogger("ezrec.supabase")


@dataclass(frozen=True, slots=True)
class Session:
    """`renew_at` is by the monotonic clock: the wall clock may be years off."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    renew_at: float

    def is_good(self) -> bool:
        return time.monotonic() < self.renew_at

    def spent(self) -> Session:
        """The same, whose access token is good no more."""
        return replace(self, renew_at=float("-inf"))


@dataclass(frozen=True, slots=True)
class _Kept:
    whose: str  # account and project, and a mark that changes with the password
    boot_id: str
    session: Session


class SessionFile:
    """In `folder`; only in memory where that is None. `whose` must differ when anything is corrected."""

    def __init__(self, folder: Path | None, whose: str, boot_id: str) -> None:
        self._folder, self._whose, self._boot_id = folder, whose, boot_id
        self._name = f"session-{os.geteuid()}"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Between here and the end no other process renews the session."""
        with contextlib.ExitStack() as ends:
            if self._folder is not None:
                with contextlib.suppress(OSError):  # who cannot lock there cannot keep anything there either
                    self._folder.mkdir(parents=True, exist_ok=True)
                    try:
                        ends.enter_context(Lock(self._folder / f"{self._name}.lock").held(_WAIT_S))
                    except Busy as fault:
                        raise Retry(f"another process is signing in to the cloud: {fault}") from None
            yield

    def recall(self) -> Session | None:
        try:
            kept = json_decode.decode(self._read(), _Kept)
        except (OSError, ValueError):
            return None
        hide_tokens(kept.session.access, kept.session.refresh)
        if kept.whose != self._whose:
            return None
        is_of_this_boot = kept.boot_id == self._boot_id != ""
        return kept.session if is_of_this_boot else kept.session.spent()  # its clock is not ours

    def keep(self, session: Session) -> None:
        if self._folder is None:
            return
        try:
            data = msgspec.json.encode(_Kept(self._whose, self._boot_id, session))
            durable.write(self._folder / f"{self._name}.json", data, mode=0o600)
        except OSError as fault:
            _log.warning("the sign-in could not be kept: %s", fault.strerror)

    def _read(self) -> bytes:
        if self._folder is None:
            raise FileNotFoundError
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        with open(os.open(self._folder / f"{self._name}.json", flags), "rb") as file:
            info = os.fstat(file.fileno())
            is_ours = info.st_uid == os.geteuid() and not info.st_mode & 0o077
            if not stat.S_ISREG(info.st_mode) or not is_ours:
                raise PermissionError  # somebody else may have laid it there
            return file.read(_LARGEST)
