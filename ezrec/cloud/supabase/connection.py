"""The way to a Supabase project: one HTTP client, one token, one place where errors are sorted.

The libraries' own policies are off: HTTP/2 costs four times the CPU and on a slow link two thirds of the
speed, PostgREST's retries sleep out of sight, Auth's refreshing gives up for good after ten tries. Ours:
every request carries a token that is fresh now; a refused one is renewed once, then the error speaks, and
all requests of this process rest for a while, so that a wrong password does not lock the account for good.

Nothing here is imported or connected before the first request.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from ezrec.cloud.supabase.errors import (
    LOCKED_AFTER_S,
    PORTAL,
    CloudError,
    ErrorVerdict,
    as_fault,
    as_transport_fault,
    is_about_the_token,
    is_from_the_future,
    read_error,
    redacted,
    verdict,
)
from ezrec.cloud.supabase.session import Session, SessionFile
from ezrec.domain.cloud_state import Access as Treatment
from ezrec.domain.errors import ConfigError, Reject, Retry
from ezrec.domain.redaction import hide, hide_tokens
from ezrec.domain.upload_schedule import Wait

if TYPE_CHECKING:
    from pathlib import Path

    import httpx
    from supabase import Client

    from ezrec.cloud.connectivity import Connectivity

T = TypeVar("T")
_Fault = TypeVar("_Fault", Retry | Reject, None)
_log = logging.getLogger("ezrec.supabase")
_MARGIN = 0.1  # a token is renewed when less than this part of its life is left …
_IDLE_S = 55.0  # a connection is kept so long: past it gateways close, and each new one costs a handshake
# They say nothing that counts here, and a box at rest sends them 500 times an hour.
_IDLE_HEADERS = ("x-client-info", "connection")
_MOMENT_S = 1.0
_MARGIN_S = 60.0  # … or this many seconds, whichever is shorter


@dataclass(frozen=True, slots=True)
class ConnectionAccess:
    """Where the project is and who we are there. Secrets stay out of `repr`."""

    url: str
    key: str = field(repr=False)
    email: str = ""
    password: str = field(default="", repr=False)

    @property
    def mark(self) -> str:
        """Differs when anything is corrected, and tells nothing of the secrets: two bytes of a digest."""
        said = "\0".join((self.url, self.key, self.email, self.password))
        return hashlib.sha256(said.encode()).hexdigest()[:4]


def check_key(access: ConnectionAccess) -> list[str]:
    """What a person should be told about the key at every start.

    Raises `ConfigError` for a key that cannot work.
    """
    key = access.key
    if key.startswith("sb_publishable_"):
        return []
    if key.startswith("sb_secret_"):
        return [_too_strong("a secret key")]
    claims = _claims(key)
    if claims is None:
        raise ConfigError(
            ["SUPABASE_KEY is no key of Supabase: it begins with eyJ, sb_publishable_ or sb_secret_"]
        )
    said = []
    project, host = claims.get("ref"), urlsplit(access.url).hostname or ""
    if isinstance(project, str) and host.endswith(".supabase.co") and not host.startswith(f"{project}."):
        raise ConfigError([f"SUPABASE_KEY belongs to the project {project}, and SUPABASE_URL names {host}"])
    if claims.get("role") == "service_role":
        said.append(_too_strong("a service-role key"))
    if claims.get("role") == "anon" and not access.email:
        said.append("SUPABASE_KEY is an anon key and no device signs in: policies must let everybody in")
    return said


def _too_strong(what: str) -> str:
    return (
        f"SUPABASE_KEY is {what}: whoever takes this box can read and change everything in the project. "
        "Give the device an account of its own: apply `ezrec schema`, then set the anon or publishable key, "
        "EZREC_DEVICE_EMAIL and EZREC_DEVICE_PASSWORD"
    )


def _claims(token: str) -> dict[str, Any] | None:
    match = re.fullmatch(r"[\w-]+\.([\w-]+)\.[\w-]+", token)
    if match is None:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(match[1] + "=" * (-len(match[1]) % 4)))
    except (binascii.Error, ValueError):
        return None
    return claims if isinstance(claims, dict) else None


class Connection:
    """Shared by the threads of one process."""

    def __init__(
        self,
        access: ConnectionAccess,
        *,
        connect_s: float = 10.0,
        silence_s: float = 30.0,
        on_access: Callable[[Treatment, str], None] = lambda treatment, said: None,
        reach: Connectivity | None = None,
        rest: tuple[float, str] = (0.0, ""),
        state: Path | None = None,
        boot_id: str = "",
    ) -> None:
        """`rest`: seconds in which nothing is to be asked, and why: another process was refused. `state`: the
        folder in which a sign-in is kept for the next process; `boot_id` says of when it is.
        """
        self.access = access
        hide((access.key, access.password))
        self._reach = reach
        self._on_access = on_access
        left_s, self._refusal = rest
        self._rests_until = time.monotonic() + left_s if left_s > 0 else float("-inf")
        self.connect_s, self.silence_s = connect_s, silence_s
        self._lock = threading.RLock()
        self._http: httpx.Client | None = None
        self._supabase: Client | None = None
        self._kept = SessionFile(state, f"{access.email} {access.url} {access.mark}", boot_id)
        self._session: Session | None = None
        self._refused_token = ""

    @property
    def http(self) -> httpx.Client:
        with self._lock:
            if self._http is None:
                self._http = self._make_http()
            return self._http

    def _make_http(self) -> httpx.Client:
        import httpx

        from ezrec.cloud.supabase.transport import UploadTransport

        # At INFO httpx writes every URL, and those of signed objects hold a token.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        return httpx.Client(
            transport=UploadTransport(keep_s=_IDLE_S),
            follow_redirects=False,
            timeout=httpx.Timeout(self.silence_s, connect=self.connect_s),
            event_hooks={"request": [self._sign], "response": [_refuse]},
        )

    @property
    def supabase(self) -> Client:
        """The project's own client, over our HTTP client."""
        with self._lock:
            if self._supabase is None:
                from supabase import Client, ClientOptions

                options = ClientOptions(
                    httpx_client=self.http,
                    auto_refresh_token=False,
                    persist_session=False,
                    postgrest_client_retry=False,
                )
                self._supabase = Client(self.access.url, self.access.key, options)
            return self._supabase

    def close(self) -> None:
        with self._lock:
            if self._http is not None:
                self._http.close()
            self._http = self._supabase = self._session = None

    def call(self, doing: str, work: Callable[[], T]) -> T:
        """Do `work`; every error leaves as `Retry` or `Reject`. A refusal is believed the second time: hosted
        projects now and then refuse a key or a token that is good.

        `work` may be run twice, so it must be repeatable.
        """
        import httpx

        self._check_rest(doing)
        for is_last in (False, True):
            try:
                answer = work()
                self._on_access(Treatment.GOOD, "")
                self._noted(None)
                return answer
            except CloudError as error:
                _log.debug("%s: %s", doing, redacted(error.body))
                if not is_last and is_about_the_token(error):
                    self._look_again(error)
                    continue
                _log.warning("%s: %s: %s", doing, error.status, redacted(error.body or error.message))
                self._take_note(error)
                raise self._noted(as_fault(error, doing)) from None
            except (json.JSONDecodeError, UnicodeDecodeError):
                foreign = CloudError(502, PORTAL, "answered with what is no JSON")
                raise self._noted(as_fault(foreign, doing)) from None
            except (httpx.HTTPError, httpx.StreamError) as error:
                raise self._noted(as_transport_fault(error, doing)) from error
        raise AssertionError("not reached")

    def _look_again(self, error: CloudError) -> None:
        """Before a refusal is believed: with another token where there is one, else after a moment."""
        if is_from_the_future(error) or not self.renew():
            time.sleep(_MOMENT_S)

    def _check_rest(self, doing: str) -> None:
        left_s = self._rests_until - time.monotonic()
        if left_s > 0:
            raise Retry(f"{doing}: the cloud refuses this device's key or sign-in: {self._refusal}", left_s)

    def _take_note(self, error: CloudError) -> None:
        match verdict(error).verdict:
            case ErrorVerdict.LOCKED:
                self._refusal = redacted(str(error))
                self._rests_until = time.monotonic() + (error.after_s or LOCKED_AFTER_S)
                self._on_access(Treatment.REFUSED, self._refusal)
            case ErrorVerdict.PASSING:  # says nothing of how we are treated
                pass
            case ErrorVerdict.CURABLE | ErrorVerdict.FINAL:  # about one request, and an answer of the cloud
                self._on_access(Treatment.GOOD, "")

    @property
    def is_above_policies(self) -> bool:
        """True when row-level security does not bind us: what we do not see is not there."""
        if self.access.email:
            return False
        claims = _claims(self.access.key) or {}
        return self.access.key.startswith("sb_secret_") or claims.get("role") == "service_role"

    def _noted(self, fault: _Fault) -> _Fault:
        """Keep for the other processes whether the cloud was reached; a refusal too is an answer."""
        if self._reach is not None:
            is_lost = isinstance(fault, Retry) and fault.waits_for == Wait.NETWORK
            self._reach.lose() if is_lost else self._reach.find()
        return fault

    # ---- who we are

    def renew(self) -> bool:
        """Let the next request sign in anew; False when there is nothing to sign in with."""
        with self._lock:
            if self._session is not None:
                self._refused_token = self._session.access
                self._session = self._session.spent()
            return bool(self.access.email)

    def token(self) -> str:
        """A token that is good now."""
        if not self.access.email:
            return self.access.key
        with self._lock:
            if self._session is None or not self._session.is_good():
                self._session = self._found() or self._made()
            return self._session.access

    def _found(self) -> Session | None:
        """What another process has kept, where it is good."""
        kept = self._kept.recall()
        is_good = kept is not None and kept.is_good() and kept.access != self._refused_token
        return kept if is_good else None

    def _made(self) -> Session:
        with self._kept.held():
            made = self._found()  # while we waited for the lock
            if made is None:
                made = self._signed_in(self._kept.recall() or self._session)
                self._kept.keep(made)
            return made

    def _signed_in(self, former: Session | None) -> Session:
        if former is not None:
            try:
                return self._grant("refresh_token", {"refresh_token": former.refresh})
            except CloudError as error:
                if not is_about_the_token(error):
                    raise
        return self._grant("password", {"email": self.access.email, "password": self.access.password})

    def _grant(self, kind: str, given: dict[str, str]) -> Session:
        answer = self.http.post(
            f"{self.access.url}/auth/v1/token", params={"grant_type": kind}, json=given
        ).json()
        try:
            life_s = float(answer["expires_in"])
            renew_at = time.monotonic() + life_s - min(_MARGIN_S, life_s * _MARGIN)
            session = Session(str(answer["access_token"]), str(answer["refresh_token"]), renew_at)
            hide_tokens(session.access, session.refresh)
            return session
        except (KeyError, TypeError, ValueError):
            raise CloudError(502, "no_session", "signing in was answered without a session") from None

    def _sign(self, request: httpx.Request) -> None:
        """Every request carries the key and a token that is fresh now; signing in has only the key."""
        is_sign_in = request.url.path.endswith("/auth/v1/token")
        idle = "content-profile" if request.method in ("GET", "HEAD") else "accept-profile"
        for name in (*_IDLE_HEADERS, idle):
            request.headers.pop(name, None)
        if "return=minimal" in request.headers.get("prefer", ""):  # nothing comes that could be packed
            request.headers.pop("accept-encoding", None)
        if request.headers.get("accept") == "*/*":  # as without it
            del request.headers["accept"]
        request.headers["User-Agent"] = "ezrec"
        request.headers["apikey"] = self.access.key
        request.headers["Authorization"] = f"Bearer {self.access.key if is_sign_in else self.token()}"


def _refuse(response: httpx.Response) -> None:
    error = read_error(response)
    kind = response.headers.get("content-type", "")
    is_of_rows = response.status_code in (200, 206) and "/rest/v1/" in response.url.path
    if error is None and is_of_rows and "json" not in kind:  # the client library would take it for no rows
        error = CloudError(502, PORTAL, f"rows were asked for, and {kind or 'nothing'} came")
    if error is not None:
        raise error
