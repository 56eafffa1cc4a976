"""The table that sorts the cloud's answers, and what may be logged of them."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from ezrec.cloud.supabase.credentials import Credentials, check_key
from ezrec.cloud.supabase.errors import (
    CURED_AFTER_S,
    LOCKED_AFTER_S,
    as_fault,
    as_transport_fault,
    read_error,
    redacted,
    unknown_column,
)
from ezrec.domain.cloud_state import QUOTA_REMEDY, SILENT_REMEDY
from ezrec.domain.errors import ConfigError, Reject, Retry
from tests.supabase_server.fixture import token


def fault(status: int, body: object = None, **headers: str) -> Retry | Reject:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if isinstance(body, str):
        response = httpx.Response(status, text=body, headers=named)
    else:
        response = httpx.Response(status, json=body, headers=named)
    error = read_error(response)
    assert error is not None
    return as_fault(error, "testing")


def storage(status: int, code: str, message: str = "") -> dict[str, Any]:
    return {"statusCode": str(status), "error": code, "code": code, "message": message}


def rest(code: str, message: str = "") -> dict[str, Any]:
    return {"code": code, "message": message, "details": None, "hint": None}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (408, None),
        (425, None),
        (429, {"message": "slow down"}),
        (500, storage(500, "InternalError")),
        (502, "<html>Bad gateway</html>"),
        (503, rest("PGRST000")),
        (522, "timed out"),
        (500, rest("57014", "canceling statement due to statement timeout")),
        (400, storage(500, "DatabaseError")),
        (423, "locked"),
    ],
)
def test_what_may_pass_comes_again(status: int, body: object) -> None:
    assert isinstance(fault(status, body), Retry)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, storage(413, "EntityTooLarge")),
        (413, "Maximum size exceeded"),
        (401, rest("42501", "new row violates row-level security policy")),
        (403, rest("42501")),
        (400, storage(403, "AccessDenied", "new row violates row-level security policy")),
        (409, rest("23503", "violates foreign key constraint")),
        (400, storage(400, "InvalidKey")),
        (400, storage(404, "NoSuchBucket", "Bucket not found")),
        (404, "Bucket not found"),
        (400, rest("PGRST204", "Could not find the 'x' column of 'videos' in the schema cache")),
        (404, rest("PGRST205")),
        (400, rest("22P02")),
    ],
)
def test_what_will_not_pass_waits_for_a_person(status: int, body: object) -> None:
    found = fault(status, body)
    assert isinstance(found, Reject)
    assert found.remedy


@pytest.mark.parametrize(
    ("status", "body", "again"),
    [
        (413, "Maximum size exceeded", True),
        (400, storage(413, "EntityTooLarge"), True),
        (415, "mime type text/plain is not supported", True),
        (400, storage(415, "InvalidMimeType"), True),
        (403, "new row violates row-level security policy", True),
        (403, rest("42501"), True),
        (400, storage(403, "AccessDenied", "new row violates row-level security policy"), True),
        (404, "Bucket not found", True),
        (400, storage(404, "NoSuchBucket", "Bucket not found"), True),
        (404, rest("PGRST205"), True),
        (409, rest("23503"), True),
        (400, storage(400, "InvalidKey"), False),
        (400, rest("22P02"), False),
    ],
)
def test_what_is_cured_in_the_cloud_is_tried_again_slowly(status: int, body: object, again: bool) -> None:
    found = fault(status, body)
    assert isinstance(found, Reject)
    assert found.again_s == (CURED_AFTER_S if again else None)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, rest("PGRST303", "JWT expired")),
        (401, rest("PGRST301", "No suitable key or wrong key type")),
        (400, storage(403, "AccessDenied", '"exp" claim timestamp check failed')),
        (400, storage(403, "AccessDenied", "signature verification failed")),
        (401, {"message": "Invalid API key"}),
        (400, {"code": 400, "error_code": "invalid_credentials", "msg": "Invalid login credentials"}),
        (402, {"message": "exceeded egress quota"}),
        (401, rest("PGRST303", "JWT issued at future")),
        (400, storage(403, "AccessDenied", '"iat" claim timestamp check failed')),
    ],
)
def test_a_matter_of_keys_is_tried_again_slowly(status: int, body: object) -> None:
    found = fault(status, body)
    assert isinstance(found, Retry)
    assert found.after_s == LOCKED_AFTER_S


@pytest.mark.parametrize(
    ("headers", "after_s"),
    [
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": "999999"}, 3600.0),
        ({"retry_after": "Mon, 01 Jun 2026 10:00:30 GMT", "date": "Mon, 01 Jun 2026 10:00:00 GMT"}, 30.0),
        ({"retry_after": "soon"}, None),
        ({}, None),
    ],
)
def test_the_time_that_the_cloud_names_is_kept(headers: dict[str, str], after_s: float | None) -> None:
    found = fault(429, {"message": "slow down"}, **headers)
    assert isinstance(found, Retry)
    assert found.after_s == after_s


@pytest.mark.parametrize("status", [200, 302, 401, 404, 511])
def test_a_page_of_html_is_never_the_clouds_word(status: int) -> None:
    headers = {"content-type": "text/html", "location": "http://login.hotel.example/"}
    error = read_error(httpx.Response(status, text="<html></html>", headers=headers))
    assert error is not None
    found = as_fault(error, "testing")
    assert isinstance(found, Retry)
    assert found.after_s is None


@pytest.mark.parametrize("kind", ["text/html", "text/plain", "application/json", ""])
@pytest.mark.parametrize(
    ("status", "said", "cure"),
    [
        (522, "the project does not answer; is it paused? Restore it in the dashboard", SILENT_REMEDY),
        (540, "the project is paused; restore it in the dashboard", SILENT_REMEDY),
        (402, "the project has used up what its plan allows", QUOTA_REMEDY),
    ],
)
def test_a_project_that_sleeps_or_has_used_up_its_plan_is_told_in_one_line_and_not_in_html(
    status: int, said: str, cure: str, kind: str
) -> None:
    page = "<!DOCTYPE html><html><body>" + "<div>x</div>" * 400
    headers = {"content-type": kind} if kind else {}
    error = read_error(httpx.Response(status, text=page, headers=headers))
    assert error is not None
    found = as_fault(error, "fetching the bookings")
    assert isinstance(found, Retry)
    assert f"{status} {said}" in found.reason
    assert "<" not in found.reason
    assert ("over its quota" in found.reason) is (status == 402)
    assert "key" not in found.reason
    assert found.remedy == cure
    assert "div" not in error.body


def test_a_page_of_html_is_never_told_whatever_it_calls_itself() -> None:
    error = read_error(httpx.Response(503, text="\n<html><body>overloaded</body></html>"))
    assert error is not None
    assert str(error) == "503 a page of HTML instead of an answer (503)"


def test_a_certificate_from_the_future_is_our_clock() -> None:
    said = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate is not yet valid"
    assert "clock is wrong" in as_transport_fault(httpx.ConnectError(said), "testing").reason


@pytest.mark.parametrize(
    ("code", "message", "column"),
    [
        ("PGRST204", "Could not find the 'shoe size' column of 'videos' in the schema cache", "shoe size"),
        ("42703", 'column "booking_id" of relation "videos" does not exist', "booking_id"),
        ("42703", "column bookings.date does not exist", "date"),
        ("42501", "Could not find the 'x' column of 'videos'", None),
    ],
)
def test_the_column_that_is_missing_is_found_in_the_error(
    code: str, message: str, column: str | None
) -> None:
    error = read_error(httpx.Response(400, json=rest(code, message)))
    assert error is not None
    assert unknown_column(error) == column


def test_nothing_secret_is_left_in_what_is_logged() -> None:
    secrets = [token("service_role"), "sb_secret_abcDEF-123_456", "sb_publishable_xyz", "r3fr3sh"]
    text = json.dumps({"url": f"/sign/a?token={secrets[0]}&x=1", "key": secrets[1:3]})
    text += f'{{"refresh_token":"{secrets[3]}"}} Bearer {secrets[0]}'
    left = redacted(text)
    assert not any(secret in left for secret in secrets)
    assert "/sign/a?token=***&x=1" in left


# ---- keys


URL = "https://abcdefgh.supabase.co"


def test_a_key_that_can_do_everything_is_warned_about_with_the_way_out() -> None:
    for key in (token("service_role"), "sb_secret_abc"):
        [warning] = check_key(Credentials(URL, key))
        assert "ezrec schema" in warning
        assert key not in warning


@pytest.mark.parametrize("key", ["", "password", "eyJhbGciOi", "a.b.c", "sb_other_key"])
def test_what_is_no_key_is_refused_at_the_start(key: str) -> None:
    with pytest.raises(ConfigError):
        check_key(Credentials(URL, key))


def test_a_key_of_another_project_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigError, match="otherone"):
        check_key(Credentials(URL, token("anon", ref="otherone")))
    assert check_key(Credentials(URL, token("anon", ref="abcdefgh"), "court@club.test", "secret")) == []
    assert check_key(Credentials(URL, "sb_publishable_abc")) == []
    assert len(check_key(Credentials(URL, token("anon")))) == 1


def test_an_access_shows_no_secret() -> None:
    shown = repr(Credentials(URL, "the-key", "court@club.test", "the-password"))
    assert "the-key" not in shown
    assert "the-password" not in shown
