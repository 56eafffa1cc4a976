"""The connection to a Supabase project: one HTTP client, one sign-in, one place where errors are sorted.

The libraries' own policies are off: HTTP/2 takes four times the CPU, and two thirds of the speed on a slow
link; PostgREST's retries sleep unseen; Auth stops refreshing for good after ten tries. Instead, every request
carries a valid token. A refused token is renewed once; when the new one is refused too, all requests of this
process pause for a while, so that a wrong password does not lock the account.

Nothing is imported or connected before the first request.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from ezrec.cloud.supabase.errors import (
    LOCKED_AFTER_S,
    PORTAL,
    CloudError,
    ErrorKind,
    as_fault,
    as_pause,
    as_transport_fault,
    is_about_the_token,
    is_from_the_future,
    is_over_quota,
    is_silent,
    read_error,
    redacted,
    rule_for,
)
from ezrec.cloud.supabase.session import SessionFile, SignIn
from ezrec.domain.cloud_state import Access
from ezrec.domain.errors import Reject, Retry
from ezrec.domain.redaction import hide
from ezrec.domain.upload_schedule import Wait

if TYPE_CHECKING:
    from pathlib import Path

    import httpx
    from supabase import Client

    from ezrec.cloud.connectivity import Connectivity
    from ezrec.cloud.supabase.credentials import Credentials

T = TypeVar("T")
_Fault = TypeVar("_Fault", Retry | Reject, None)
_log = logging.getLogger("ezrec.supabase")
_IDLE_S = 55.0  # an idle connection is kept so long: after a minute gateways close it
# The server does not need these, and an idle box would send them 500 times an hour.
_IDLE_HEADERS = ("x-client-info", "connection")
_MOMENT_S = 1.0


class Connection:
    """Shared by the threads of one process."""

    def __init__(
        self,
        credentials: Credentials,
        *,
        connect_s: float = 10.0,
        silence_s: float = 30.0,
        on_access: Callable[[Access, str], None] = lambda access, answer: None,
        connectivity: Connectivity | None = None,
        pause: tuple[float, str] = (0.0, ""),
        state: Path | None = None,
        boot_id: str = "",
    ) -> None:
        """`on_access` is called after each response with how the cloud treats us, and its message.

        `pause`: seconds for which no request may be sent, and why (another process was refused). `state`: the
        folder that keeps the session for the next process; `boot_id`: of the running machine.
        """
        self.credentials = credentials
        hide((credentials.key, credentials.password))
        self._connectivity = connectivity
        self._on_access = on_access
        left_s, self._refusal = pause
        self._paused_until = time.monotonic() + left_s if left_s > 0 else float("-inf")
        self.connect_s, self.silence_s = connect_s, silence_s
        self._lock = threading.RLock()
        self._http: httpx.Client | None = None
        self._supabase: Client | None = None
        owner = f"{credentials.email} {credentials.url} {credentials.mark}"
        self.sign_in = SignIn(credentials, SessionFile(state, owner, boot_id), lambda: self.http)

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
            event_hooks={"request": [self._sign], "response": [_raise_error]},
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
                self._supabase = Client(self.credentials.url, self.credentials.key, options)
            return self._supabase

    def close(self) -> None:
        with self._lock:
            if self._http is not None:
                self._http.close()
            self._http = self._supabase = None
            self.sign_in.forget()

    def call(self, doing: str, work: Callable[[], T]) -> T:
        """Do `work`; every error is raised as `Retry` or `Reject`.

        After a first refusal it is tried again: hosted projects now and then refuse a valid key or token. So
        `work` must be repeatable.
        """
        import httpx

        self._check_pause(doing)
        for is_last in (False, True):
            try:
                answer = work()
                self._on_access(Access.GOOD, "")
                self._record_connectivity(None)
                return answer
            except CloudError as error:
                _log.debug("%s: %s", doing, redacted(error.body))
                if not is_last and is_about_the_token(error):
                    self._renew_or_wait(error)
                    continue
                _log.warning("%s: %s: %s", doing, error.status, redacted(error.body or error.message))
                self._record_access(error)
                raise self._record_connectivity(as_fault(error, doing)) from None
            except (json.JSONDecodeError, UnicodeDecodeError):
                foreign = CloudError(502, PORTAL, "answered with what is no JSON")
                raise self._record_connectivity(as_fault(foreign, doing)) from None
            except (httpx.HTTPError, httpx.StreamError) as error:
                raise self._record_connectivity(as_transport_fault(error, doing)) from error
        raise AssertionError("not reached")

    def _renew_or_wait(self, error: CloudError) -> None:
        """Before the second try: get another token where possible, else wait a moment."""
        if is_from_the_future(error) or not self.sign_in.renew():
            time.sleep(_MOMENT_S)

    def _check_pause(self, doing: str) -> None:
        left_s = self._paused_until - time.monotonic()
        if left_s > 0:
            raise as_pause(self._refusal, doing, left_s)

    def _record_access(self, error: CloudError) -> None:
        match rule_for(error).kind:
            case ErrorKind.LOCKED:
                self._refusal = redacted(str(error))
                self._paused_until = time.monotonic() + (error.after_s or LOCKED_AFTER_S)
                access = Access.QUOTA if is_over_quota(error) else Access.REFUSED
                self._on_access(access, self._refusal)
            case ErrorKind.PASSING if is_silent(error):
                self._on_access(Access.SILENT, redacted(str(error)))
            case ErrorKind.PASSING:  # says nothing of the key or the sign-in
                pass
            case ErrorKind.CURABLE | ErrorKind.FINAL:  # about this one request; key and sign-in are good
                self._on_access(Access.GOOD, "")

    def _record_connectivity(self, fault: _Fault) -> _Fault:
        """Record for other processes whether the cloud was reached; it was, even if it refused."""
        if self._connectivity is not None:
            if isinstance(fault, Retry) and fault.waits_for == Wait.NETWORK:
                self._connectivity.mark_offline()
            else:
                self._connectivity.mark_online()
        return fault

    def _sign(self, request: httpx.Request) -> None:
        """Add the key and a valid token to a request; signing in has only the key."""
        is_sign_in = request.url.path.endswith("/auth/v1/token")
        idle = "content-profile" if request.method in ("GET", "HEAD") else "accept-profile"
        for name in (*_IDLE_HEADERS, idle):
            request.headers.pop(name, None)
        if "return=minimal" in request.headers.get("prefer", ""):  # the answer has no body to compress
            request.headers.pop("accept-encoding", None)
        if request.headers.get("accept") == "*/*":  # the default
            del request.headers["accept"]
        key = self.credentials.key
        request.headers["User-Agent"] = "ezrec"
        request.headers["apikey"] = key
        request.headers["Authorization"] = f"Bearer {key if is_sign_in else self.sign_in.token()}"


def _raise_error(response: httpx.Response) -> None:
    error = read_error(response)
    kind = response.headers.get("content-type", "")
    is_of_rows = response.status_code in (200, 206) and "/rest/v1/" in response.url.path
    if error is None and is_of_rows and "json" not in kind:  # the client library would read no rows in it
        error = CloudError(502, PORTAL, f"rows were asked for, and {kind or 'nothing'} came")
    if error is not None:
        raise error
