"""What the cloud's errors mean. They are sorted by one table; the first row that fits counts.

Four kinds. *Passing* errors pass by themselves. *Locked* ones are about keys or the account, *curable* ones
about limits, rights, buckets or tables: both are tried again slowly, because a person corrects them in the
cloud, and nobody restarts the box or its jobs then. *Final* ones wait for a person here. Storage answers
nearly every error with HTTP 400 and the real status in the body.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import TYPE_CHECKING

from ezrec.domain.cloud_state import QUOTA_REMEDY, SILENT_REMEDY
from ezrec.domain.errors import Reject, Retry
from ezrec.domain.redaction import head
from ezrec.domain.upload_schedule import Wait

if TYPE_CHECKING:
    import httpx

LOCKED_AFTER_S = 300.0  # how soon a refused key is tried again
CURED_AFTER_S = 900.0  # how soon a job is tried again that is waiting for a cure in the cloud
_LONGEST_WAIT_S = 3600.0
_SILENT = (520, 521, 522, 523, 524, 530, 540)  # of a gateway that reaches nothing behind it
_OVER_QUOTA = 402
_NO_ANSWER = "the project does not answer; is it paused? Restore it in the dashboard"
_SAID = {
    _OVER_QUOTA: "the project has used up what its plan allows",
    540: "the project is paused; restore it in the dashboard",
}
_SHOWN = 2000  # characters of an answer that are logged


def redacted(text: str) -> str:
    """`text` as it may be logged: without keys and tokens, limited in length."""
    return head(text, _SHOWN)


class CloudError(Exception):
    """A response that is no success. `code` is PostgREST's, PostgreSQL's or storage's own.

    `code`, `message` and `body` are as received, for the program. People see `str()` of the error, without
    secrets: a response may repeat what it was sent. `after_s`: seconds, from Retry-After.
    """

    def __init__(
        self, status: int, code: str, message: str, body: str = "", after_s: float | None = None
    ) -> None:
        super().__init__(redacted(" ".join(filter(None, (str(status), code, message)))))
        self.status = status
        self.code = code
        self.message = message
        self.body = body
        self.after_s = after_s


PORTAL = "portal"  # the code of a response that is not from the cloud


def read_error(response: httpx.Response) -> CloudError | None:
    """What is wrong with a response, or None. Reads the body only if it is no success."""
    kind = response.headers.get("content-type", "")
    if response.status_code in _SILENT or response.status_code == _OVER_QUOTA:  # whatever stands below it
        said = _SAID.get(response.status_code, _NO_ANSWER)
        return CloudError(response.status_code, "", said, after_s=_retry_after_s(response))
    if response.is_redirect or kind.startswith("text/html"):
        # Following it would send the key to a hotel's login page, whose HTML would count as success.
        where = response.headers.get("location", "") or f"a page of {kind}"
        message = f"something between here and the cloud answered with {redacted(where)}"
        if response.status_code < 500:
            return CloudError(response.status_code, PORTAL, message)
        return CloudError(
            response.status_code, "", _of_page(response.status_code), after_s=_retry_after_s(response)
        )
    if response.is_success:
        return None
    response.read()
    text = response.text[:65536]
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        said = _of_page(response.status_code) if text.lstrip().startswith("<") else head(text.strip(), 500)
        body = {"message": said or response.reason_phrase}
    status = str(body.get("statusCode") or "")
    code = body.get("error_code") or body.get("code") or body.get("error") or ""
    message = body.get("message") or body.get("msg") or body.get("error_description") or ""
    return CloudError(
        status=int(status) if re.fullmatch(r"[1-5]\d\d", status) else response.status_code,
        code=str(code),
        message=str(message),
        body=text,
        after_s=_retry_after_s(response),
    )


def _of_page(status: int) -> str:
    """Pages of HTML are not logged: a box would write them all night."""
    return f"a page of HTML instead of an answer ({status})"


def _retry_after_s(response: httpx.Response) -> float | None:
    text = response.headers.get("retry-after", "")
    if re.fullmatch(r"\d{1,6}", text):
        return min(float(text), _LONGEST_WAIT_S)
    try:  # a date, compared with the server's own clock: ours may be wrong
        until = parsedate_to_datetime(text) - parsedate_to_datetime(response.headers.get("date", ""))
    except (ValueError, TypeError):
        return None
    return min(max(until.total_seconds(), 0.0), _LONGEST_WAIT_S)


class ErrorKind(Enum):
    PASSING = "passing"
    LOCKED = "locked"
    CURABLE = "curable"
    FINAL = "final"


@dataclass(frozen=True, slots=True)
class ErrorRule:
    """One row of the table: which errors it fits, their kind, and what a person can do."""

    kind: ErrorKind
    fits: Callable[[CloudError], bool]
    remedy: str = ""


def _status(*statuses: int) -> Callable[[CloudError], bool]:
    return lambda error: error.status in statuses


def _code(*codes: str) -> Callable[[CloudError], bool]:
    return lambda error: error.code in codes


def _message(pattern: str) -> Callable[[CloudError], bool]:
    found = re.compile(pattern, re.IGNORECASE)
    return lambda error: found.search(error.message) is not None


_FUTURE = r"issued at future|(iat|nbf)\W+ claim|not yet valid"
_BAD_TOKEN = (
    rf"{_FUTURE}|exp\W+ claim|signature verification failed|Invalid Compact JWS|invalid jwt|jwt expired"
)
_RIGHTS = "the device may not do this: apply the policies that `ezrec schema` prints"
_TABLES = "compare the tables with what `ezrec schema` prints"
_PASSING, _LOCKED = ErrorKind.PASSING, ErrorKind.LOCKED
_CURABLE, _FINAL = ErrorKind.CURABLE, ErrorKind.FINAL
RULES = (
    ErrorRule(_PASSING, _code(PORTAL)),
    ErrorRule(_LOCKED, _message(_BAD_TOKEN)),
    ErrorRule(_LOCKED, _code("PGRST301", "PGRST302", "PGRST303", "22023")),
    ErrorRule(_LOCKED, _code("invalid_credentials", "refresh_token_not_found", "refresh_token_already_used")),
    ErrorRule(_LOCKED, _code("email_not_confirmed", "user_banned", "invalid_grant")),
    ErrorRule(_CURABLE, _code("42501"), _RIGHTS),
    ErrorRule(_LOCKED, _status(401, _OVER_QUOTA)),  # the gateway knows no such key, or lets nobody in for it
    ErrorRule(
        _CURABLE,
        _status(413),
        "raise the size limit of the bucket and of the project (free plans allow 50 MB)",
    ),
    ErrorRule(_CURABLE, _code("NoSuchBucket"), "create the bucket in the project's storage"),
    ErrorRule(_CURABLE, _message("^Bucket not found"), "create the bucket in the project's storage"),
    ErrorRule(_FINAL, _code("InvalidKey"), "the name holds characters that storage does not take"),
    ErrorRule(_CURABLE, _code("InvalidMimeType"), "allow this type of file in the bucket's settings"),
    ErrorRule(_CURABLE, _status(415), "allow this type of file in the bucket's settings"),
    ErrorRule(_CURABLE, _code("AccessDenied"), _RIGHTS),
    ErrorRule(_CURABLE, _code("PGRST204", "PGRST205", "42703", "42P01"), _TABLES),
    ErrorRule(
        _CURABLE, _code("23503"), "what the row refers to was deleted: restore it, or loosen the foreign key"
    ),
    ErrorRule(_PASSING, _status(408, 409, 423, 425, 429)),
    ErrorRule(_PASSING, lambda error: error.status >= 500),
    ErrorRule(_CURABLE, _status(403), _RIGHTS),
    ErrorRule(_FINAL, lambda error: True, "see the log for the full answer"),
)


def rule_for(error: CloudError) -> ErrorRule:
    """The row of the table for this error."""
    return next(rule for rule in RULES if rule.fits(error))


def is_silent(error: CloudError) -> bool:
    """True when a gateway answered because it reaches nothing behind it: paused, or in trouble."""
    return error.status in _SILENT


def is_over_quota(error: CloudError) -> bool:
    """True when the project has used up what its plan allows."""
    return error.status == _OVER_QUOTA


def is_about_the_token(error: CloudError) -> bool:
    """True when a new token may help."""
    return error.code != PORTAL and rule_for(error).kind is ErrorKind.LOCKED and error.status != 402


def is_from_the_future(error: CloudError) -> bool:
    """True when the token will be valid in a moment: one of the cloud's clocks runs behind another."""
    return re.search(_FUTURE, error.message, re.IGNORECASE) is not None


