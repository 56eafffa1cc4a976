from __future__ import annotations

import base64
import json

import pytest

from ezrec.domain.api_key import claims, role


def _jwt(payload: object) -> str:
    packed = base64.urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJIUzI1NiJ9.{packed}.signature"


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("sb_secret_abc", "service_role"),
        (_jwt({"role": "service_role"}), "service_role"),
        (_jwt({"role": "anon"}), "anon"),
        ("sb_publishable_abc", "anon"),
        (_jwt({}), "unknown"),
        ("", "unknown"),
        ("a.b.c", "unknown"),
        ("eyJ.bnVsbA.x", "unknown"),
    ],
)
def test_the_role_of_a_key_is_read_from_the_key(key: str, expected: str) -> None:
    assert role(key) == expected


def test_what_is_no_jwt_has_no_claims() -> None:
    assert claims("sb_secret_abc") is claims("a.b.c") is claims(_jwt([])) is None
    assert claims(_jwt({"ref": "abc"})) == {"ref": "abc"}