def as_fault(error: CloudError, doing: str) -> Retry | Reject:
    """The error as `Retry` or `Reject`, which handlers understand."""
    rule = rule_for(error)
    text = redacted(str(error))
    match rule.kind:
        case ErrorKind.PASSING:
            waits_for = Wait.NETWORK if error.code == PORTAL else ""
            remedy = SILENT_REMEDY if is_silent(error) else ""
            return Retry(f"{doing}: {text}", error.after_s, waits_for=waits_for, remedy=remedy)
        case ErrorKind.LOCKED:
            return as_pause(text, doing, error.after_s or LOCKED_AFTER_S)
        case ErrorKind.CURABLE:
            return Reject(f"{doing}: {text}", rule.remedy, again_s=CURED_AFTER_S)
        case ErrorKind.FINAL:
            return Reject(f"{doing}: {text}", rule.remedy)


def as_pause(said: str, doing: str, after_s: float) -> Retry:
    """Nobody asks for a while, because the cloud `said` that it lets this device, or nobody, in."""
    if said.startswith(f"{_OVER_QUOTA} "):
        return Retry(f"{doing}: the project is over its quota: {said}", after_s, remedy=QUOTA_REMEDY)
    return Retry(f"{doing}: the cloud refuses this device's key or sign-in: {said}", after_s)


def as_transport_fault(error: Exception, doing: str) -> Retry:
    """A connection that failed. A certificate "from the future" means that our clock is in the past.

    If it could not be made at all, the job waits for the network. If it broke off, the job is retried with
    backoff: other requests may succeed.
    """
    import httpx

    text = redacted(str(error)) or type(error).__name__
    if "not yet valid" in text:
        return Retry(f"{doing}: this device's clock is wrong: the cloud's certificate is not yet valid by it")
    if "certificate has expired" in text:
        return Retry(f"{doing}: the cloud's certificate has expired, or this device's clock is wrong")
    waits_for = Wait.NETWORK if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout) else ""
    return Retry(f"{doing}: no connection to the cloud: {text}", waits_for=waits_for)


_UNKNOWN_COLUMN = (
    re.compile(r"Could not find the '([^']+)' column of"),  # PGRST204
    re.compile(r"column \"?(?:\w+\.)?(\w+)\"? (?:of relation \S+ )?does not exist"),  # 42703
)


def unknown_column(error: CloudError) -> str | None:
    """The column that the table lacks, where the error names one."""
    if error.code in ("PGRST204", "42703"):
        for pattern in _UNKNOWN_COLUMN:
            if match := pattern.search(error.message):
                return match[1]
    return None
